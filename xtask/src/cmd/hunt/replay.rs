//! The command that runs a kept scenario again: that of the hunt, without what only a hunt has.
//! Called by `groups`.

use crate::run::shell_word;
use std::path::Path;

/// Options of `hunt`, each with a value, whose part the scenario has taken over.
const GONE: [&str; 10] = [
    "--config",
    "--seeds",
    "--jobs",
    "--shard",
    "--stagger",
    "--tries",
    "--passes-on",
    "--out",
    "--duration",
    "--work-type",
];

/// `vm` on the scenario of the run in `folder`, with the options among `words`, a hunt's command
/// line. With `cpus` the scenario says their number.
pub(super) fn command(words: &[String], folder: &Path, cpus: bool) -> String {
    let gone = |name: &str| GONE.contains(&name) || cpus && name == "--cpus";
    let mut kept = Vec::new();
    let mut words = words.iter().skip_while(|word| *word != "hunt").skip(1);
    while let Some(word) = words.next() {
        if word == "--" {
            // What follows are the scheduler's.
            kept.push(word.clone());
            kept.extend(words.map(|word| shell_word(word)));
            break;
        }
        let name = word.split('=').next().unwrap_or_default();
        match gone(name) {
            // Its value may be a word of its own.
            true if name == word => drop(words.next()),
            true => {}
            false => kept.push(shell_word(word)),
        }
    }
    let scenario = shell_word(&folder.join("scenario.json").display().to_string());
    let fixed = format!("cargo xtask vm --deterministic --schedule-hash --config {scenario}");
    [vec![fixed], kept].concat().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_the_guest_stays_and_what_the_scenario_says_goes() {
        let line = "xtask hunt --seeds 1..9 --kernel base --config=a.json --cpus 4 --jobs=2 --passes-on base \
                    --kernel-arg nohz=off --memory=512M --duration 1s";
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let common = "cargo xtask vm --deterministic --schedule-hash --config /x/scenario.json";
        assert_eq!(
            command(&words, Path::new("/x"), true),
            format!("{common} --kernel base --kernel-arg nohz=off --memory=512M")
        );
        assert!(command(&words, Path::new("/x"), false).contains(" --cpus 4 "));
    }

    #[test]
    fn a_scheduler_keeps_its_arguments() {
        let line = "xtask hunt --jobs 2 --scheduler ./scx --cpus 2 -- --seeds 5 --out x";
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let command = command(&words, Path::new("/x"), true);
        assert!(command.ends_with(" --scheduler ./scx -- --seeds 5 --out x"), "{command}");
    }
}
