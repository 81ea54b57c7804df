//! `images/schedulers.toml`: schedulers that have a name, and what building them takes. Everything
//! in this folder begins with [`all`] or [`find`].

use super::{KINDS, tools};
use crate::error::Refusal;
use crate::files::Kind;
use crate::kernel::is_release;
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use workloads::nearest;

const FILE: &str = "images/schedulers.toml";

/// A scheduler that has a name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// In the Rust registry, with `version`.
    #[serde(rename = "crate")]
    pub(crate) package: Option<String>,
    pub(crate) version: Option<String>,
    /// A package of this repository.
    pub(crate) path: Option<String>,
    /// As `6.12`.
    pub(crate) minimum_kernel: Option<String>,
    /// The oldest major version that compiles it.
    #[serde(default)]
    pub(crate) clang: u32,
    /// Of Debian, needed to build it.
    pub(crate) packages: Vec<String>,
    /// Variables that its build looks at.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) text: String,
}

/// Where a scheduler's sources are.
#[derive(Debug, PartialEq)]
pub(super) enum Source<'a> {
    Registry { package: &'a str, version: &'a str },
    Repository { path: &'a str },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    scheduler: Vec<Entry>,
}

impl Entry {
    /// What is wrong with it, in words that follow its name.
    fn fault(&self) -> Option<String> {
        let is_word = |text: &str| {
            let rest = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(rest)
        };
        if !is_word(&self.name) {
            return Some(
                "has a name with other characters than letters, digits, `_` and `-`".into(),
            );
        }
        if self.text.is_empty() {
            return Some("has an empty `text`".into());
        }
        match (&self.package, &self.version, &self.path) {
            (Some(_), Some(_), None) | (None, None, Some(_)) => {}
            (Some(_), None, None) => return Some("has a `crate` without a `version`".into()),
            _ => return Some("needs `crate` and `version`, or `path`".into()),
        }
        if let Some(kernel) = self.minimum_kernel.as_ref().filter(|kernel| !is_release(kernel)) {
            return Some(format!("has the minimum_kernel `{kernel}`, which is not like `6.12`"));
        }
        let unknown = self.packages.iter().find(|package| !tools::is_known(package))?;
        Some(format!(
            "needs the package `{unknown}`, of which nothing is known; {}",
            tools::known()
        ))
    }

    pub(super) fn source(&self) -> Result<Source<'_>> {
        match (&self.package, &self.version, &self.path) {
            (Some(package), Some(version), _) => Ok(Source::Registry { package, version }),
            (_, _, Some(path)) => Ok(Source::Repository { path }),
            _ => Err(damaged(&self.name, "needs `crate` and `version`, or `path`").into()),
        }
    }
}

/// Every scheduler that has a name, in the order of the file.
pub(crate) fn all(paths: &Paths) -> Result<Vec<Entry>> {
    let file = paths.repo.join(FILE);
    let text = Kind::TABLE.read_text(&file)?;
    let catalogue: Catalogue = toml::from_str(&text).with_context(|| {
        Refusal::input(format!("`{}` is damaged", file.display()), "mend the line named above")
    })?;
    let mut names = BTreeSet::new();
    for entry in &catalogue.scheduler {
        if let Some(fault) = entry.fault() {
            return Err(damaged(&entry.name, &fault).into());
        }
        if !names.insert(&entry.name) {
            return Err(damaged(&entry.name, "is there twice").into());
        }
    }
    Ok(catalogue.scheduler)
}

