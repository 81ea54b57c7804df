//! Where workers ran and where their memory is, against where it should be. Called by `judge` and
//! by `share`.

use super::check::{Reading, float};
use super::part::{Account, Part, is_frozen, place};
use crate::config::{MpolFlags, Placement};
use crate::list;
use crate::plan::{Crew, Plan, PlannedSet, Scene, above};
use std::collections::BTreeSet;

type Cpus = BTreeSet<usize>;

/// How many CPUs each worker was on that its cgroup did not have.
pub(super) fn foreign_cpus(part: &Part<'_>, _: f64) -> Vec<Reading> {
    part.workers.iter().map(|worker| of_worker(part, worker)).collect()
}

fn of_worker(part: &Part<'_>, worker: &Account<'_>) -> Reading {
    let index = worker.index();
    // Between two operations of a round it is soon somewhere else, and may be seen there.
    let scenes = part.scenes().chain(part.passing());
    let places = scenes.filter_map(|scene| Some((scene, place(scene, worker.crew)?)));
    let allowed: Cpus = places.flat_map(|(scene, path)| cpus_of_cgroup(scene, path)).collect();
    let foreign: Cpus = worker.cpus_used.difference(&allowed).copied().collect();
    let value = match worker.cpus_used.is_empty() && worker.cpu_time_ns != Some(0) {
        true => Err(format!("worker {index} reached no checkpoint, so its CPUs are not known")),
        false => Ok(float(foreign.len() as u64)),
    };
    let what = match foreign.is_empty() {
        true => String::new(),
        false => format!(
            "worker {index} was on {}, its cgroup has {}",
            listed(&foreign),
            listed(&allowed)
        ),
    };
    Reading { workers: vec![index], what, value }
}

/// The part of each worker's pages that are on the nodes it should use.
pub(super) fn numa_locality(part: &Part<'_>, _: f64) -> Vec<Reading> {
    if part.plan.topology.memory_nodes().len() < 2 {
        return vec![Reading::none("the machine has one NUMA node")];
    }
    let locality = |worker: &Account<'_>| locality(part.plan, worker);
    part.workers.iter().map(|w| Reading::of_worker(w.index(), locality(w))).collect()
}

fn locality(plan: &Plan, worker: &Account<'_>) -> Result<f64, String> {
    let pages = &worker.report.numa_pages;
    let total = pages.values().copied().fold(0, u64::saturating_add);
    worker.known("numa_pages", Some(total).filter(|total| *total > 0))?;
    let nodes = nodes_of(plan, worker)?;
    let wanted = |name: &String| name.parse().is_ok_and(|node: usize| nodes.contains(&node));
    let local = pages.iter().filter(|(name, _)| wanted(name)).map(|(_, count)| *count);
    let local = local.fold(0, u64::saturating_add);
    Ok(float(local) / float(total))
}

/// Its NUMA node, else the nodes of its memory policy, else those of its cgroup, else those of
/// the CPUs that it may use.
fn nodes_of(plan: &Plan, worker: &Account<'_>) -> Result<BTreeSet<usize>, String> {
    let index = worker.index();
    let (_, set) = post(plan, worker)?;
    if let Some(node) = set.spec.numa_node {
        return Ok([node as usize].into());
    }
    let named = set.spec.mem_policy.named_nodes();
    if !named.is_empty() {
        return match set.spec.mpol_flags.contains(MpolFlags::RELATIVE_NODES) {
            true => Err(format!("the nodes of worker {index} are relative to its cgroup's")),
            false => Ok(named),
        };
    }
    let scenes = plan.steps.iter().rev().flat_map(|step| step.scenes.iter().rev());
    let last =
        scenes.chain([&plan.opening]).find_map(|scene| Some((scene, place(scene, worker.crew)?)));
    let (scene, path) = last.ok_or_else(|| format!("worker {index} is not in the plan"))?;
    let mems = |path| scene.cgroups.get(path).and_then(|cgroup| cgroup.mems.clone());
    if let Some(mems) = std::iter::once(path).chain(above(path)).find_map(mems) {
        return Ok(mems);
    }
    let cpus = cpus_of(plan, scene, worker)?;
    let nodes = plan.topology.nodes().into_iter().enumerate();
    Ok(nodes.filter(|(_, of)| !of.is_disjoint(&cpus)).map(|(node, _)| node).collect())
}

