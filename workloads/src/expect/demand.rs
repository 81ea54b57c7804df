//! What scenarios and their steps may demand, and which demands nothing could meet. Read from
//! JSON, judged by the rest of this folder.

use crate::config::ConfigError;
use crate::human::OptionalTime;
use crate::plan::{Scene, above};
use crate::report::Latency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included};
use std::ops::RangeBounds as _;
use std::time::Duration;

/// Between what a number must be, and how that is said.
type Range = (Bound<f64>, Bound<f64>, &'static str);

const PART: Range = (Excluded(0.0), Included(1.0), "above 0 and at most 1");
const SHARE: Range = (Included(0.0), Included(1.0), "0 to 1");
const TOLERANCE: Range = (Excluded(0.0), Excluded(1.0), "above 0 and below 1, as 0.1 for 10 %");
const RATE: Range = (Excluded(0.0), Excluded(f64::INFINITY), "above 0");
const SPREAD: Range = (Included(0.0), Excluded(f64::INFINITY), "0 or above");

/// What a scenario demands of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(transform = bound))]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Every worker gets something done; one that is frozen in every step need not.
    pub progress: bool,
    /// Every worker ends its loop by itself, after its iterations if they are given.
    pub completed: bool,
    /// The kernel accepts every policy, affinity, id and control file that the scenario asks for,
    /// and holds CPUs, policy, nice level, slice and memory policy of each worker to its end.
    pub applied: bool,
    /// A worker may lose its affinity when the last of its CPUs goes off line, as kernels have it:
    /// `applied` does not look at the CPUs of such workers then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hotplug_unpins: bool,
    /// The kernel does not complain on its console.
    pub no_splat: bool,
    /// Workers keep to the CPUs of their cgroups, in every step; only where a cgroup has CPUs of
    /// its own.
    pub isolation: bool,
    /// Upper bound on the 99th percentile of all wake-up latencies.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub wake_p99: Option<Duration>,
    /// Upper bounds on latencies by meaning, over the samples of all workers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub latency: BTreeMap<Latency, LatencyBounds>,
    /// Upper bound on the longest gap of any worker.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub max_gap: Option<Duration>,
    /// Lower bound on Jain's index of CPU time among the workers of each set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_min: Option<f64>,
    /// Upper bound on (most - least) / mean of CPU time among the workers of each set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_spread_max: Option<f64>,
    /// Lower bound on Jain's index, over all workers, of CPU time divided by what the weights of
    /// cgroups and nice levels entitle to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighted_fairness_min: Option<f64>,
    /// Lower bound on the iterations per second of every worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput_min: Option<f64>,
    /// Upper bound on the coefficient of variation of work units per CPU second among the workers
    /// of each set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput_cv_max: Option<f64>,
    /// Upper bound on the moves of each worker between CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations_max: Option<u64>,
    /// Upper bound on the part of wall time that a worker was runnable without a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_delay_max: Option<f64>,
    /// How far the CPU time of a cgroup may be from its quota, as a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_tolerance: Option<f64>,
    /// How far the share of a cgroup among its siblings may be from that of its weight, as a part
    /// of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_tolerance: Option<f64>,
    /// Lower bound on the part of each worker's `numa_pages` that are on the nodes it should
    /// use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_locality_min: Option<f64>,
}

/// What is demanded of one step, beside what is demanded of the run. Names are those of
/// [`Expect`]; what only a whole run can show is not among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(transform = bound))]
#[serde(default, deny_unknown_fields)]
pub struct StepExpect {
    /// Every worker gets something done in it that is neither frozen nor in `stalled`.
    pub progress: bool,
    /// Cgroups in which, and below which, no worker completes an iteration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stalled: Vec<String>,
    /// As for the run, which decides where this is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<bool>,
    /// As for the run.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub wake_p99: Option<Duration>,
    /// As for the run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub latency: BTreeMap<Latency, LatencyBounds>,
    /// As for the run; frozen workers are left out.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub max_gap: Option<Duration>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_min: Option<f64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_spread_max: Option<f64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighted_fairness_min: Option<f64>,
    /// As for the run; frozen workers are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput_min: Option<f64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput_cv_max: Option<f64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrations_max: Option<u64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_delay_max: Option<f64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_tolerance: Option<f64>,
    /// As for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_tolerance: Option<f64>,
}

