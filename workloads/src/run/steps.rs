//! Steps in their order: operations, then a time in which workers and cgroups are read at both
//! ends. Called by `run`.

use super::record::StepRecord;
use super::sample;
use super::stage::Stage;
use super::{Event, usage};
use crate::clock::monotonic_ns;
use crate::plan::{PlannedStep, Round};
use crate::worker::phase_of_ops;

/// Plays all steps to the end of the last one.
pub(super) fn play(stage: &mut Stage<'_>, on_event: &mut dyn FnMut(Event)) -> Result<(), String> {
    let plan = stage.plan;
    for (index, step) in plan.steps.iter().enumerate() {
        on_event(Event::Step { index, name: step.name.clone() });
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
    // What passes while operations are done belongs to no step.
    stage.enter_phase(phase_of_ops(index));
    let mut rounds = step.rounds.iter();
    if let Some(first) = rounds.next() {
        do_round(stage, first)?;
    }
    let begin = sample::read(&stage.subjects());
    let cgroups = stage.read_usage();
    let held_ns = monotonic_ns();
    stage.enter_phase(phase_of_ops(index) + 1);
    for round in rounds {
        stage.wait_until(stage.began + round.at, on_event)?;
        do_round(stage, round)?;
    }
    stage.wait_until(stage.began + step.ends, on_event)?;
    let ended_ns = monotonic_ns();
    let end = sample::read(&stage.subjects());
    let used = usage::between(&cgroups, &stage.read_usage());
    let both = begin.iter().filter_map(|(worker, begin)| Some((*worker, begin, end.get(worker)?)));
    stage.keep(both.map(|(worker, begin, end)| (worker, begin.until(end, index))));
    stage.record.steps.push(StepRecord {
        name: step.name.clone(),
        began_ns: began_ns.saturating_sub(stage.began_ns),
        operations_ns: held_ns - began_ns,
        held_ns: ended_ns - held_ns,
        rounds: step.rounds.len(),
        cgroups: used,
    });
    Ok(())
}

fn do_round(stage: &mut Stage<'_>, round: &Round) -> Result<(), String> {
    round.ops.iter().try_for_each(|op| stage.do_all(&op.title, &op.actions))
}
