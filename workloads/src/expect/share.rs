//! What weights entitle workers to: the tree of cgroups as fair scheduling sees it, with workers
//! that want a CPU all the time. Called by `weight`.

use super::check::float;
use super::demand::is_in;
use super::kernel::YieldCost;
use super::part::{Account, Part, Window, is_frozen, place};
use super::place::{cpus_of, post};
use crate::config::SchedPolicy;
use crate::plan::{PlannedSet, ROOT, Scene, above};
use crate::scenario::{CpuKnobs, DEFAULT_WEIGHT};
use crate::work::{WorkType, Yields};
use std::collections::{BTreeMap, BTreeSet};

/// `sched_prio_to_weight` from nice -20 to 19: a level is worth a quarter more or less.
const NICE_WEIGHTS: [f64; 40] = [
    88761., 71755., 56483., 46273., 36291., 29154., 23254., 18705., 14949., 11916., 9548., 7620.,
    6100., 4904., 3906., 3121., 2501., 1991., 1586., 1277., 1024., 820., 655., 526., 423., 335.,
    272., 215., 172., 137., 110., 87., 70., 56., 45., 36., 29., 23., 18., 15.,
];
/// Weight of nice 0, and of a cgroup that nobody gave one.
const NICE_0: f64 = 1024.0;
/// WEIGHT_IDLEPRIO: of a SCHED_IDLE task, and of an idle cgroup.
const IDLE: f64 = 3.0;
/// The part of its time in which a worker must have run or waited for a CPU to have asked for
/// its share. The last wait is not in the counters yet.
const RUNNABLE: f64 = 0.95;

/// A worker that wanted a CPU all the time.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) worker: usize,
    /// Its cgroup.
    pub(super) path: &'a str,
    pub(super) cpus: BTreeSet<usize>,
    pub(super) cpu_ns: f64,
    weight: f64,
    work: &'a WorkType,
}

impl<'a> Runner<'a> {
    /// `None` for one that is frozen; an error says why its share is not known.
    pub(super) fn of(
        part: &Part<'a>,
        window: &Window<'_>,
        scene: &'a Scene,
        account: &Account<'_>,
    ) -> Option<Result<Self, String>> {
        let path = place(scene, account.crew).filter(|path| !is_frozen(scene, path))?;
        let runner = || {
            let (_, set) = post(part.plan, account)?;
            check_steady(account, set)?;
            let nice = set.spec.nice.or(account.report.nice).unwrap_or(0);
            let weight = match &set.spec.sched_policy {
                SchedPolicy::Normal | SchedPolicy::Batch => weight_of_nice(nice),
                SchedPolicy::Idle => IDLE,
                other => return Err(format!("worker {} runs under {other:?}", account.index())),
            };
            let cpu_ns = account.known("cpu_time_ns", account.cpu_time_ns)?;
            check_presence(window, account)?;
            check_runnable(account, cpu_ns)?;
            let cpus = cpus_of(part.plan, scene, account)?;
            let work = &set.spec.work_type;
            Ok(Self { worker: account.index(), path, cpus, cpu_ns, weight, work })
        };
        Some(runner())
    }

    pub(super) fn yields(&self) -> bool {
        self.yielding() != Yields::Never
    }

    /// What is to be known of a yielder, as the beginning of a sentence.
    pub(super) fn forfeits(&self) -> String {
        forfeits(self.worker, self.work)
    }

    fn yielding(&self) -> Yields {
        self.work.work().needs().yields
    }

    /// Whether both give up as much as often, and among the same tasks.
    fn is_like(&self, other: &Self) -> bool {
        (self.work, self.path) == (other.work, other.path) && self.weight == other.weight
    }
}

/// What is to be known of a worker that yields, as the beginning of a sentence.
pub(super) fn forfeits(worker: usize, work: &WorkType) -> String {
    format!(
        "worker {worker} is a {}: from Linux 6.6 on each sched_yield gives up the rest of the slice",
        work.name()
    )
}

