//! Every key of a matrix file does something: each is found by what the parser says of a key that it
//! does not know, and must change the plan.

use super::tests::folder;
use super::*;
use crate::keys::named_by;
use std::collections::BTreeMap;

const FILE: &str = r#"
[axes]
kernels = [{ name = "k", spec = "./k" }]
schedulers = [{ name = "s", spec = "./s" }]
scenarios = ["s/a.json"]
kernel_args = [{ name = "lazy", args = ["preempt=lazy"] }]
[[include]]
kernels = ["other", "gone"]
[[exclude]]
cells = { kernel = "gone" }
reason = "no time"
[[minimum]]
cells = { kernel = "k*" }
linux = "6.12"
[[repeat]]
cells = { kernel = "k*" }
runs = 5
[[known_failure]]
cells = { kernel = "k*" }
reason = "a bug"
"#;

/// A key, and a change of it in the file: what stands there, and what stands there then.
type Change = (&'static str, &'static str, &'static str);

/// A place where more keys may stand, and a change of each that may.
const TABLES: &[(&str, &[Change])] = &[
    (
        "[axes]\n",
        &[
            ("kernels", r#"spec = "./k" }]"#, r#"spec = "./k" }, "more"]"#),
            ("schedulers", r#"spec = "./s" }]"#, r#"spec = "./s" }, "none"]"#),
            ("scenarios", r#""s/a.json""#, r#""s/a.json", "s/b.json""#),
            ("topologies", "[axes]\n", "[axes]\ntopologies = [4]\n"),
            ("seeds", "[axes]\n", "[axes]\nseeds = [4]\n"),
            ("modes", "[axes]\n", "[axes]\nmodes = ['default']\n"),
            ("kernel_args", r#""preempt=lazy"] }]"#, r#""preempt=lazy"] }, "nosmt"]"#),
        ],
    ),
    (
        "\n[axes]",
        &[
            ("axes", r#"spec = "./k" }]"#, r#"spec = "./k" }, "more"]"#),
            ("include", r#"kernels = ["other", "gone"]"#, r#"kernels = ["other", "gone", "more"]"#),
            ("exclude", r#"reason = "no time""#, r#"reason = "little time""#),
            ("minimum", r#"linux = "6.12""#, r#"linux = "6.18""#),
            ("repeat", "runs = 5", "runs = 6"),
            ("known_failure", r#"reason = "a bug""#, r#"reason = "another bug""#),
        ],
    ),
    (
        r#"kernels = [{ "#,
        &[
            ("name", r#"name = "k","#, r#"name = "k2","#),
            ("spec", r#"spec = "./k""#, r#"spec = "./k2""#),
            ("args", r#"spec = "./k""#, r#"spec = "./k", args = ["nosmt"]"#),
        ],
    ),
    (
        r#"schedulers = [{ "#,
        &[
            ("name", r#"name = "s","#, r#"name = "s2","#),
            ("spec", r#"spec = "./s""#, r#"spec = "./s2""#),
            ("args", r#"spec = "./s""#, r#"spec = "./s", args = ["--slice"]"#),
        ],
    ),
    (
        r#"kernel_args = [{ "#,
        &[
            ("name", r#"name = "lazy""#, r#"name = "slow""#),
            ("args", r#"["preempt=lazy"]"#, r#"["preempt=full"]"#),
        ],
    ),
    (
        "[[exclude]]\n",
        &[
            ("cells", r#"{ kernel = "gone" }"#, r#"{ kernel = "*" }"#),
            ("reason", r#"reason = "no time""#, r#"reason = "little time""#),
        ],
    ),
    (
        "[[minimum]]\n",
        &[
            ("cells", "[[minimum]]\ncells = { kernel = \"k*\" }", "[[minimum]]\ncells = {}"),
            ("linux", r#"linux = "6.12""#, r#"linux = "6.18""#),
        ],
    ),
    (
        "[[repeat]]\n",
        &[
            ("cells", "[[repeat]]\ncells = { kernel = \"k*\" }", "[[repeat]]\ncells = {}"),
            ("runs", "runs = 5", "runs = 6"),
        ],
    ),
    (
        "[[known_failure]]\n",
        &[
            (
                "cells",
                "[[known_failure]]\ncells = { kernel = \"k*\" }",
                "[[known_failure]]\ncells = {}",
            ),
            ("reason", r#"reason = "a bug""#, r#"reason = "another bug""#),
            ("expires", r#"reason = "a bug""#, "reason = \"a bug\"\nexpires = \"2027-03-31\""),
        ],
    ),
    (
        "[[exclude]]\ncells = { ",
        &[
            ("kernel", r#"{ kernel = "gone" }"#, r#"{ kernel = "k" }"#),
            ("scheduler", r#"{ kernel = "gone" }"#, r#"{ scheduler = "s" }"#),
            ("scenario", r#"{ kernel = "gone" }"#, r#"{ scenario = "a" }"#),
            ("topology", r#"{ kernel = "gone" }"#, r#"{ topology = "own" }"#),
            ("seed", r#"{ kernel = "gone" }"#, r#"{ seed = "own" }"#),
            ("mode", r#"{ kernel = "gone" }"#, r#"{ mode = "deterministic" }"#),
            ("kernel_args", r#"{ kernel = "gone" }"#, r#"{ kernel_args = "lazy" }"#),
        ],
    ),
];

/// Everything that a run of the plan depends on.
fn effect(text: &str) -> String {
    let (dir, path) = folder(text);
    let plan = Plan::read(&path, &[]).unwrap_or_else(|why| panic!("{why:#}\n{text}"));
    let kept = serde_json::to_string(&plan).unwrap();
    let recipes: Vec<_> = plan.cells.iter().map(|planned| &planned.recipe).collect();
    format!("{kept} {recipes:?}").replace(&dir.path().display().to_string(), "")
}

/// The keys that the parser names when it finds one at `place` that it does not know.
fn keys(place: &str) -> BTreeSet<String> {
    assert_eq!(FILE.matches(place).count(), 1, "{place}");
    let unknown = match place {
        "\n[axes]" => FILE.replacen(place, "\nnone_such = 1\n[axes]", 1),
        _ if place.ends_with('\n') => FILE.replacen(place, &format!("{place}none_such = 1\n"), 1),
        _ => FILE.replacen(place, &format!("{place}none_such = 1, "), 1),
    };
    let (_dir, path) = folder(&unknown);
    named_by(&crate::error::render(&Plan::read(&path, &[]).unwrap_err()))
}

#[test]
fn no_key_of_a_matrix_file_is_without_effect() {
    let before = effect(FILE);
    for (place, changes) in TABLES {
        let changed: BTreeMap<_, _> =
            changes.iter().map(|(key, from, to)| (*key, (from, to))).collect();
        let known = keys(place);
        // Choices between two shapes name no keys.
        if !place.ends_with("[{ ") {
            let changed: BTreeSet<_> = changed.keys().map(|key| (*key).to_owned()).collect();
            assert_eq!(known, changed, "{place}");
        }
        for (key, (from, to)) in changed {
            assert_eq!(FILE.matches(*from).count(), 1, "{place} {key}");
            assert_ne!(effect(&FILE.replacen(*from, to, 1)), before, "{place} {key} does nothing");
        }
    }
}
