//! What specs stood for when they were last resolved, in `cache/specs`: suites of Debian and names of
//! kernels that were built here. `debian.rs` and `build.rs` write, all of `kernel/` reads.

use super::{Kernel, store};
use crate::disk;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::SystemTime;

/// What a spec stood for when the mirror was last asked, or the kernel built.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    spec: String,
    pub(super) key: String,
    /// Each `NAME=VERSION`.
    pub(super) packages: Vec<String>,
    /// When, for a reader of the file.
    asked: String,
}

/// The kernel that this spec, a suite or the name of a built kernel, stood for last.
pub(super) fn recall(spec: &str, paths: &Paths, progress: &Progress) -> Option<Kernel> {
    remembered(spec, paths, progress).map(|(_, kernel)| kernel)
}

/// The same with the answer.
pub(super) fn remembered(
    spec: &str,
    paths: &Paths,
    progress: &Progress,
) -> Option<(Answer, Kernel)> {
    let text = std::fs::read(file(spec, paths)).ok()?;
    let answer: Answer = serde_json::from_slice(&text).ok()?;
    let kernel = store::load(&answer.key, paths, progress)?;
    (answer.spec == spec).then_some((answer, kernel))
}

/// Every spec that was asked for, with the key of what it stood for.
pub(super) fn all(paths: &Paths) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(paths.cache.join("specs")).into_iter().flatten().flatten();
    let answers = entries.filter_map(|entry| {
        let answer: Answer = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
        Some((answer.spec, answer.key))
    });
    let mut answers: Vec<_> = answers.collect();
    answers.sort();
    answers
}

/// From now on the spec stands for the kernel with this key.
pub(super) fn remember(
    spec: &str,
    key: String,
    packages: Vec<String>,
    paths: &Paths,
) -> Result<()> {
    paths.cache_dir("specs")?;
    let asked = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let answer = Answer { spec: spec.to_owned(), key, packages, asked };
    let text = serde_json::to_vec_pretty(&answer).context("serialize(answer) failed")?;
    disk::write_whole(&file(spec, paths), &text)
}

fn file(spec: &str, paths: &Paths) -> PathBuf {
    // No `_` can be in a suite, and none is in a name.
    paths.cache.join("specs").join(format!("{}.json", spec.replace([':', '/'], "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "debian:sid/cloud-amd64";

    #[test]
    fn an_answer_is_used_only_while_its_kernel_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        remember(SPEC, "0123".to_owned(), Vec::new(), &paths).unwrap();
        assert!(remembered(SPEC, &paths, &Progress::silent()).is_none());
        std::fs::write(file(SPEC, &paths), "{").unwrap();
        assert!(remembered(SPEC, &paths, &Progress::silent()).is_none());
    }
}
