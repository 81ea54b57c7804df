//! Scenario files: workers, cgroups and steps with a duration, a seed and expectations. Parsed
//! and refused on the host, parsed again in the guest; `plan` resolves them on a machine.

mod cgroup;
mod locate;
mod machine;
mod scheduler;
mod schema_key;
mod size;
mod step;
mod swap;

pub(crate) use cgroup::DEFAULT_WEIGHT;
pub use cgroup::{CgroupDef, CpuKnobs, CpuMax, MemoryKnobs};
pub use machine::Machine;
pub use scheduler::SchedulerChoice;
pub use size::Size;
pub use step::{Hold, Op, Step};

use crate::config::{ConfigError, WorkSpec, WorkloadConfig};
use crate::expect::Expect;
use crate::human::{HumanTime, OptionalTime};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

const DEFAULT_DURATION: Duration = Duration::from_secs(5);
/// How long a run by iterations may take if the scenario does not say.
const ITERATIONS_DURATION: Duration = Duration::from_secs(60);
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// A workload and what is to be found out with it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(transform = crate::schema::allow_schema_key)
)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Names the run folder and the report.
    pub name: String,
    /// What it is for, in one line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// How long to measure, default 5 s. With `iterations` it is the limit, default 60 s. With
    /// steps the most for which they may be held, default the sum of their times; what their
    /// operations take is added to it.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// How long to run before the measurement begins.
    #[serde(with = "HumanTime")]
    pub warmup: Duration,
    /// Every random choice of the workload derives from it.
    pub seed: u64,
    /// Each worker begins after a time below this that the seed chooses, and is measured from there.
    #[serde(with = "HumanTime", skip_serializing_if = "Duration::is_zero")]
    pub stagger: Duration,
    /// End after this many iterations of each worker instead of after a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// The guest that it needs, where nobody asks for another.
    #[serde(skip_serializing_if = "Machine::is_empty")]
    pub machine: Machine,
    /// What runs in the root cgroup; one spinning worker if there is nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadConfig>,
    /// Cgroups that are there from the beginning, with their workers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cgroups: Vec<CgroupDef>,
    /// What changes while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What must hold.
    pub expect: Expect,
}

