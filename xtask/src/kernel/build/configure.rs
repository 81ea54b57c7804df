//! From fragments to a `.config`: what they name is on, all else is off, and what did not take is
//! said with the reason. Called by `build`.

use super::{Tree, kconfig, make};
use crate::disk;
use crate::error::Refusal;
use crate::kernel::config::Config;
use crate::kernel::spec::Recipe;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};

/// The fragment that holds names of several kernel versions: what one of them does not know is
/// only noted.
const BASE: &str = "base";
const MERGED: &str = "schedlab.config";

/// One line of a fragment.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    fragment: String,
    option: String,
    /// None: it is to be off.
    value: Option<String>,
}

/// What the fragments of a recipe ask for; of two lines on one option the later one counts.
pub(super) fn wanted(recipe: &Recipe, paths: &Paths) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for fragment in &recipe.fragments {
        let file = paths.repo.join(format!("kernel-configs/{fragment}.config"));
        let text = std::fs::read_to_string(&file).with_context(|| {
            let message = format!("kernel `{}`: read(`{}`) failed", recipe.name, file.display());
            Refusal::input(message, "mend its `fragments` in kernel-configs/kernels.toml")
        })?;
        for (option, value) in text.lines().filter_map(line) {
            all.retain(|wanted| wanted.option != option);
            all.push(Wanted { fragment: fragment.clone(), option, value });
        }
    }
    Ok(all)
}

fn line(text: &str) -> Option<(String, Option<String>)> {
    if let Some(off) = text.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
        return Some((off.to_owned(), None));
    }
    let (option, value) = text.split_once('=')?;
    option.starts_with("CONFIG_").then(|| (option.to_owned(), Some(value.trim().to_owned())))
}

/// As `make` reads it; the name of the recipe becomes the end of the release.
pub(super) fn merged(wanted: &[Wanted], recipe: &Recipe) -> String {
    let line = |Wanted { option, value, .. }: &Wanted| match value {
        Some(value) => format!("{option}={value}\n"),
        None => format!("# {option} is not set\n"),
    };
    let lines: String = wanted.iter().map(line).collect();
    format!("{lines}CONFIG_LOCALVERSION=\"-{}\"\n", recipe.name)
}

/// Makes `.config`; returns notes on what this kernel does not know and can do without.
pub(super) fn configure(
    tree: &Tree,
    wanted: &[Wanted],
    merged: &str,
    progress: &Progress,
) -> Result<Vec<String>> {
    let file = tree.out.join(MERGED);
    let is_new = std::fs::read_to_string(&file).map_or(true, |text| text != merged)
        || !tree.out.join(".config").is_file();
    // A `.config` that need not change must not: everything would be built again.
    if is_new {
        disk::write_whole(&file, merged.as_bytes())?;
        let all = format!("KCONFIG_ALLCONFIG={}", file.display());
        make::make(tree, &[&all, "allnoconfig"], progress)?;
    }
    make::make(tree, &["olddefconfig"], progress)?;
    let config = Config::read(&tree.out.join(".config"))?;
    let (mut notes, mut faults) = (Vec::new(), Vec::new());
    for Wanted { fragment, option, value } in wanted.iter().filter(|w| !w.took(&config)) {
        let shown = value.as_deref().unwrap_or("off");
        match kconfig::why_not(&tree.source, &config, option)? {
            None if fragment == BASE => notes.push(format!("{option}: not in this kernel")),
            None => faults.push(format!("{option}={shown} ({fragment}): not in this kernel")),
            Some(why) => faults.push(format!("{option}={shown} ({fragment}): {why}")),
        }
    }
    if faults.is_empty() {
        return Ok(notes);
    }
    let message = format!("options that did not take:\n    {}", faults.join("\n    "));
    let fix = "mend the fragments in kernel-configs, or take other sources";
    Err(Refusal::input(message, fix).into())
}

impl Wanted {
    fn took(&self, config: &Config) -> bool {
        match &self.value {
            Some(value) => config.value(&self.option) == Some(value),
            None => config.value(&self.option).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(fragments: &[&str]) -> Recipe {
        Recipe {
            name: "mine".to_owned(),
            source: "debian:sid".to_owned(),
            fragments: fragments.iter().map(|name| (*name).to_owned()).collect(),
            patches: Vec::new(),
            text: String::new(),
        }
    }

    #[test]
    fn the_later_fragment_wins() {
        let dir = tempfile::tempdir().unwrap();
        let configs = dir.path().join("kernel-configs");
        std::fs::create_dir(&configs).unwrap();
        std::fs::write(configs.join("base.config"), "# words\nCONFIG_A=y\nCONFIG_B=64\n").unwrap();
        std::fs::write(configs.join("b.config"), "# CONFIG_A is not set\nCONFIG_C=y\n").unwrap();
        let paths = Paths::below(dir.path());
        let recipe = recipe(&["base", "b"]);
        let wanted = wanted(&recipe, &paths).unwrap();
        let merged = merged(&wanted, &recipe);
        let want =
            "CONFIG_B=64\n# CONFIG_A is not set\nCONFIG_C=y\nCONFIG_LOCALVERSION=\"-mine\"\n";
        assert_eq!(merged, want);
        let config = Config::parse("CONFIG_B=64\nCONFIG_C=m\n", String::new());
        let took: Vec<_> = wanted.iter().map(|wanted| wanted.took(&config)).collect();
        assert_eq!(took, [true, true, false]);
    }

    #[test]
    fn a_fragment_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = wanted(&recipe(&["gone"]), &Paths::below(dir.path())).unwrap_err();
        assert!(format!("{error:#}").contains("gone.config"), "{error:#}");
    }

    #[test]
    fn every_fragment_says_what_it_is_for_and_names_options() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-configs");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "config") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("# "), "{}", path.display());
                assert!(text.lines().any(|text| line(text).is_some()), "{}", path.display());
            }
        }
    }
}
