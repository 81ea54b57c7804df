//! Scheduling policies. Validated with the configuration, applied by the worker prologue.

use super::error::{ConfigError, WorkTypeValidationError};
use crate::human::HumanTime;
use crate::supervisor::MAX_PRIORITY;
use crate::sys::sched::{SchedAttr, get_attr, set_attr, set_attr_of};
use rustix::io::Errno;
use rustix::process::{Pid, getpriority_process};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// DL_SCALE: `__checkparam_dl` refuses a runtime below 2^10 ns.
const MIN_DEADLINE_RUNTIME: Duration = Duration::from_nanos(1024);

/// Which real-time priorities workers may have, and why not all.
pub(crate) const PRIORITY_RULE: &str =
    "a real-time priority from 1 to 98: 99 is the bench's own, which must preempt every worker";

/// The policy a worker runs under; see sched(7).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub enum SchedPolicy {
    /// SCHED_OTHER, the fair class.
    #[default]
    Normal,
    /// SCHED_BATCH: fair, but wake-ups do not preempt.
    Batch,
    /// SCHED_IDLE: the lowest weight of the fair class.
    Idle,
    /// SCHED_FIFO with priority 1 to 98; 99 is the bench's own. Needs CAP_SYS_NICE.
    Fifo(#[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_PRIORITY)))] u32),
    /// SCHED_RR with priority 1 to 98; 99 is the bench's own. Needs CAP_SYS_NICE.
    RoundRobin(#[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_PRIORITY)))] u32),
    /// SCHED_DEADLINE. Needs CAP_SYS_NICE.
    Deadline {
        /// CPU time guaranteed in each period.
        #[serde(with = "HumanTime")]
        runtime: Duration,
        /// When it must have been given, from the period's start.
        #[serde(with = "HumanTime")]
        deadline: Duration,
        /// Zero stands for `deadline`, as in the kernel.
        #[serde(with = "HumanTime")]
        period: Duration,
    },
    /// SCHED_EXT: the loaded sched_ext scheduler, or the fair class where none is.
    Ext,
}

/// The class of one side of a work type that mixes classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SchedClass {
    /// SCHED_OTHER.
    #[default]
    Cfs,
    /// SCHED_BATCH.
    Batch,
    /// SCHED_IDLE.
    Idle,
    /// SCHED_FIFO, priority 50.
    Rt,
    /// SCHED_DEADLINE, 2 us in 1 ms of each 10 ms.
    Deadline,
    /// SCHED_EXT.
    Ext,
}

impl SchedClass {
    /// The policy that stands for this class.
    pub(crate) fn policy(self) -> SchedPolicy {
        match self {
            Self::Cfs => SchedPolicy::Normal,
            Self::Batch => SchedPolicy::Batch,
            Self::Idle => SchedPolicy::Idle,
            Self::Rt => SchedPolicy::Fifo(50),
            Self::Deadline => SchedPolicy::Deadline {
                runtime: Duration::from_micros(2),
                deadline: Duration::from_millis(1),
                period: Duration::from_millis(10),
            },
            Self::Ext => SchedPolicy::Ext,
        }
    }
}

impl SchedPolicy {
    /// A deadline policy whose times the kernel would accept.
    pub fn deadline(
        runtime: Duration,
        deadline: Duration,
        period: Duration,
    ) -> Result<Self, WorkTypeValidationError> {
        let policy = Self::Deadline { runtime, deadline, period };
        policy.check_deadline(0)?;
        Ok(policy)
    }

    /// Whether its tasks share by weight. SCHED_EXT is fair where no scheduler is loaded.
    pub(crate) fn is_fair(&self) -> bool {
        matches!(self, Self::Normal | Self::Batch | Self::Idle | Self::Ext)
    }

    pub(crate) fn validate(&self, group_idx: usize) -> Result<(), ConfigError> {
        if let Self::Fifo(priority) | Self::RoundRobin(priority) = self
            && !(1..=MAX_PRIORITY).contains(priority)
        {
            return Err(ConfigError::new(
                "sched_policy",
                format!("has priority {priority}; a worker needs {PRIORITY_RULE}"),
            ));
        }
        self.check_deadline(group_idx).map_err(|e| e.at("sched_policy"))
    }

    fn check_deadline(&self, group_idx: usize) -> Result<(), WorkTypeValidationError> {
        let Self::Deadline { runtime, deadline, period } = *self else { return Ok(()) };
        let effective = if period.is_zero() { deadline } else { period };
        let fits = |d: Duration| i64::try_from(d.as_nanos()).is_ok();
        let ordered =
            runtime >= MIN_DEADLINE_RUNTIME && runtime <= deadline && deadline <= effective;
        if ordered && fits(effective) {
            return Ok(());
        }
        let detail = format!("runtime {runtime:?}, deadline {deadline:?}, period {period:?}");
        Err(WorkTypeValidationError::DeadlineOrder { detail, group_idx })
    }

    /// Sets policy and nice of the calling thread in one step. `Normal` sets SCHED_OTHER too,
    /// so that a policy inherited from the parent never shows through.
    pub(crate) fn apply(&self, nice: i32) -> Result<(), Errno> {
        set_attr(self.attr(nice))
    }

    /// As reports have it.
    pub(crate) fn name(&self) -> String {
        name(self.attr(0))
    }

