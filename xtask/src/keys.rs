//! For tests that walk every key of a file format: which keys a parser says that it knows, where it
//! met one that it does not.

use std::collections::BTreeSet;

/// The keys that it names after "expected".
pub(crate) fn named_by(refusal: &str) -> BTreeSet<String> {
    let named = refusal.split_once("expected ").map_or("", |(_, named)| named);
    let named = named.lines().next().unwrap_or_default();
    named.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Asserts that each key which may stand after `place`, a line or nothing, changes the `effect` of `file`: `changes` has for
/// each a text of the file and what stands there then.
#[track_caller]
pub(crate) fn walk(
    file: &str,
    place: &str,
    changes: &[(&str, &str, &str)],
    effect: impl Fn(&str) -> Result<String, anyhow::Error>,
) {
    let unknown = file.replacen(place, &format!("{place}none_such = 1\n"), 1);
    let known = named_by(&crate::error::render(&effect(&unknown).unwrap_err()));
    let changed: BTreeSet<_> = changes.iter().map(|(key, ..)| (*key).to_owned()).collect();
    assert_eq!(known, changed, "{place}");
    let before = effect(file).unwrap();
    for (key, from, to) in changes {
        assert_eq!(file.matches(from).count(), 1, "{place} {key}");
        let after = effect(&file.replacen(from, to, 1)).unwrap();
        assert_ne!(before, after, "{place} {key} does nothing");
    }
}