/// The one of this name.
pub(crate) fn find(name: &str, paths: &Paths) -> Result<Entry> {
    let mut entries = all(paths)?;
    if let Some(at) = entries.iter().position(|entry| entry.name == name) {
        return Ok(entries.swap_remove(at));
    }
    let names = entries.iter().map(|entry| entry.name.as_str());
    let fix = match nearest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`? Otherwise {KINDS}"),
        None => format!("{KINDS}; names: {}", names.collect::<Vec<_>>().join(", ")),
    };
    Err(Refusal::input(format!("no scheduler is named `{name}`"), fix).into())
}

fn damaged(name: &str, fault: &str) -> Refusal {
    Refusal::input(format!("{FILE}: scheduler `{name}` {fault}"), format!("mend it in {FILE}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use crate::keys::walk;

    const GOOD: &str = "[[scheduler]]\nname = \"a\"\ncrate = \"scx_a\"\nversion = \"1.0.0\"\n\
                        packages = [\"make\"]\ntext = \"one\"\n";

    fn read(text: &str) -> Result<Vec<Entry>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("images")).unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        all(&Paths::below(dir.path()))
    }

    #[test]
    fn the_catalogue_of_this_repository_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let repo = concat!(env!("CARGO_MANIFEST_DIR"), "/..").into();
        let entries = all(&Paths { repo, ..Paths::below(dir.path()) }).unwrap();
        assert!(entries.iter().any(|entry| entry.name == "test" && entry.path.is_some()));
        let published = entries.iter().filter(|entry| entry.package.is_some());
        assert!(published.count() >= 4);
    }

    /// What is built of which sources, for which kernel, with what, and what is said of it. Variables
    /// are looked at in `store`.
    fn effect(text: &str) -> Result<String> {
        let entries = read(text)?;
        let each: Vec<_> = entries
            .iter()
            .map(|entry| {
                let Entry { name, minimum_kernel, clang, packages, environment, text, .. } = entry;
                let source = entry.source().unwrap();
                format!("{name} {source:?} {minimum_kernel:?} {clang} {packages:?} {environment:?} {text}")
            })
            .collect();
        Ok(each.join("\n"))
    }

    #[test]
    fn no_key_of_the_file_is_without_effect() {
        let changes = [
            ("name", "name = \"a\"", "name = \"b\""),
            ("crate", "\"scx_a\"", "\"scx_b\""),
            ("version", "\"1.0.0\"", "\"1.0.1\""),
            ("path", "crate = \"scx_a\"\nversion = \"1.0.0\"", "path = \"a\""),
            ("minimum_kernel", "text", "minimum_kernel = \"6.12\"\ntext"),
            ("clang", "text", "clang = 18\ntext"),
            ("packages", "[\"make\"]", "[]"),
            ("environment", "text", "environment = { A = \"b\" }\ntext"),
            ("text", "\"one\"", "\"other\""),
        ];
        walk(GOOD, "[[scheduler]]\n", &changes, effect);
        let more = GOOD.replace("name = \"a\"", "name = \"b\"");
        walk(GOOD, "", &[("scheduler", "[[scheduler]]", &format!("{more}[[scheduler]]"))], effect);
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        let cases = [
            ("crate", "crat", "line 3"),
            ("packages", "package", "line 5"),
            ("version = \"1.0.0\"\n", "", "scheduler `a` has a `crate` without a `version`"),
            ("crate = \"scx_a\"\n", "", "scheduler `a` needs `crate` and `version`, or `path`"),
            ("text", "path = \"x\"\ntext", "needs `crate` and `version`, or `path`"),
            ("\"one\"", "\"\"", "scheduler `a` has an empty `text`"),
            ("\"a\"", "\"a/b\"", "scheduler `a/b` has a name with other characters"),
            ("text", "minimum_kernel = \"6\"\ntext", "`6`, which is not like `6.12`"),
            ("\"make\"", "\"maek\"", "needs the package `maek`"),
        ];
        assert_eq!(read(GOOD).unwrap().len(), 1);
        for (from, to, want) in cases {
            let error = read(&GOOD.replace(from, to)).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            assert!(render(&error).contains(want), "{want}: {}", render(&error));
        }
        let twice = read(&[GOOD, GOOD].concat()).unwrap_err();
        assert!(render(&twice).contains("scheduler `a` is there twice"), "{}", render(&twice));
    }
}
