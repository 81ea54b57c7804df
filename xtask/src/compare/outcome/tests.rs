//! Every way in which a comparison that finds no difference is none.

use super::super::side::side_of as side;
use super::super::{Question, compare};
use super::*;

const PASS: &[(Verdict, usize)] = &[(Verdict::Pass, 1)];

/// One exact run that ended so, or none that was measured.
fn ended(verdicts: &[(Verdict, usize)], measured: usize) -> Side {
    let mut side = side(true, &[("throughput", &vec![100.0; measured.max(1)])]);
    side.runs.truncate(measured);
    side.verdicts = verdicts.iter().copied().collect();
    side
}

fn outcome(a: &Side, b: &Side, gates: &[Gate]) -> Outcome {
    let question = Question { gates, across: false, looks: 1 };
    Outcome::of(a, b, &compare(a, b, question), gates)
}

fn code(a: &Side, b: &Side, gate: Option<&str>) -> u8 {
    let gates: Vec<_> = gate.map(|text| Gate::worse(text).unwrap()).into_iter().collect();
    outcome(a, b, &gates).exit_code
}

#[test]
fn a_run_against_itself_passes_with_and_without_a_limit() {
    let a = ended(PASS, 1);
    assert_eq!([code(&a, &a, None), code(&a, &a, Some("0%"))], [exit::PASS; 2]);
    assert!(outcome(&a, &a, &[]).is_whole());
}

#[test]
fn a_side_without_values_is_never_no_difference() {
    let a = ended(PASS, 1);
    for lost in [Verdict::BootFailed, Verdict::Hang, Verdict::WorkerDied, Verdict::Splat] {
        let b = ended(&[(lost, 1)], 0);
        for gate in [None, Some("50%")] {
            assert_eq!(code(&a, &b, gate), exit::GUEST, "{lost:?}");
            assert_eq!(code(&b, &a, gate), exit::GUEST, "{lost:?}");
        }
        assert!(outcome(&a, &b, &[]).lost[0].starts_with("B has no values"));
        // The others do not speak for it.
        let most = ended(&[(Verdict::Pass, 7), (lost, 1)], 7);
        assert_eq!(code(&a, &most, Some("50%")), exit::GUEST);
        assert_eq!(code(&most, &a, Some("50%")), exit::PASS, "it is A that was lost");
        assert!(!outcome(&most, &a, &[]).is_whole());
    }
    // Whoever ended it, it was not the guest.
    for given_up in [Verdict::Interrupted, Verdict::Inconclusive] {
        let b = ended(&[(given_up, 1)], 0);
        assert_eq!(code(&a, &b, Some("50%")), exit::INCONCLUSIVE);
    }
    assert_eq!(code(&a, &ended(&[], 0), None), exit::INCONCLUSIVE);
}

#[test]
fn a_metric_that_b_lacks_is_a_failure_and_one_that_it_has_more_is_a_change() {
    let a = side(true, &[("throughput", &[1.0]), ("io_p99", &[5.0])]);
    let b = side(true, &[("throughput", &[1.0])]);
    let both = outcome(&a, &b, &[]);
    assert_eq!(both.exit_code, exit::FAIL);
    assert_eq!(both.lacking.iter().map(ToString::to_string).collect::<Vec<_>>(), ["io_p99"]);
    assert_eq!(code(&a, &b, Some("throughput=5%")), exit::FAIL);
    let back = outcome(&b, &a, &[]);
    assert_eq!((back.exit_code, back.is_whole()), (exit::PASS, false));
    let any = [Gate::either_way("0%").unwrap()];
    assert_eq!(outcome(&b, &a, &any).exit_code, exit::FAIL);
    assert_eq!(outcome(&b, &b, &any).exit_code, exit::PASS);
    // Nothing in common is no agreement.
    let other = side(true, &[("io_p99", &[5.0]), ("lock_p99", &[5.0])]);
    let [mut only, mut unlike] = [b, other];
    only.runs[0].clear();
    unlike.runs[0].clear();
    assert_eq!(code(&only, &unlike, None), exit::INCONCLUSIVE);
}

#[test]
fn a_percentile_that_one_of_many_runs_lacks_is_told_and_no_loss() {
    let a = side(false, &[("wake_p999", &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0])]);
    let mut b = a.clone();
    b.runs[2].clear();
    let both = outcome(&a, &b, &[]);
    assert!(both.lacking.is_empty() && both.uneven.len() == 1 && !both.is_whole());
    b.runs.iter_mut().skip(1).for_each(std::collections::BTreeMap::clear);
    assert!(outcome(&a, &b, &[]).lacking.is_empty(), "of 6 and 6 it may be chance: 7 of 792");
    b.runs.iter_mut().for_each(std::collections::BTreeMap::clear);
    assert_eq!(outcome(&a, &b, &[]).exit_code, exit::FAIL);
}

#[test]
fn a_verdict_that_is_worse_counts_whatever_the_metrics_say() {
    let (a, fail) = (ended(PASS, 1), ended(&[(Verdict::Fail, 1)], 1));
    let open = ended(&[(Verdict::Inconclusive, 1)], 1);
    for gate in [None, Some("50%")] {
        assert_eq!(code(&a, &fail, gate), exit::FAIL);
        assert_eq!(code(&open, &fail, gate), exit::FAIL);
        assert_eq!(code(&a, &open, gate), exit::INCONCLUSIVE);
        assert_eq!(code(&fail, &fail, gate), exit::PASS);
        assert_eq!(code(&fail, &a, gate), exit::PASS);
    }
    let any = [Gate::either_way("0%").unwrap()];
    assert_eq!(outcome(&fail, &a, &any).exit_code, exit::FAIL, "it changed");
}

#[test]
fn limits_that_are_exceeded_fail_and_limits_that_are_open_are_inconclusive() {
    let a = side(true, &[("throughput", &[100.0])]);
    let b = side(true, &[("throughput", &[80.0])]);
    assert_eq!(code(&a, &b, Some("10%")), exit::FAIL);
    assert_eq!(code(&a, &b, Some("30%")), exit::PASS);
    assert_eq!(code(&a, &b, None), exit::PASS, "nothing was asked");
    let few = side(false, &[("throughput", &[100.0, 101.0])]);
    assert_eq!(code(&few, &few, Some("90%")), exit::INCONCLUSIVE);
}

#[test]
fn more_runs_are_made_until_every_limit_is_shown_to_hold_or_not_to() {
    let a = [100., 103., 98., 101., 95., 102.];
    let of = |values: &[f64]| side(false, &[("throughput", values)]);
    let decided = |a: &Side, b: &Side, gates: &[Gate]| {
        let comparison = compare(a, b, Question { gates, across: false, looks: 1 });
        Outcome::of(a, b, &comparison, gates).is_decided(&comparison, gates)
    };
    let (one, half) = (of(&a), of(&a.map(|value| value / 2.0)));
    let limit = |text: &str| [Gate::worse(text).unwrap()];
    assert!(decided(&one, &half, &[]) && !decided(&one, &one, &[]));
    assert!(decided(&one, &half, &limit("5%")), "it is worse");
    assert!(decided(&one, &one, &limit("50%")), "it cannot be so much worse");
    assert!(!decided(&one, &one, &limit("1%")), "it may be");
    let mut lost = one.clone();
    *lost.verdicts.entry(Verdict::Hang).or_default() += 1;
    assert!(decided(&one, &lost, &limit("1%")), "nothing takes that back");
}
