//! Steps with their times, loops unrolled into rounds. Called by `Scenario::plan`.

use super::action::Action;
use super::state::{Scene, State};
use super::{MAX_ACTIONS, MAX_STEPS};
use crate::config::ConfigError;
use crate::scenario::{Hold, Op, Scenario, Step};
use std::time::Duration;

/// A step between its beginning and its end, both from the start of the measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// `name` of the scenario, or its number.
    pub name: String,
    /// When its operations are due.
    pub begins: Duration,
    /// When those of the next one are due.
    pub ends: Duration,
    /// Operations by when they are due; one round unless the step is a loop.
    pub rounds: Vec<Round>,
    /// What holds in it: one scene, unless the rounds of a loop make several.
    pub scenes: Vec<Scene>,
}

/// Operations that are due together.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// From the start of the measurement.
    pub at: Duration,
    /// In order.
    pub ops: Vec<PlannedOp>,
}

/// One operation of the scenario with all that it comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOp {
    /// Its path in the scenario with its name, `steps[0].ops[1] Freeze`.
    pub title: String,
    pub(crate) actions: Vec<Action>,
}

pub(super) fn plan(
    scenario: &Scenario,
    state: &mut State,
) -> Result<Vec<PlannedStep>, ConfigError> {
    if scenario.steps.is_empty() {
        return Ok(Vec::new());
    }
    if scenario.iterations.is_some() {
        let why = "are held for times, and `iterations` ends workers by number; leave one out";
        return Err(ConfigError::new("steps", why));
    }
    if scenario.steps.len() > MAX_STEPS {
        let why = format!("are {}; {MAX_STEPS} can be made", scenario.steps.len());
        return Err(ConfigError::new("steps", why));
    }
    let duration = scenario.effective_duration();
    let mut planner = Planner { state, actions: 0 };
    let mut steps = Vec::with_capacity(scenario.steps.len());
    let mut begins = Duration::ZERO;
    for (at, step) in scenario.steps.iter().enumerate() {
        let place = format!("steps[{at}].");
        let rest = duration.saturating_sub(begins);
        let is_last = at + 1 == scenario.steps.len();
        let length = length(step.hold, duration, rest, is_last).map_err(|e| e.below(&place))?;
        let planned = planner.step(at, step, begins, begins + length)?;
        begins = planned.ends;
        steps.push(planned);
    }
    Ok(steps)
}

struct Planner<'a> {
    state: &'a mut State,
    actions: usize,
}

impl Planner<'_> {
    fn step(
        &mut self,
        at: usize,
        step: &Step,
        begins: Duration,
        ends: Duration,
    ) -> Result<PlannedStep, ConfigError> {
        let interval = match step.hold {
            Hold::Loop { interval, .. } => interval,
            _ => ends - begins,
        };
        // Before any is made: ten million rounds would take their time.
        let most = u128::try_from(MAX_ACTIONS).unwrap_or(u128::MAX);
        if (ends - begins).as_nanos() / interval.as_nanos().max(1) > most {
            let why = format!("is {interval:?}: more than {MAX_ACTIONS} rounds; loop less often");
            return Err(ConfigError::new(format!("steps[{at}].hold.Loop.interval"), why));
        }
        let (mut rounds, mut scenes) = (Vec::new(), Vec::new());
        let mut due = begins;
        while due < ends {
            let ops = step.ops.iter().enumerate();
            let ops = ops
                .map(|(op_at, op)| self.op(&format!("steps[{at}].ops[{op_at}]"), op, rounds.len()));
            let ops = ops.collect::<Result<Vec<_>, _>>()?;
            let scene = self.state.scene();
            if !scenes.contains(&scene) {
                scenes.push(scene);
            }
            rounds.push(Round { at: due, ops });
            due += interval;
        }
        if let Some(expect) = &step.expect {
            let place = format!("steps[{at}].expect.");
            expect.check_cgroups(&scenes).map_err(|e| e.below(&place))?;
        }
        let name = if step.name.is_empty() { at.to_string() } else { step.name.clone() };
        Ok(PlannedStep { name, begins, ends, rounds, scenes })
    }

    fn op(&mut self, place: &str, op: &Op, round: usize) -> Result<PlannedOp, ConfigError> {
        let actions = self.state.apply(op).map_err(|mut error| {
            if round > 0 {
                error.why.push_str(&format!(" (in round {round} of the loop, counted from 0)"));
            }
            let dot = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
            error.below(&format!("{place}.{}{dot}", op.name()))
        })?;
        self.actions += actions.len().max(1);
        if self.actions > MAX_ACTIONS {
            let why = format!("makes more than {MAX_ACTIONS} changes; loop less often");
            return Err(ConfigError::new(place, why));
        }
        Ok(PlannedOp { title: format!("{place} {}", op.name()), actions })
    }
}

/// How long a step lasts of a run of `duration`, of which `rest` is left.
fn length(
    hold: Hold,
    duration: Duration,
    rest: Duration,
    is_last: bool,
) -> Result<Duration, ConfigError> {
    let refuse = |field: &str, why: String| Err(ConfigError::new(format!("hold.{field}"), why));
    let (field, length) = match hold {
        Hold::Rest => ("Rest", rest),
        Hold::Time(time) => ("Time", time),
        Hold::Fraction(part) if part > 0.0 && part <= 1.0 => ("Fraction", duration.mul_f64(part)),
        Hold::Fraction(part) => {
            return refuse("Fraction", format!("is {part}; it must be above 0 and at most 1"));
        }
        Hold::Loop { interval, .. } if interval.is_zero() => {
            return refuse("Loop.interval", "is zero; rounds need time".into());
        }
        Hold::Loop { time, .. } => ("Loop", time.unwrap_or(rest)),
    };
    // Fractions may not add up to the last nanosecond.
    let length =
        if length > rest && length - rest < Duration::from_micros(1) { rest } else { length };
    match () {
        () if length.is_zero() && rest.is_zero() => {
            refuse(field, format!("has no time: the steps before it take all {duration:?}"))
        }
        () if length.is_zero() => refuse(field, "is zero; a step needs time to be seen".into()),
        () if length > rest => refuse(
            field,
            format!("is {length:?}, but {rest:?} of the duration are left; raise `duration`"),
        ),
        () if hold == Hold::Rest && !is_last => {
            refuse(field, "leaves no time for the steps after it; only the last may take it".into())
        }
        () => Ok(length),
    }
}
