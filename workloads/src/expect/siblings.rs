//! Whether sibling cgroups share CPU time by their weights. Called by `judge`.

use super::check::{Reading, float};
use super::demand::is_in;
use super::kernel::YieldCost;
use super::part::{Account, Part, Window, place};
use super::peers::forfeits_if_any;
use super::place::{cpus_of, listed};
use super::share::{Claim, Claimant, Runner, divide, limited, parent, weight_of_group};
use crate::plan::Scene;
use std::collections::{BTreeMap, BTreeSet};

/// The part of their time that CPUs must have been busy for weights to have decided. Interrupts
/// and the runner have the rest.
const BUSY: f64 = 0.98;

/// For each cgroup how far its share among its siblings is from that of its weight.
pub(super) fn deviations(part: &Part<'_>, tolerance: f64) -> Vec<Reading> {
    let (mut readings, mut skipped) = (Vec::new(), Vec::new());
    for window in &part.windows {
        let scene = match window.scene() {
            Ok(scene) => scene,
            Err(why) => {
                readings.push(Reading::none(format!("{why}{}", window.suffix(part))));
                continue;
            }
        };
        let parents: BTreeSet<&str> = scene.cgroups.keys().map(|path| parent(path)).collect();
        for parent in parents {
            let family = Family { part, window, scene, siblings: BTreeMap::new() };
            let (family, without) = family.of(parent);
            skipped.extend(without);
            if family.siblings.len() > 1 {
                let missing = |why| vec![Reading::none(format!("{why}{}", window.suffix(part)))];
                readings.extend(family.readings(tolerance).unwrap_or_else(missing));
            }
        }
    }
    if readings.is_empty() {
        readings.extend(skipped.into_iter().take(1).map(Reading::none));
    }
    readings
}

/// Cgroups with one parent whose workers wanted a CPU all the time.
struct Family<'a> {
    part: &'a Part<'a>,
    window: &'a Window<'a>,
    scene: &'a Scene,
    siblings: BTreeMap<&'a str, Vec<Runner<'a>>>,
}

impl<'a> Family<'a> {
    /// With the children of `above` that have such workers, and why others are left out.
    fn of(mut self, above: &str) -> (Self, Vec<String>) {
        let Self { part, window, scene, .. } = self;
        let mut without = Vec::new();
        for path in scene.cgroups.keys().filter(|path| parent(path) == above) {
            let runners = window.workers_in(path);
            let runners = runners.filter_map(|worker| Runner::of(part, window, scene, worker));
            match runners.collect::<Result<Vec<_>, _>>() {
                Ok(runners) if runners.is_empty() => {}
                Ok(runners) => {
                    self.siblings.insert(path, runners);
                }
                Err(why) => without.push(why),
            }
        }
        (self, without)
    }

    /// One of each sibling; an error if weights did not decide.
    fn readings(&self, tolerance: f64) -> Result<Vec<Reading>, String> {
        let cpus = self.shared_cpus()?;
        let mut runners = self.siblings.values().flatten();
        if let Some(path) = runners.find_map(|runner| limited(self.scene, runner.path)) {
            return Err(format!("`{path}` has a quota"));
        }
        let used_ns = self.siblings.keys().map(|path| self.used_ns(path));
        let used_ns = used_ns.collect::<Result<Vec<f64>, _>>()?;
        let all_ns: f64 = used_ns.iter().sum();
        let wall_ns = self.wall_ns()?;
        self.check_busy(cpus, all_ns, wall_ns)?;
        let claims: Vec<Claim<'_>> = self.siblings.iter().map(|one| self.claim(one)).collect();
        if claims.iter().map(|claim| claim.most).sum::<f64>() * BUSY <= all_ns / wall_ns {
            return Err("every worker had a CPU to itself, so that no weight decided".into());
        }
        let by_weight = divide(all_ns / wall_ns, &claims);
        let shares = used_ns.iter().zip(by_weight);
        let shares = shares.map(|(used, due)| (used / all_ns, due * wall_ns / all_ns));
        let each = self.siblings.iter().zip(shares);
        let readings = each.map(|((path, runners), shares)| self.reading(path, runners, shares));
        let readings: Vec<Reading> = readings.collect();
        let is_off = |reading: &Reading| off_by(reading).abs() > tolerance;
        let owed = match readings.iter().any(is_off) {
            true => self.owed(cpus, readings, tolerance)?,
            false => readings,
        };
        Ok(owed.into_iter().map(absolute).collect())
    }

