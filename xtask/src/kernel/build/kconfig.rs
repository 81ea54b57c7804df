//! Why an option did not take: what `Kconfig` says that it depends on. Called by `configure`.

use crate::disk;
use crate::kernel::config::Config;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Other architectures have options of the same names.
const FOREIGN: &str = "arch";
const OURS: &str = "arch/x86";

/// What the option depends on and which of that is off; `None` if no `Kconfig` file defines it.
pub(super) fn why_not(source: &Path, config: &Config, option: &str) -> Result<Option<String>> {
    let name = option.trim_start_matches("CONFIG_");
    for file in files(source)? {
        let text = std::fs::read(&file).with_context(|| disk::unreadable(&file))?;
        if let Some(entry) = entry(&String::from_utf8_lossy(&text), name) {
            return Ok(Some(reason(&entry, config)));
        }
    }
    Ok(None)
}

/// The lines of an option that decide whether it can be on.
#[derive(Debug, Default)]
struct Entry {
    depends: Vec<String>,
    has_prompt: bool,
}

fn entry(text: &str, name: &str) -> Option<Entry> {
    let is_head = |line: &str| {
        let head = line.strip_prefix("config ").or_else(|| line.strip_prefix("menuconfig "));
        head.is_some_and(|head| head.trim() == name)
    };
    let mut lines = text.lines().skip_while(|line| !is_head(line));
    lines.next()?;
    let mut entry = Entry::default();
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(char::is_whitespace)) {
        let line = line.trim();
        if line == "help" {
            break;
        }
        entry.depends.extend(line.strip_prefix("depends on ").map(str::to_owned));
        let prompts = ["bool \"", "tristate \"", "int \"", "hex \"", "string \"", "prompt \""];
        entry.has_prompt |= prompts.iter().any(|prompt| line.starts_with(prompt));
    }
    Some(entry)
}

fn reason(entry: &Entry, config: &Config) -> String {
    if entry.depends.is_empty() && !entry.has_prompt {
        return "only other options turn it on".to_owned();
    }
    if entry.depends.is_empty() {
        return "a menu around it is off, or a choice has another answer".to_owned();
    }
    let depends = entry.depends.join(" && ");
    let words = depends.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_option = |word: &&str| {
        word.len() > 1 && word.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let off: BTreeSet<&str> = words
        .filter(is_option)
        .filter(|word| config.value(&format!("CONFIG_{word}")).is_none())
        .collect();
    let off = off.into_iter().collect::<Vec<_>>().join(", ");
    format!("it depends on {depends}; off: {}", if off.is_empty() { "none of these" } else { &off })
}

/// Every `Kconfig` file that an x86 build reads, in a fixed order.
fn files(source: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![source.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| disk::unreadable(&folder))?;
        for entry in entries {
            let entry = entry.with_context(|| disk::unreadable(&folder))?;
            let path = entry.path();
            let is_foreign =
                folder == source.join(FOREIGN) && path.is_dir() && path != source.join(OURS);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_foreign {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("Kconfig") && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    const KCONFIG: &str = "\
config FIRST
\tbool \"first\"
\tdepends on SMP && !PREEMPT_RT
\tdepends on EXPERT

\thelp
\t  config SECOND is not this
config SECOND
\tbool
menuconfig THIRD
\tbool \"third\"
";

    #[test]
    fn the_reason_names_what_is_off() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["init", "arch/x86", "arch/arm"] {
            create_dir_all(dir.path().join(folder)).unwrap();
        }
        write(dir.path().join("init/Kconfig"), KCONFIG).unwrap();
        write(dir.path().join("arch/arm/Kconfig"), "config ARM_ONLY\n\tbool \"x\"\n").unwrap();
        let config = Config::parse("CONFIG_SMP=y\n", String::new());
        let why = |option: &str| why_not(dir.path(), &config, option).unwrap();
        assert_eq!(
            why("CONFIG_FIRST").unwrap(),
            "it depends on SMP && !PREEMPT_RT && EXPERT; off: EXPERT, PREEMPT_RT"
        );
        assert_eq!(why("CONFIG_SECOND").unwrap(), "only other options turn it on");
        assert!(why("CONFIG_THIRD").unwrap().contains("menu"));
        assert_eq!(why("CONFIG_ARM_ONLY"), None);
        assert_eq!(why("CONFIG_FIR"), None);
    }
}
