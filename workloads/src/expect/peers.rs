//! Whether the kernel owes the members of a set the same CPU time. Asked by `sets`.

use super::kernel::YieldCost;
use super::part::{Account, Part, place};
use super::place::{may_use, post};
use super::share::{forfeits, limited};
use crate::plan::{Plan, PlannedSet};
use crate::work::Yields;
use std::collections::BTreeSet;

/// Asked of sets whose members had unequal times. An error says why the kernel did not owe them
/// the same.
pub(super) fn owed_the_same(part: &Part<'_>, workers: &[usize]) -> Result<(), String> {
    let members = part.workers.iter().filter(|worker| workers.contains(&worker.index()));
    let members: Vec<&Account<'_>> = members.collect();
    let Some(first) = members.first() else { return Ok(()) };
    let (_, set) = post(part.plan, first)?;
    if set.spec.sched_policy.is_fair() {
        if part.kernel.yield_cost() != YieldCost::Turn {
            beside_yielders(part, &members, set)?;
        }
        under_quota(part, &members, set)?;
    }
    Ok(())
}

/// A worker with the CPUs that it may use; `None` if they are not known.
struct Placed<'a> {
    account: &'a Account<'a>,
    cpus: Option<BTreeSet<usize>>,
}

impl<'a> Placed<'a> {
    fn of(plan: &Plan, account: &'a Account<'a>) -> Self {
        Self { account, cpus: may_use(plan, account) }
    }

    fn may_meet(&self, other: &Self) -> bool {
        match (&self.cpus, &other.cpus) {
            (Some(own), Some(others)) => !own.is_disjoint(others),
            _ => true,
        }
    }
}