/// Upper bounds on latencies of one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LatencyBounds {
    /// On the median.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub p50: Option<Duration>,
    /// On what nine of ten do not exceed.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub p90: Option<Duration>,
    /// On what 99 of 100 do not exceed.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub p99: Option<Duration>,
    /// On what 999 of 1000 do not exceed.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub p999: Option<Duration>,
    /// On the longest.
    #[serde(with = "OptionalTime", skip_serializing_if = "Option::is_none")]
    pub max: Option<Duration>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            completed: true,
            applied: true,
            hotplug_unpins: false,
            no_splat: true,
            isolation: true,
            ..Self::of_step(&StepExpect::default())
        }
    }
}

impl Default for StepExpect {
    fn default() -> Self {
        Self {
            progress: true,
            stalled: Vec::new(),
            isolation: None,
            wake_p99: None,
            latency: BTreeMap::new(),
            max_gap: None,
            fairness_min: None,
            fairness_spread_max: None,
            weighted_fairness_min: None,
            throughput_min: None,
            throughput_cv_max: None,
            migrations_max: None,
            run_delay_max: None,
            quota_tolerance: None,
            weight_tolerance: None,
        }
    }
}

impl Expect {
    /// The demands that a step shares with a run, and none that only a run has.
    pub(super) fn of_step(step: &StepExpect) -> Self {
        Self {
            progress: step.progress,
            completed: false,
            applied: false,
            hotplug_unpins: false,
            no_splat: false,
            isolation: step.isolation.unwrap_or(false),
            wake_p99: step.wake_p99,
            latency: step.latency.clone(),
            max_gap: step.max_gap,
            fairness_min: step.fairness_min,
            fairness_spread_max: step.fairness_spread_max,
            weighted_fairness_min: step.weighted_fairness_min,
            throughput_min: step.throughput_min,
            throughput_cv_max: step.throughput_cv_max,
            migrations_max: step.migrations_max,
            run_delay_max: step.run_delay_max,
            quota_tolerance: step.quota_tolerance,
            weight_tolerance: step.weight_tolerance,
            numa_locality_min: None,
        }
    }

    /// What is demanded of a step that has these demands of its own.
    pub(super) fn in_step(&self, own: Option<&StepExpect>) -> Self {
        let nothing = StepExpect { progress: false, ..StepExpect::default() };
        let own = own.unwrap_or(&nothing);
        Self { isolation: own.isolation.unwrap_or(self.isolation), ..Self::of_step(own) }
    }

    /// Each number by its name, and between what it must be.
    fn numbers(&self) -> [(&'static str, Option<f64>, Range); 9] {
        [
            ("fairness_min", self.fairness_min, PART),
            ("fairness_spread_max", self.fairness_spread_max, SPREAD),
            ("weighted_fairness_min", self.weighted_fairness_min, PART),
            ("throughput_min", self.throughput_min, RATE),
            ("throughput_cv_max", self.throughput_cv_max, SPREAD),
            ("run_delay_max", self.run_delay_max, SHARE),
            ("quota_tolerance", self.quota_tolerance, TOLERANCE),
            ("weight_tolerance", self.weight_tolerance, TOLERANCE),
            ("numa_locality_min", self.numa_locality_min, PART),
        ]
    }

    /// Refuses bounds that nothing could keep or break.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.hotplug_unpins && !self.applied {
            let why = "does nothing without `applied`, which is false; leave one of them out";
            return Err(ConfigError::new("hotplug_unpins", why));
        }
        not_zero(&[("wake_p99", self.wake_p99), ("max_gap", self.max_gap)])?;
        for (kind, bounds) in &self.latency {
            let field = format!("latency.{}", kind.name());
            if *bounds == LatencyBounds::default() {
                let why = "bounds nothing; give p50, p90, p99, p999 or max";
                return Err(ConfigError::new(field, why));
            }
            not_zero(&bounds.all()).map_err(|e| e.below(&format!("{field}.")))?;
        }
        for (field, number, (least, most, range)) in self.numbers() {
            if let Some(number) = number.filter(|number| !(least, most).contains(number)) {
                return Err(ConfigError::new(field, format!("is {number}; it must be {range}")));
            }
        }
        Ok(())
    }
}

