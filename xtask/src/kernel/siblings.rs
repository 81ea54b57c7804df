//! Which packages make up a kernel. Debian used to ship one, `linux-image-RELEASE`; newer suites
//! split it into `linux-binary-`, `linux-modules-` and `linux-base-RELEASE`, under an empty
//! `linux-image-RELEASE`. `mod.rs` calls [`around`] for a `.deb` of the user's, and `debian.rs` for
//! those that it downloaded.

use super::control::Paragraph;
use super::deb;
use crate::error::Refusal;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The parts of a split kernel; the first one holds the image and must be there.
pub(super) const PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];
const WHOLE: &str = "linux-image-";

/// The packages of one kernel.
#[derive(Debug, PartialEq)]
pub(super) struct Packages {
    /// `linux-image-RELEASE VERSION`, however it was split.
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
}

/// The kernel that the package at `path` is, or is a part of; other parts lie in the same folder.
pub(super) fn around(path: &Path) -> Result<Packages> {
    let control = deb::describe(path)?;
    let package = control.get("Package").unwrap_or_default();
    let version = control.get("Version").unwrap_or_default();
    let Some(release) = split_release(&control) else {
        let name = format!("{package} {version}");
        return Ok(Packages { name, files: vec![path.to_path_buf()] });
    };
    let dir =
        path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut files = Vec::new();
    for part in PARTS {
        files.extend(part_in(dir, &format!("{part}{release}"), &control, path));
        if files.is_empty() {
            return Err(no_image(path, dir, &format!("{part}{release}"), &control).into());
        }
    }
    Ok(Packages { name: format!("{WHOLE}{release} {version}"), files })
}

/// The release, if the package is a part of a split kernel or its empty head.
fn split_release(control: &Paragraph) -> Option<String> {
    let package = control.get("Package")?;
    if let Some(release) = PARTS.iter().find_map(|part| package.strip_prefix(part)) {
        return Some(release.to_owned());
    }
    let release = package.strip_prefix(WHOLE)?;
    let binary = format!("{}{release}", PARTS[0]);
    control.depends().iter().any(|needed| needed.name == binary).then(|| release.to_owned())
}

/// The file in `dir` that holds this package in the version and for the machine of `like`.
fn part_in(dir: &Path, package: &str, like: &Paragraph, given: &Path) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| {
        let fields = ["Version", "Architecture"];
        deb::describe(path).is_ok_and(|control| {
            control.get("Package") == Some(package)
                && fields.iter().all(|field| control.get(field) == like.get(field))
        })
    };
    if like.get("Package") == Some(package) {
        return Some(given.to_path_buf());
    }
    let prefix = format!("{package}_");
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && name.ends_with(".deb")
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).filter(named).collect();
    files.sort();
    files.into_iter().find(is_it)
}

fn no_image(path: &Path, dir: &Path, package: &str, control: &Paragraph) -> Refusal {
    let field = |name| control.get(name).unwrap_or_default();
    let file = format!("{package}_{}_{}.deb", field("Version"), field("Architecture"));
    Refusal::input(
        format!(
            "package `{}` holds no kernel image: that is in `{file}`, which is not in `{}`",
            path.display(),
            dir.display()
        ),
        format!("put `{file}` beside it, or pass `debian:SUITE/FLAVOUR`"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};

    fn part(dir: &Path, package: &str, version: &str, more: &str) -> PathBuf {
        let path = dir.join(format!("{package}_{version}_amd64.deb"));
        let control =
            format!("Package: {package}\nVersion: {version}\nArchitecture: amd64\n{more}");
        deb::fake(&path, &control, &[]);
        path
    }

    #[test]
    fn a_classic_package_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let deb = part(dir.path(), "linux-image-6.1", "6.1-1", "Depends: kmod\n");
        let found = around(&deb).unwrap();
        assert_eq!(found, Packages { name: "linux-image-6.1 6.1-1".to_owned(), files: vec![deb] });
    }

    #[test]
    fn any_part_finds_the_others_of_its_version() {
        let dir = tempfile::tempdir().unwrap();
        part(dir.path(), "linux-modules-7", "6.9-1", "");
        let head = part(dir.path(), "linux-image-7", "7-1", "Depends: linux-binary-7 (= 7-1)\n");
        let base = part(dir.path(), "linux-base-7", "7-1", "");
        let binary = part(dir.path(), "linux-binary-7", "7-1", "");
        for given in [&head, &base, &binary] {
            let found = around(given).unwrap();
            assert_eq!(found.name, "linux-image-7 7-1");
            assert_eq!(
                found.files,
                [binary.clone(), base.clone()],
                "modules are of another version"
            );
        }
        let modules = part(dir.path(), "linux-modules-7", "7-1", "");
        assert_eq!(around(&head).unwrap().files, [binary, modules, base]);
    }

    #[test]
    fn without_the_image_the_wanted_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let modules = part(dir.path(), "linux-modules-7", "7-1~b+1", "");
        let error = around(&modules).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        assert!(render(&error).contains("fix: put `linux-binary-7_7-1~b+1_amd64.deb` beside it"));
    }
}
