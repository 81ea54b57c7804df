//! Whether CPU time follows all weights together, of cgroups and of nice levels. Called by
//! `judge`.

use super::check::{Reading, float};
use super::part::{Part, Window};
use super::place::listed;
use super::sets::jain_index;
use super::share::{Runner, entitlements, limited, yielder};
use std::collections::{BTreeMap, BTreeSet};

/// Jain's index of CPU time by what each worker is entitled to.
pub(super) fn fairness(part: &Part<'_>, least: f64) -> Vec<Reading> {
    match Shares::of(part) {
        Ok(Shares { of, .. }) if of.len() < 2 => vec![Reading::none("there are no two workers")],
        Ok(Shares { of, yielders, why: Some(why) }) => {
            let is_broken =
                |reading: &Reading| reading.value.as_ref().is_ok_and(|index| *index < least);
            let (reading, owed) =
                (index_of(&of, least, mean(&of)), index_of(&one_sided(of, &yielders), least, 1.0));
            vec![match (is_broken(&reading), is_broken(&owed)) {
                (false, _) => reading,
                (true, false) => Reading::none(why),
                (true, true) => owed,
            }]
        }
        Ok(Shares { of, why: None, .. }) => vec![index_of(&of, least, mean(&of))],
        Err(why) => vec![Reading::none(why)],
    }
}

/// The others are owed their share at least, a yielder nothing: what is not owed counts as the share
/// itself.
fn one_sided(mut shares: BTreeMap<usize, f64>, yielders: &BTreeSet<usize>) -> BTreeMap<usize, f64> {
    for (worker, share) in &mut shares {
        *share = if yielders.contains(worker) { 1.0 } else { share.min(1.0) };
    }
    shares
}

/// CPU time by what it should be.
#[derive(Default)]
struct Shares {
    /// Of each worker.
    of: BTreeMap<usize, f64>,
    /// Workers that yield in any window.
    yielders: BTreeSet<usize>,
    /// Why that is no more than a lower bound of what the others get.
    why: Option<String>,
}

impl Shares {
    fn of(part: &Part<'_>) -> Result<Self, String> {
        let mut times: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        let mut shares = Self::default();
        for window in &part.windows {
            let of_window = shares.in_window(part, window);
            let of_window = of_window.map_err(|why| format!("{why}{}", window.suffix(part)))?;
            for (worker, used_ns, entitled_ns) in of_window {
                let (used, entitled) = times.entry(worker).or_default();
                *used += used_ns;
                *entitled += entitled_ns;
            }
        }
        let share = |(worker, (used, entitled)): (usize, (f64, f64))| {
            Some((worker, used / entitled)).filter(|(_, share)| share.is_finite())
        };
        Ok(Self { of: times.into_iter().filter_map(share).collect(), ..shares })
    }

    /// Each worker that ran in it, with its CPU time and what it was entitled to.
    fn in_window(
        &mut self,
        part: &Part<'_>,
        window: &Window<'_>,
    ) -> Result<Vec<(usize, f64, f64)>, String> {
        let (runners, cpus) = runners_of(part, window)?;
        self.yielders.extend(runners.iter().filter(|r| r.yields()).map(|runner| runner.worker));
        if let Some(yielder) = yielder(&runners, part.kernel.yield_cost()) {
            let suffix = window.suffix(part);
            let forfeits = yielder.forfeits();
            let why = || format!("{forfeits}, which its weight does not say{suffix}");
            self.why.get_or_insert_with(why);
        }
        let wall_ns = window.longest_ns();
        let scene = window.scene()?;
        let entitled = entitlements(scene, &runners, float(cpus as u64));
        let of_one = |runner: &Runner<'_>| {
            let share = entitled.get(&runner.worker).copied().unwrap_or(0.0);
            (runner.worker, runner.cpu_ns, share * float(wall_ns))
        };
        Ok(runners.iter().map(of_one).collect())
    }
}

/// Those who ran in a window, and how many CPUs they have together.
fn runners_of<'a>(
    part: &Part<'a>,
    window: &Window<'a>,
) -> Result<(Vec<Runner<'a>>, usize), String> {
    let scene = window.scene()?;
    let runners = window.workers.iter().filter_map(|w| Runner::of(part, window, scene, w));
    let runners = runners.collect::<Result<Vec<_>, _>>()?;
    let cpus = same_cpus(&runners)?.map_or(0, BTreeSet::len);
    if let Some(path) = runners.iter().find_map(|r| limited(scene, r.path)) {
        return Err(format!("`{path}` has a quota"));
    }
    Ok((runners, cpus))
}

