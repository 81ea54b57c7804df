//! What there is to boot: kernels with names or recipes, specs that stood for a kernel once, and kernels in
//! the cache that nothing stands for any more. `kernel list` shows them, `kernel prune` removes.

use super::{Kernel, answers, named, recipes, store};
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::Result;
use std::collections::BTreeSet;

/// A kernel that can be chosen, or one that only takes space.
#[derive(Debug)]
pub(crate) struct Choice {
    /// From `kernels.toml`.
    pub(crate) name: Option<String>,
    /// What to pass to `--kernel`; none for what nothing stands for any more.
    pub(crate) spec: Option<String>,
    /// If it is in the cache.
    pub(crate) cached: Option<Cached>,
}

/// A kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Cached {
    pub(crate) key: String,
    pub(crate) kernel: Kernel,
    /// On disk, modules and all.
    pub(crate) bytes: u64,
}

/// Names first, then other specs, then what `prune` would remove.
pub(crate) fn list(paths: &Paths) -> Result<Vec<Choice>> {
    let answers = answers::all(paths);
    let cached = store::cached(paths)?;
    let of_spec = |spec: &str| {
        let (_, key) = answers.iter().find(|(answered, _)| answered == spec)?;
        cached.iter().find(|cached| cached.key == *key).cloned()
    };
    let mut choices = Vec::new();
    for named in named(paths)? {
        let cached = of_spec(&named.spec);
        choices.push(Choice { name: Some(named.name), spec: Some(named.spec), cached });
    }
    for recipe in recipes(paths)? {
        let cached = of_spec(&recipe.name);
        choices.push(Choice { name: Some(recipe.name.clone()), spec: Some(recipe.name), cached });
    }
    let specs: BTreeSet<_> = choices.iter().filter_map(|choice| choice.spec.clone()).collect();
    for (spec, _) in answers.iter().filter(|(spec, _)| !specs.contains(spec)) {
        choices.push(Choice { name: None, spec: Some(spec.clone()), cached: of_spec(spec) });
    }
    let orphans = orphans(&answers, &cached).into_iter();
    choices.extend(orphans.map(|orphan| Choice { name: None, spec: None, cached: Some(orphan) }));
    Ok(choices)
}

/// Removes what no spec stands for, and with `all` everything; returns what was there. A guest
/// that runs has its image in memory.
pub(crate) fn prune(all: bool, paths: &Paths, progress: &Progress) -> Result<Vec<Cached>> {
    let answers = if all { Vec::new() } else { answers::all(paths) };
    let orphans = orphans(&answers, &store::cached(paths)?);
    let keys: Vec<&str> = orphans.iter().map(|orphan| orphan.key.as_str()).collect();
    store::remove(&keys, paths, progress)?;
    Ok(orphans)
}

fn orphans(answers: &[(String, String)], cached: &[Cached]) -> Vec<Cached> {
    let stands = |key: &str| answers.iter().any(|(_, answered)| answered == key);
    cached.iter().filter(|cached| !stands(&cached.key)).cloned().collect()
}
