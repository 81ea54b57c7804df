//! Scenario files: a workload with its duration, seed and expectations. Parsed and refused on
//! the host, parsed again in the guest.

mod locate;

use crate::config::WorkloadConfig;
use crate::expect::Expect;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

const DEFAULT_DURATION: Duration = Duration::from_secs(5);
/// How long a run by iterations may take if the scenario does not say.
const ITERATIONS_DURATION: Duration = Duration::from_secs(60);
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// A workload and what is to be found out with it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Names the run folder and the report.
    pub name: String,
    /// How long to measure. With `iterations` it is the limit; default 5 s, or 60 s then.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// How long to run before the measurement begins.
    #[serde(with = "humantime_serde")]
    pub warmup: Duration,
    /// Every random choice of the workload derives from it.
    pub seed: u64,
    /// End after this many iterations of each worker instead of after a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// What runs.
    pub workload: WorkloadConfig,
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

impl Scenario {
    /// Parses a scenario, or a bare [`WorkloadConfig`], and checks all that needs no machine.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let bare = is_bare_config(text);
        let scenario = match bare {
            true => Self::of(traced(text)?),
            false => traced(text)?,
        };
        scenario.checked(|(path, message)| {
            let path = if bare { path.trim_start_matches("workload.").to_owned() } else { path };
            let (line, column) = locate::locate(text, &path).unwrap_or((0, 0));
            ScenarioError { path, line, column, message }
        })
    }

    /// As [`Self::parse`], for guests: what is wrong is said without its path and a hint, because
    /// the code that follows the path would be a twentieth of PID 1. A host has been through
    /// [`Self::parse`] before.
    pub fn parse_again(text: &str) -> Result<Self, ScenarioError> {
        let scenario = match is_bare_config(text) {
            true => Self::of(plain(text)?),
            false => plain(text)?,
        };
        scenario.checked(|(path, message)| ScenarioError { path, line: 0, column: 0, message })
    }

    fn of(workload: WorkloadConfig) -> Self {
        Self { workload, ..Self::default() }
    }

    fn checked(
        self,
        refuse: impl FnOnce((String, String)) -> ScenarioError,
    ) -> Result<Self, ScenarioError> {
        match self.validate() {
            Ok(()) => Ok(self),
            Err(broken) => Err(refuse(broken)),
        }
    }

    /// How long the run may last.
    pub fn effective_duration(&self) -> Duration {
        let default =
            if self.iterations.is_some() { ITERATIONS_DURATION } else { DEFAULT_DURATION };
        self.duration.unwrap_or(default)
    }

    /// The first field that cannot be as it is, with the reason.
    pub fn validate(&self) -> Result<(), (String, String)> {
        let refuse = |path: &str, why: String| Err((path.to_owned(), why));
        let duration = self.effective_duration();
        if duration.is_zero() || duration > MAX_DURATION {
            return refuse("duration", format!("is {duration:?}; up to {MAX_DURATION:?} can run"));
        }
        if self.warmup > MAX_DURATION {
            return refuse("warmup", format!("is {:?}; at most {MAX_DURATION:?}", self.warmup));
        }
        if self.iterations == Some(0) {
            return refuse("iterations", "is zero; leave it out to run for a time".into());
        }
        if self.iterations.is_some() && !self.warmup.is_zero() {
            return refuse("warmup", "has no meaning in a run that ends by `iterations`".into());
        }
        if let Some(index) = self.expect.fairness_min.filter(|i| !(0.0..=1.0).contains(i)) {
            return refuse("expect.fairness_min", format!("is {index}; Jain's index is 0 to 1"));
        }
        self.workload.validate().map_err(|e| (format!("workload.{}", e.path), e.why))
    }
}

/// Whether the file holds no field that only a scenario has.
fn is_bare_config(text: &str) -> bool {
    const SCENARIO_FIELDS: [&str; 7] =
        ["name", "duration", "warmup", "seed", "iterations", "workload", "expect"];
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(fields) => !SCENARIO_FIELDS.iter().any(|name| fields.contains_key(*name)),
        // Not JSON, or not an object: the typed parse says so with the place.
        Err(_) => false,
    }
}

/// The value in `text`; what is wrong is said with its path and the nearest known name.
fn traced<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, ScenarioError> {
    refuse_array(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
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
    serde_json::from_str(text).map_err(|e| located(&e))
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
    use crate::work::WorkType;

    fn refusal(text: &str) -> String {
        Scenario::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_object_is_one_spinner_for_five_seconds() {
        let scenario = Scenario::parse("{}").unwrap();
        assert_eq!(scenario.workload.work_type, WorkType::SpinWait);
        assert_eq!(scenario.effective_duration(), Duration::from_secs(5));
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