/// Why a scenario file is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// Path of the offending value, `workload.work_type.Bursty.burst_duration`.
    pub path: String,
    /// Line in the file, from 1; 0 if it is not known.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// What is wrong, with the nearest known name where one is meant.
    pub message: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {} column {}: ", self.line, self.column)?;
        }
        if !matches!(self.path.as_str(), "" | ".") {
            write!(f, "`{}` ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScenarioError {}

impl ScenarioError {
    /// What is `broken` in the scenario that `text` holds, with its place there.
    pub fn of(broken: ConfigError, text: &str) -> Self {
        Self::at(broken.path, broken.why, text)
    }

    /// The same of the value at `path`.
    pub fn at(mut path: String, message: String, text: &str) -> Self {
        if is_bare_config(text) {
            path = path.trim_start_matches("workload.").to_owned();
        }
        let (line, column) = locate::locate(text, &path).unwrap_or((0, 0));
        Self { path, line, column, message }
    }
}

impl Scenario {
    /// Parses a scenario, or a bare [`WorkloadConfig`], and checks all that needs no machine.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario = match is_bare_config(text) {
            true => Self::of(traced(text)?),
            false => traced(text)?,
        };
        scenario.checked(|broken| ScenarioError::of(broken, text))
    }

    /// As [`Self::parse`], for guests: what is wrong is said without its path and a hint, because
    /// the code that follows the path would be a twentieth of PID 1. A host has been through
    /// [`Self::parse`] before.
    pub fn parse_again(text: &str) -> Result<Self, ScenarioError> {
        let scenario = match is_bare_config(text) {
            true => Self::of(plain(text)?),
            false => plain(text)?,
        };
        scenario.checked(|ConfigError { path, why, .. }| ScenarioError {
            path,
            line: 0,
            column: 0,
            message: why,
        })
    }

    fn of(workload: WorkloadConfig) -> Self {
        Self { workload: Some(workload), ..Self::default() }
    }

    fn checked(
        mut self,
        refuse: impl FnOnce(ConfigError) -> ScenarioError,
    ) -> Result<Self, ScenarioError> {
        if self.workload.is_none() && self.cgroups.is_empty() && self.steps.is_empty() {
            self.workload = Some(WorkloadConfig::default());
        }
        match self.validate() {
            Ok(()) => Ok(self),
            Err(broken) => Err(refuse(broken)),
        }
    }

    /// How long the run may last.
    pub fn effective_duration(&self) -> Duration {
        let default = match self.iterations {
            Some(_) => ITERATIONS_DURATION,
            None => self.time_of_steps().unwrap_or(DEFAULT_DURATION),
        };
        self.duration.unwrap_or(default)
    }

    /// Every set of workers in it, those of later steps too.
    pub fn all_specs(&self) -> Vec<WorkSpec> {
        let later = self.steps.iter().flat_map(|step| &step.ops).flat_map(|op| match op {
            Op::AddCgroup(def) => def.works.clone(),
            Op::Spawn { work, .. } => vec![(**work).clone()],
            _ => Vec::new(),
        });
        let workload = self.workload.iter().flat_map(WorkloadConfig::specs);
        let cgroups = self.cgroups.iter().flat_map(|def| def.works.iter().cloned());
        workload.chain(cgroups).chain(later).collect()
    }

    /// The sum of the times of the steps, if all of them say theirs.
    fn time_of_steps(&self) -> Option<Duration> {
        let time = |step: &Step| match step.hold {
            Hold::Time(time) => Some(time),
            Hold::Loop { time, .. } => time,
            Hold::Rest | Hold::Fraction(_) => None,
        };
        let sum = |sum: Duration, step| sum.checked_add(time(step)?);
        if self.steps.is_empty() { None } else { self.steps.iter().try_fold(Duration::ZERO, sum) }
    }

    /// The first field that cannot be as it is, whatever the machine. [`Self::plan`] looks at the
    /// rest.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |path: &str, why: String| Err(ConfigError::new(path, why));
        check_line("name", &self.name)?;
        let duration = self.effective_duration();
        if duration.is_zero() || duration > MAX_DURATION {
            return refuse("duration", format!("is {duration:?}; up to {MAX_DURATION:?} can run"));
        }
        if self.warmup > MAX_DURATION {
            return refuse("warmup", format!("is {:?}; at most {MAX_DURATION:?}", self.warmup));
        }
        if self.stagger >= duration {
            let why = format!("is {:?}; less than the duration can be waited", self.stagger);
            return refuse("stagger", why);
        }
        if self.iterations == Some(0) {
            return refuse("iterations", "is zero; leave it out to run for a time".into());
        }
        if self.iterations.is_some() && !self.warmup.is_zero() {
            return refuse("warmup", "has no meaning in a run that ends by `iterations`".into());
        }
        self.machine.validate().map_err(|e| e.below("machine."))?;
        self.expect.validate().map_err(|e| e.below("expect."))?;
        if let Some(workload) = &self.workload {
            workload.validate_in_scenario().map_err(|e| e.below("workload."))?;
        }
        for (at, def) in self.cgroups.iter().enumerate() {
            def.validate().map_err(|e| e.below(&format!("cgroups[{at}].")))?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            check_line(&format!("steps[{at}].name"), &step.name)?;
            if let Some(expect) = &step.expect {
                expect.validate().map_err(|e| e.below(&format!("steps[{at}].expect.")))?;
            }
        }
        Ok(())
    }
}

/// A name is printed among other words: with a line break it would forge a line of the report.
fn check_line(path: &str, name: &str) -> Result<(), ConfigError> {
    match name.chars().any(char::is_control) {
        true => {
            Err(ConfigError::new(path, format!("is {name:?}; a name has no control characters")))
        }
        false => Ok(()),
    }
}

