//! The settings that a worker applies to itself before the gate. What the kernel refuses is
//! recorded, never dropped.

use super::Post;
use crate::cpuset::{cpus_of, mask_of};
use crate::nodes;
use crate::report::NotApplied;
use crate::rng::Rng;
use rustix::io::Errno;
use rustix::process::getpriority_process;
use rustix::thread::{
    Gid, Uid, sched_getaffinity, sched_setaffinity, set_current_timer_slack, set_name,
    set_thread_res_gid, set_thread_res_uid,
};
use std::ffi::CString;
use std::fmt::Debug;
use std::num::NonZeroU64;

/// What the kernel gives every task that nobody tells otherwise: `init_task.timer_slack_ns`.
const TIMER_SLACK_NS: u64 = 50_000;

/// Applies affinity, NUMA node, policy with nice, memory policy, comm, group and user id, in this
/// order: the ids last, because they give up the right to the others.
pub(super) fn apply(post: &Post) -> Vec<NotApplied> {
    let spec = post.spec();
    let mut refused = Vec::new();
    let mut note = |setting: &str, wanted: &dyn Debug, outcome: Result<(), Errno>| {
        if let Err(errno) = outcome {
            refused.push(NotApplied::new(setting, wanted, errno));
        }
    };
    let mut rng = Rng::for_worker(post.common.options.seed, post.identity().index);
    let placed = post.set().placement.apply(None, post.set().placed_group(post.index), &mut rng);
    note("affinity", &spec.affinity, placed);
    if let Some(node) = spec.numa_node {
        note("numa_node", &node, keep_to_node(node));
    }
    let inherited = getpriority_process(None).unwrap_or(0);
    let policy = spec.sched_policy.apply(spec.nice.unwrap_or(inherited));
    note("sched_policy", &(&spec.sched_policy, spec.nice), policy);
    // Since Linux 6.12 the children of a real-time parent, as the guest's runner is, begin with none.
    note("timer_slack", &TIMER_SLACK_NS, set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS)));
    let wanted = (&spec.mem_policy, spec.mpol_flags);
    note("mem_policy", &wanted, spec.mem_policy.apply(spec.mpol_flags));
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

/// Takes the CPUs of all other nodes out of the mask. A node without any of them is refused, as
/// the kernel would refuse an empty mask.
fn keep_to_node(node: u32) -> Result<(), Errno> {
    let node = usize::try_from(node).map_err(|_| Errno::INVAL)?;
    let there = nodes::cpus(node).map_err(|_| Errno::NOENT)?;
    let mut cpus = cpus_of(&sched_getaffinity(None)?);
    cpus.retain(|cpu| there.contains(cpu));
    sched_setaffinity(None, &mask_of(&cpus))
}
