//! The settings that a worker applies to itself before the gate. What the kernel refuses is
//! recorded, never dropped.

use super::Post;
use crate::config::WorkSpec;
use crate::cpuset::{held_cpus, keep_to};
use crate::nodes;
use crate::report::NotApplied;
use crate::rng::Rng;
use crate::settings::Asked;
use rustix::io::Errno;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{
    Gid, Uid, set_current_timer_slack, set_name, set_thread_res_gid, set_thread_res_uid,
};
use std::ffi::CString;
use std::fmt::Debug;
use std::num::NonZeroU64;

/// What the kernel gives every task that nobody tells otherwise: `init_task.timer_slack_ns`.
const TIMER_SLACK_NS: u64 = 50_000;

/// Applies affinity, NUMA node, nice level, policy, memory policy, comm, group and user id, in this
/// order: the ids last, because they give up the right to the others. Returns what the kernel is to
/// hold from now on, and what it refused.
pub(super) fn apply(post: &Post) -> (Asked, Vec<NotApplied>) {
    // By name, so that no field is forgotten. The plan, the loop and `place` have the rest.
    let WorkSpec {
        work_type: _,
        num_workers: _,
        workers_pct: _,
        affinity: _,
        sched_policy,
        mem_policy,
        mpol_flags,
        nice,
        comm,
        pcomm: _,
        uid,
        gid,
        numa_node: _,
    } = post.spec();
    let mut refused = Vec::new();
    let mut note = |setting: &str, wanted: &dyn Debug, outcome: Result<(), Errno>| {
        if let Err(errno) = outcome {
            refused.push(NotApplied::new(setting, wanted, errno));
        }
    };
    place(post, &mut note);
    // Before the policy: with one that is not fair the kernel takes no nice level, but it keeps the
    // one that is there.
    if let Some(nice) = nice {
        note("nice", nice, setpriority_process(None, *nice));
    }
    let nice = getpriority_process(None).unwrap_or(0);
    note("sched_policy", sched_policy, sched_policy.apply(nice));
    // Since Linux 6.12 the children of a real-time parent, as the guest's runner is, begin with none.
    note("timer_slack", &TIMER_SLACK_NS, set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS)));
    note("mem_policy", &(mem_policy, *mpol_flags), mem_policy.apply(*mpol_flags));
    if let Some(comm) = comm.as_deref() {
        let name = CString::new(comm).map_err(|_| Errno::INVAL);
        note("comm", &comm, name.and_then(|name| set_name(&name)));
    }
    if let Some(gid) = gid {
        let id = Gid::from_raw(*gid);
        note("gid", gid, set_thread_res_gid(id, id, id));
    }
    if let Some(uid) = uid {
        let id = Uid::from_raw(*uid);
        note("uid", uid, set_thread_res_uid(id, id, id));
    }
    (Asked::of(post.spec(), post.set().needs.user_code), refused)
}

/// Keeps the worker to the CPUs of its placement and its node, and notes them for whoever must set
/// them again.
fn place(post: &Post, note: &mut impl FnMut(&str, &dyn Debug, Result<(), Errno>)) {
    let (set, spec) = (post.set(), post.spec());
    let mut rng = Rng::for_worker(post.common.options.seed, post.identity().index);
    let placed = set.placement.cpus(set.placed_group(post.index), &mut rng);
    let mut asked = placed.clone().or_else(|| post.common.inherited.clone());
    if let Some(cpus) = placed {
        note("affinity", &spec.affinity, keep_to(None, &cpus));
    }
    if let Some(node) = spec.numa_node {
        let kept = keep_to_node(node);
        note("numa_node", &node, kept.as_ref().map(|_| ()).map_err(|errno| *errno));
        asked = kept.ok().or(asked);
    }
    if let Some(cpus) = asked {
        post.seat().slot.ask(&cpus);
    }
}

/// Takes the CPUs of all other nodes out of the mask and returns the rest. A node without any of
/// them is refused, as the kernel would refuse an empty mask.
fn keep_to_node(node: u32) -> Result<Vec<usize>, Errno> {
    let node = usize::try_from(node).map_err(|_| Errno::INVAL)?;
    let there = nodes::cpus(node).map_err(|_| Errno::NOENT)?;
    let mut cpus = held_cpus(None)?;
    cpus.retain(|cpu| there.contains(cpu));
    keep_to(None, &cpus).map(|()| cpus)
}