/// Who among `runners` gives up what its weight says that it is owed: a yielder, if those that get
/// it do not do just the same.
pub(super) fn yielder<'r, 'a>(
    runners: &'r [Runner<'a>],
    cost: YieldCost,
) -> Option<&'r Runner<'a>> {
    let gets = |yielder: &Runner<'_>, other: &Runner<'_>| match cost {
        YieldCost::Turn => false,
        YieldCost::InGroup => yielder.path == ROOT || is_in(other.path, yielder.path),
        YieldCost::OnCpu => true,
    };
    let loses = |yielder: &&Runner<'_>| {
        let mut others = runners.iter().filter(|other| other.worker != yielder.worker);
        let always = yielder.yielding() == Yields::Always;
        yielder.yields()
            && others.any(|other| gets(yielder, other) && !(always && other.is_like(yielder)))
    };
    runners.iter().find(loses)
}

/// Refuses work that has another policy, nice level or place than it was given.
fn check_steady(account: &Account<'_>, set: &PlannedSet) -> Result<(), String> {
    const FAIR: [&str; 3] = ["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE"];
    let (index, name) = (account.index(), set.spec.work_type.name());
    if set.spec.work_type.work().needs().restless {
        return Err(format!("worker {index} is a {name}, which changes its own share"));
    }
    match account.report.sched_policy.as_deref().filter(|policy| !FAIR.contains(policy)) {
        Some(policy) => Err(format!("worker {index} ran under {policy}")),
        None => Ok(()),
    }
}

fn check_presence(window: &Window<'_>, account: &Account<'_>) -> Result<(), String> {
    let longest = window.longest_ns();
    // Those who were kept from a CPU at the end were not there for longer than the others.
    let until_end =
        if window.wall_time_ns > 0 { longest.min(window.wall_time_ns) } else { longest };
    let part = account.wall_ns()? / float(until_end);
    if part >= RUNNABLE {
        return Ok(());
    }
    let percent = 100.0 * part;
    Err(format!("worker {} was there for {percent:.0} % of the time", account.index()))
}

/// Who never blocked was runnable, however long its last wait is.
pub(super) fn check_runnable(account: &Account<'_>, cpu_ns: f64) -> Result<(), String> {
    if account.voluntary_switches == Some(0) {
        return Ok(());
    }
    let delay_ns = account.known("run_delay_ns", account.run_delay_ns)?;
    let part = (cpu_ns + delay_ns) / account.wall_ns()?;
    if part >= RUNNABLE {
        return Ok(());
    }
    let (index, percent) = (account.index(), 100.0 * part);
    Err(format!("worker {index} slept: it wanted a CPU {percent:.0} % of the time"))
}

fn weight_of_nice(nice: i32) -> f64 {
    let at = usize::try_from(nice.clamp(-20, 19) + 20).unwrap_or(20);
    NICE_WEIGHTS[at]
}

/// As `sched_weight_from_cgroup` has it.
pub(super) fn weight_of_group(knobs: &CpuKnobs) -> f64 {
    match knobs.idle {
        Some(true) => IDLE,
        _ => (float(knobs.weight.unwrap_or(DEFAULT_WEIGHT)) * NICE_0 / 100.0).round(),
    }
}