fn mean(shares: &BTreeMap<usize, f64>) -> f64 {
    shares.values().sum::<f64>() / float(shares.len() as u64)
}

/// Jain's index of shares; who is off is said in relation to `one`.
fn index_of(shares: &BTreeMap<usize, f64>, least: f64, one: f64) -> Reading {
    let values: Vec<f64> = shares.values().copied().collect();
    let by_share = |a: &(&usize, &f64), b: &(&usize, &f64)| a.1.total_cmp(b.1);
    let ends = shares.iter().min_by(by_share).zip(shares.iter().max_by(by_share));
    let what = ends.map_or_else(String::new, |((low, least), (high, most))| {
        let (least, most) = (least / one, most / one);
        format!("worker {low} had {least:.2} of its share, worker {high} {most:.2}")
    });
    // One at least is so far off, or the index would not be so low.
    let off = |(_, share): &(&usize, &f64)| (*share / one - 1.0).abs() >= 1.0 - least;
    let workers = shares.iter().filter(off).map(|(worker, _)| *worker).collect();
    let value = jain_index(&values).ok_or_else(|| "no worker used CPU time".to_owned());
    Reading { workers, what, value }
}

/// The CPUs that all runners may use, if there are runners.
fn same_cpus<'a>(runners: &'a [Runner<'_>]) -> Result<Option<&'a BTreeSet<usize>>, String> {
    let Some(first) = runners.first() else { return Ok(None) };
    match runners.iter().find(|runner| runner.cpus != first.cpus) {
        None => Ok(Some(&first.cpus)),
        Some(other) => Err(format!(
            "worker {} may use {} and worker {} {}",
            first.worker,
            listed(&first.cpus),
            other.worker,
            listed(&other.cpus)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Case;
    use super::super::{Check, Outcome};

    fn judged(scenario: &str, cpu_ms: &[u64]) -> Check {
        let json = format!(r#"{{"expect":{{"weighted_fairness_min":0.95}},{scenario}}}"#);
        Case::new(&json).cpu_ms(cpu_ms).check("weighted_fairness_min")
    }

    fn why(scenario: &str) -> String {
        let check = judged(scenario, &[500; 4]);
        assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
        check.detail
    }

    #[test]
    fn nice_levels_are_weights() {
        // 1024 and 335 share one CPU, as both are kept to it.
        let pinned = r#""workload":{"affinity":{"Exact":[0]},
            "composed":[{"num_workers":1,"nice":5,"affinity":{"Exact":[0]}}]}"#;
        let check = judged(pinned, &[753, 247]);
        assert_eq!(check.outcome, Outcome::Pass, "{check:?}");
        assert!(check.measured.unwrap() > 0.999, "{check:?}");
        let check = judged(pinned, &[500, 500]);
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Fail, &[0, 1][..]));
        assert!(
            check.detail.contains("worker 0 had 0.49 of its share, worker 1 1.51"),
            "{check:?}"
        );
    }

    #[test]
    fn nobody_is_entitled_to_more_than_one_cpu() {
        let alone = r#""workload":{"nice":-10,"composed":[{"num_workers":1,"nice":10}]}"#;
        assert_eq!(judged(alone, &[1000, 1000]).outcome, Outcome::Pass);
        assert_eq!(judged(alone, &[1000, 500]).outcome, Outcome::Fail);
    }

    #[test]
    fn cgroups_compete_as_wholes_with_the_tasks_beside_them() {
        // The root's task and `a` have a CPU each; three workers share that of `a`.
        let tree = r#""workload":{},"cgroups":[{"name":"a","works":[{"num_workers":3}]}]"#;
        assert_eq!(judged(tree, &[1000, 333, 333, 333]).outcome, Outcome::Pass);
        assert_eq!(judged(tree, &[500, 500, 500, 500]).outcome, Outcome::Fail);
    }

    #[test]
    fn weights_multiply_down_the_tree() {
        // `a` has 3/4 of two CPUs, of which `a/x` has 1/3: half a CPU; `a/y` one, `b` half a CPU.
        let tree = |idle: &str| {
            format!(
                r#""cgroups":[{{"name":"a","cpu":{{"weight":300}}}},
                {{"name":"a/x","cpu":{{"weight":50}},"works":[{{"num_workers":2}}]}},
                {{"name":"a/y","works":[{{}}]}},{{"name":"b"{idle},"works":[{{}}]}}]"#
            )
        };
        assert_eq!(judged(&tree(""), &[250, 250, 1000, 500]).outcome, Outcome::Pass);
        assert_eq!(judged(&tree(""), &[500, 500, 500, 500]).outcome, Outcome::Fail);
        // An idle cgroup has almost nothing, and a worker no more than one CPU.
        let idle = tree(r#","cpu":{"idle":true}"#);
        assert_eq!(judged(&idle, &[499, 499, 1000, 2]).outcome, Outcome::Pass);
    }

    #[test]
    fn shares_of_steps_add_up_in_the_run() {
        let json = r#""cgroups":[{"name":"a","cpuset":{"Exact":[0]},"works":[{}]},
            {"name":"b","cpuset":{"Exact":[0]},"works":[{}]}],
            "steps":[{"hold":{"Time":"1s"}},
                {"hold":{"Time":"1s"},"ops":[{"SetCpu":{"cgroup":"a","cpu":{"weight":300}}}]}]"#;
        let json = format!(r#"{{"expect":{{"weighted_fairness_min":0.99}},{json}}}"#);
        let ms = |ms: u64| Some(ms * 1_000_000);
        let case = Case::new(&json)
            .with(0, |r| r.steps[1].cpu_time_ns = ms(750))
            .with(1, |r| r.steps[1].cpu_time_ns = ms(250));
        let check = case.check("weighted_fairness_min");
        assert_eq!(check.outcome, Outcome::Pass, "{check:?}");
        // As if the weight had never been changed.
        let check = Case::new(&json).check("weighted_fairness_min");
        assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
    }

    #[test]
    fn who_is_frozen_has_no_share() {
        let json = r#""cgroups":[{"name":"a","works":[{"num_workers":2}]},{"name":"b","works":[{}]}],
            "steps":[{"ops":[{"Freeze":"b"}],"hold":{"Time":"1s"}},
                     {"ops":[{"Freeze":"a"}],"hold":{"Time":"1s"}}]"#;
        assert_eq!(judged(json, &[1000, 1000, 0]).outcome, Outcome::Pass);
        assert_eq!(judged(json, &[1000, 500, 0]).outcome, Outcome::Fail);
    }

    #[test]
    fn what_weights_do_not_decide_is_inconclusive_with_the_reason() {
        let two = r#""workload":{"composed":[{"num_workers":1"#;
        let with = |field: &str| why(&format!(r"{two},{field}}}]}}"));
        assert!(with(r#""sched_policy":{"Fifo":10}"#).contains("worker 1 runs under Fifo(10)"));
        let churn = with(r#""work_type":"NiceSweep""#);
        assert!(churn.contains("worker 1 is a NiceSweep, which changes its own share"), "{churn}");
        let differ = with(r#""affinity":{"Exact":[1]}"#);
        assert!(differ.contains("worker 0 may use CPUs 0-1 and worker 1 CPU 1"), "{differ}");
        let limited = r#""cgroups":[{"name":"a","cpu":{"max":{"quota":"50ms"}},"works":[{},{}]}]"#;
        assert!(why(limited).ends_with("`a` has a quota"));
        assert!(why(r#""workload":{}"#).ends_with("no two workers"));
        let looped = r#""cgroups":[{"name":"a","works":[{}]},{"name":"b","works":[{}]}],"steps":[
            {"ops":[{"Spawn":{"cgroup":"a","work":{}}}],"hold":{"Loop":{"interval":"3s"}}}]"#;
        assert!(why(looped).ends_with("change meanwhile in step 0"));
    }

    /// On one CPU: a spinner, a worker that yields, and another spinner in `a`.
    fn beside_a_yielder(release: &str, cpu_ms: &[u64; 3]) -> Check {
        let json = r#"{"expect":{"weighted_fairness_min":0.95},
            "workload":{"affinity":{"Exact":[0]},"composed":[
                {"num_workers":1,"work_type":"Mixed","affinity":{"Exact":[0]}}]},
            "cgroups":[{"name":"a","works":[{"affinity":{"Exact":[0]}}]}]}"#;
        let case = Case::new(json).cpu_ms(cpu_ms).kernel(release);
        case.check("weighted_fairness_min")
    }

    #[test]
    fn beside_a_yielder_the_others_are_owed_their_share_at_least() {
        for release in ["6.12.117", "7.3.4"] {
            // As it is there; weights say nothing of what the yielder leaves.
            let check = beside_a_yielder(release, &[495, 10, 495]);
            assert_eq!(check.outcome, Outcome::Inconclusive, "{check:?}");
            let why = "gives up the rest of the slice, which its weight does not say";
            assert!(check.detail.ends_with(why), "{check:?}");
            // A spinner that has less than its weight gives has it from nobody.
            let check = beside_a_yielder(release, &[100, 10, 890]);
            assert_eq!((check.outcome, &check.workers[..]), (Outcome::Fail, &[0][..]), "{check:?}");
            // Nor may the yielder have what the others lack.
            assert_eq!(beside_a_yielder(release, &[150, 700, 150]).outcome, Outcome::Fail);
        }
        assert_eq!(beside_a_yielder("6.1.0-50", &[495, 10, 495]).outcome, Outcome::Fail);
        assert_eq!(beside_a_yielder("6.1.0-50", &[333, 333, 333]).outcome, Outcome::Pass);
    }

    #[test]
    fn yielders_that_lose_alike_have_their_weights() {
        let judged = |release, json: &str, cpu_ms: &[u64]| {
            let json = format!(r#"{{"expect":{{"weighted_fairness_min":0.95}},{json}}}"#);
            Case::new(&json).cpu_ms(cpu_ms).kernel(release).outcome("weighted_fairness_min")
        };
        let alike = r#""workload":{"num_workers":4,"work_type":"Mixed"}"#;
        assert_eq!(judged("7.3.4", alike, &[500; 4]), Outcome::Pass);
        assert_eq!(judged("7.3.4", alike, &[800, 800, 200, 200]), Outcome::Fail);
        let other = r#""workload":{"num_workers":2,"work_type":"Mixed",
            "composed":[{"num_workers":2,"work_type":"YieldHeavy"}]}"#;
        assert_eq!(judged("7.3.4", other, &[700, 700, 300, 300]), Outcome::Inconclusive);
        let beside = r#""workload":{"num_workers":2,"work_type":"SpinWait",
            "composed":[{"num_workers":2,"work_type":"YieldHeavy"}]}"#;
        assert_eq!(judged("7.3.4", beside, &[900, 900, 100, 100]), Outcome::Inconclusive);
        // What is as weights say needs no excuse.
        assert_eq!(judged("7.3.4", beside, &[500; 4]), Outcome::Pass);
        // One that is alone in its cgroup loses nothing where a yield is paid for among its like.
        let alone = r#""cgroups":[{"name":"a","cpuset":{"Exact":[0]},"works":[{}]},
            {"name":"b","cpuset":{"Exact":[0]},"works":[{"work_type":"Mixed"}]}]"#;
        assert_eq!(judged("6.12.1", alone, &[500, 500]), Outcome::Pass);
        assert_eq!(judged("6.12.1", alone, &[970, 30]), Outcome::Fail);
        assert_eq!(judged("7.3.4", alone, &[970, 30]), Outcome::Inconclusive);
    }

    #[test]
    fn who_slept_or_left_did_not_ask_for_its_share() {
        let case = || {
            let json = r#"{"expect":{"weighted_fairness_min":0.95},"workload":{"num_workers":2}}"#;
            Case::new(json).with(0, |r| r.voluntary_switches = Some(5))
        };
        // It blocked, but ran or waited most of the time.
        assert_eq!(case().outcome("weighted_fairness_min"), Outcome::Pass);
        let slept = case().with(0, |r| r.run_delay_ns = Some(0)).check("weighted_fairness_min");
        assert_eq!(slept.outcome, Outcome::Inconclusive);
        assert!(slept.detail.contains("worker 0 slept: it wanted a CPU 50 %"), "{slept:?}");
        let left = case().with(1, |r| r.wall_time_ns /= 2).check("weighted_fairness_min");
        assert!(left.detail.contains("worker 1 was there for 50 %"), "{left:?}");
        // A wait at the end is counted beyond it; the others are no shorter for that.
        let late = case().with(1, |r| r.wall_time_ns *= 2).check("weighted_fairness_min");
        assert_eq!(late.outcome, Outcome::Pass, "{late:?}");
        let chose = case().with(1, |r| r.sched_policy = Some("SCHED_FIFO 1".into()));
        let chose = chose.check("weighted_fairness_min");
        assert!(chose.detail.contains("worker 1 ran under SCHED_FIFO 1"), "{chose:?}");
        let unknown = case().with(1, |r| r.cpu_time_ns = None).check("weighted_fairness_min");
        assert_eq!(unknown.outcome, Outcome::Inconclusive);
    }
}
