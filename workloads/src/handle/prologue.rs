//! The settings that a worker applies to itself before the gate. What the kernel refuses is
//! recorded, never dropped.

use super::Assignment;
use crate::report::NotApplied;
use crate::rng::Rng;
use rustix::io::Errno;
use rustix::process::getpriority_process;
use rustix::thread::{
    Gid, Uid, set_current_timer_slack, set_name, set_thread_res_gid, set_thread_res_uid,
};
use std::ffi::CString;
use std::fmt::Debug;
use std::num::NonZeroU64;

/// What the kernel gives every task that nobody tells otherwise: `init_task.timer_slack_ns`.
const TIMER_SLACK_NS: u64 = 50_000;

/// Applies affinity, policy with nice, comm, group and user id, in this order: the ids last,
/// because they give up the right to the others.
pub(super) fn apply(task: &Assignment<'_>) -> Vec<NotApplied> {
    let spec = task.spec;
    let mut refused = Vec::new();
    let mut note = |setting: &str, wanted: &dyn Debug, outcome: Result<(), Errno>| {
        if let Err(errno) = outcome {
            refused.push(NotApplied {
                setting: setting.into(),
                wanted: format!("{wanted:?}"),
                error: errno.to_string(),
            });
        }
    };
    let mut rng = Rng::for_worker(task.seed, task.identity.index);
    note("affinity", &spec.affinity, spec.affinity.apply(&mut rng));
    let inherited = getpriority_process(None).unwrap_or(0);
    let policy = spec.sched_policy.apply(spec.nice.unwrap_or(inherited));
    note("sched_policy", &(&spec.sched_policy, spec.nice), policy);
    // Since Linux 6.12 the children of a real-time parent, as the guest's runner is, begin with none.
    note("timer_slack", &TIMER_SLACK_NS, set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS)));
    if let Some(comm) = spec.comm.as_deref() {
        let name = CString::new(comm).map_err(|_| Errno::INVAL);
        note("comm", &comm, name.and_then(|name| set_name(&name)));
    }
    if let Some(gid) = spec.gid {
        let id = Gid::from_raw(gid);
        note("gid", &gid, set_thread_res_gid(id, id, id));
    }
    if let Some(uid) = spec.uid {
        let id = Uid::from_raw(uid);
        note("uid", &uid, set_thread_res_uid(id, id, id));
    }
    refused
}
