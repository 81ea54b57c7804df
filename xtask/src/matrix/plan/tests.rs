//! Plans of small files.

use super::*;
use crate::error::{exit, exit_code, render};
use tempfile::TempDir;

const BASE: &str = r#"
[axes]
kernels = ["k1", { name = "mine", spec = "../linux" }]
schedulers = ["none", "scx_a"]
scenarios = ["s/*.json"]
seeds = ["own", "1..2"]
"#;

pub(super) fn folder(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("s")).unwrap();
    for name in ["b.json", "a.json", "notes.txt"] {
        std::fs::write(dir.path().join("s").join(name), "{}").unwrap();
    }
    let path = dir.path().join("small.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn plan(rules: &str, filters: &[&str]) -> Result<Plan> {
    let (_dir, path) = folder(&format!("{BASE}{rules}"));
    let filters: Vec<_> = filters.iter().map(|text| (*text).to_owned()).collect();
    Plan::read(&path, &filters)
}

fn refused(text: &str) -> String {
    let (_dir, path) = folder(text);
    let error = Plan::read(&path, &[]).unwrap_err();
    assert_eq!(exit_code(&error), exit::BAD_INPUT);
    render(&error)
}

#[test]
fn each_value_meets_each_in_the_order_of_the_file() {
    let plan = plan("", &[]).unwrap();
    assert_eq!((plan.name.as_str(), plan.cells.len()), ("small", 2 * 2 * 2 * 3));
    let names: Vec<_> = plan.cells.iter().map(Planned::name).collect();
    assert_eq!(names[0], "k1/none/a/own/own/deterministic");
    assert_eq!(names[1], "k1/none/a/own/1/deterministic");
    assert_eq!(names[23], "mine/scx_a/b/own/2/deterministic");
    let last = &plan.cells[23].recipe;
    assert_eq!(
        (last.kernel.as_str(), last.scheduler.as_ref().unwrap().0.as_str()),
        ("../linux", "scx_a")
    );
}

#[test]
fn an_include_takes_what_it_does_not_name_from_the_axes() {
    let more = "[[include]]\nkernels = ['k2']\nseeds = [7]\nmodes = ['default']\n";
    let plan = plan(more, &["k2"]).unwrap();
    let names: Vec<_> = plan.cells.iter().map(Planned::name).collect();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.starts_with("k2/") && name.ends_with("/own/7/default")));
}

#[test]
fn arguments_of_a_kernel_are_told_to_its_cells_and_an_axis_adds_to_them() {
    let more = r#"
[[include]]
kernels = [{ name = "lazy", spec = "k1", args = ["preempt=lazy"] }]
schedulers = ["none"]
scenarios = ["s/a.json"]
seeds = ["own"]
kernel_args = ["own", "nosmt mitigations=off", { name = "x", args = ["a=b c"] }]
"#;
    let plan = plan(more, &["lazy"]).unwrap();
    let told = |p: &Planned| (p.name(), p.recipe.kernel_args.join("|"));
    let told: Vec<_> = plan.cells.iter().map(told).collect();
    let cell = |args: &str| format!("lazy/none/a/own/own/deterministic{args}");
    assert_eq!(
        told,
        [
            (cell(""), "preempt=lazy".into()),
            (cell("/nosmt-mitigations-off"), "preempt=lazy|nosmt|mitigations=off".into()),
            (cell("/x"), "preempt=lazy|a=b c".into()),
        ]
    );
}

#[test]
fn rules_hold_for_the_cells_that_they_choose() {
    let rules = r#"
[[exclude]]
cells = { scheduler = "scx_*", scenario = "b" }
reason = "no time"
[[minimum]]
cells = { scheduler = "scx_*" }
linux = "6.12"
[[repeat]]
cells = { kernel = "mine" }
runs = 5
[[known_failure]]
cells = { scenario = "a", seed = "2" }
reason = "a bug"
expires = "2027-03-31"
"#;
    let plan = plan(rules, &[]).unwrap();
    let has = |wanted: fn(&&Planned) -> bool| plan.cells.iter().filter(wanted).count();
    assert_eq!(has(|p| p.runs == 0 && p.excluded.as_deref() == Some("no time")), 6);
    assert_eq!(has(|p| p.minimum.as_deref() == Some("6.12")), 12);
    assert_eq!(has(|p| p.runs >= 5), 9);
    assert_eq!(has(|p| p.known_failure.is_some()), 4);
}

