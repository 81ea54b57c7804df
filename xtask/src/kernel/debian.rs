//! `debian:SUITE/FLAVOUR`: from the flavour's meta package to the packages of the kernel that it
//! needs today, downloaded once. What a spec stood for is remembered in `cache/specs`, so that a
//! warm run asks nobody. `mod.rs` calls [`resolve`] and [`fetch`].

use super::apt::Apt;
use super::control::Paragraph;
use super::siblings::{self, PARTS};
use super::spec::Suite;
use super::{Kernel, disk, sources, store};
use crate::error::Refusal;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use workloads::nearest;

const META: &str = "linux-image-";

/// What a spec stood for when the mirror was last asked.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    spec: String,
    key: String,
    /// Each `NAME=VERSION`.
    packages: Vec<String>,
    /// When, for a reader of the file.
    asked: String,
}

/// What to download for a kernel.
#[derive(Debug, PartialEq)]
struct Plan {
    /// Each `NAME=VERSION`.
    packages: Vec<String>,
    bytes: u64,
}

/// The kernel remembered for this spec, else the one that the mirror has.
pub(super) fn resolve(suite: &Suite, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    match remembered(suite, paths) {
        Some((_, kernel)) => Ok(kernel),
        None => ask(suite, paths, progress, true),
    }
}

/// The newest kernel that the mirror has; only what is new is downloaded.
pub(super) fn fetch(suite: &Suite, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    ask(suite, paths, progress, false)
}

fn answer_file(suite: &Suite, paths: &Paths) -> PathBuf {
    // No `/` can be in either half, and `_` keeps `a-b/c` apart from `a/b-c`.
    paths.cache.join("specs").join(format!("debian_{}_{}.json", suite.suite, suite.flavour))
}

fn remembered(suite: &Suite, paths: &Paths) -> Option<(Answer, Kernel)> {
    let text = std::fs::read(answer_file(suite, paths)).ok()?;
    let answer: Answer = serde_json::from_slice(&text).ok()?;
    let kernel = store::load(&answer.key, paths)?;
    (answer.spec == suite.to_string()).then_some((answer, kernel))
}

/// Asks the mirror, one process at a time for a suite.
fn ask(suite: &Suite, paths: &Paths, progress: &Progress, old_is_fine: bool) -> Result<Kernel> {
    let apts = paths.cache_dir("apt")?;
    let _lock = disk::lock(&apts.join(format!("{}.lock", suite.suite)), progress)?;
    let old = remembered(suite, paths);
    // Whoever held the lock may have fetched this very kernel.
    if old_is_fine && let Some((_, kernel)) = old {
        return Ok(kernel);
    }
    let dir = apts.join(&suite.suite);
    let apt = Apt::open(&dir, &suite.suite, &sources::machine_mirror()?)?;
    progress.step(format!("asking the Debian mirror for {suite}"));
    apt.update()?;
    let plan = plan(suite, &|package| apt.show(package), &|prefix| apt.names(prefix))?;
    let (key, kernel) = match old {
        Some((answer, kernel)) if answer.packages == plan.packages => (answer.key, kernel),
        _ => download(&apt, &plan, &dir.join("download"), paths, progress)?,
    };
    remember(suite, key, plan.packages, paths)?;
    Ok(kernel)
}

fn download(
    apt: &Apt,
    plan: &Plan,
    into: &Path,
    paths: &Paths,
    progress: &Progress,
) -> Result<(String, Kernel)> {
    // What a killed run left.
    drop(std::fs::remove_dir_all(into));
    std::fs::create_dir_all(into).with_context(|| disk::unwritable(into))?;
    let megabytes = plan.bytes.div_ceil(1_000_000);
    progress.step(format!("downloading {megabytes} MB: {}", plan.packages.join(" ")));
    let unpacked = apt.download(&plan.packages, into).and_then(|()| {
        let mut debs: Vec<PathBuf> = std::fs::read_dir(into)
            .with_context(|| disk::unwritable(into))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        debs.sort();
        let first = debs.first().with_context(|| disk::unwritable(into))?;
        store::unpacked(&siblings::around(first)?, paths, progress)
    });
    drop(std::fs::remove_dir_all(into));
    unpacked
}

fn remember(suite: &Suite, key: String, packages: Vec<String>, paths: &Paths) -> Result<()> {
    paths.cache_dir("specs")?;
    let asked = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let answer = Answer { spec: suite.to_string(), key, packages, asked };
    let text = serde_json::to_vec_pretty(&answer).context("serialize(answer) failed")?;
    disk::write_whole(&answer_file(suite, paths), &text)
}

type Show<'a> = &'a dyn Fn(&str) -> Result<Option<Paragraph>>;
type Names<'a> = &'a dyn Fn(&str) -> Result<Vec<String>>;

/// Follows the meta package to the package of one release, and that one to its parts if it is
/// only their head.
fn plan(suite: &Suite, show: Show<'_>, names: Names<'_>) -> Result<Plan> {
    let meta = format!("{META}{}", suite.flavour);
    let mut image = match show(&meta)? {
        Some(image) => image,
        None => return Err(no_flavour(suite, names(META)?).into()),
    };
    // A meta package of a meta package at most; a circle must not hang the run.
    for _ in 0..3 {
        match image.depends().into_iter().find(|needed| needed.name.starts_with(META)) {
            Some(needed) => image = required(suite, &needed.name, show)?,
            None => break,
        }
    }
    let is_part = |name: &str| PARTS.iter().any(|part| name.starts_with(part));
    let mut parts = Vec::new();
    for needed in image.depends().iter().filter(|needed| is_part(&needed.name)) {
        parts.push(required(suite, &needed.name, show)?);
    }
    if !parts.iter().any(|part| part.get("Package").is_some_and(|p| p.starts_with(PARTS[0]))) {
        parts = vec![image];
    }
    let field = |part: &Paragraph, name| part.get(name).unwrap_or_default().to_owned();
    let mut packages: Vec<String> =
        parts.iter().map(|part| field(part, "Package") + "=" + &field(part, "Version")).collect();
    packages.sort();
    let bytes = parts.iter().filter_map(|part| part.get("Size")?.parse::<u64>().ok()).sum();
    Ok(Plan { packages, bytes })
}