/// Whether the file holds no field that only a scenario has.
fn is_bare_config(text: &str) -> bool {
    const SCENARIO_FIELDS: [&str; 12] = [
        "name",
        "purpose",
        "duration",
        "warmup",
        "seed",
        "stagger",
        "iterations",
        "machine",
        "workload",
        "cgroups",
        "steps",
        "expect",
    ];
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(fields) => !SCENARIO_FIELDS.iter().any(|name| fields.contains_key(*name)),
        // Not JSON, or not an object: the typed parse says so with the place.
        Err(_) => false,
    }
}

/// The value in `text`; what is wrong is said with its path and the nearest known name.
fn traced<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, ScenarioError> {
    refuse_array(text)?;
    let text = schema_key::blanked(text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        let plain = located(e.inner());
        let hint = locate::nearest_expected(&plain.message)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        ScenarioError { path, message: format!("{}{hint}", plain.message), ..plain }
    })?;
    reader.end().map_err(|e| {
        let message = "there is something after the scenario".into();
        ScenarioError { message, ..located(&e) }
    })?;
    Ok(value)
}

fn plain<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, ScenarioError> {
    refuse_array(text)?;
    serde_json::from_str(&schema_key::blanked(text)).map_err(|e| located(&e))
}

/// serde would take an array as the fields in order.
fn refuse_array(text: &str) -> Result<(), ScenarioError> {
    if !text.trim_start().starts_with('[') {
        return Ok(());
    }
    let message = "a scenario is an object, not an array".into();
    Err(ScenarioError { path: String::new(), line: 1, column: 1, message })
}