#[test]
fn one_deterministic_cell_in_twenty_is_run_once_more() {
    let runs = |plan: &Plan| plan.cells.iter().map(|cell| cell.runs).sum::<u32>();
    assert_eq!(runs(&plan("", &[]).unwrap()), 24 + 2);
    assert_eq!(runs(&plan("[[include]]\nmodes = ['default']\n", &["default"]).unwrap()), 24);
}

#[test]
fn shards_share_all_cells_and_keep_theirs_when_others_come() {
    let small = plan("", &[]).unwrap();
    let large = plan("[[include]]\nkernels = ['k2']\n", &[]).unwrap();
    let names = |plan: &Plan, shard: &str| -> Vec<String> {
        plan.of(Some(shard.parse().unwrap())).iter().map(|cell| cell.name()).collect()
    };
    let mut all = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let part = names(&small, shard);
        let more = names(&large, shard);
        assert!(!part.is_empty() && part.iter().all(|name| more.contains(name)));
        all.extend(part);
    }
    all.sort();
    let mut whole: Vec<_> = small.cells.iter().map(Planned::name).collect();
    whole.sort();
    assert_eq!(all, whole);
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_its_place() {
    let with = |rules: &str| refused(&format!("{BASE}{rules}"));
    let cases = [
        (refused("[axes]\nscenarios = ['s/a.json']"), "has no `kernels`"),
        (refused("[axes]\nkernels = ['k']"), "has no `scenarios`"),
        (
            refused("[axes]\nkernels = ['k']\nscenarios = ['s/c.json']"),
            "no scenario is called `s/c.json`",
        ),
        (refused("[axes]\nkernel = ['k']"), "unknown field `kernel`"),
        (
            with("[[exclude]]\ncells = { kernel = 'k3' }\nreason = ''"),
            "[[exclude]] of { kernel = \"k3\" } chooses no cell",
        ),
        (with("[[exclude]]\ncells = { cpu = 'k1' }\nreason = ''"), "unknown field `cpu`"),
        (with("[[minimum]]\ncells = {}\nlinux = '6'"), "[[minimum]] has linux = \"6\""),
        (with("[[repeat]]\ncells = {}\nruns = 0"), "[[repeat]] has runs = 0"),
        (with("[[known_failure]]\ncells = {}\nreason = ''\nexpires = 'soon'"), "the date `soon`"),
        (with("[[include]]\nmodes = ['fast']"), "`fast` is no mode"),
        (with("[[include]]\nseeds = ['x']"), "`x` is no seed"),
        (with("[[include]]\nkernels = [{ name = 'k1', spec = 'other' }]"), "two cells are called"),
        (
            with("[[include]]\nkernels = [{ name = 'k1', spec = 'k1', args = ['nosmt'] }]"),
            "two cells are called",
        ),
        (with("[[include]]\nkernel_args = [' ']"), "` ` is no set of kernel arguments"),
        (with("[[include]]\nkernel_args = ['1']"), "`1` is no set of kernel arguments"),
        (with("[[include]]\nkernel_args = ['==']"), "a name in"),
        (
            with("[[include]]\nschedulers = [{ name = 'n', spec = 'none', args = ['-x'] }]"),
            "`n` has args and no scheduler",
        ),
    ];
    for (text, want) in cases {
        assert!(text.contains(want), "{want}: {text}");
    }
    let unknown = with("[[exclude]]\ncells = { cpu = 'k1' }\nreason = ''");
    assert!(unknown.contains("line 8, column 11"), "{unknown}");
    let none = plan("", &["k9"]).unwrap_err();
    assert!(render(&none).contains("has no such cell"), "{}", render(&none));
}
