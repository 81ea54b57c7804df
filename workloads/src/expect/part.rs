//! What is judged: a run or one step of it, with each worker's account of it and what the plan
//! wanted to hold in it. Made by `judge`, read by the rules.

use super::check::{Reading, float};
use super::demand::is_in;
use super::kernel::Kernel;
use crate::histogram::LatencySummary;
use crate::plan::{Action, Plan, PlannedStep, Scene};
use crate::report::{Latency, StepReport, WorkerReport};
use crate::run::{CgroupUse, RunRecord, StepRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A run, or a step.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) plan: &'a Plan,
    pub(super) kernel: Kernel,
    /// Index of the step; absent for the run.
    pub(super) step: Option<usize>,
    /// How long a task may keep its CPU while others wait.
    pub(super) turn_ns: u64,
    /// Cgroups that must stand still.
    pub(super) stalled: &'a [String],
    /// Accounts of the whole part.
    pub(super) workers: Vec<Account<'a>>,
    /// The times in which cgroups were as their scenes say: the steps of a run, or all of it.
    /// None for a step to which the run did not come.
    pub(super) windows: Vec<Window<'a>>,
}

/// A time between two readings of all cgroups.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// Index of the step, if the run has steps.
    pub(super) step: Option<usize>,
    /// How long it was for the runner; 0 if that is not known. Who waits for a CPU at its end is
    /// counted until it had one, which is longer.
    pub(super) wall_time_ns: u64,
    /// Why it says nothing of the time that was asked for; if it was held that long, nothing.
    pub(super) cut: Option<String>,
    /// What was held in it.
    pub(super) scenes: &'a [Scene],
    /// What was so for moments, between two operations.
    pub(super) passing: &'a [Scene],
    pub(super) cgroups: &'a BTreeMap<String, CgroupUse>,
    pub(super) workers: Vec<Account<'a>>,
}

/// What one worker did in a part or a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) report: &'a WorkerReport,
    /// Index of its crew in the plan.
    pub(super) crew: usize,
    pub(super) wall_time_ns: u64,
    pub(super) iterations: u64,
    pub(super) work_units: u64,
    pub(super) cpu_time_ns: Option<u64>,
    pub(super) run_delay_ns: Option<u64>,
    pub(super) timeslices: Option<u64>,
    pub(super) voluntary_switches: Option<u64>,
    pub(super) migrations: Option<u64>,
    pub(super) max_gap_ns: Option<u64>,
    pub(super) cpus_used: &'a BTreeSet<usize>,
    pub(super) latency: &'a BTreeMap<Latency, LatencySummary>,
}

impl<'a> Part<'a> {
    pub(super) fn of_run(
        plan: &'a Plan,
        record: &'a RunRecord,
        reports: &'a [WorkerReport],
    ) -> Self {
        let workers: Vec<_> = reports.iter().map(|r| Account::of_run(plan, r)).collect();
        let windows = match plan.steps.as_slice() {
            [] => vec![Window {
                step: None,
                wall_time_ns: record.wall_time_ns,
                cut: None,
                scenes: std::slice::from_ref(&plan.opening),
                passing: &[],
                cgroups: &record.cgroups,
                workers: workers.clone(),
            }],
            steps => {
                let windows =
                    (0..steps.len()).filter_map(|at| Window::of(plan, record, reports, at));
                windows.collect()
            }
        };
        let (kernel, turn_ns) = (Kernel::of(record), record.turn_ns);
        Self { plan, kernel, step: None, turn_ns, stalled: &[], workers, windows }
    }

    pub(super) fn of_step(
        plan: &'a Plan,
        record: &'a RunRecord,
        reports: &'a [WorkerReport],
        step: usize,
        stalled: &'a [String],
    ) -> Self {
        let window = Window::of(plan, record, reports, step);
        let workers = window.as_ref().map_or_else(Vec::new, |window| window.workers.clone());
        let (kernel, turn_ns) = (Kernel::of(record), record.turn_ns);
        let windows = window.into_iter().collect();
        Self { plan, kernel, step: Some(step), turn_ns, stalled, workers, windows }
    }

