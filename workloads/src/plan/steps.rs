//! Steps with how long each is held, loops unrolled into rounds. Called by `Scenario::plan`.

use super::action::Action;
use super::state::{Scene, State};
use super::{MAX_ACTIONS, MAX_STEPS};
use crate::config::ConfigError;
use crate::scenario::{Hold, Op, Scenario, Step};
use std::time::Duration;

/// A step: operations, and the time for which it is held once they are done.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// `name` of the scenario, or its number.
    pub name: String,
    /// When its operations are due at the earliest, from the start of the measurement: it comes
    /// later by what all operations before it took.
    pub begins: Duration,
    /// Operations and how long what they made is held; one round unless the step is a loop.
    pub rounds: Vec<Round>,
    /// What is held: one scene, unless the rounds of a loop make several. Each is there once, in
    /// the order in which they were held last.
    pub scenes: Vec<Scene>,
    /// What is so for a moment only, between two operations of a round, where that is another
    /// scene. Those of the first round are over before the step is accounted for.
    pub passing: Vec<Scene>,
}

/// Operations that are done together, and the time after them.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// In order.
    pub ops: Vec<PlannedOp>,
    /// From the end of the operations to those of the next round or step.
    pub held: Duration,
}

impl PlannedStep {
    /// How long it is held, the operations of all rounds left out.
    pub fn hold(&self) -> Duration {
        self.rounds.iter().map(|round| round.held).sum()
    }

    /// What holds in all of it, if nothing else ever does.
    pub fn scene(&self) -> Option<&Scene> {
        match (self.scenes.as_slice(), self.passing.as_slice()) {
            ([scene], []) => Some(scene),
            _ => None,
        }
    }

    /// When the operations of the next step are due at the earliest.
    pub fn ends(&self) -> Duration {
        self.begins + self.hold()
    }
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
        let planned = planner.step(at, step, begins, length)?;
        begins = planned.ends();
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
        length: Duration,
    ) -> Result<PlannedStep, ConfigError> {
        let interval = match step.hold {
            Hold::Loop { interval, .. } => interval,
            _ => length,
        };
        // Before any is made: ten million rounds would take their time.
        let most = u128::try_from(MAX_ACTIONS).unwrap_or(u128::MAX);
        if length.as_nanos() / interval.as_nanos().max(1) > most {
            let why = format!("is {interval:?}: more than {MAX_ACTIONS} rounds; loop less often");
            return Err(ConfigError::new(format!("steps[{at}].hold.Loop.interval"), why));
        }
        let (mut rounds, mut scenes, mut passing) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = length;
        while !left.is_zero() {
            let ops = self.round(at, step, rounds.len(), &mut passing)?;
            note(&mut scenes, self.state.scene());
            let held = interval.min(left);
            rounds.push(Round { ops, held });
            left -= held;
        }
        passing.retain(|scene| !scenes.contains(scene));
        if let Some(expect) = &step.expect {
            let place = format!("steps[{at}].expect.");
            expect.check_cgroups(&scenes).map_err(|e| e.below(&place))?;
        }
        let name = if step.name.is_empty() { at.to_string() } else { step.name.clone() };
        Ok(PlannedStep { name, begins, rounds, scenes, passing })
    }

    /// The operations of one round. Puts into `passing` what is so between two of them; what is so
    /// within one is what was before it for some tasks, and what comes of it for others.
    fn round(
        &mut self,
        at: usize,
        step: &Step,
        round: usize,
        passing: &mut Vec<Scene>,
    ) -> Result<Vec<PlannedOp>, ConfigError> {
        let mut ops = Vec::with_capacity(step.ops.len());
        for (op_at, op) in step.ops.iter().enumerate() {
            if round > 0 && op_at > 0 {
                note(passing, self.state.scene());
            }
            ops.push(self.op(&format!("steps[{at}].ops[{op_at}]"), op, round)?);
        }
        Ok(ops)
    }

    fn op(&mut self, place: &str, op: &Op, round: usize) -> Result<PlannedOp, ConfigError> {
        let actions = self.state.apply(op).map_err(|mut error| {
            if round > 0 {
                error.why.push_str(&format!(" (in round {round} of the loop, counted from 0)"));
            }
            let dot = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
            error.below(&format!("{place}.{}{dot}", op.name()))
        })?;
        let kept = |action: &&Action| matches!(action, Action::Keep { .. });
        self.actions += (actions.len() - actions.iter().filter(kept).count()).max(1);
        if self.actions > MAX_ACTIONS {
            let why = format!("makes more than {MAX_ACTIONS} changes; loop less often");
            return Err(ConfigError::new(place, why));
        }
        Ok(PlannedOp { title: format!("{place} {}", op.name()), actions })
    }
}

/// Puts `scene` at the end, and there alone.
fn note(scenes: &mut Vec<Scene>, scene: Scene) {
    let known = scenes.iter().position(|known| *known == scene);
    let scene = known.map_or(scene, |at| scenes.remove(at));
    scenes.push(scene);
}

/// How long a step is held of a run of `duration`, of which `rest` is left.
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
