//! Runs one scenario on this machine from spawn to reports. Called by the guest's runner and by
//! `xtask host`.

use crate::handle::{IoPlace, SpawnError, SpawnOptions, WorkloadHandle};
use crate::report::WorkerReport;
use crate::scenario::Scenario;
use std::time::{Duration, Instant};

/// How often the caller hears of a running workload.
const TICK: Duration = Duration::from_millis(500);
/// How long workers may take to leave, plus something for each, since all of them report at once.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_PER_WORKER: Duration = Duration::from_millis(10);

/// What the machine offers to the run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Where the I/O types work.
    pub io: IoPlace,
}

/// What happens while a scenario runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Every worker is forked and waits at the gate.
    Ready {
        /// Their process ids, in report order.
        pids: Vec<i32>,
    },
    /// The gate is open and the warm-up, if there is one, is over.
    Measuring,
    /// The run goes on.
    Tick {
        /// Since the measurement began.
        elapsed: Duration,
        /// Iterations of all workers together.
        iterations: u64,
        /// Workers that have ended already.
        ended: usize,
    },
    /// The stop was given.
    Stopping,
}

/// Runs `scenario` and returns one report per worker, in spawn order.
pub fn run(
    scenario: &Scenario,
    options: &RunOptions,
    on_event: &mut dyn FnMut(Event),
) -> Result<Vec<WorkerReport>, SpawnError> {
    let spawn = SpawnOptions {
        seed: scenario.seed,
        iterations: scenario.iterations,
        io: options.io.clone(),
    };
    let mut handle = WorkloadHandle::spawn_with(&scenario.workload, &spawn)?;
    let pids = handle.worker_pids();
    let patience = PATIENCE + PATIENCE_PER_WORKER * u32::try_from(pids.len()).unwrap_or(u32::MAX);
    on_event(Event::Ready { pids });
    handle.start();
    if !scenario.warmup.is_zero() {
        handle.wait_until(Instant::now() + scenario.warmup)?;
        handle.restart_measurement();
    }
    on_event(Event::Measuring);
    measure(&mut handle, scenario.effective_duration(), on_event)?;
    on_event(Event::Stopping);
    Ok(handle.stop_and_collect(patience))
}

fn measure(
    handle: &mut WorkloadHandle,
    duration: Duration,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), SpawnError> {
    let begun = Instant::now();
    loop {
        let left = duration.saturating_sub(begun.elapsed());
        let census = handle.wait_until(Instant::now() + TICK.min(left))?;
        if census.running == 0 || left <= TICK {
            return Ok(());
        }
        on_event(Event::Tick {
            elapsed: begun.elapsed(),
            iterations: handle.snapshot_iterations().iter().sum(),
            ended: census.ended,
        });
    }
}
