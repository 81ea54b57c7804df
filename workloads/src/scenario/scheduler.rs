//! sched_ext schedulers in steps: which one, with which arguments, and whether one runs at the
//! time. The host resolves the names; `run` hands the choice to a `SchedulerKeeper`.

use super::Scenario;
use super::step::{Hold, Op};
use crate::config::ConfigError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

const MAX_ARGS: usize = 100;
const MAX_TEXT: usize = 1000;

/// A sched_ext scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerChoice {
    /// Its name; `null` is the one of `--scheduler`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its arguments; those after `--` on the command line are not added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

impl fmt::Display for SchedulerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("that of --scheduler"))?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

impl SchedulerChoice {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let plain = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT && !text.contains('\0');
        if self.name.as_deref().is_some_and(|name| !plain(name)) {
            return Err(ConfigError::new("name", "must be the name of a scheduler"));
        }
        if self.args.len() > MAX_ARGS || !self.args.iter().all(|arg| plain(arg)) {
            let why = format!("must be up to {MAX_ARGS}, each 1 to {MAX_TEXT} bytes without NUL");
            return Err(ConfigError::new("args", why));
        }
        Ok(())
    }
}

impl Scenario {
    /// Names of the schedulers that steps start; `None` among them is that of `--scheduler`, and
    /// `at_start` whether there is one. The error has the path of an operation that cannot work.
    pub fn schedulers(&self, at_start: bool) -> Result<BTreeSet<Option<&str>>, ConfigError> {
        let mut names = BTreeSet::new();
        let mut runs = at_start;
        for (at, step) in self.steps.iter().enumerate() {
            // What a second round of a loop meets, the first may not have.
            let rounds = if matches!(step.hold, Hold::Loop { .. }) { 2 } else { 1 };
            for (op_at, op) in (0..rounds).flat_map(|_| step.ops.iter().enumerate()) {
                let refuse = |why: &str| {
                    let path = format!("steps[{at}].ops[{op_at}].{}", op.name());
                    Err(ConfigError::new(path, why))
                };
                let (choice, needs_one) = match op {
                    Op::StopScheduler => (None, true),
                    Op::StartScheduler(choice) => (Some(choice), false),
                    Op::ReplaceScheduler(choice) => (Some(choice), true),
                    _ => continue,
                };
                match (runs, needs_one) {
                    (false, true) => return refuse("finds no sched_ext scheduler at this point"),
                    (true, false) => return refuse("finds one running; use ReplaceScheduler"),
                    _ => runs = choice.is_some(),
                }
                if choice.is_some_and(|choice| choice.name.is_none()) && !at_start {
                    return refuse("has no name, and there is no --scheduler for it to stand for");
                }
                names.extend(choice.map(|choice| choice.name.as_deref()));
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ops: &str, hold: &str, at_start: bool) -> Result<Vec<String>, String> {
        let text = format!(
            r#"{{"duration":"2s","steps":[{{"hold":{{"Time":"1s"}}}},{{"hold":{hold},"ops":[{ops}]}}]}}"#
        );
        let scenario = Scenario::parse(&text).map_err(|error| error.to_string())?;
        let names = scenario.schedulers(at_start);
        let names = names.map_err(|broken| format!("{}: {}", broken.path, broken.why))?;
        Ok(names.into_iter().map(|name| name.unwrap_or("default").to_owned()).collect())
    }

    const REST: &str = r#""Rest""#;
    const STOP: &str = r#""StopScheduler""#;

    #[test]
    fn steps_say_which_schedulers_must_be_there() {
        let replace = r#"{"ReplaceScheduler":{"name":"scx_a","args":["-v"]}}"#;
        let start = r#"{"StartScheduler":{}}"#;
        let all = names(&[replace, STOP, start].join(","), REST, true).unwrap();
        assert_eq!(all, ["default", "scx_a"]);
        let named = r#"{"StartScheduler":{"name":"scx_a"}}"#;
        assert_eq!(names(named, REST, false).unwrap(), ["scx_a"]);
    }

    #[test]
    fn what_cannot_work_at_its_point_is_refused_by_its_path() {
        let refused = |ops: &str, hold: &str, at_start: bool, path: &str| {
            let why = names(ops, hold, at_start).unwrap_err();
            assert!(why.starts_with(&format!("steps[1].{path}: ")), "{why}");
        };
        let start = r#"{"StartScheduler":{"name":"a"}}"#;
        refused(STOP, REST, false, "ops[0].StopScheduler");
        refused(start, REST, true, "ops[0].StartScheduler");
        refused(&[STOP, STOP].join(","), REST, true, "ops[1].StopScheduler");
        refused(r#"{"StartScheduler":{}}"#, REST, false, "ops[0].StartScheduler");
        // The second round finds what the first one left.
        refused(STOP, r#"{"Loop":{"interval":"100ms"}}"#, true, "ops[0].StopScheduler");
    }

    #[test]
    fn arguments_have_bounds() {
        let choice = |args: &[&str]| SchedulerChoice {
            name: None,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        choice(&["-v", "--slice-us=5000"]).validate().unwrap();
        assert_eq!(choice(&["a\0b"]).validate().unwrap_err().path, "args");
        assert_eq!(choice(&[""]).validate().unwrap_err().path, "args");
        let nameless = SchedulerChoice { name: Some(String::new()), args: Vec::new() };
        assert_eq!(nameless.validate().unwrap_err().path, "name");
    }
}