    /// What of readings that are off shows that somebody was not given what the kernel owes. Where a
    /// yield is paid for among all tasks of a CPU, a cgroup without yielders is owed its share at
    /// least, and one with them nothing.
    fn owed(
        &self,
        cpus: &BTreeSet<usize>,
        readings: Vec<Reading>,
        tolerance: f64,
    ) -> Result<Vec<Reading>, String> {
        let cost = self.part.kernel.yield_cost();
        if cost != YieldCost::Turn && cpus.len() > 1 {
            self.check_others(cpus)?;
        }
        let yielder = self.siblings.values().flatten().find(|runner| runner.yields());
        let Some(yielder) = yielder.filter(|_| cost == YieldCost::OnCpu) else {
            return Ok(readings);
        };
        let yields = self.siblings.values().map(|runners| runners.iter().any(Runner::yields));
        let lacks = |(reading, yields): &(Reading, bool)| !yields && off_by(reading) < -tolerance;
        let lacking = readings.into_iter().zip(yields).filter(lacks);
        let lacking: Vec<Reading> = lacking.map(|(reading, _)| reading).collect();
        match lacking.is_empty() {
            false => Ok(lacking),
            true => Err(format!("{}, and other cgroups get that", yielder.forfeits())),
        }
    }

    /// How much more than its share it had, as a part of that.
    fn reading(&self, path: &str, runners: &[Runner<'_>], shares: (f64, f64)) -> Reading {
        let (share, by_weight) = shares;
        let (had, due) = (100.0 * share, 100.0 * by_weight);
        let suffix = self.window.suffix(self.part);
        Reading {
            workers: runners.iter().map(|runner| runner.worker).collect(),
            what: format!("`{path}` {had:.1} %, {due:.1} % by weight{suffix}"),
            value: Ok(share / by_weight - 1.0),
        }
    }

    /// Refuses yielders beside the siblings: on several CPUs those of them gain who share one with it.
    fn check_others(&self, cpus: &BTreeSet<usize>) -> Result<(), String> {
        let Self { part, window, scene, .. } = self;
        let others = window.workers.iter().filter(|worker| !self.is_sibling(worker));
        let mut near = others.filter(|worker| {
            let own = cpus_of(part.plan, scene, worker);
            own.is_ok_and(|own| !own.is_disjoint(cpus))
        });
        match near.find_map(|worker| forfeits_if_any(part.plan, worker)) {
            Some(forfeits) => Err(format!("{forfeits}, and who shares its CPU gets that")),
            None => Ok(()),
        }
    }

    /// Whether a worker is in one of the cgroups, or below.
    fn is_sibling(&self, worker: &Account<'_>) -> bool {
        let path = place(self.scene, worker.crew).unwrap_or_default();
        self.siblings.keys().any(|sibling| is_in(path, sibling))
    }

    fn used_ns(&self, path: &str) -> Result<f64, String> {
        self.window.used(path, "usage_ns", |cgroup| cgroup.cpu_time_ns)
    }

    fn wall_ns(&self) -> Result<f64, String> {
        let path = self.siblings.keys().next().copied().unwrap_or_default();
        self.window.used(path, "wall_time_ns", |cgroup| Some(cgroup.wall_time_ns))
    }

    fn claim(&self, (path, runners): (&&'a str, &Vec<Runner<'_>>)) -> Claim<'a> {
        let cgroup = self.scene.cgroups.get(*path);
        Claim {
            of: Claimant::Group(path),
            weight: cgroup.map_or(0.0, |cgroup| weight_of_group(&cgroup.cpu)),
            most: float(runners.len() as u64),
        }
    }

    fn shared_cpus(&self) -> Result<&BTreeSet<usize>, String> {
        let each =
            || self.siblings.iter().flat_map(|(path, all)| all.iter().map(move |r| (path, r)));
        let (path, first) = each().next().ok_or("no worker was running")?;
        match each().find(|(_, runner)| runner.cpus != first.cpus) {
            None => Ok(&first.cpus),
            Some((other, runner)) => Err(format!(
                "workers of `{path}` may use {}, of `{other}` {}",
                listed(&first.cpus),
                listed(&runner.cpus)
            )),
        }
    }

