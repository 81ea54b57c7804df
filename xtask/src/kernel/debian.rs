//! `debian:SUITE/FLAVOUR`: from the flavour's meta package to the packages of the kernel that it
//! needs today, downloaded once. What a spec stood for is remembered, so that a warm run asks
//! nobody. `mod.rs` calls [`resolve`] and [`fetch`].

use super::apt::Apt;
use super::control::Paragraph;
use super::siblings::{self, PARTS};
use super::spec::Suite;
use super::{Kernel, answers, deb, download, sources, store};
use crate::disk;
use crate::error::Refusal;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sealed;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use workloads::nearest;

const META: &str = "linux-image-";
const SOURCE: &str = "linux-source";

/// What to download for a kernel.
#[derive(Debug, PartialEq)]
struct Plan {
    /// Each `NAME=VERSION`.
    packages: Vec<String>,
    bytes: u64,
}

/// The kernel remembered for this spec, else the one that the mirror has.
pub(super) fn resolve(suite: &Suite, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    match answers::recall(&suite.to_string(), paths, progress) {
        Some(kernel) => Ok(kernel),
        None => ask(suite, paths, progress, true),
    }
}

/// The newest kernel that the mirror has; only what is new is downloaded.
pub(super) fn fetch(suite: &Suite, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    ask(suite, paths, progress, false)
}

/// Asks the mirror, one process at a time for a suite.
fn ask(suite: &Suite, paths: &Paths, progress: &Progress, old_is_fine: bool) -> Result<Kernel> {
    let (apt, _lock) = open_apt(&suite.suite, paths, progress)?;
    let old = answers::remembered(&suite.to_string(), paths, progress);
    // Whoever held the lock may have fetched this very kernel.
    if old_is_fine && let Some((_, kernel)) = old {
        return Ok(kernel);
    }
    progress.step(format!("asking the Debian mirror for {suite}"));
    apt.update()?;
    let plan = plan(suite, &|package| apt.show(package), &|prefix| apt.names(prefix))?;
    let (key, kernel) = match old {
        Some((answer, kernel)) if answer.packages == plan.packages => (answer.key, kernel),
        _ => download(
            &apt,
            &plan,
            &paths.cache.join("apt").join(&suite.suite).join("download"),
            paths,
            progress,
        )?,
    };
    answers::remember(&suite.to_string(), key, plan.packages, paths)?;
    Ok(kernel)
}

fn download(
    apt: &Apt,
    plan: &Plan,
    into: &Path,
    paths: &Paths,
    progress: &Progress,
) -> Result<(String, Kernel)> {
    let debs = download::download(apt, &plan.packages, into, progress)?;
    let first = debs.first().with_context(|| disk::unwritable(into))?;
    let unpacked = store::unpacked(&siblings::around(first)?, paths, progress)?;
    drop(std::fs::remove_dir_all(into));
    Ok(unpacked)
}

/// The newest sources that the suite has, `NAME=VERSION`.
pub(super) fn source_package(suite: &str, paths: &Paths, progress: &Progress) -> Result<String> {
    let (apt, _lock) = open_apt(suite, paths, progress)?;
    progress.step(format!("asking the Debian mirror for the sources in {suite}"));
    apt.update()?;
    let meta = apt.show(SOURCE)?;
    let needed = meta.as_ref().map(Paragraph::depends).unwrap_or_default();
    let package = needed.into_iter().find(|needed| needed.name.starts_with(SOURCE));
    let version = meta.as_ref().and_then(|meta| meta.get("Version")).unwrap_or_default();
    package.map(|package| format!("{}={version}", package.name)).ok_or_else(|| {
        let message = format!("no kernel sources in `debian:{suite}`");
        Refusal::input(message, "name another suite, or pass a tree by --source").into()
    })
}

/// Downloads it into the folder of the suite; whoever has used it removes it.
pub(super) fn download_source(
    package: &str,
    suite: &str,
    paths: &Paths,
    progress: &Progress,
) -> Result<PathBuf> {
    let (apt, _lock) = open_apt(suite, paths, progress)?;
    let into = paths.cache.join("apt").join(suite).join("source");
    let debs = download::download(&apt, &[package.to_owned()], &into, progress)?;
    debs.into_iter().next().with_context(|| disk::unreadable(&into))
}

/// Files of packages of the suite, each by the beginning of its path there and its name in the folder
/// that is returned. The mirror is asked once.
pub(crate) fn files(
    suite: &str,
    packages: &[&str],
    wanted: &[(&str, &str)],
    paths: &Paths,
    progress: &Progress,
) -> Result<PathBuf> {
    let folders = paths.cache_dir("programs")?;
    let folder = folders.join(suite);
    let has_all = |dir: &Path| wanted.iter().all(|(_, name)| dir.join(name).is_file());
    if has_all(&folder) && sealed::check(&folder).is_ok() {
        return Ok(folder);
    }
    let (apt, _lock) = open_apt(suite, paths, progress)?;
    // Whoever held the lock may have fetched them.
    if sealed::is_whole(&folder, "programs", progress)? && has_all(&folder) {
        return Ok(folder);
    }
    progress.step(format!("asking the Debian mirror for {}", packages.join(" ")));
    apt.update()?;
    let newest = |package: &&str| {
        let found = apt.show(package)?;
        let version = found.as_ref().and_then(|found| found.get("Version"));
        version.map(|version| format!("{package}={version}")).ok_or_else(|| {
            let message = format!("no package {package} in `debian:{suite}`");
            anyhow::Error::from(Refusal::host(message, "use a mirror of all of Debian's main"))
        })
    };
    let packages: Vec<String> = packages.iter().map(newest).collect::<Result<_>>()?;
    let into = paths.cache.join("apt").join(suite).join("programs");
    let place = |member: &Path| {
        let is_it = |(path, _): &&(&str, &str)| member.to_string_lossy().starts_with(path);
        wanted.iter().find(is_it).map(|(_, name)| PathBuf::from(name))
    };
    let made = tempfile::tempdir_in(&folders).with_context(|| disk::unwritable(&folders))?;
    for package in download::download(&apt, &packages, &into, progress)? {
        deb::unpack(&package, made.path(), &place)?;
    }
    drop(std::fs::remove_dir_all(&into));
    anyhow::ensure!(has_all(made.path()), "{} lack one of {wanted:?}", packages.join(" "));
    drop(std::fs::remove_dir_all(&folder));
    sealed::seal_as(made.path(), &folder)?;
    drop(made.keep());
    Ok(folder)
}

fn open_apt(suite: &str, paths: &Paths, progress: &Progress) -> Result<(Apt, std::fs::File)> {
    let apts = paths.cache_dir("apt")?;
    let lock = disk::lock(&apts.join(format!("{suite}.lock")), progress)?;
    Ok((Apt::open(&apts.join(suite), suite, &sources::machine_mirror()?)?, lock))
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
}
