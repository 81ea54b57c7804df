//! Reports and records for the tests of this folder: what a run of a plan might bring back.

use super::{Check, Outcome, judge};
use crate::clock::to_ns;
use crate::list;
use crate::plan::{Plan, Scene};
use crate::report::{StepReport, WorkerReport};
use crate::run::{CgroupUse, RunRecord, StepRecord};
use crate::scenario::Scenario;
use crate::topology::Topology;
use std::collections::BTreeMap;

pub(super) const MS: u64 = 1_000_000;
/// How long every step, and a run without steps, takes.
pub(super) const WALL_NS: u64 = 1000 * MS;

/// A run in which every worker ran half of the time on CPU 0 and waited in the other half.
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) plan: Plan,
    pub(super) record: RunRecord,
    pub(super) reports: Vec<WorkerReport>,
}

impl Case {
    /// On a machine of two CPUs.
    pub(super) fn new(json: &str) -> Self {
        Self::on(&Topology::flat(2), json)
    }

    pub(crate) fn on(topology: &Topology, json: &str) -> Self {
        let scenario = Scenario::parse(json).unwrap();
        let plan = scenario.plan(topology).unwrap();
        let sets = plan.crews.iter().flat_map(|crew| &crew.sets);
        let workers = sets.flat_map(|set| vec![set.group_idx; set.workers()]);
        let reports = workers.enumerate().map(|(index, set)| worker(&plan, index, set)).collect();
        let steps = plan.steps.iter().map(|step| StepRecord {
            name: step.name.clone(),
            held_ns: to_ns(step.hold()).max(WALL_NS),
            ..StepRecord::default()
        });
        let steps = steps.collect();
        let record = RunRecord { wall_time_ns: WALL_NS, steps, ..RunRecord::default() };
        Self { scenario, plan, record, reports }.add_up()
    }

    /// The CPU time of each worker, in the run and in each of its steps; the rest it waited.
    pub(super) fn cpu_ms(mut self, times: &[u64]) -> Self {
        for (report, ms) in self.reports.iter_mut().zip(times) {
            let (used, waited) = (Some(ms * MS), Some(WALL_NS - ms * MS));
            (report.cpu_time_ns, report.run_delay_ns) = (used, waited);
            for step in &mut report.steps {
                (step.cpu_time_ns, step.run_delay_ns) = (used, waited);
            }
        }
        self.add_up()
    }

    /// On a kernel of this release.
    pub(super) fn kernel(mut self, release: &str) -> Self {
        self.record.kernel_release = release.into();
        self
    }

    /// Something else about a worker.
    pub(crate) fn with(mut self, worker: usize, change: impl FnOnce(&mut WorkerReport)) -> Self {
        change(&mut self.reports[worker]);
        self
    }

    /// Something else about what a cgroup used in the last window.
    pub(super) fn using(mut self, path: &str, change: impl FnOnce(&mut CgroupUse)) -> Self {
        let record = &mut self.record;
        let cgroups = record.steps.last_mut().map_or(&mut record.cgroups, |step| &mut step.cgroups);
        change(cgroups.get_mut(path).unwrap());
        self
    }

    pub(crate) fn checks(&self) -> Vec<Check> {
        judge(&self.scenario, &self.plan, &self.record, &self.reports)
    }

    /// The check with this name, which there must be.
    pub(super) fn check(&self, name: &str) -> Check {
        let checks = self.checks();
        let found = checks.iter().find(|check| check.name == name).cloned();
        found.unwrap_or_else(|| panic!("no {name} in {checks:?}"))
    }

    pub(super) fn outcome(&self, name: &str) -> Outcome {
        self.check(name).outcome
    }

    /// Cgroups used what their workers did.
    fn add_up(mut self) -> Self {
        let Self { plan, record, reports, .. } = &mut self;
        let whole = |r: &WorkerReport| r.cpu_time_ns;
        record.cgroups = uses(plan, &plan.opening, reports, whole);
        for (at, (planned, step)) in plan.steps.iter().zip(&mut record.steps).enumerate() {
            let own = |r: &WorkerReport| r.steps.iter().find(|step| step.step == at)?.cpu_time_ns;
            step.cgroups = uses(plan, planned.scenes.last().unwrap(), reports, own);
        }
        self
    }
}

fn worker(plan: &Plan, index: usize, group_idx: usize) -> WorkerReport {
    let crew = plan.crews.iter().rposition(|crew| crew.first_worker <= index).unwrap();
    let there = |scene: &Scene| scene.whereabouts.get(crew).is_some_and(Option::is_some);
    let steps = plan.steps.iter().enumerate().filter(|(_, step)| step.scenes.iter().all(there));
    let counted = |step: usize| StepReport {
        step,
        wall_time_ns: WALL_NS,
        iterations: 10,
        work_units: 1000,
        cpu_time_ns: Some(WALL_NS / 2),
        run_delay_ns: Some(WALL_NS / 2),
        timeslices: Some(100),
        voluntary_switches: Some(0),
        migrations: Some(0),
        cpus_used: [0].into(),
        max_gap_ns: Some(3 * MS),
        ..StepReport::default()
    };
    WorkerReport {
        cpus_allowed: Some(list::format(plan.endings[crew].cpus.iter().copied())),
        index,
        group_idx,
        completed: true,
        wall_time_ns: WALL_NS,
        iterations: 10,
        work_units: 1000,
        cpu_time_ns: Some(WALL_NS / 2),
        run_delay_ns: Some(WALL_NS / 2),
        timeslices: Some(100),
        voluntary_switches: Some(0),
        migrations: Some(0),
        cpus_used: [0].into(),
        max_gap_ns: Some(3 * MS),
        steps: steps.map(|(at, _)| counted(at)).collect(),
        ..WorkerReport::default()
    }
}

fn uses(
    plan: &Plan,
    scene: &Scene,
    reports: &[WorkerReport],
    cpu: impl Fn(&WorkerReport) -> Option<u64>,
) -> BTreeMap<String, CgroupUse> {
    let used = |path: &String| {
        let inside = |report: &&WorkerReport| {
            let crew = plan.crews.iter().rposition(|crew| crew.first_worker <= report.index);
            let place = crew.and_then(|crew| scene.whereabouts.get(crew)?.as_deref());
            place.is_some_and(|place| super::demand::is_in(place, path))
        };
        CgroupUse {
            wall_time_ns: WALL_NS,
            cpu_time_ns: Some(reports.iter().filter(inside).filter_map(&cpu).sum()),
            periods: Some(10),
            throttled_periods: Some(0),
            throttled_ns: Some(0),
            ..CgroupUse::default()
        }
    };
    scene.cgroups.keys().map(|path| (path.clone(), used(path))).collect()
}