/// CPUs that each runner is entitled to of `capacity`, by worker.
pub(super) fn entitlements(
    scene: &Scene,
    runners: &[Runner<'_>],
    capacity: f64,
) -> BTreeMap<usize, f64> {
    let mut entitled = BTreeMap::new();
    descend(scene, runners, ROOT, capacity, &mut entitled);
    entitled
}

fn descend(
    scene: &Scene,
    runners: &[Runner<'_>],
    path: &str,
    capacity: f64,
    entitled: &mut BTreeMap<usize, f64>,
) {
    let tasks = runners.iter().filter(|runner| runner.path == path);
    let groups = scene.cgroups.iter().filter(|(child, _)| parent(child) == path);
    let groups = groups.map(|(child, cgroup)| Claim {
        of: Claimant::Group(child),
        weight: weight_of_group(&cgroup.cpu),
        most: float(runners.iter().filter(|runner| is_in(runner.path, child)).count() as u64),
    });
    let tasks =
        tasks.map(|r| Claim { of: Claimant::Worker(r.worker), weight: r.weight, most: 1.0 });
    let claims: Vec<Claim<'_>> = tasks.chain(groups).filter(|claim| claim.most > 0.0).collect();
    for (claim, share) in claims.iter().zip(divide(capacity, &claims)) {
        match claim.of {
            Claimant::Worker(worker) => {
                entitled.insert(worker, share);
            }
            Claimant::Group(child) => descend(scene, runners, child, share, entitled),
        }
    }
}

/// One of those who share, with the most that it can use.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) of: Claimant<'a>,
    pub(super) weight: f64,
    pub(super) most: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Claimant<'a> {
    Worker(usize),
    Group(&'a str),
}

/// `capacity` by weight; what one cannot use goes to the others.
pub(super) fn divide(capacity: f64, claims: &[Claim<'_>]) -> Vec<f64> {
    let mut shares: Vec<Option<f64>> = vec![None; claims.len()];
    let mut left = capacity;
    loop {
        let open = || (0..claims.len()).filter(|at| shares[*at].is_none());
        let weights: f64 = open().map(|at| claims[at].weight).sum();
        let share = |at: usize| left * claims[at].weight / weights;
        let full: Vec<usize> = open().filter(|at| share(*at) >= claims[*at].most).collect();
        if full.is_empty() {
            return (0..claims.len()).map(|at| shares[at].unwrap_or_else(|| share(at))).collect();
        }
        for at in full {
            shares[at] = Some(claims[at].most);
            left -= claims[at].most;
        }
    }
}

/// The cgroup that limits `path` by a quota, itself or above it.
pub(super) fn limited<'a>(scene: &Scene, path: &'a str) -> Option<&'a str> {
    let limits = |path: &&str| {
        let max = scene.cgroups.get(*path).and_then(|cgroup| cgroup.cpu.max);
        max.is_some_and(|max| max.quota.is_some())
    };
    std::iter::once(path).chain(above(path)).find(limits)
}

pub(super) fn parent(path: &str) -> &str {
    above(path).next().unwrap_or(ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(capacity: f64, claims: &[(f64, f64)]) -> Vec<f64> {
        let claim = |(weight, most): &(f64, f64)| Claim {
            of: Claimant::Worker(0),
            weight: *weight,
            most: *most,
        };
        divide(capacity, &claims.iter().map(claim).collect::<Vec<_>>())
    }

    #[test]
    fn what_one_cannot_use_goes_to_the_others_by_weight() {
        assert_eq!(divided(2.0, &[(300.0, 4.0), (100.0, 4.0)]), [1.5, 0.5]);
        assert_eq!(divided(2.0, &[(300.0, 1.0), (100.0, 4.0)]), [1.0, 1.0]);
        // The second is full only because the first is.
        assert_eq!(divided(4.0, &[(6.0, 1.0), (2.0, 1.0), (1.0, 4.0)]), [1.0, 1.0, 2.0]);
        assert_eq!(divided(4.0, &[(1.0, 1.0), (1.0, 1.0)]), [1.0, 1.0]);
        assert!(divided(1.0, &[]).is_empty());
    }

    #[test]
    fn a_nice_level_is_worth_a_quarter() {
        for pair in NICE_WEIGHTS.windows(2) {
            let ratio = pair[0] / pair[1];
            assert!((1.18..1.31).contains(&ratio), "{pair:?}");
        }
        assert_eq!((weight_of_nice(-20), weight_of_nice(0)), (88761.0, NICE_0));
        assert_eq!(weight_of_nice(19), 15.0);
    }

    #[test]
    fn weights_of_cgroups_are_on_the_scale_of_tasks() {
        let weight = |json| weight_of_group(&serde_json::from_str(json).unwrap());
        assert_eq!(weight("{}"), NICE_0);
        assert_eq!(weight(r#"{"weight":1}"#), 10.0);
        assert_eq!(weight(r#"{"weight":10000}"#), 102_400.0);
        assert_eq!(weight(r#"{"idle":true}"#), 3.0);
    }
}