/// Who yields loses to whoever is beside it and does not lose as much; and that one gets more than
/// its like on other CPUs. On one CPU for all of them it is the same for each.
fn beside_yielders(
    part: &Part<'_>,
    members: &[&Account<'_>],
    set: &PlannedSet,
) -> Result<(), String> {
    let plan = part.plan;
    let own: Vec<_> = members.iter().map(|member| Placed::of(plan, member)).collect();
    let others = part.workers.iter().filter(|worker| worker.report.group_idx != set.group_idx);
    let others = others.filter(|worker| !part.stands(worker.crew));
    let others: Vec<_> = others.map(|worker| Placed::of(plan, worker)).collect();
    let mut near = others.iter().filter(|other| own.iter().any(|member| member.may_meet(other)));
    let meets = |at: usize| own[at + 1..].iter().any(|other| own[at].may_meet(other));
    match yields_of(set) {
        Yields::AtTimes if (0..own.len()).any(meets) => Err(format!(
            "{}, so that one beside it that does not yield just then gets nearly all",
            forfeits(members[0].index(), &set.spec.work_type)
        )),
        Yields::Always | Yields::Never if on_one_cpu(&own) => Ok(()),
        Yields::Never => match near.find_map(|other| forfeits_if_any(plan, other.account)) {
            None => Ok(()),
            Some(forfeits) => Err(format!("{forfeits}, and who shares its CPU gets that")),
        },
        Yields::AtTimes | Yields::Always => match near.next() {
            None => Ok(()),
            Some(other) => Err(format!(
                "{}, and worker {} beside it gets that",
                forfeits(members[0].index(), &set.spec.work_type),
                other.account.index()
            )),
        },
    }
}

fn on_one_cpu(placed: &[Placed<'_>]) -> bool {
    let mut cpus = placed.iter().map(|one| one.cpus.as_ref());
    let all: Option<BTreeSet<usize>> =
        cpus.try_fold(BTreeSet::new(), |all, cpus| Some(&all | cpus?));
    all.is_some_and(|cpus| cpus.len() == 1)
}

/// Members that were in the kernel when the quota was used up have run on.
fn under_quota(part: &Part<'_>, members: &[&Account<'_>], set: &PlannedSet) -> Result<(), String> {
    if !part.kernel.throttles_at_return() || !set.spec.work_type.work().needs().system_calls {
        return Ok(());
    }
    let limit = part.scenes().find_map(|scene| {
        let paths = members.iter().filter_map(|member| place(scene, member.crew));
        paths.filter_map(|path| limited(scene, path)).next()
    });
    match limit {
        None => Ok(()),
        Some(path) => Err(format!(
            "`{path}` has a quota, and from Linux 6.18 on whoever is in a system call when that is \
             used up runs on to the end of the call, as a {} may",
            set.spec.work_type.name()
        )),
    }
}

fn yields_of(set: &PlannedSet) -> Yields {
    set.spec.work_type.work().needs().yields
}

/// What is to be known of a worker if it is a fair one that yields, as the beginning of a sentence.
pub(super) fn forfeits_if_any(plan: &Plan, account: &Account<'_>) -> Option<String> {
    let (_, set) = post(plan, account).ok()?;
    let yields = set.spec.sched_policy.is_fair() && yields_of(set) != Yields::Never;
    yields.then(|| forfeits(account.index(), &set.spec.work_type))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Case;
    use super::super::{Check, Outcome};

    /// Two pairs of workers on two CPUs, of which the pairs are unequal by 2 to 1.
    fn judged(release: &str, workload: &str) -> Check {
        let json = format!(r#"{{"expect":{{"fairness_min":0.95}},{workload}}}"#);
        let case = Case::new(&json).cpu_ms(&[600, 300, 600, 300]).kernel(release);
        case.check("fairness_min")
    }

    fn pairs(of_first: &str, of_second: &str) -> String {
        format!(
            r#""workload":{{"num_workers":2{of_first},
                "composed":[{{"num_workers":2{of_second}}}]}}"#
        )
    }

    const MIXED: &str = r#","work_type":"Mixed""#;
    const PHASES: &str =
        r#","work_type":{"Sequence":{"first":{"Spin":"1ms"},"rest":[{"Yield":"1ms"}]}}"#;
    const ON_0: &str = r#","affinity":{"Exact":[0]}"#;
    const ON_1: &str = r#","affinity":{"Exact":[1]}"#;

    #[test]
    fn yielders_are_not_owed_what_their_like_on_another_cpu_is() {
        for release in ["6.12.117", "7.3.4"] {
            let check = judged(release, &pairs(MIXED, ""));
            assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
            let why = "worker 0 is a Mixed: from Linux 6.6 on each sched_yield gives up the rest \
                       of the slice, and worker 2 beside it gets that";
            assert!(check.detail.ends_with(why), "{check:?}");
            // Nor are spinners beside them.
            let check = judged(release, &pairs("", MIXED));
            assert!(check.detail.ends_with("and who shares its CPU gets that"), "{check:?}");
        }
        // CFS gives them back what they leave.
        let check = judged("6.1.0-50", &pairs(MIXED, ""));
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Fail, &[0, 1, 2, 3][..]));
    }

    #[test]
    fn yielders_among_themselves_or_on_one_cpu_are_owed_the_same() {
        let apart = pairs(&format!("{MIXED}{ON_0}"), ON_1);
        assert_eq!(judged("7.3.4", &apart).outcome, Outcome::Fail);
        let together = pairs(&format!("{MIXED}{ON_0}"), ON_0);
        assert_eq!(judged("7.3.4", &together).outcome, Outcome::Fail);
        let alone = r#""workload":{"num_workers":2,"work_type":"YieldHeavy"}"#;
        assert_eq!(judged("7.3.4", alone).outcome, Outcome::Fail);
        // Under another policy a yield is another matter.
        let fifo = pairs(&format!(r#"{MIXED},"sched_policy":{{"Fifo":1}}"#), ON_0);
        assert_eq!(judged("7.3.4", &fifo).outcome, Outcome::Fail);
    }

    #[test]
    fn who_yields_at_times_loses_to_its_like() {
        let two = |more: &str| format!(r#""workload":{{"num_workers":2{PHASES}{more}}}"#);
        let check = judged("7.3.4", &two(ON_0));
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("does not yield just then gets nearly all"), "{check:?}");
    }

    #[test]
    fn under_a_quota_a_system_call_is_not_interrupted_since_6_18() {
        let limited = |work: &str| {
            format!(
                r#""cgroups":[{{"name":"a","cpu":{{"max":{{"quota":"20ms"}}}}}},
                    {{"name":"a/b","works":[{{"num_workers":2,"work_type":"{work}"}}]}}]"#
            )
        };
        let check = judged("7.3.4", &limited("PageFaultChurn"));
        assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
        assert!(check.detail.contains("`a` has a quota, and from Linux 6.18 on"), "{check:?}");
        assert_eq!(judged("7.3.4", &limited("SpinWait")).outcome, Outcome::Fail);
        assert_eq!(judged("6.12.117", &limited("PageFaultChurn")).outcome, Outcome::Fail);
    }

    #[test]
    fn times_that_are_equal_pass_whatever_was_owed() {
        let json = format!(r#"{{"expect":{{"fairness_min":0.9}},{}}}"#, pairs(MIXED, ""));
        let case = Case::new(&json).cpu_ms(&[10, 11, 900, 890]).kernel("7.3.4");
        assert_eq!(case.outcome("fairness_min"), Outcome::Pass);
    }

    #[test]
    fn the_variation_of_throughput_is_by_cpu_time_and_knows_no_shares() {
        let json = format!(r#"{{"expect":{{"throughput_cv_max":0.1}},{}}}"#, pairs(MIXED, ""));
        let case = Case::new(&json).kernel("7.3.4");
        assert_eq!(case.outcome("throughput_cv_max"), Outcome::Pass);
    }
}
