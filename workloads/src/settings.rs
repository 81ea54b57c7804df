//! What the kernel is to hold of a worker's settings, and what it holds when the loop is over: a
//! difference is in the report. Called by the prologue, `Worker::finish` and `handle`.

use crate::config::{MemPolicy, SchedPolicy, WorkSpec, policy_name, slice_of};
use crate::counters::known;
use crate::cpuset::held_cpus;
use crate::list;
use crate::report::{NotHeld, WorkerReport};
use crate::sys::sched::{SchedAttr, get_attr};
use crate::sys::shared::Slot;
use rustix::io::Errno;
use rustix::process::getpriority_process;

/// How reports call the policy.
pub(crate) const SCHED_POLICY: &str = "sched_policy";
/// How they call the slice of a fair task.
pub(crate) const SLICE: &str = "slice_ns";
/// How they call the memory policy.
pub(crate) const MEM_POLICY: &str = "mem_policy";

/// What the kernel is to hold for a worker, but for its CPUs, which steps may change. Nothing is
/// said of what is absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) policy: Option<String>,
    pub(crate) nice: Option<i32>,
    slice_ns: Option<u64>,
    mem_policy: Option<String>,
}

impl Asked {
    /// What `spec` asks for, and the calling thread has inherited. `user_code` may choose for itself
    /// what nobody asked for.
    pub(crate) fn of(spec: &WorkSpec, user_code: bool) -> Self {
        let said = spec.sched_policy != SchedPolicy::Normal;
        let begins_with = || (getpriority_process(None).ok(), get_attr(None).ok());
        let (nice, attr) = if user_code { (None, None) } else { begins_with() };
        let has_mem_policy = spec.mem_policy != MemPolicy::Default;
        Self {
            policy: (said || !user_code).then(|| spec.sched_policy.name()),
            nice: spec.nice.or(nice),
            slice_ns: attr.as_ref().and_then(slice_of),
            mem_policy: has_mem_policy.then(|| spec.mem_policy.text(spec.mpol_flags)),
        }
    }
}

/// Fills in what the kernel holds, where the report does not say it already, and what of that was
/// `asked` otherwise. Policy and slice are in `attr`, which was read before the worker left a policy
/// of its own choice.
pub(crate) fn fill_in(
    report: &mut WorkerReport,
    attr: Result<SchedAttr, Errno>,
    asked: &Asked,
    slot: &Slot,
) {
    let missing = &mut report.unavailable;
    report.slice_ns = report.slice_ns.or_else(|| slice_of(attr.as_ref().ok()?));
    let policy = || known(attr.map(policy_name), &[SCHED_POLICY], missing);
    report.sched_policy = report.sched_policy.take().or_else(policy);
    let nice = || known(getpriority_process(None), &["nice"], missing);
    report.nice = report.nice.or_else(nice);
    let cpus = || held_cpus(None).map(list::format);
    report.cpus_allowed =
        report.cpus_allowed.take().or_else(|| known(cpus(), &["cpus_allowed"], missing));
    report.cpus_asked = slot.asked().map(list::format);
    if asked.mem_policy.is_some() {
        report.mem_policy = known(MemPolicy::held(), &[MEM_POLICY], missing);
    }
    report.not_held = differences(report, asked);
}

/// What of the report is not as it was asked for.
fn differences(report: &WorkerReport, asked: &Asked) -> Vec<NotHeld> {
    let nice = |nice: Option<i32>| nice.map(|nice| nice.to_string());
    let slice = |slice_ns: Option<u64>| slice_ns.map(|slice_ns| slice_ns.to_string());
    let both = [
        (SCHED_POLICY, asked.policy.clone(), report.sched_policy.clone()),
        ("nice", nice(asked.nice), nice(report.nice)),
        (SLICE, slice(asked.slice_ns), slice(report.slice_ns)),
        (MEM_POLICY, asked.mem_policy.clone(), report.mem_policy.clone()),
    ];
    let known = both.into_iter().filter_map(|(setting, asked, held)| {
        Some(NotHeld { setting: setting.into(), asked: asked?, held: held? })
    });
    known.filter(|setting| setting.asked != setting.held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MpolFlags;
    use crate::sys::shared::Shared;
    use rustix::process::setpriority_process;
    use rustix::thread::{sched_getaffinity, sched_setaffinity};

    fn filled(asked: &Asked) -> WorkerReport {
        let slots = Shared::<Slot>::new(1).unwrap();
        let mut report = WorkerReport::default();
        fill_in(&mut report, get_attr(None), asked, &slots[0]);
        report
    }

    #[test]
    fn lists_are_written_as_the_kernel_does() {
        let own = sched_getaffinity(None).unwrap();
        // Where CPUs are offline, the kernel's mask has them until it is set.
        sched_setaffinity(None, &own).unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let kernels = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
        assert_eq!(Some(list::format(held_cpus(None).unwrap()).as_str()), kernels);
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_absent_with_its_reason() {
        let slots = Shared::<Slot>::new(1).unwrap();
        let mut report = WorkerReport::default();
        fill_in(&mut report, Err(Errno::SRCH), &Asked::default(), &slots[0]);
        assert_eq!(report.sched_policy, None);
        assert_eq!(report.unavailable["sched_policy"], Errno::SRCH.to_string());
        assert_eq!(report.nice, getpriority_process(None).ok());
        assert!(report.cpus_allowed.is_some() && report.cpus_asked.is_none());
        assert_eq!(report.not_held, []);
    }

    #[test]
    fn what_is_held_otherwise_than_asked_is_told() {
        // Nice level, policy and memory policy are those of a thread, which ends with the test.
        let spec = WorkSpec { mem_policy: MemPolicy::Bind([0].into()), ..WorkSpec::default() };
        MemPolicy::Bind([0].into()).apply(MpolFlags::NONE).unwrap();
        let asked = Asked::of(&spec, false);
        let report = filled(&asked);
        assert_eq!(report.not_held, []);
        assert_eq!(report.mem_policy.as_deref(), Some("Bind 0"));
        let nice = getpriority_process(None).unwrap();
        MemPolicy::Local.apply(MpolFlags::NONE).unwrap();
        SchedPolicy::Batch.apply(nice).unwrap();
        setpriority_process(None, 19).unwrap();
        let not_held = filled(&asked).not_held;
        let differences: Vec<_> =
            not_held.iter().map(|s| format!("{} {} {}", s.setting, s.asked, s.held)).collect();
        let expected = [
            "sched_policy SCHED_OTHER SCHED_BATCH".to_owned(),
            format!("nice {nice} 19"),
            "mem_policy Bind 0 Local".to_owned(),
        ];
        assert_eq!(differences, expected);
    }

    #[test]
    fn of_user_code_only_what_the_scenario_says_is_asked_for() {
        SchedPolicy::Batch.apply(getpriority_process(None).unwrap()).unwrap();
        setpriority_process(None, 19).unwrap();
        assert_eq!(filled(&Asked::of(&WorkSpec::default(), true)).not_held, []);
        let spec = WorkSpec { nice: Some(3), ..WorkSpec::default() };
        assert_eq!(filled(&Asked::of(&spec, true)).not_held.len(), 1);
    }
}