    /// All that the plan wanted to be held in it.
    pub(super) fn scenes(&self) -> impl Iterator<Item = &'a Scene> {
        let opening = self.plan.steps.is_empty().then_some(&self.plan.opening);
        opening.into_iter().chain(self.steps().flat_map(|step| &step.scenes))
    }

    /// What it wanted for moments in it, between two operations.
    pub(super) fn passing(&self) -> impl Iterator<Item = &'a Scene> {
        self.steps().flat_map(|step| &step.passing)
    }

    /// Its step, or all of the run.
    fn steps(&self) -> impl Iterator<Item = &'a PlannedStep> {
        let steps = self.plan.steps.iter().enumerate();
        let own = self.step;
        steps.filter(move |(at, _)| own.is_none_or(|own| own == *at)).map(|(_, step)| step)
    }

    /// Whether a cgroup has CPUs of its own in it.
    pub(super) fn has_cpusets(&self) -> bool {
        let scenes = self.scenes().chain(self.passing());
        scenes.flat_map(|scene| scene.cgroups.values()).any(|cgroup| cgroup.own_cpus)
    }

    /// Whether the plan has a crew in it that nothing holds back.
    pub(super) fn has_free_workers(&self) -> bool {
        let mut crews = 0..self.plan.crews.len();
        let is_there = |crew| self.scenes().any(|scene| place(scene, crew).is_some());
        crews.any(|crew| is_there(crew) && !self.stands(crew))
    }

    /// Whether a crew is frozen, or meant to stall, whenever it is there for longer than a moment.
    pub(super) fn stands(&self, crew: usize) -> bool {
        let mut places = self.scenes().filter_map(|scene| Some((scene, place(scene, crew)?)));
        let stands = |(scene, path)| is_frozen(scene, path) || self.is_stalled(path);
        places.next().is_some_and(stands) && places.all(stands)
    }

    /// Whether workers in the cgroup are meant to make no progress.
    pub(super) fn is_stalled(&self, path: &str) -> bool {
        self.stalled.iter().any(|stalled| is_in(path, stalled))
    }

    /// A reading of each worker that is not meant to stand still.
    pub(super) fn of_free_workers(
        &self,
        value: impl Fn(&Account<'a>) -> Result<f64, String>,
    ) -> Vec<Reading> {
        let free = self.workers.iter().filter(|worker| !self.stands(worker.crew));
        free.map(|worker| Reading::of_worker(worker.index(), value(worker))).collect()
    }
}

impl<'a> Window<'a> {
    fn of(
        plan: &'a Plan,
        record: &'a RunRecord,
        reports: &'a [WorkerReport],
        step: usize,
    ) -> Option<Self> {
        let planned = plan.steps.get(step)?;
        let recorded @ StepRecord { held_ns, cgroups, .. } = record.steps.get(step)?;
        let account = |report: &'a WorkerReport| {
            let account = report.steps.iter().find(|account| account.step == step)?;
            Some(Account::of_step(plan, report, account))
        };
        let workers = reports.iter().filter_map(account).collect();
        Some(Self {
            step: Some(step),
            wall_time_ns: *held_ns,
            cut: cut(planned, recorded),
            scenes: &planned.scenes,
            passing: &planned.passing,
            cgroups,
            workers,
        })
    }

    /// What held in all of it, if nothing changed.
    pub(super) fn scene(&self) -> Result<&'a Scene, String> {
        match (self.scenes, self.passing) {
            ([scene], []) => Ok(scene),
            _ => Err("cgroups, affinities or CPUs change meanwhile".into()),
        }
    }

    /// All that was so in it, be it for a moment.
    pub(super) fn states(&self) -> impl Iterator<Item = &'a Scene> {
        self.scenes.iter().chain(self.passing)
    }

    /// The longest time that a worker was counted in it.
    pub(super) fn longest_ns(&self) -> u64 {
        self.workers.iter().map(|w| w.wall_time_ns).max().unwrap_or(0)
    }

    /// Whether the crew is frozen in any of it.
    pub(super) fn freezes(&self, crew: usize) -> bool {
        let frozen = |scene| place(scene, crew).is_some_and(|path| is_frozen(scene, path));
        self.states().any(frozen)
    }

    /// What a cgroup used, by `read`, which `unavailable` calls `name`.
    pub(super) fn used(
        &self,
        path: &str,
        name: &str,
        read: impl Fn(&CgroupUse) -> Option<u64>,
    ) -> Result<f64, String> {
        let missing = || format!("nothing was read of `{path}`");
        let cgroup = self.cgroups.get(path).ok_or_else(missing)?;
        read(cgroup).map(float).ok_or_else(|| {
            let why = cgroup.unavailable.get(name).map_or("it is absent", String::as_str);
            format!("`{path}` has no {name}: {why}")
        })
    }

    /// How often a round of a loop, in the middle of it, writes a control file of the cgroup whose
    /// name begins with `file`.
    pub(super) fn later_writes(&self, part: &Part<'_>, path: &str, file: &str) -> u64 {
        let step = self.step.and_then(|at| part.plan.steps.get(at));
        let rounds = step.iter().flat_map(|step| step.rounds.iter().skip(1));
        let actions = rounds.flat_map(|round| &round.ops).flat_map(|op| &op.actions);
        let writes = actions.filter(|action| match action {
            Action::Write { path: of, file: name, .. } => of == path && name.starts_with(file),
            _ => false,
        });
        writes.count() as u64
    }

    /// Workers that are in a cgroup, or below it, in any of it.
    pub(super) fn workers_in(&self, path: &str) -> impl Iterator<Item = &Account<'a>> {
        let inside =
            move |scene: &Scene, crew| place(scene, crew).is_some_and(|at| is_in(at, path));
        self.workers.iter().filter(move |w| self.states().any(|scene| inside(scene, w.crew)))
    }

    /// How the window is called where there may be several.
    pub(super) fn suffix(&self, part: &Part<'_>) -> String {
        match self.step.filter(|_| part.step.is_none()).and_then(|at| part.plan.steps.get(at)) {
            Some(step) => format!(" in {}", titled(&step.name)),
            None => String::new(),
        }
    }
}