    /// The policy as the kernel takes it; `nice` is for the fair ones.
    pub(crate) fn attr(&self, nice: i32) -> SchedAttr {
        let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let fair = |policy| SchedAttr { policy, nice, ..SchedAttr::default() };
        let rt = |policy, priority| SchedAttr { policy, priority, ..SchedAttr::default() };
        match *self {
            Self::Normal => fair(0),
            Self::Fifo(priority) => rt(1, priority),
            Self::RoundRobin(priority) => rt(2, priority),
            Self::Batch => fair(3),
            Self::Idle => fair(5),
            Self::Ext => fair(7),
            Self::Deadline { runtime, deadline, period } => SchedAttr {
                policy: 6,
                runtime_ns: ns(runtime),
                deadline_ns: ns(deadline),
                period_ns: ns(period),
                ..SchedAttr::default()
            },
        }
    }
}

/// Makes a process that is SCHED_DEADLINE an ordinary one of its nice level, and says what it was.
pub(crate) fn lift_deadline(pid: Pid) -> Option<String> {
    let attr = get_attr(Some(pid)).ok().filter(|attr| attr.policy == 6)?;
    let nice = getpriority_process(Some(pid)).unwrap_or(0);
    set_attr_of(Some(pid), SchedAttr { nice, ..SchedAttr::default() }).ok()?;
    Some(name(attr))
}

/// The slice of a task of the fair class, where the kernel says it.
pub(crate) fn slice_of(attr: &SchedAttr) -> Option<u64> {
    let is_fair = matches!(attr.policy, 0 | 3 | 5 | 7);
    Some(attr.runtime_ns).filter(|slice_ns| is_fair && *slice_ns > 0)
}

/// A policy as reports have it: `SCHED_FIFO 50`, `SCHED_OTHER`.
pub(crate) fn name(attr: SchedAttr) -> String {
    match attr.policy {
        0 => "SCHED_OTHER".into(),
        1 => format!("SCHED_FIFO {}", attr.priority),
        2 => format!("SCHED_RR {}", attr.priority),
        3 => "SCHED_BATCH".into(),
        5 => "SCHED_IDLE".into(),
        6 => {
            let SchedAttr { runtime_ns, deadline_ns, period_ns, .. } = attr;
            let period_ns = if period_ns == 0 { deadline_ns } else { period_ns };
            format!("SCHED_DEADLINE {runtime_ns}/{deadline_ns}/{period_ns} ns")
        }
        7 => "SCHED_EXT".into(),
        other => format!("policy {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_the_policy_of_the_caller() {
        let current = || get_attr(None).map(name);
        assert_eq!(current().unwrap(), "SCHED_OTHER");
        // Everybody may become more modest.
        let policy = move || SchedPolicy::Batch.apply(0).and_then(|()| current());
        assert_eq!(std::thread::spawn(policy).join().unwrap().unwrap(), "SCHED_BATCH");
    }

    #[test]
    fn a_policy_is_called_as_the_kernel_reports_it() {
        let ms = Duration::from_millis;
        let deadline =
            SchedPolicy::Deadline { runtime: ms(1), deadline: ms(5), period: Duration::ZERO };
        assert_eq!(deadline.name(), "SCHED_DEADLINE 1000000/5000000/5000000 ns");
        assert_eq!(SchedPolicy::RoundRobin(3).name(), "SCHED_RR 3");
    }

    #[test]
    fn every_class_is_a_policy_that_the_kernel_could_take() {
        for class in [SchedClass::Cfs, SchedClass::Rt, SchedClass::Deadline, SchedClass::Ext] {
            class.policy().validate(0).unwrap();
        }
    }

    #[test]
    fn deadline_order_is_checked_at_construction() {
        let ms = Duration::from_millis;
        SchedPolicy::deadline(ms(1), ms(5), ms(10)).unwrap();
        SchedPolicy::deadline(ms(1), ms(5), Duration::ZERO).unwrap();
        for (runtime, deadline, period) in [
            (ms(6), ms(5), ms(10)),
            (ms(1), ms(11), ms(10)),
            (Duration::from_nanos(1), ms(5), ms(10)),
        ] {
            SchedPolicy::deadline(runtime, deadline, period).unwrap_err();
        }
    }

    #[test]
    fn real_time_priorities_are_bounded() {
        assert!(SchedPolicy::Fifo(0).validate(0).is_err());
        assert!(SchedPolicy::RoundRobin(100).validate(0).is_err());
        assert!(SchedPolicy::Fifo(98).validate(0).is_ok());
        for policy in [SchedPolicy::Fifo(99), SchedPolicy::RoundRobin(99)] {
            let error = policy.validate(0).unwrap_err().to_string();
            assert!(error.contains("99 is the bench's own"), "{error}");
        }
    }

    #[test]
    fn json_uses_the_variant_names() {
        let json = r#"{"Deadline":{"runtime":"1ms","deadline":"5ms","period":"10ms"}}"#;
        let policy: SchedPolicy = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<SchedPolicy>(r#"{"Fifo":10}"#).unwrap(),
            SchedPolicy::Fifo(10)
        );
        let unknown = json.replace("period", "priod");
        let error = serde_json::from_str::<SchedPolicy>(&unknown).unwrap_err().to_string();
        assert!(error.contains("`priod`"), "{error}");
    }
}
