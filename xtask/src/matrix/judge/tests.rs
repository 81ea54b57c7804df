//! Cells as they stand, by their runs and rules.

use super::*;
use crate::error::exit;
use crate::matrix::cell::Cell;
use crate::matrix::plan::Recipe;
use crate::matrix::summary::RunSummary;
use crate::run::Verdict;

fn run(verdict: Verdict) -> RunSummary {
    RunSummary {
        folder: String::new(),
        verdict,
        advice: Some("look".into()),
        kernel: "6.12".into(),
        kernel_args: Vec::new(),
        machine: String::new(),
        accel: String::new(),
        cpu_model: String::new(),
        checks: Vec::new(),
        metrics: BTreeMap::new(),
        latencies: BTreeMap::new(),
        workers: Vec::new(),
        cpus: Vec::new(),
    }
}

fn planned() -> Planned {
    Planned::new(Cell { kernel: "k".into(), ..Cell::default() }, Recipe::default())
}

fn table(planned: &Planned, verdicts: &[Verdict]) -> Table {
    let result = CellResult {
        cell: planned.name(),
        inputs: None,
        skipped: None,
        differs: None,
        runs: verdicts.iter().map(|verdict| run(*verdict)).collect(),
    };
    judge("m", &[planned], &BTreeMap::from([(planned.name(), result)]), "2027-03-31")
}

fn standing(planned: &Planned, verdicts: &[Verdict]) -> Standing {
    table(planned, verdicts).rows[0].standing
}

#[test]
fn the_worst_run_decides() {
    use Verdict::{Fail, Inconclusive, Panic, Pass};
    assert_eq!(standing(&planned(), &[Pass, Pass]), Standing::Pass);
    assert_eq!(standing(&planned(), &[Pass, Inconclusive]), Standing::Inconclusive);
    assert_eq!(standing(&planned(), &[Fail, Inconclusive]), Standing::Fail);
    assert_eq!(standing(&planned(), &[Fail, Panic]), Standing::GuestFailed);
}

#[test]
fn what_is_told_of_a_cell_is_of_the_run_that_decides() {
    use Verdict::{Fail, Inconclusive, Pass};
    let told = |verdicts: &[Verdict]| {
        let mut table = table(&planned(), verdicts);
        let runs = &mut table.rows[0].runs;
        (0..).zip(runs).for_each(|(at, run): (u32, _)| run.folder = at.to_string());
        table.rows[0].telling().unwrap().folder.clone()
    };
    assert_eq!(told(&[Inconclusive, Fail, Fail]), "1");
    assert_eq!(told(&[Pass, Pass]), "0");
}

#[test]
fn a_cell_without_a_result_is_missing_and_never_a_pass() {
    let table = judge("m", &[&planned()], &BTreeMap::new(), "2027-03-31");
    assert_eq!((table.rows[0].standing, table.exit_code()), (Standing::Missing, exit::GUEST));
    assert_eq!(standing(&planned(), &[]), Standing::Missing);
    assert_eq!(standing(&planned(), &[Verdict::Interrupted]), Standing::Missing);
}

#[test]
fn a_known_failure_is_excused_until_its_day_has_passed() {
    let known = |expires: &str| {
        let known = Known { reason: "a bug".into(), expires: Some(expires.into()) };
        Planned { known_failure: Some(known), ..planned() }
    };
    let excused = table(&known("2027-03-31"), &[Verdict::Fail]);
    assert_eq!(
        (excused.rows[0].standing, excused.exit_code()),
        (Standing::KnownFailure, exit::PASS)
    );
    assert_eq!(excused.rows[0].reason.as_deref(), Some("a bug (look)"));
    let expired = table(&known("2027-03-30"), &[Verdict::Fail]);
    assert_eq!((expired.rows[0].standing, expired.exit_code()), (Standing::Fail, exit::FAIL));
    assert_eq!(standing(&known("2027-03-31"), &[Verdict::Pass]), Standing::UnexpectedPass);
    let lost = &CellResult {
        cell: String::new(),
        inputs: None,
        skipped: None,
        differs: Some("line 3".into()),
        runs: vec![run(Verdict::Pass)],
    };
    assert_eq!(
        with_known(lost, known("2027-03-31").known_failure.as_ref(), "").0,
        Standing::Unrepeatable
    );
}

#[test]
fn a_rule_that_excludes_says_why() {
    let planned = Planned { excluded: Some("no time".into()), ..planned() };
    let table = judge("m", &[&planned], &BTreeMap::new(), "");
    assert_eq!(table.rows[0].standing, Standing::Skipped);
    assert_eq!((table.rows[0].reason.as_deref(), table.exit_code()), (Some("no time"), exit::PASS));
}
