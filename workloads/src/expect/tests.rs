//! What a whole run is judged by, with and without steps.

use super::fixture::{Case, MS, WALL_NS};
use super::{Expect, Outcome, judge};
use crate::report::NotApplied;
use crate::run::RunRecord;

const FROZEN: &str = r#"{"cgroups":[{"name":"a","works":[{"num_workers":2}]},
    {"name":"b","works":[{}]}],
    "steps":[{"name":"free","hold":{"Time":"1s"},"expect":{}},
             {"name":"frozen","hold":{"Time":"1s"},"ops":[{"Freeze":"a"}],
              "expect":{"stalled":["a"],"max_gap":"5ms","throughput_min":1.0}}]}"#;

/// The second step of `FROZEN`, in which `a` stands.
fn frozen() -> Case {
    [0, 1].into_iter().fold(Case::new(FROZEN), |case, worker| {
        case.with(worker, |r| {
            let step = &mut r.steps[1];
            (step.iterations, step.cpu_time_ns, step.max_gap_ns) = (0, Some(0), None);
            step.cpus_used.clear();
        })
    })
}

#[test]
fn the_defaults_hold_for_a_run_that_is_as_it_should_be() {
    let names = |case: &Case| -> Vec<String> {
        assert!(
            case.checks().iter().all(|check| check.outcome == Outcome::Pass),
            "{:?}",
            case.checks()
        );
        case.checks().into_iter().map(|check| check.name).collect()
    };
    let plain = Case::new(r#"{"num_workers":2}"#);
    assert_eq!(names(&plain), ["cpu_accounting", "completed", "applied", "progress"]);
    let cpuset = r#"{"cgroups":[{"name":"a","cpuset":{"Exact":[0]},"works":[{}]}]}"#;
    assert_eq!(names(&Case::new(cpuset))[4], "isolation");
}

#[test]
fn no_reports_are_no_passed_checks() {
    let Case { scenario, plan, .. } = Case::new("{}");
    assert_eq!(judge(&scenario, &plan, &RunRecord::default(), &[]), []);
}

#[test]
fn a_starved_worker_fails_progress_and_is_named() {
    let check = Case::new(r#"{"num_workers":2}"#).with(1, |r| {
        (r.iterations, r.work_units) = (0, 0);
    });
    let check = check.check("progress");
    assert_eq!((check.outcome, check.workers, check.measured), (Outcome::Fail, vec![1], Some(0.0)));
}

