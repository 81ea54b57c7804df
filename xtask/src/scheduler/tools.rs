//! What building a scheduler needs of this host: a clang that is new enough, and what the packages
//! of its entry have. Called by `build`, and by `catalogue` for the names of packages.

use super::Entry;
use crate::error::Refusal;
use crate::packages::{self, Need};
use anyhow::Result;
use std::process::Command;

/// What of a Debian package is looked for. Its headers stand for a library's package.
const PACKAGES: &[Need] = &[
    ("/usr/include/gelf.h", "libelf-dev"),
    ("/usr/include/seccomp.h", "libseccomp-dev"),
    ("make", "make"),
    ("pkg-config", "pkg-config"),
    ("protoc", "protobuf-compiler"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
];
/// Every one needs these.
const COMPILER: &[Need] = &[("gcc", "gcc"), ("/usr/include/stdlib.h", "libc6-dev")];
/// In this order, unless BPF_CLANG names one.
const CLANGS: [&str; 7] =
    ["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
/// The package that is asked for: Debian 12 and 13 have it, and it compiles all that is known.
const CLANG: Need = ("clang", "clang-19");

pub(super) fn is_known(package: &str) -> bool {
    PACKAGES.iter().any(|(_, known)| *known == package)
}

pub(super) fn known() -> String {
    let names: Vec<_> = PACKAGES.iter().map(|(_, package)| *package).collect();
    format!("known: {}", names.join(", "))
}

/// The clang to compile with, or a refusal that names every package that is missing.
pub(super) fn require(entry: &Entry) -> Result<String> {
    let task = format!("building `{}`", entry.name);
    let wanted = |need: &&Need| entry.packages.iter().any(|package| package == need.1);
    let others = COMPILER.iter().chain(PACKAGES.iter().filter(wanted)).copied();
    if let Ok(named) = std::env::var("BPF_CLANG")
        && !named.is_empty()
    {
        packages::require(&task, others)?;
        return match major(&named) {
            Some(major) if major >= entry.clang => Ok(named),
            _ => {
                let message =
                    format!("BPF_CLANG is `{named}`, which is no clang that {task} takes");
                Err(Refusal::host(message, format!("name a clang {} or newer", entry.clang)).into())
            }
        };
    }
    let fits = |clang: &&&str| major(clang).is_some_and(|major| major >= entry.clang);
    if let Some(clang) = CLANGS.iter().find(fits) {
        packages::require(&task, others)?;
        return Ok((*clang).to_owned());
    }
    // One that is too old is as good as none.
    let mut missing: Vec<Need> = others.collect();
    missing.push(if packages::on_path(CLANG.0).is_some() { (CLANG.1, CLANG.1) } else { CLANG });
    packages::require(&task, missing)?;
    let message = format!("{task} needs a clang that runs, {} or newer", entry.clang);
    Err(Refusal::host(message, "set BPF_CLANG to one").into())
}

/// Of a clang's version, if it runs.
fn major(clang: &str) -> Option<u32> {
    let output = Command::new(clang).arg("--version").output().ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

fn version_in(text: &str) -> Option<u32> {
    let (_, version) = text.lines().next()?.split_once("clang version ")?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_whoever_packaged_it() {
        assert_eq!(version_in("Debian clang version 19.1.7 (3~deb12u1)\nTarget: x"), Some(19));
        assert_eq!(version_in("clang version 22.0.0git"), Some(22));
        assert_eq!(version_in("gcc (Debian 12.2.0-14) 12.2.0"), None);
    }
}
