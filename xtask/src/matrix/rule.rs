//! Rules of a matrix: each chooses cells by patterns on the axes and says what holds for them.
//! Called by `plan`.

use super::cell::Cell;
use regex::Regex;
use serde::{Deserialize, Serialize};

/// Patterns, in which `*` stands for anything; an axis without one is not looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    kernel: Option<Pattern>,
    scheduler: Option<Pattern>,
    scenario: Option<Pattern>,
    topology: Option<Pattern>,
    seed: Option<Pattern>,
    mode: Option<Pattern>,
    kernel_args: Option<Pattern>,
}

/// Cells that are not run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exclude {
    pub(super) cells: Choice,
    pub(super) reason: String,
}

/// Cells that need a kernel of at least this version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Minimum {
    pub(super) cells: Choice,
    /// As `6.12`.
    pub(super) linux: String,
}

/// Cells that are run several times.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repeat {
    pub(super) cells: Choice,
    pub(super) runs: u32,
}

/// Cells that are known to fail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KnownFailure {
    pub(super) cells: Choice,
    pub(super) reason: String,
    /// The last day on which it is known, as `2027-03-31`; for good if there is none.
    pub(super) expires: Option<String>,
}

/// Why a failure is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) reason: String,
    /// The last day on which it is.
    pub(crate) expires: Option<String>,
}

/// Text in which `*` stands for anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub(super) struct Pattern {
    text: String,
    regex: Option<Regex>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        let regex = format!("^{}$", regex::escape(&text).replace(r"\*", ".*"));
        Self { regex: Regex::new(&regex).ok(), text }
    }
}

impl Pattern {
    /// Whether all of `text` is like it.
    pub(super) fn has(&self, text: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Choice {
    fn patterns(&self) -> [Option<&Pattern>; 7] {
        let Self { kernel, scheduler, scenario, topology, seed, mode, kernel_args } = self;
        [kernel, scheduler, scenario, topology, seed, mode, kernel_args].map(Option::as_ref)
    }

    pub(super) fn has(&self, cell: &Cell) -> bool {
        let mut pairs = self.patterns().into_iter().zip(cell.values());
        pairs.all(|(pattern, value)| pattern.is_none_or(|pattern| pattern.has(value)))
    }

    /// As the file has it.
    pub(super) fn words(&self) -> String {
        let words = self.patterns().into_iter().zip(Cell::AXES);
        let words =
            words.filter_map(|(pattern, axis)| Some(format!("{axis} = \"{}\"", pattern?.text)));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Of `expires`: what is wrong with it, if anything is.
pub(super) fn fault_of_date(text: &str) -> Option<String> {
    let parsed = humantime::parse_rfc3339(&format!("{text}T00:00:00Z"));
    parsed.err().map(|_| format!("has the date `{text}`, which is not like 2027-03-31"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        let matches = |pattern: &str, text| Pattern::from(pattern.to_owned()).has(text);
        assert!(matches("scx_*", "scx_rusty") && matches("*", "") && matches("a*c", "abc"));
        assert!(!matches("scx_*", "xscx_") && !matches("a.c", "abc") && !matches("a", "ab"));
    }

    #[test]
    fn a_choice_looks_only_at_the_axes_that_it_names() {
        let cell = Cell { kernel: "trixie".into(), scenario: "wake".into(), ..Cell::default() };
        let choice = |toml: &str| toml::from_str::<Choice>(toml).unwrap();
        assert!(choice("kernel = 'tri*'").has(&cell) && choice("").has(&cell));
        assert!(!choice("kernel = 'tri*'\nscenario = 'io'").has(&cell));
        assert_eq!(
            choice("scenario = 'io'\nkernel = 'x'").words(),
            "kernel = \"x\", scenario = \"io\""
        );
    }

    #[test]
    fn dates_are_days() {
        assert_eq!(fault_of_date("2027-03-31"), None);
        for bad in ["2027-3-31", "tomorrow", "2027-02-31", ""] {
            assert!(fault_of_date(bad).is_some(), "{bad}");
        }
    }
}