fn required(suite: &Suite, package: &str, show: Show<'_>) -> Result<Paragraph> {
    show(package)?.ok_or_else(|| {
        let message = format!("{suite} needs `{package}`, which the suite does not have");
        Refusal::host(message, "the mirror is being updated: try again in an hour").into()
    })
}

fn no_flavour(suite: &Suite, packages: Vec<String>) -> Refusal {
    // Flavours are the names without a version; the others are single kernels.
    let is_flavour = |name: &&str| !name.contains(['.', '+']);
    let mut flavours: Vec<&str> = packages
        .iter()
        .filter_map(|package| package.strip_prefix(META))
        .filter(is_flavour)
        .filter(|name| name.ends_with("amd64"))
        .collect();
    flavours.sort_unstable();
    let fix = match nearest(&suite.flavour, flavours.iter().copied()) {
        Some(near) => format!("did you mean `debian:{}/{near}`?", suite.suite),
        None => format!("flavours of {}: {}", suite.suite, flavours.join(", ")),
    };
    let message = format!("no kernel flavour `{}` in {}", suite.flavour, suite.suite);
    Refusal::input(message, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use crate::kernel::control::paragraphs;

    const ARCHIVE: &str = "\
Package: linux-image-cloud-amd64\nVersion: 7.3.4-1\nDepends: linux-image-7.3.4-cloud-amd64 (= 7.3.4-1)\n
Package: linux-image-7.3.4-cloud-amd64\nVersion: 7.3.4-1
Depends: dracut | mkinit, linux-base-7.3.4-cloud-amd64 (= 7.3.4-1), linux-binary-7.3.4-cloud-amd64 (= 7.3.4-1)\n
Package: linux-base-7.3.4-cloud-amd64\nVersion: 7.3.4-1\nSize: 1000\n
Package: linux-binary-7.3.4-cloud-amd64\nVersion: 7.3.4-1\nSize: 2000\n
Package: linux-image-rt-amd64\nVersion: 6.1-1\nDepends: linux-image-6.1-rt-amd64 (= 6.1-1)\n
Package: linux-image-6.1-rt-amd64\nVersion: 6.1-1\nSize: 500\nDepends: kmod, linux-base (>= 4.3~)\n
Package: linux-image-torn-amd64\nVersion: 9\nDepends: linux-image-9-torn-amd64\n
Package: linux-image-loop-amd64\nVersion: 9\nDepends: linux-image-loop-amd64\n";

    fn suite(flavour: &str) -> Suite {
        Suite { suite: "sid".to_owned(), flavour: flavour.to_owned() }
    }

    fn planned(flavour: &str) -> Result<Plan> {
        let archive = paragraphs(ARCHIVE);
        let name = |p: &Paragraph| p.get("Package").unwrap_or_default().to_owned();
        let show = |package: &str| Ok(archive.iter().find(|p| name(p) == package).cloned());
        let names = |_: &str| Ok(archive.iter().map(name).collect());
        plan(&suite(flavour), &show, &names)
    }

    #[test]
    fn a_split_kernel_is_its_parts() {
        let packages = ["base", "binary"].map(|p| format!("linux-{p}-7.3.4-cloud-amd64=7.3.4-1"));
        let want = Plan { packages: packages.to_vec(), bytes: 3000 };
        assert_eq!(planned("cloud-amd64").unwrap(), want);
    }

    #[test]
    fn a_classic_kernel_is_one_package() {
        let packages = vec!["linux-image-6.1-rt-amd64=6.1-1".to_owned()];
        assert_eq!(planned("rt-amd64").unwrap(), Plan { packages: packages.clone(), bytes: 500 });
        assert_eq!(planned("6.1-rt-amd64").unwrap().packages, packages, "by its release");
    }

    #[test]
    fn an_unknown_flavour_gets_the_nearest_or_all() {
        let near = planned("cluod-amd64").unwrap_err();
        assert_eq!(exit_code(&near), exit::BAD_INPUT);
        assert!(render(&near).ends_with("did you mean `debian:sid/cloud-amd64`?"));
        let far = render(&planned("zen").unwrap_err());
        assert!(far.ends_with("flavours of sid: cloud-amd64, loop-amd64, rt-amd64, torn-amd64"));
    }

    #[test]
    fn a_mirror_in_the_middle_of_an_update_is_no_panic_and_no_hang() {
        assert_eq!(exit_code(&planned("torn-amd64").unwrap_err()), exit::HOST);
        planned("loop-amd64").unwrap();
    }

    #[test]
    fn an_answer_is_used_only_while_its_kernel_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let suite = suite("cloud-amd64");
        remember(&suite, "0123".to_owned(), Vec::new(), &paths).unwrap();
        assert!(remembered(&suite, &paths).is_none());
        std::fs::write(answer_file(&suite, &paths), "{").unwrap();
        assert!(remembered(&suite, &paths).is_none());
    }
}