impl StepExpect {
    /// Refuses bounds that nothing could keep or break.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        Expect::of_step(self).validate()
    }

    /// Cgroups that are named must have workers in one of the scenes of the step.
    pub(crate) fn check_cgroups(&self, scenes: &[Scene]) -> Result<(), ConfigError> {
        for (at, path) in self.stalled.iter().enumerate() {
            let mut places = scenes.iter().flat_map(|scene| &scene.whereabouts).flatten();
            if !places.any(|place| is_in(place, path)) {
                let why = format!("names `{path}`, in which no worker is in this step");
                return Err(ConfigError::new(format!("stalled[{at}]"), why));
            }
        }
        Ok(())
    }
}

impl LatencyBounds {
    /// Each bound by its name.
    pub(super) fn all(&self) -> [(&'static str, Option<Duration>); 5] {
        [
            ("p50", self.p50),
            ("p90", self.p90),
            ("p99", self.p99),
            ("p999", self.p999),
            ("max", self.max),
        ]
    }
}

/// Whether `place` is the cgroup `path` or one below it.
pub(super) fn is_in(place: &str, path: &str) -> bool {
    place == path || above(place).any(|up| up == path)
}

fn not_zero(times: &[(&str, Option<Duration>)]) -> Result<(), ConfigError> {
    match times.iter().find(|(_, time)| time.is_some_and(|time| time.is_zero())) {
        Some((field, _)) => Err(ConfigError::new(*field, "is zero, and nothing takes no time")),
        None => Ok(()),
    }
}

/// Puts into the schema of demands between what their numbers must be.
#[cfg(feature = "schema")]
fn bound(schema: &mut schemars::Schema) {
    for (field, _, (least, most, _)) in Expect::default().numbers() {
        let property = schema.pointer_mut(&format!("/properties/{field}"));
        // A step has fewer of them.
        let Some(property) = property.and_then(|property| property.as_object_mut()) else {
            continue;
        };
        for (bound, included, excluded) in
            [(least, "minimum", "exclusiveMinimum"), (most, "maximum", "exclusiveMaximum")]
        {
            match bound {
                Included(number) => drop(property.insert(included.into(), number.into())),
                Excluded(number) if number.is_finite() => {
                    property.insert(excluded.into(), number.into());
                }
                Excluded(_) | Bound::Unbounded => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    fn refusal(expect: &str) -> String {
        Scenario::parse(&format!(r#"{{"expect":{expect}}}"#)).unwrap_err().to_string()
    }

    #[test]
    fn bounds_that_nothing_could_keep_or_break_are_refused_by_name() {
        for (json, path) in [
            (r#"{"fairness_min":0}"#, "fairness_min` is 0; it must be above 0 and at most 1"),
            (r#"{"fairness_min":1.5}"#, "fairness_min` is 1.5"),
            (r#"{"weighted_fairness_min":-1}"#, "weighted_fairness_min` is -1"),
            (r#"{"fairness_spread_max":-0.1}"#, "fairness_spread_max` is -0.1"),
            (r#"{"throughput_min":0}"#, "throughput_min` is 0"),
            (r#"{"throughput_cv_max":-2}"#, "throughput_cv_max` is -2"),
            (r#"{"run_delay_max":1.1}"#, "run_delay_max` is 1.1"),
            (r#"{"quota_tolerance":1}"#, "quota_tolerance` is 1"),
            (r#"{"weight_tolerance":0}"#, "weight_tolerance` is 0"),
            (r#"{"numa_locality_min":0}"#, "numa_locality_min` is 0"),
            (r#"{"wake_p99":"0s"}"#, "wake_p99` is zero"),
            (r#"{"max_gap":"0s"}"#, "max_gap` is zero"),
            (r#"{"latency":{"timer":{"p50":"0s"}}}"#, "latency.timer.p50` is zero"),
            (r#"{"latency":{"timer":{}}}"#, "latency.timer` bounds nothing"),
        ] {
            let text = refusal(json);
            assert!(text.contains(&format!("`expect.{path}")), "{json}: {text}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused_too() {
        let expect = super::Expect { throughput_min: Some(f64::NAN), ..Default::default() };
        assert!(expect.validate().unwrap_err().to_string().starts_with("throughput_min is NaN"));
    }

    #[test]
    fn unknown_meanings_and_percentiles_are_refused() {
        let text = refusal(r#"{"latency":{"wakes":{"p50":"1ms"}}}"#);
        assert!(text.contains("unknown variant `wakes`") && text.contains("`wake`"), "{text}");
        let text = refusal(r#"{"latency":{"wake":{"p95":"1ms"}}}"#);
        assert!(text.contains("unknown field `p95`"), "{text}");
    }

    #[test]
    fn what_only_a_run_can_show_is_refused_in_a_step() {
        for field in ["completed", "applied", "no_splat"] {
            let json = format!(r#"{{"steps":[{{"expect":{{"{field}":true}}}}]}}"#);
            let text = Scenario::parse(&json).unwrap_err().to_string();
            assert!(text.contains(&format!("unknown field `{field}`")), "{text}");
        }
    }

    #[test]
    fn a_stalled_cgroup_must_have_workers_in_the_step() {
        let json = |path: &str| {
            format!(
                r#"{{"cgroups":[{{"name":"a/b","works":[{{}}]}}],
                    "steps":[{{"ops":[{{"Freeze":"a"}}],"expect":{{"stalled":["{path}"]}}}}]}}"#
            )
        };
        let plan = |path| {
            let scenario = Scenario::parse(&json(path)).unwrap();
            scenario.plan(&crate::topology::Topology::flat(2))
        };
        plan("a").unwrap();
        plan("a/b").unwrap();
        let text = plan("b").unwrap_err().to_string();
        assert!(text.starts_with("steps[0].expect.stalled[0] names `b`"), "{text}");
    }

    #[test]
    fn every_bound_survives_the_way_to_the_guest() {
        let json = r#"{"workload":{},"expect":{"progress":false,"no_splat":false,"isolation":false,
            "wake_p99":"1ms","latency":{"wake":{"p50":"1ms"},"io":{"max":"2s"}},"max_gap":"3ms",
            "fairness_min":0.5,"fairness_spread_max":0.0,"weighted_fairness_min":0.5,
            "throughput_min":10.5,"throughput_cv_max":0.25,"migrations_max":0,
            "run_delay_max":0.5,"quota_tolerance":0.25,"weight_tolerance":0.25,
            "numa_locality_min":1.0},"steps":[{"expect":{"progress":false,"isolation":true,
            "stalled":["/"],"latency":{"lock":{"p999":"1ms"}}}}]}"#;
        let scenario = Scenario::parse(json).unwrap();
        let resolved = serde_json::to_string(&scenario).unwrap();
        assert_eq!(Scenario::parse_again(&resolved).unwrap(), scenario);
        for field in ["fairness_spread_max", "migrations_max", "latency", "stalled"] {
            assert!(resolved.contains(field), "{resolved}");
        }
    }
}