impl<'a> Account<'a> {
    pub(super) fn of_run(plan: &Plan, report: &'a WorkerReport) -> Self {
        Self {
            report,
            crew: plan.crew_of(report.index),
            wall_time_ns: report.wall_time_ns,
            iterations: report.iterations,
            work_units: report.work_units,
            cpu_time_ns: report.cpu_time_ns,
            run_delay_ns: report.run_delay_ns,
            timeslices: report.timeslices,
            voluntary_switches: report.voluntary_switches,
            migrations: report.migrations,
            max_gap_ns: report.max_gap_ns,
            cpus_used: &report.cpus_used,
            latency: &report.latency,
        }
    }

    fn of_step(plan: &Plan, report: &'a WorkerReport, step: &'a StepReport) -> Self {
        // Who reached no checkpoint has been in a gap all the time; who died said nothing.
        let gap = match (step.max_gap_ns, &report.exit_info) {
            (None, None) => Some(step.wall_time_ns),
            (gap, _) => gap,
        };
        Self {
            report,
            crew: plan.crew_of(report.index),
            wall_time_ns: step.wall_time_ns,
            iterations: step.iterations,
            work_units: step.work_units,
            cpu_time_ns: step.cpu_time_ns,
            run_delay_ns: step.run_delay_ns,
            timeslices: step.timeslices,
            voluntary_switches: step.voluntary_switches,
            migrations: step.migrations,
            max_gap_ns: gap,
            cpus_used: &step.cpus_used,
            latency: &step.latency,
        }
    }

    pub(super) fn index(&self) -> usize {
        self.report.index
    }

    /// The counter, or why `name` is absent.
    pub(super) fn known(&self, name: &str, counter: Option<u64>) -> Result<f64, String> {
        counter.map(float).ok_or_else(|| {
            let report = self.report;
            let why = match (report.unavailable.get(name), &report.exit_info) {
                (Some(why), _) => why.clone(),
                (None, Some(how)) => format!("it died ({how:?})"),
                (None, None) => "it could not be read".into(),
            };
            format!("worker {} has no {name}: {why}", report.index)
        })
    }

    /// Wall time in ns, of which there must be some.
    pub(super) fn wall_ns(&self) -> Result<f64, String> {
        let wall = Some(self.wall_time_ns).filter(|wall| *wall > 0);
        self.known("wall_time_ns", wall)
    }
}

/// Whether a step was held for less than it says, as by programs that let operations have of its
/// time.
fn cut(planned: &PlannedStep, recorded: &StepRecord) -> Option<String> {
    let held = Duration::from_nanos(recorded.held_ns.saturating_sub(recorded.later_operations_ns));
    let hold = planned.hold();
    let name = titled(&planned.name);
    (held < hold).then(|| format!("{name} was held for {held:.1?} of {hold:.1?}"))
}

/// Where a crew is, if it is there.
pub(super) fn place(scene: &Scene, crew: usize) -> Option<&str> {
    scene.whereabouts.get(crew)?.as_deref()
}

pub(super) fn is_frozen(scene: &Scene, path: &str) -> bool {
    scene.cgroups.get(path).is_some_and(|cgroup| cgroup.frozen)
}

/// `step NAME`; steps without a name are called `step 0` already.
pub(super) fn titled(name: &str) -> String {
    if name.starts_with("step ") { name.to_owned() } else { format!("step {name}") }
}
