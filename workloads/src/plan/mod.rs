//! What a scenario comes to on a machine: every set of workers with its number and its CPUs,
//! every cgroup, and what is done when. Made on the host before the boot, so that what cannot
//! work is refused there, and again in the guest, which follows it.

mod action;
mod crew;
mod ending;
mod ops;
mod state;
mod steps;
mod text;

pub(crate) use action::Action;
pub(crate) use crew::ROOT;
pub use crew::{Crew, PlannedSet};
pub(crate) use ending::Ending;
pub(crate) use state::above;
pub use state::{PlannedCgroup, Scene};
pub use steps::{PlannedOp, PlannedStep, Round};

use crate::config::ConfigError;
use crate::scenario::Scenario;
use crate::topology::Topology;
use state::State;
use std::collections::BTreeSet;
use std::time::Duration;

/// A run by number as well as by time: more changes than this are a mistyped interval.
const MAX_ACTIONS: usize = 20_000;
const MAX_CGROUPS: usize = 2_000;
/// Their phases must fit into half of a word, see `worker::phases`.
const MAX_STEPS: usize = 10_000;

/// A scenario on a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The machine.
    pub topology: Topology,
    /// Everyone who will ever run, in the order of worker indices.
    pub crews: Vec<Crew>,
    /// What is done before the gate opens; the workers of the first crews are at it then.
    pub(crate) setup: Vec<Action>,
    /// What holds from the gate to the first step.
    pub opening: Scene,
    /// Steps in order; none is one state from beginning to end.
    pub steps: Vec<PlannedStep>,
    /// What holds for each crew when it is told to stop.
    pub(crate) endings: Vec<Ending>,
}

impl Scenario {
    /// Resolves the scenario on `topology`. The error has the path of what cannot work.
    pub fn plan(&self, topology: &Topology) -> Result<Plan, ConfigError> {
        let mut state = State::new(topology.clone());
        let mut setup = Vec::new();
        if let Some(workload) = &self.workload {
            let crew = state.root_crew(workload).map_err(|e| e.below("workload."))?;
            setup.extend(state.start(crew));
        }
        // Parents first; workers are numbered in the order of the file.
        let mut by_depth: Vec<usize> = (0..self.cgroups.len()).collect();
        by_depth.sort_by_key(|at| self.cgroups[*at].name.matches('/').count());
        let place = |at: usize| format!("cgroups[{at}].");
        for at in by_depth {
            let made = state.add_cgroup(&self.cgroups[at]);
            setup.extend(made.map_err(|e| e.below(&place(at)))?);
        }
        for (at, def) in self.cgroups.iter().enumerate() {
            let crew = state.cgroup_crew(def).map_err(|e| e.below(&place(at)))?;
            setup.extend(crew.into_iter().flat_map(|crew| state.start(crew)));
        }
        let opening = state.scene();
        let steps = steps::plan(self, &mut state)?;
        self.check_crews(&state)?;
        let topology = topology.clone();
        let (endings, crews) = (state.endings(), state.crews);
        Ok(Plan { topology, crews, setup, opening, steps, endings })
    }

    fn check_crews(&self, state: &State) -> Result<(), ConfigError> {
        let threads = |crew: &&Crew| crew.clone_mode == crate::config::CloneMode::Thread;
        if state.crews.len() > 1 && state.crews.iter().any(|crew| threads(&crew)) {
            let why = "is Thread: workers in cgroups and later ones must be forked, which is safe \
                       only in a process with one thread";
            return Err(ConfigError::new("workload.clone_mode", why));
        }
        if state.crews.is_empty() {
            return Err(ConfigError::new("cgroups", "hold no workers, so nothing would run"));
        }
        Ok(())
    }
}

impl Plan {
    /// How many workers there are in all, and so how many reports.
    pub fn total_workers(&self) -> usize {
        self.crews.last().map_or(0, |crew| crew.first_worker + crew.workers())
    }

    /// The crew of a worker; they are in the order of their workers.
    pub(crate) fn crew_of(&self, worker: usize) -> usize {
        self.crews.partition_point(|crew| crew.first_worker <= worker).saturating_sub(1)
    }

    /// The controllers that the scenario needs, by their names in `cgroup.controllers`.
    pub(crate) fn controllers(&self) -> BTreeSet<&'static str> {
        let files = self.actions().filter_map(|action| match action {
            Action::Write { file, .. } => file.split('.').next(),
            _ => None,
        });
        let mut controllers: BTreeSet<&'static str> = files.collect();
        if self.actions().any(|action| matches!(action, Action::Create { .. })) {
            // What schedules: siblings compete as groups and their use is counted.
            controllers.extend(["cpu", "cpuset"]);
        }
        controllers
    }

    /// The scene that holds in step `step`, where only one does; without steps that of the run.
    pub fn scene(&self, step: Option<usize>) -> Option<&Scene> {
        match step.map(|step| self.steps.get(step)) {
            None => Some(&self.opening).filter(|_| self.steps.is_empty()),
            Some(step) => step?.scene(),
        }
    }

    /// How often a step starts a sched_ext scheduler.
    pub fn scheduler_starts(&self) -> usize {
        self.actions().filter(|action| matches!(action, Action::Scheduler(Some(_)))).count()
    }

    /// Whether the kernel may give fair tasks another slice on the way.
    pub(crate) fn changes_slices(&self) -> bool {
        self.actions().any(|action| matches!(action, Action::Cpu { .. } | Action::Knob { .. }))
    }

    fn actions(&self) -> impl Iterator<Item = &Action> {
        let rounds = self.steps.iter().flat_map(|step| &step.rounds);
        let later = rounds.flat_map(|round| &round.ops).flat_map(|op| &op.actions);
        self.setup.iter().chain(later)
    }

    /// How many single changes the steps make, all rounds counted.
    pub fn changes_in_steps(&self) -> usize {
        self.actions().count() - self.setup.len()
    }

    /// How long is measured. With steps it is the time for which they are held, all together; what
    /// their operations take is added to it.
    pub fn length(&self, scenario: &Scenario) -> Duration {
        self.steps.last().map_or_else(|| scenario.effective_duration(), PlannedStep::ends)
    }
}

#[cfg(test)]
mod tests;
