//! Steps in their order: operations, then a time that begins when they are done, at both ends of
//! which workers and cgroups are read. Called by `run`.

use super::record::StepRecord;
use super::sample::{self, Held};
use super::stage::Stage;
use super::{Event, usage};
use crate::clock::monotonic_ns;
use crate::plan::{PlannedStep, Round};
use crate::worker::phase_of_ops;
use std::time::Instant;

/// Plays all steps to the end of the last one.
pub(super) fn play(stage: &mut Stage<'_>, on_event: &mut dyn FnMut(Event)) -> Result<(), String> {
    let plan = stage.plan;
    for (index, step) in plan.steps.iter().enumerate() {
        stage.tell(Event::Step { index, name: step.name.clone() }, on_event);
        play_one(stage, index, step, on_event)?;
    }
    Ok(())
}

fn play_one(
    stage: &mut Stage<'_>,
    index: usize,
    step: &PlannedStep,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let began_ns = monotonic_ns();
    if index == 0 {
        stage.enter_phase(phase_of_ops(index));
    }
    let (first, later) = step.rounds.split_first().ok_or("a step has no round")?;
    do_round(stage, first)?;
    let done_ns = monotonic_ns();
    let begin = sample::read(&stage.subjects());
    let cgroups = stage.read_usage();
    let held_ns = monotonic_ns();
    stage.enter_phase(phase_of_ops(index) + 1);
    stage.wait_until(Instant::now() + first.held, on_event)?;
    let mut later_operations_ns = 0;
    for round in later {
        let due_ns = monotonic_ns();
        do_round(stage, round)?;
        later_operations_ns += monotonic_ns() - due_ns;
        stage.wait_until(Instant::now() + round.held, on_event)?;
    }
    let ended_ns = monotonic_ns();
    // What passes while counters are read and operations are done belongs to no step; who has waited
    // since before the end of the last one sees that as one of a step.
    stage.enter_phase(phase_of_ops(index + 1));
    let end = sample::read(&stage.subjects());
    let used = usage::between(&cgroups, &stage.read_usage());
    let both = begin.into_iter().filter_map(|(worker, begin)| {
        let end = end.get(&worker)?.clone();
        Some((worker, Held { step: index, begin, end }))
    });
    stage.keep(both);
    stage.record.steps.push(StepRecord {
        name: step.name.clone(),
        began_ns: began_ns.saturating_sub(stage.began_ns),
        operations_ns: done_ns - began_ns,
        held_ns: ended_ns - held_ns,
        reading_ns: held_ns - done_ns + (monotonic_ns() - ended_ns),
        later_operations_ns,
        rounds: step.rounds.len(),
        cgroups: used,
    });
    Ok(())
}

fn do_round(stage: &mut Stage<'_>, round: &Round) -> Result<(), String> {
    round.ops.iter().try_for_each(|op| stage.do_all(&op.title, &op.actions))
}
