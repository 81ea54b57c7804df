//! The child of PID 1 that runs the workload. What it has to say it writes as JSON lines into a
//! pipe; PID 1 frames them. If it dies, PID 1 lives and says so.

use crate::facts;
use crate::handover::{Taker, Task};
use crate::printed;
use crate::proto::{self, End, Message};
use crate::scheduler::Keeper;
use crate::storage::{Disk, difference};
use anyhow::{Context as _, Result};
use rustix::fd::OwnedFd;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;
use workloads::{
    Event, IoPlace, RunOptions, RunOutcome, Scenario, SchedulerKeeper, Topology, become_supervisor,
    monotonic_ns, to_ns,
};

/// Status of a runner that could not go on and has said why.
const EXIT_FAILED: i32 = 1;

/// What there is for a run, whatever its scenario.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) options: RunOptions,
    pub(crate) disk: Option<&'a Disk>,
    /// Modules that were loaded.
    pub(crate) modules: Vec<String>,
}

/// Attaches the scheduler that the run begins with, waits for its task, does it, and returns the exit status.
pub(crate) fn main(
    machine: Machine<'_>,
    mut keeper: Option<Keeper>,
    taker: Taker,
    pipe: OwnedFd,
) -> i32 {
    let pipe = File::from(pipe);
    report_panics(&pipe);
    let out = RefCell::new(Lines(pipe));
    if let Err(errno) = become_supervisor() {
        let text = format!("the runner is not above its workload: sched_setattr failed: {errno}");
        out.borrow_mut().note(text);
    }
    let disk = machine.disk;
    let begun = keeper.as_mut().map_or(Ok(()), |keeper| {
        out.borrow_mut().stage("attaching the scheduler");
        keeper.begin()
    });
    let mut before = None;
    let outcome = begun.and_then(|()| {
        let task = taker.take().map_err(|error| format!("{error:#}"))?;
        std::thread::sleep(Duration::from_nanos(task.order.phase_ns));
        before = disk.and_then(Disk::counters);
        run(&task, machine, keeper.as_mut(), &out).map_err(|error| format!("{error:#}"))
    });
    let outcome =
        outcome.unwrap_or_else(|why| RunOutcome { error: Some(why), ..RunOutcome::default() });
    let after = disk.and_then(Disk::counters);
    let used = before.zip(after).map(|(before, after)| difference(before, after));
    let status = if outcome.error.is_none() { 0 } else { EXIT_FAILED };
    let end = End {
        reports: outcome.workers.len(),
        error: outcome.error,
        clocksource: facts::clocksource(),
        disk: used,
    };
    let mut out = out.borrow_mut();
    out.send(&Message::Record(Box::new(outcome.record)));
    for report in outcome.workers {
        out.send(&Message::Worker(Box::new(report)));
    }
    for life in keeper.map(Keeper::into_lives).unwrap_or_default() {
        out.send(&Message::Scheduler(Box::new(life)));
    }
    out.send(&Message::Printed(printed::read()));
    out.send(&Message::End(end));
    status
}

fn run(
    task: &Task,
    machine: Machine<'_>,
    keeper: Option<&mut Keeper>,
    out: &RefCell<Lines>,
) -> Result<RunOutcome> {
    let Machine { options, modules, .. } = machine;
    let options = RunOptions { schedule_hash: task.order.schedule_hash, ..options };
    let scenario = Scenario::parse_again(&task.scenario)
        .with_context(|| format!("scenario from {}", task.source))?;
    let topology = Topology::read().map_err(anyhow::Error::msg)?;
    let plan = scenario.plan(&topology).context("the scenario on this machine")?;
    let (IoPlace::Device(place) | IoPlace::Dir(place)) = &options.io;
    out.borrow_mut().send(&Message::Plan(Box::new(proto::Plan {
        workers: plan.total_workers(),
        scenario: scenario.clone(),
        source: task.source.clone(),
        io: place.display().to_string(),
        modules,
    })));
    // With a tick PID 1 has something to say all the while. Operations that take longer than
    // its beat make it beat.
    let quiet = match options.tick {
        Some(_) => Duration::ZERO,
        None => scenario.warmup + plan.length(&scenario),
    };
    let keeper = keeper.map(|keeper| keeper as &mut dyn SchedulerKeeper);
    let mut on_event = |event| out.borrow_mut().event(&event, quiet);
    Ok(workloads::run_under(keeper, &scenario, &plan, &options, &mut on_event))
}

/// PID 1's pipe. A write that fails leaves PID 1 without an end, which it reports.
struct Lines(File);

impl Lines {
    fn send(&mut self, message: &Message) {
        if let Ok(mut json) = serde_json::to_vec(message) {
            json.push(b'\n');
            let _ = self.0.write_all(&json);
        }
    }

    fn note(&mut self, text: String) {
        self.send(&Message::Note { at_ns: monotonic_ns(), text });
    }

    fn stage(&mut self, text: &str) {
        self.quiet_stage(text, Duration::ZERO);
    }

    fn quiet_stage(&mut self, text: &str, quiet: Duration) {
        let (at_ns, quiet_ns) = (monotonic_ns(), to_ns(quiet));
        self.send(&Message::Stage { at_ns, text: text.into(), quiet_ns });
    }

    /// `quiet` is for how long nothing is said from the gate on.
    fn event(&mut self, event: &Event, quiet: Duration) {
        match event {
            Event::Ready { pids } => {
                self.quiet_stage(&format!("{} workers at the gate", pids.len()), quiet);
            }
            Event::Measuring => self.quiet_stage("measuring", quiet),
            Event::Step { index, name } => self.stage(&format!("step {index}, {name}")),
            Event::Stopping => self.stage("stopping"),
            Event::Tick { elapsed, iterations, ended } => self.send(&Message::Progress {
                elapsed_ns: to_ns(*elapsed),
                iterations: *iterations,
                ended: *ended,
            }),
        }
    }
}

/// The panic hook of PID 1 must not run here: it would power off.
fn report_panics(pipe: &File) {
    let Ok(pipe) = pipe.try_clone() else { return };
    std::panic::set_hook(Box::new(move |info| {
        let error = Some(format!("the runner panicked: {info}"));
        if let Ok(pipe) = pipe.try_clone() {
            Lines(pipe).send(&Message::End(End { error, ..End::default() }));
        }
        exit_after_panic()
    }));
}

/// The last message is out; unwinding or aborting would only add a second end.
#[expect(clippy::exit, reason = "a child of PID 1 that has said all it can")]
fn exit_after_panic() -> ! {
    std::process::exit(EXIT_FAILED)
}