#[test]
fn a_worker_that_ends_too_early_is_not_completed() {
    let case = || Case::new(r#"{"iterations":10,"workload":{"num_workers":2}}"#);
    assert_eq!(case().outcome("completed"), Outcome::Pass);
    let short = case().with(1, |r| r.iterations = 9).check("completed");
    assert_eq!((short.outcome, short.workers), (Outcome::Fail, vec![1]));
    let served = case().with(1, |r| (r.iterations, r.served) = (9, true));
    assert_eq!(served.outcome("completed"), Outcome::Pass);
}

#[test]
fn a_worker_that_says_that_it_failed_is_not_completed_whatever_else_it_says() {
    let case = Case::new(r#"{"num_workers":2}"#);
    let check = case.with(1, |r| r.failed = Some("no such device".into())).check("completed");
    assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
    assert_eq!(check.detail, "worker 1: no such device");
}

#[test]
fn what_the_kernel_refused_of_workers_or_of_the_run_is_not_applied() {
    let case = || Case::new(r#"{"num_workers":2}"#);
    assert_eq!(case().outcome("applied"), Outcome::Pass);
    let refused = case().with(1, |r| {
        let setting =
            NotApplied { setting: "nice".into(), wanted: "-5".into(), error: "no".into() };
        r.not_applied.push(setting);
    });
    let check = refused.check("applied");
    assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
    let mut of_run = case();
    of_run.record.not_applied.push("write(/a/cpu.idle) failed".into());
    let check = of_run.check("applied");
    assert_eq!((check.outcome, check.measured), (Outcome::Fail, Some(1.0)));
    assert!(check.detail.contains("cpu.idle"), "{}", check.detail);
}

#[test]
fn more_cpu_time_than_the_machine_has_is_not_believed() {
    let case = Case::new(r#"{"num_workers":3}"#).cpu_ms(&[1000, 1000, 1000]);
    assert_eq!(case.outcome("cpu_accounting"), Outcome::Inconclusive);
}

#[test]
fn a_step_has_its_own_checks_with_its_name() {
    let case = frozen();
    let steps: Vec<_> = case.checks().into_iter().filter_map(|c| Some((c.step?, c.name))).collect();
    let expected = [
        (0, "step free: progress"),
        (1, "step frozen: progress"),
        (1, "step frozen: stalled"),
        (1, "step frozen: max_gap"),
        (1, "step frozen: throughput_min"),
    ];
    assert_eq!(steps, expected.map(|(step, name)| (step, name.to_owned())));
}

#[test]
fn who_is_frozen_need_not_progress_and_who_is_not_must() {
    assert_eq!(frozen().outcome("step frozen: progress"), Outcome::Pass);
    assert_eq!(frozen().outcome("step frozen: throughput_min"), Outcome::Pass);
    assert_eq!(frozen().outcome("step frozen: max_gap"), Outcome::Pass);
    let starved = frozen().with(2, |r| (r.steps[1].iterations, r.steps[1].work_units) = (0, 0));
    let check = starved.check("step frozen: progress");
    assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![2]));
    let before = frozen().with(0, |r| (r.steps[0].iterations, r.steps[0].work_units) = (0, 0));
    assert_eq!(before.outcome("step free: progress"), Outcome::Fail);
}

#[test]
fn who_is_frozen_for_a_while_must_progress_in_the_run() {
    let json = r#"{"cgroups":[{"name":"a","works":[{}]}],"steps":[
        {"ops":[{"Freeze":"a"}],"hold":{"Time":"1s"}},{"ops":[{"Thaw":"a"}],"hold":{"Time":"1s"}}]}"#;
    let starved = Case::new(json).with(0, |r| (r.iterations, r.work_units) = (0, 0));
    assert_eq!(starved.outcome("progress"), Outcome::Fail);
}

#[test]
fn where_everyone_is_frozen_no_progress_is_expected() {
    let json = r#"{"cgroups":[{"name":"a","works":[{}]}],
        "steps":[{"name":"s","ops":[{"Freeze":"a"}],"expect":{}}]}"#;
    let names = |case: Case| case.checks().into_iter().map(|c| c.name).collect::<Vec<_>>();
    assert_eq!(names(Case::new(json)), ["cpu_accounting", "completed", "applied"]);
}

#[test]
fn a_stalled_worker_that_moves_fails_and_is_named() {
    assert_eq!(frozen().outcome("step frozen: stalled"), Outcome::Pass);
    let check = frozen().with(1, |r| r.steps[1].iterations = 1).check("step frozen: stalled");
    assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
    let mut gone = frozen();
    gone.reports.iter_mut().for_each(|r| r.steps.clear());
    let check = gone.check("step frozen: stalled");
    assert_eq!(check.outcome, Outcome::Inconclusive);
    assert!(check.detail.ends_with("no worker was there"), "{}", check.detail);
}

/// `a` in a step of two rounds with these operations.
fn looped(ops: &str, expect: &str) -> Case {
    Case::new(&format!(
        r#"{{"cgroups":[{{"name":"a","works":[{{}}]}},{{"name":"b","works":[{{}}]}}],
            "steps":[{{"name":"s","ops":[{ops}],"expect":{expect},
                       "hold":{{"Loop":{{"interval":"500ms","time":"1s"}}}}}}]}}"#
    ))
}