/// What serde_json says, with its place apart.
fn located(error: &serde_json::Error) -> ScenarioError {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let place = format!(" at line {line} column {column}");
    let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    ScenarioError { path: String::new(), line, column, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;
    use crate::work::WorkType;

    fn refusal(text: &str) -> String {
        Scenario::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_object_is_one_spinner_for_five_seconds() {
        let scenario = Scenario::parse("{}").unwrap();
        assert_eq!(scenario.effective_duration(), Duration::from_secs(5));
        assert_eq!(scenario.workload.unwrap().work_type, WorkType::SpinWait);
    }

    #[test]
    fn a_bare_config_and_a_scenario_mean_the_same() {
        let bare = Scenario::parse(r#"{"num_workers":2,"work_type":"PipeIo"}"#).unwrap();
        let full =
            Scenario::parse(r#"{"workload":{"num_workers":2,"work_type":"PipeIo"}}"#).unwrap();
        assert_eq!(bare, full);
    }

    #[test]
    fn the_resolved_form_parses_to_itself() {
        let text = r#"{"name":"wake","duration":"2s","seed":3,"workload":{"num_workers":2,
            "work_type":{"FutexPingPong":{"spin_iters":1}},"composed":[{"num_workers":1}]},
            "expect":{"wake_p99":"10ms","fairness_min":0.9}}"#;
        let scenario = Scenario::parse(text).unwrap();
        let resolved = serde_json::to_string(&scenario).unwrap();
        assert_eq!(Scenario::parse(&resolved).unwrap(), scenario);
    }

    #[test]
    fn a_file_may_name_its_schema_and_the_scenario_does_not() {
        for text in [
            r#"{"$schema":"s.json","seed":3}"#,
            r#"{"num_workers":2,"$schema":"s.json"}"#,
            r#"{"$schema":"s.json"}"#,
        ] {
            let scenario = Scenario::parse(text).unwrap();
            assert!(!serde_json::to_string(&scenario).unwrap().contains("$schema"), "{text}");
            assert_eq!(Scenario::parse_again(text), Ok(scenario), "{text}");
        }
        let below = refusal(r#"{"workload":{"$schema":"s.json"}}"#);
        assert!(below.contains("`workload.$schema` unknown field"), "{below}");
        let error = refusal("{\"$schema\":\"s.json\",\n\"seed\":-1}");
        assert!(error.starts_with("line 2 column 9: `seed`"), "{error}");
    }

    #[test]
    fn a_name_of_several_lines_is_refused() {
        for (json, path) in [
            (r#"{"name":"x\nPASS: y"}"#, "name"),
            (
                r#"{"name":"x","steps":[{"name":"\u001b[2J","hold":{"Time":"10ms"}}]}"#,
                "steps[0].name",
            ),
        ] {
            let refusal = Scenario::parse(json).unwrap_err().to_string();
            assert!(refusal.contains(path) && refusal.contains("control"), "{refusal}");
        }
    }

    #[test]
    fn a_typo_is_refused_with_its_place_and_the_nearest_name() {
        let text = "{\n  \"workload\": {\n    \"num_worker\": 2\n  }\n}";
        let error = refusal(text);
        assert!(error.starts_with("line 3 column"), "{error}");
        assert!(error.contains("did you mean `num_workers`"), "{error}");
    }

    #[test]
    fn a_broken_rule_is_located_too() {
        let text = "{\n  \"num_workers\": 3,\n  \"work_type\": \"PipeIo\"\n}";
        let error = refusal(text);
        assert!(error.starts_with("line 2 column 18: `num_workers` is 3"), "{error}");
    }

    #[test]
    fn a_permission_that_nothing_asks_for_is_refused() {
        let error = refusal(r#"{"expect":{"hotplug_unpins":true,"applied":false}}"#);
        assert!(
            error.contains("`expect.hotplug_unpins` does nothing without `applied`"),
            "{error}"
        );
    }

    #[test]
    fn the_id_that_changes_nothing_is_refused_wherever_it_stands() {
        let set = r#"{"num_workers":1,"uid":4294967295}"#;
        for (text, path) in [
            (format!(r#"{{"workload":{set}}}"#), "`workload.uid`"),
            (format!(r#"{{"workload":{{"composed":[{set}]}}}}"#), "`workload.composed[0].uid`"),
            (
                format!(r#"{{"cgroups":[{{"name":"a","works":[{set}]}}]}}"#),
                "`cgroups[0].works[0].uid`",
            ),
            (r#"{"cgroups":[{"name":"a","gid":4294967295}]}"#.into(), "`cgroups[0].gid`"),
            (
                format!(r#"{{"steps":[{{"ops":[{{"Spawn":{{"work":{set}}}}}]}}]}}"#),
                "Spawn.work.uid",
            ),
        ] {
            let planned = |scenario: Scenario| match scenario.plan(&Topology::flat(1)) {
                Ok(_) => panic!("{text} is accepted"),
                Err(broken) => ScenarioError::of(broken, &text),
            };
            let error = Scenario::parse(&text).map_or_else(|error| error, planned);
            let digits = text.find("4294967295").unwrap();
            let error = error.to_string();
            assert!(error.starts_with(&format!("line 1 column {}: ", digits + 1)), "{error}");
            assert!(error.contains(path) && error.contains("takes for -1"), "{error}");
        }
        Scenario::parse(r#"{"uid":4294967294,"gid":4294967294}"#).unwrap();
    }

    #[test]
    fn durations_need_units_and_a_value() {
        assert!(refusal(r#"{"duration":"5"}"#).contains("duration"));
        assert!(refusal(r#"{"duration":"0s"}"#).contains("`duration` is 0ns"));
        assert!(refusal(r#"{"iterations":5,"warmup":"1s"}"#).contains("`warmup` has no meaning"));
    }

    #[test]
    fn a_guest_reads_and_refuses_the_same() {
        let bare = r#"{"num_workers":2,"work_type":"PipeIo"}"#;
        assert_eq!(Scenario::parse_again(bare), Scenario::parse(bare));
        let full = serde_json::to_string(&Scenario::parse(bare).unwrap()).unwrap();
        assert_eq!(Scenario::parse_again(&full), Scenario::parse(&full));
        for text in ["[]", "{} {}", r#"{"num_workers":3,"work_type":"PipeIo"}"#, r#"{"seed":-1}"#] {
            let error = Scenario::parse_again(text).unwrap_err();
            assert!(!error.message.is_empty() && Scenario::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        assert!(refusal("{\"name\": \"x\",\n oops}").starts_with("line 2 column 2"));
        assert!(refusal("{} {}").contains("something after"));
        assert!(refusal("[]").contains("line 1"));
    }
}