    /// Refuses CPUs that had idle time, in which weights decide nothing. What others used counts
    /// if they can have used it nowhere else.
    fn check_busy(
        &self,
        cpus: &BTreeSet<usize>,
        siblings_ns: f64,
        wall_ns: f64,
    ) -> Result<(), String> {
        let Self { part, window, scene, .. } = self;
        let here = |worker: &&Account<'_>| {
            let own = cpus_of(part.plan, scene, worker);
            own.is_ok_and(|own| own.is_subset(cpus))
        };
        let others = window.workers.iter().filter(|worker| !self.is_sibling(worker)).filter(here);
        let others_ns: f64 = others.filter_map(|worker| worker.cpu_time_ns).map(float).sum();
        let busy = (siblings_ns + others_ns) / (wall_ns * float(cpus.len() as u64));
        if busy >= BUSY {
            return Ok(());
        }
        Err(format!(
            "{} were busy {:.1} % of the time, by these and who shares them",
            listed(cpus),
            100.0 * busy
        ))
    }
}

fn off_by(reading: &Reading) -> f64 {
    reading.value.as_ref().copied().unwrap_or(0.0)
}

/// How far off, whichever way.
fn absolute(reading: Reading) -> Reading {
    Reading { value: reading.value.map(f64::abs), ..reading }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Case, MS};
    use super::super::{Check, Outcome};

    /// `a` and `b` with two workers each, 300 against 100.
    fn groups(of_b: &str) -> String {
        format!(
            r#""cgroups":[{{"name":"a","cpu":{{"weight":300}},"works":[{{"num_workers":4}}]}},
                {{"name":"b","works":[{{"num_workers":2{of_b}}}]}}]"#
        )
    }

    fn case(scenario: &str, cpu_ms: &[u64]) -> Case {
        let json = format!(r#"{{"expect":{{"weight_tolerance":0.1}},{scenario}}}"#);
        Case::new(&json).cpu_ms(cpu_ms)
    }

    fn judged(scenario: &str, cpu_ms: &[u64]) -> Check {
        case(scenario, cpu_ms).check("weight_tolerance")
    }

    fn why(scenario: &str, cpu_ms: &[u64]) -> String {
        let check = judged(scenario, cpu_ms);
        assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
        check.detail
    }

    #[test]
    fn shares_by_weight_pass_and_others_fail_with_the_worst_cgroup() {
        // 1.5 and 0.5 CPUs.
        let check = judged(&groups(""), &[375, 375, 375, 375, 250, 250]);
        assert_eq!(check.outcome, Outcome::Pass, "{check:?}");
        let check = judged(&groups(""), &[350, 350, 350, 350, 300, 300]);
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Fail, &[4, 5][..]));
        assert!((check.measured.unwrap() - 0.2).abs() < 1e-9, "{check:?}");
        assert!(check.detail.ends_with("`b` 30.0 %, 25.0 % by weight"), "{check:?}");
    }

    #[test]
    fn a_cgroup_is_not_blamed_for_cpus_that_it_cannot_use() {
        // One worker uses one CPU, whatever its weight.
        let one = r#""cgroups":[{"name":"a","cpu":{"weight":300},"works":[{}]},
            {"name":"b","works":[{"num_workers":2}]}]"#;
        assert_eq!(judged(one, &[1000, 500, 500]).outcome, Outcome::Pass);
    }

    #[test]
    fn the_time_of_others_is_not_shared() {
        let root = format!(r#""workload":{{"sched_policy":{{"Fifo":1}}}},{}"#, groups(""));
        let times = [1000, 187, 187, 188, 188, 125, 125];
        assert_eq!(judged(&root, &times).outcome, Outcome::Pass);
    }

    #[test]
    fn children_are_compared_with_each_other_only() {
        let tree = r#""cgroups":[{"name":"a/x","cpu":{"weight":300},"works":[{"num_workers":2}]},
            {"name":"a/y","works":[{"num_workers":2}]},{"name":"b","works":[{"num_workers":2}]}]"#;
        // `a` and `b` are equal, and so are not `a/x` and `a/y`.
        assert_eq!(judged(tree, &[375, 375, 125, 125, 500, 500]).outcome, Outcome::Pass);
        let check = judged(tree, &[250, 250, 250, 250, 500, 500]);
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![0, 1, 2, 3]));
    }

    #[test]
    fn idle_cpus_say_nothing_of_weights() {
        let why = why(&groups(""), &[375, 375, 375, 300, 200, 250]);
        assert!(why.contains("CPUs 0-1 were busy 93.8 % of the time"), "{why}");
        // Workers below a sibling are in its time already.
        let below = groups("").replace(r#""a""#, r#""a/x""#);
        assert!(self::why(&below, &[350, 350, 350, 350, 200, 200]).contains("busy 90.0 %"));
        let alone = r#""cgroups":[{"name":"a","works":[{}]},{"name":"b","works":[{}]}]"#;
        assert!(self::why(alone, &[1000, 1000]).contains("a CPU to itself"));
    }

    #[test]
    fn cpusets_quotas_and_sleepers_leave_it_open() {
        let times = [375, 375, 375, 375, 250, 250];
        let differ = why(&groups(r#","affinity":{"Exact":[0]}"#), &times);
        assert!(differ.contains("workers of `a` may use CPUs 0-1, of `b` CPU 0"), "{differ}");
        let limited =
            groups("").replace(r#""weight":300"#, r#""weight":300,"max":{"quota":"150ms"}"#);
        assert!(why(&limited, &times).ends_with("`a` has a quota"));
        let slept = case(&groups(""), &times).with(4, |r| {
            (r.voluntary_switches, r.run_delay_ns) = (Some(100), Some(0));
        });
        let check = slept.check("weight_tolerance");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("worker 4 slept"), "{check:?}");
        assert!(why(r#""workload":{}"#, &[500]).contains("no two cgroups"));
    }

    #[test]
    fn a_cgroup_with_yielders_is_owed_nothing_where_a_yield_reaches_the_whole_cpu() {
        let of = |release, scenario: &str, ms: &[u64]| {
            case(scenario, ms).kernel(release).check("weight_tolerance")
        };
        // 1.5 CPUs for `a`, half a CPU for the yielders of `b`.
        let yields = groups(r#","work_type":"YieldHeavy""#);
        let (right, less, more) = (
            [375, 375, 375, 375, 250, 250],
            [475, 475, 475, 475, 50, 50],
            [300, 300, 300, 300, 400, 400],
        );
        let check = of("7.3.4", &yields, &less);
        assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
        assert!(check.detail.contains("worker 4 is a YieldHeavy"), "{check:?}");
        assert_eq!(of("7.3.4", &yields, &right).outcome, Outcome::Pass);
        let check = of("7.3.4", &yields, &more);
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![0, 1, 2, 3]));
        // Before, it was paid for within the cgroup.
        for release in ["6.1.0-50", "6.12.117"] {
            assert_eq!(of(release, &yields, &right).outcome, Outcome::Pass);
            assert_eq!(of(release, &yields, &less).outcome, Outcome::Fail);
        }
        // Beside them, a yielder gives what it leaves to those on its CPU.
        let root = r#""workload":{"work_type":"Mixed"}"#;
        let beside = format!("{root},{}", groups(""));
        let times = [20, 300, 300, 300, 290, 395, 395];
        assert_eq!(of("6.12.117", &beside, &times).outcome, Outcome::Inconclusive);
        assert_eq!(of("6.1.0-50", &beside, &times).outcome, Outcome::Fail);
    }

    #[test]
    fn what_was_not_read_of_a_cgroup_is_not_zero() {
        let unread = case(&groups(""), &[375, 375, 375, 375, 250, 250]);
        let check = unread.using("b", |cgroup| cgroup.cpu_time_ns = None).check("weight_tolerance");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("`b` has no usage_ns"), "{check:?}");
        let children = case(&groups(""), &[375, 375, 375, 375, 0, 0]);
        // What ended children used counts for the cgroup.
        let check = children.using("b", |cgroup| cgroup.cpu_time_ns = Some(500 * MS));
        assert_eq!(check.outcome("weight_tolerance"), Outcome::Pass);
    }

    #[test]
    fn the_step_is_named_in_a_run_with_steps() {
        let json = format!(
            r#"{},"steps":[{{"name":"s","expect":{{"weight_tolerance":0.1}}}}]"#,
            groups("")
        );
        let case = case(&json, &[250, 250, 250, 250, 500, 500]);
        let run = case.check("weight_tolerance");
        assert!(run.detail.ends_with("by weight in step s"), "{run:?}");
        let step = case.check("step s: weight_tolerance");
        assert_eq!((step.outcome, step.step), (Outcome::Fail, Some(0)));
        assert!(step.detail.ends_with("by weight"), "{step:?}");
    }
}
