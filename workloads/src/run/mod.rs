//! Runs one planned scenario on this machine from the first cgroup to the last report. Called by
//! the guest's runner and by `xtask host`.

mod cpus;
mod keeper;
#[cfg(test)]
mod keys;
mod record;
mod sample;
mod schedule;
mod stage;
mod steps;
mod turn;
mod usage;

pub use keeper::SchedulerKeeper;
pub use record::{CgroupUse, CpuUse, RunRecord, ScheduleRecord, StepRecord, SwapRecord};

use crate::handle::IoPlace;
use crate::plan::Plan;
use crate::report::WorkerReport;
use crate::scenario::Scenario;
pub(crate) use sample::Subject;
use stage::Stage;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Between what the run does for itself and the beginning of what is measured, so that whoever was
/// kept from a CPU by it has had its turn.
const SETTLE: Duration = Duration::from_millis(1);

/// What the machine offers to the run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where the I/O types work.
    pub io: IoPlace,
    /// The folder in which the cgroups of the scenario are made; none where cgroup v2 is not
    /// mounted.
    pub cgroups: Option<PathBuf>,
    /// `cpuacct.usage_percpu` of the root cgroup, by which the busy time of CPUs is known; without
    /// it their idle time in `/proc/stat` must do, where the kernel counts that.
    pub cpu_time: Option<PathBuf>,
    /// Whether to hash the context switches of all CPUs.
    pub schedule_hash: bool,
    /// How often the caller hears of a running workload. Each time takes a CPU from the workers for
    /// a moment; without it nobody hears anything from the gate to the stop.
    pub tick: Option<Duration>,
}

/// What happens while a scenario runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Every worker that begins with the run waits at the gate.
    Ready {
        /// Their thread ids, in report order.
        pids: Vec<i32>,
    },
    /// The measurement is about to begin.
    Measuring,
    /// The operations of a step are about to be done.
    Step {
        /// Its index.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The run goes on.
    Tick {
        /// Since the measurement began.
        elapsed: Duration,
        /// Iterations of all running workers together.
        iterations: u64,
        /// Workers that have ended already.
        ended: usize,
    },
    /// The stop was given.
    Stopping,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunOutcome {
    /// One report a worker that was started, in the order of their indices.
    pub workers: Vec<WorkerReport>,
    /// What was read from outside of them.
    pub record: RunRecord,
    /// Why the run could not go on to its end, if it could not. Reports are then those of what
    /// had begun.
    pub error: Option<String>,
}

/// Runs `plan`, which was made from `scenario` on this machine.
pub fn run(
    scenario: &Scenario,
    plan: &Plan,
    options: &RunOptions,
    on_event: &mut dyn FnMut(Event),
) -> RunOutcome {
    run_under(None, scenario, plan, options, on_event)
}

/// As [`run`], under the sched_ext scheduler of `keeper`.
pub fn run_under<'a>(
    keeper: Option<&'a mut dyn SchedulerKeeper>,
    scenario: &Scenario,
    plan: &'a Plan,
    options: &RunOptions,
    on_event: &mut dyn FnMut(Event),
) -> RunOutcome {
    let mut stage = Stage::new(keeper, scenario, plan, options);
    let error = play(&mut stage, scenario, on_event).err();
    stage.end_measurement();
    on_event(Event::Stopping);
    stage.close(error)
}

/// The run up to its stop. An error is a sentence that says where in the scenario it happened.
fn play(
    stage: &mut Stage<'_>,
    scenario: &Scenario,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let plan = stage.plan;
    stage.do_all("the start", &plan.setup)?;
    on_event(Event::Ready { pids: stage.pids() });
    if scenario.warmup.is_zero() {
        on_event(Event::Measuring);
        // Nobody runs yet, so that what is counted from outside is that of the gate.
        std::thread::sleep(SETTLE);
        stage.read_begin();
        stage.begin_measurement();
        stage.open_gate();
    } else {
        stage.open_gate();
        let ends = Instant::now() + scenario.warmup;
        let reads = (2 * SETTLE).min(scenario.warmup / 2);
        stage.wait_until(ends - reads, &mut |_| ())?;
        stage.read_begin();
        stage.wait_until(ends.max(Instant::now() + SETTLE), &mut |_| ())?;
        stage.restart_measurement();
        stage.begin_measurement();
        stage.tell(Event::Measuring, on_event);
    }
    match plan.steps.is_empty() {
        true => measure(stage, plan.length(scenario), on_event),
        false => steps::play(stage, on_event),
    }
}

/// One state until the duration is over or everyone has ended.
fn measure(
    stage: &mut Stage<'_>,
    duration: Duration,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let until = stage.began + duration;
    stage.wait_until(until, on_event)
}