/// CPUs that tasks of a cgroup may use.
fn cpus_of_cgroup(scene: &Scene, path: &str) -> Cpus {
    scene.cgroups.get(path).map_or_else(|| scene.online.clone(), |cgroup| cgroup.cpus.clone())
}

/// CPUs that a worker may use: those of its cgroup that it asked for, or all of them if it asked
/// for none of them (`cpuset_cpus_allowed`).
pub(super) fn cpus_of(plan: &Plan, scene: &Scene, worker: &Account<'_>) -> Result<Cpus, String> {
    let index = worker.index();
    let (crew, set) = post(plan, worker)?;
    let path = place(scene, worker.crew)
        .filter(|path| !is_frozen(scene, path))
        .ok_or_else(|| format!("worker {index} was not running"))?;
    let pool = cpus_of_cgroup(scene, path);
    let at = crew.sets.iter().position(|other| other.group_idx == set.group_idx);
    let changed = at.and_then(|at| scene.affinities.get(&(worker.crew, at)));
    let asked = match changed.unwrap_or(&set.placement) {
        Placement::Inherit => pool.clone(),
        Placement::Groups(masks) => {
            let group = placed_group(crew, set, index);
            masks.iter().cycle().nth(group).cloned().unwrap_or_default()
        }
        Placement::Random { from, count } if from.len() == *count => from.clone(),
        Placement::Random { .. } => {
            return Err(format!("worker {index} chose its CPUs at random"));
        }
    };
    // A later affinity takes the place of all that was there before.
    let node = set.spec.numa_node.filter(|_| changed.is_none());
    let of_node = node.and_then(|node| plan.topology.nodes().into_iter().nth(node as usize));
    let asked = of_node.map_or_else(|| asked.clone(), |node| &asked & &node);
    let both = &asked & &pool;
    Ok(if both.is_empty() { pool } else { both })
}

/// All CPUs that a worker may have been on in the run; `None` if that is not known.
pub(super) fn may_use(plan: &Plan, worker: &Account<'_>) -> Option<Cpus> {
    let (_, set) = post(plan, worker).ok()?;
    let steps = plan.steps.iter().flat_map(|step| step.scenes.iter().chain(&step.passing));
    let scenes = std::iter::once(&plan.opening).chain(steps);
    let there = scenes
        .filter(|scene| place(scene, worker.crew).is_some_and(|path| !is_frozen(scene, path)));
    let each = there.map(|scene| cpus_of(plan, scene, worker));
    let all: Cpus = each.collect::<Result<Vec<_>, _>>().ok()?.into_iter().flatten().collect();
    let known = !all.is_empty() && !set.spec.work_type.work().needs().restless;
    known.then_some(all)
}

/// The crew and the set of a worker.
pub(super) fn post<'a>(
    plan: &'a Plan,
    worker: &Account<'_>,
) -> Result<(&'a Crew, &'a PlannedSet), String> {
    let index = worker.index();
    let found = plan.crews.get(worker.crew).and_then(|crew| {
        let mut first = crew.first_worker;
        let set = crew.sets.iter().find(|set| {
            first += set.workers();
            index < first
        })?;
        Some((crew, set))
    });
    found.ok_or_else(|| format!("worker {index} is not in the plan"))
}

/// Which group of its set a worker is in, as placements count; see `handle::Set::placed_group`.
fn placed_group(crew: &Crew, set: &PlannedSet, worker: usize) -> usize {
    let before = crew.sets.iter().take_while(|other| other.group_idx != set.group_idx);
    let first = crew.first_worker + before.map(PlannedSet::workers).sum::<usize>();
    let group_size = set.spec.work_type.worker_group_size().unwrap_or(1);
    Placement::group_of(worker - first, group_size)
}

