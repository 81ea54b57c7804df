//! `compare --repeat`: both sides once more, in turn, so that what changes on the host while they
//! run changes for both; with `auto` until the comparison is decided. Called by `cmd::compare`.

use super::recorded::Recorded;
use crate::cli::CompareArgs;
use crate::cmd::vm;
use crate::compare::{Gate, Looks, METRICS, Outcome, Question, Side, compare, judged};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu;
use crate::report::RunReport;
use crate::run::{Folder, Verdict};
use anyhow::Result;
use std::path::Path;
use std::str::FromStr;

/// What `--repeat` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// So many runs a side.
    Times(usize),
    /// As many as it takes.
    Auto,
}

impl FromStr for Repeat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(0) | Err(_) => Err("give a number of runs from 1, or auto".into()),
            Ok(times) => Ok(Self::Times(times)),
        }
    }
}

impl Repeat {
    /// After which runs it is looked, by the metrics that the recorded runs have.
    pub(super) fn looks(self, (a, b): &(Side, Side), gates: &[Gate]) -> Looks {
        match self {
            Self::Times(runs) => Looks::once(runs),
            Self::Auto => match judged(a, b, gates) {
                0 => Looks::early(METRICS.len()),
                metrics => Looks::early(metrics),
            },
        }
    }
}

/// Boots runs of both sides until it is decided how they compare; none if it was interrupted.
pub(super) fn run(
    args: &CompareArgs,
    other: &Path,
    (gates, looks): (&[Gate], &Looks),
    paths: &Paths,
) -> Result<Option<(Side, Side)>> {
    let interrupted = vm::end_on_signals()?;
    let sides = [Recorded::open(&args.a)?, Recorded::open(other)?];
    let qemu = qemu::version()?;
    let all = Folder::create(args.out.as_deref(), "compare", paths)?;
    let progress = Progress::new();
    let mut remarks: Vec<_> = sides.iter().filter_map(|side| side.remark(&qemu)).collect();
    remarks.dedup();
    remarks.iter().for_each(|remark| progress.step(remark));
    let question = Question { gates, across: args.across_accelerators, looks: looks.count() };
    let mut reports: [Vec<RunReport>; 2] = Default::default();
    let most = looks.most();
    for number in 1..=most {
        for (side, name) in in_turn(number) {
            let out = all.path().join(name).join(number.to_string());
            // Deterministic runs would all be the same: each pair has a seed of its own.
            let seed = sides[side].is_deterministic().then_some(number as u64);
            let report = sides[side].run(seed, &out, &qemu, interrupted, paths)?;
            let verdict = report.verdict;
            progress.step(format!("{name} {number} of {most}: {}", verdict.name()));
            if verdict == Verdict::Interrupted {
                return Ok(None);
            }
            reports[side].push(report);
        }
        if number < most && looks.contain(number) && is_decided(&reports, question) {
            progress.step(format!("decided after {number} of {most} runs a side"));
            break;
        }
    }
    progress.step(format!("run folders: {}", all.path().display()));
    let [a, b] = reports.map(|reports| Side::of(&reports));
    Ok(Some((a, b)))
}

/// A B, B A and so on: what drifts on the host drifts for both.
fn in_turn(number: usize) -> [(usize, &'static str); 2] {
    let (a, b) = ((0, "a"), (1, "b"));
    if number.is_multiple_of(2) { [b, a] } else { [a, b] }
}

fn is_decided(reports: &[Vec<RunReport>; 2], question: Question<'_>) -> bool {
    let [a, b] = [&reports[0], &reports[1]].map(|reports| Side::of(reports));
    let comparison = compare(&a, &b, question);
    Outcome::of(&a, &b, &comparison, question.gates).is_decided(&comparison, question.gates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_a_number_or_auto() {
        assert_eq!("12".parse(), Ok(Repeat::Times(12)));
        assert_eq!("auto".parse(), Ok(Repeat::Auto));
        for text in ["0", "-1", "six", ""] {
            assert!(text.parse::<Repeat>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_sides_take_turns_to_be_first() {
        assert_eq!([1, 2, 3].map(|number| in_turn(number)[0].1), ["a", "b", "a"]);
    }
}