#[test]
fn iterations_of_a_worker_that_was_elsewhere_too_are_not_those_of_a_stalled_one() {
    let there_and_back =
        r#"{"MoveAllTasks":{"from":"a","to":"b"}},{"MoveAllTasks":{"from":"b","to":"a"}}"#;
    let case = || looped(there_and_back, r#"{"progress":false,"stalled":["a"]}"#);
    let check = case().check("step s: stalled");
    assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
    assert!(check.detail.contains("worker 0 was in `b` too, not only in `a`"), "{check:?}");
    let still = [0, 1]
        .into_iter()
        .fold(case(), |case, worker| case.with(worker, |r| r.steps[0].iterations = 0));
    assert_eq!(still.outcome("step s: stalled"), Outcome::Pass);
}

#[test]
fn who_is_frozen_for_a_moment_must_progress_and_may_have_a_gap() {
    let case = || looped(r#"{"Freeze":"a"},{"Thaw":"a"}"#, r#"{"max_gap":"5ms"}"#);
    let held_up = case().with(0, |r| r.steps[0].max_gap_ns = Some(6 * MS));
    assert_ne!(held_up.outcome("step s: max_gap"), Outcome::Fail);
    let free = case().with(1, |r| r.steps[0].max_gap_ns = Some(6 * MS));
    assert_eq!(free.outcome("step s: max_gap"), Outcome::Fail);
    let starved = case().with(0, |r| (r.steps[0].iterations, r.steps[0].work_units) = (0, 0));
    assert_eq!(starved.outcome("step s: progress"), Outcome::Fail);
}

#[test]
fn a_step_that_was_not_held_as_long_as_it_says_shows_nothing() {
    let cut = |held_ms: u64, later_ms: u64| {
        let mut case =
            frozen().with(2, |r| (r.steps[1].iterations, r.steps[1].work_units) = (0, 0));
        let step = &mut case.record.steps[1];
        (step.held_ns, step.later_operations_ns) = (held_ms * MS, later_ms * MS);
        case
    };
    assert_eq!(cut(1000, 0).outcome("step frozen: progress"), Outcome::Fail);
    for case in [cut(999, 0), cut(1400, 401)] {
        let check = case.check("step frozen: progress");
        assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
        assert!(check.detail.contains("step frozen was held for 999.0ms of 1.0s"), "{check:?}");
        assert_eq!(case.outcome("step frozen: stalled"), Outcome::Inconclusive);
        assert_eq!(case.outcome("step free: progress"), Outcome::Pass);
        assert_eq!(case.outcome("progress"), Outcome::Inconclusive);
    }
}

#[test]
fn a_step_that_never_was_is_inconclusive() {
    let mut case = frozen();
    case.record.steps.truncate(1);
    let check = case.check("step frozen: progress");
    assert_eq!(check.outcome, Outcome::Inconclusive);
    assert!(check.detail.contains("did not come so far"), "{}", check.detail);
    assert_eq!(case.outcome("step free: progress"), Outcome::Pass);
}

#[test]
fn a_gap_is_that_of_the_time_in_which_a_worker_was_not_frozen() {
    let gap = |case: Case| {
        let mut case = case.with(0, |r| r.max_gap_ns = Some(WALL_NS));
        case.scenario.expect =
            Expect { max_gap: Some(std::time::Duration::from_millis(5)), ..case.scenario.expect };
        case.check("max_gap")
    };
    assert_eq!(gap(frozen()).outcome, Outcome::Pass);
    let held_up = gap(frozen().with(0, |r| r.steps[0].max_gap_ns = Some(6 * MS)));
    assert_eq!((held_up.outcome, held_up.workers), (Outcome::Fail, vec![0]));
    let running = gap(frozen().with(2, |r| r.max_gap_ns = Some(6 * MS)));
    assert_eq!((running.outcome, running.workers), (Outcome::Fail, vec![2]));
}