pub(super) fn listed(cpus: &Cpus) -> String {
    match cpus.len() {
        1 => format!("CPU {}", list::format(cpus.iter().copied())),
        _ => format!("CPUs {}", list::format(cpus.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::fixture::Case;
    use crate::report::WorkerReport;
    use crate::topology::{Cpu, Topology};

    const SWAPPED: &str = r#"{"cgroups":[{"name":"a","cpuset":{"Exact":[0]},"works":[{}]},
        {"name":"b","cpuset":{"Exact":[1]},"works":[{}]}],
        "steps":[{"name":"before","hold":{"Time":"1s"}},
                 {"name":"after","hold":{"Time":"1s"},"ops":[{"SwapCpusets":["a","b"]}]}]}"#;

    fn saw(cpus: &[usize]) -> impl Fn(&mut WorkerReport) {
        move |r| r.cpus_used = cpus.iter().copied().collect()
    }

    /// Worker 0 is in `a`, which has CPU 0; worker 1 in the root.
    fn case() -> Case {
        let json =
            r#"{"workload":{},"cgroups":[{"name":"a","cpuset":{"Exact":[0]},"works":[{}]}]}"#;
        Case::new(json)
    }

    #[test]
    fn a_cpu_outside_the_cpuset_breaks_isolation() {
        assert_eq!(case().with(0, saw(&[0, 1])).outcome("isolation"), Outcome::Pass);
        let check = case().with(1, saw(&[0, 1])).check("isolation");
        assert_eq!(
            (check.outcome, check.workers, check.measured),
            (Outcome::Fail, vec![1], Some(1.0))
        );
        let what = "worker 1 was on CPU 1, its cgroup has CPU 0";
        assert!(check.detail.ends_with(what), "{}", check.detail);
    }

    #[test]
    fn a_worker_that_was_seen_nowhere_is_not_isolated_unless_it_never_ran() {
        assert_eq!(case().with(1, saw(&[])).outcome("isolation"), Outcome::Inconclusive);
        let idle = case().with(1, saw(&[])).with(1, |r| r.cpu_time_ns = Some(0));
        assert_eq!(idle.outcome("isolation"), Outcome::Pass);
    }

    #[test]
    fn each_step_has_the_cpusets_of_its_own_time() {
        let step = |worker: usize, step: usize, cpus: &[usize]| {
            let own = cpus.iter().copied().collect();
            let case = Case::new(SWAPPED).with(1, |r| r.steps[0].cpus_used = [1].into());
            let case = case.with(0, |r| r.steps[1].cpus_used = [1].into());
            case.with(worker, |r| r.steps[step].cpus_used = own)
        };
        let right = step(1, 1, &[0]);
        assert_eq!(right.outcome("step before: isolation"), Outcome::Pass);
        assert_eq!(right.outcome("step after: isolation"), Outcome::Pass);
        assert!(right.checks().iter().all(|check| check.name != "isolation"));
        // Where it was before is not where it may be now.
        let wrong = step(1, 1, &[0, 1]).check("step after: isolation");
        assert_eq!((wrong.outcome, wrong.workers), (Outcome::Fail, vec![1]));
    }

    #[test]
    fn the_rounds_of_a_loop_have_their_cpusets_in_turn() {
        let json = SWAPPED.replace(
            r#"{"Time":"1s"},"ops""#,
            r#"{"Loop":{"interval":"500ms","time":"1s"}},"ops""#,
        );
        let case = Case::new(&json).with(0, |r| r.steps[1].cpus_used = [0, 1].into());
        assert_eq!(case.outcome("step after: isolation"), Outcome::Pass);
    }

    #[test]
    fn between_two_operations_of_a_later_round_a_worker_may_be_elsewhere() {
        let twice = r#""ops":[{"SwapCpusets":["a","b"]},{"SwapCpusets":["a","b"]}]"#;
        let json = SWAPPED.replace(r#""ops":[{"SwapCpusets":["a","b"]}]"#, twice);
        let outcome = |json: &str| {
            let case = Case::new(json).with(0, |r| r.steps[1].cpus_used = [0, 1].into());
            let case = case.with(1, |r| r.steps[0].cpus_used = [1].into());
            case.with(1, |r| r.steps[1].cpus_used = [1].into()).outcome("step after: isolation")
        };
        // The operations of the first round are over when the step begins to count.
        assert_eq!(outcome(&json), Outcome::Fail);
        let looped = r#"{"Loop":{"interval":"500ms","time":"1s"}},"ops""#;
        assert_eq!(outcome(&json.replace(r#"{"Time":"1s"},"ops""#, looped)), Outcome::Pass);
    }

    #[test]
    fn a_step_may_leave_isolation_out() {
        let json = SWAPPED.replace(r#""ops""#, r#""expect":{"isolation":false},"ops""#);
        let names: Vec<_> = Case::new(&json).checks().into_iter().map(|check| check.name).collect();
        assert!(names.contains(&"step before: isolation".into()), "{names:?}");
        assert!(!names.contains(&"step after: isolation".into()), "{names:?}");
    }

    /// CPU 0 on node 0, CPU 1 on node 1.
    fn nodes() -> Topology {
        let cpu = |id| Cpu { id, core: id, llc: id, node: id };
        Topology::new(vec![cpu(0), cpu(1)], [0, 1].into())
    }

    /// A worker of which nine of ten pages are on node 0.
    fn mostly_on_node_0(workload: &str) -> Case {
        let json = format!(r#"{{"expect":{{"numa_locality_min":0.9}},{workload}}}"#);
        let pages = [("0".to_owned(), 90), ("1".to_owned(), 10)];
        Case::on(&nodes(), &json).with(0, |r| r.numa_pages = pages.into())
    }

    #[test]
    fn pages_belong_where_the_worker_was_told_to_be() {
        for (workload, outcome) in [
            (r#""workload":{"numa_node":0}"#, Outcome::Pass),
            (r#""workload":{"numa_node":1}"#, Outcome::Fail),
            (r#""workload":{"mem_policy":{"Bind":[0]}}"#, Outcome::Pass),
            (r#""workload":{"mem_policy":{"Preferred":1}}"#, Outcome::Fail),
            (r#""cgroups":[{"name":"a","mems":[1],"works":[{}]}]"#, Outcome::Fail),
            (r#""cgroups":[{"name":"a","mems":[1]},{"name":"a/b","works":[{}]}]"#, Outcome::Fail),
            (r#""workload":{"affinity":{"Exact":[1]}}"#, Outcome::Fail),
            (r#""workload":{"affinity":{"Exact":[0]}}"#, Outcome::Pass),
            (r#""workload":{}"#, Outcome::Pass),
            (
                r#""workload":{"affinity":{"RandomSubset":{"from":[0,1],"count":1}}}"#,
                Outcome::Inconclusive,
            ),
        ] {
            let check = mostly_on_node_0(workload).check("numa_locality_min");
            assert_eq!(check.outcome, outcome, "{workload}: {check:?}");
        }
    }

    #[test]
    fn without_pages_or_nodes_nothing_is_known_of_locality() {
        let none = mostly_on_node_0(r#""workload":{}"#).with(0, |r| r.numa_pages.clear());
        let check = none.check("numa_locality_min");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("numa_pages"), "{}", check.detail);
        let flat = Case::new(r#"{"workload":{},"expect":{"numa_locality_min":0.9}}"#);
        assert!(flat.check("numa_locality_min").detail.ends_with("one NUMA node"));
    }

    #[test]
    fn an_affinity_that_a_step_sets_takes_the_place_of_the_first() {
        let json = r#""workload":{"affinity":{"Exact":[0]}},
            "steps":[{"ops":[{"SetAffinity":{"affinity":{"Exact":[1]}}}]}]"#;
        let check = mostly_on_node_0(json).check("numa_locality_min");
        assert_eq!(check.outcome, Outcome::Fail, "{check:?}");
    }
}
