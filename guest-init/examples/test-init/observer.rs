//! Work functions that look on, one a run: `observe` watches the other workers, by what /proc says
//! of them and not what they say of themselves; `domains` says over which CPUs the scheduler balances.

use rustix::process::{getpid, getppid};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use workloads::prelude::*;

pub(crate) const FUNCTIONS: &[(&str, CustomFn)] = &[("observe", observe), ("domains", domains)];

/// The scheduling domains of CPU 0 from the innermost, `domain 0`, each with the mask of its CPUs.
fn domains(_: &AtomicBool) -> WorkerReport {
    let text = read_to_string("/proc/schedstat").unwrap_or_default();
    let lines = text.lines().skip_while(|line| !line.starts_with("cpu0 ")).skip(1);
    let of_cpu_0 = lines.take_while(|line| line.starts_with("domain"));
    // `domain0 MC 3 ..`; Linux 6.1 gives no name, and no name is a number.
    let mask = |line: &str| {
        line.split(' ').skip(1).take(2).find_map(|word| u64::from_str_radix(word, 16).ok())
    };
    let masks = of_cpu_0.filter_map(mask).enumerate();
    WorkerReport {
        iterations: 1,
        tallies: masks.map(|(index, mask)| (format!("domain {index}"), mask)).collect(),
        ..WorkerReport::default()
    }
}

/// How often each value was seen, as `PID what value`: `102 nice -20`.
type Seen = BTreeMap<String, u64>;

/// Looks at all others until they have left, which the stop or their iterations make them do.
/// Between looks it yields: on a CPU of its own that is nothing. Where a worker that yields shares
/// its CPU and SCHED_FIFO priority they take turns, so that none of that one's steps is missed.
fn observe(_: &AtomicBool) -> WorkerReport {
    let forks_before = forks();
    let execs_before = execs();
    let others = others();
    let mut seen = Seen::new();
    let mut looks = 0;
    while others.iter().filter(|pid| look(pid, &mut seen).is_some()).count() > 0 {
        looks += 1;
        rustix::thread::sched_yield();
    }
    seen.extend(forks().zip(forks_before).map(|(is, was)| ("forks".into(), is - was)));
    seen.extend(execs().zip(execs_before).map(|(is, was)| ("execs".into(), is - was)));
    let left = left_behind(&seen);
    seen.extend(left.into_iter().map(|path| (format!("left {path}"), 1)));
    // Partners end its loop, in a run by iterations too.
    WorkerReport {
        iterations: looks,
        work_units: looks,
        served: true,
        tallies: seen,
        ..WorkerReport::default()
    }
}

/// The other children of the runner. All are there before the gate opens.
fn others() -> Vec<String> {
    let runner = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    let own = getpid().as_raw_nonzero().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // `self` is this one under another name.
    let pids = names.filter(|name| name.parse::<u32>().is_ok() && *name != own);
    let parent = |pid: &str| Some(stat(pid)?.get(1)?.clone());
    pids.filter(|pid| parent(pid).is_some_and(|parent| Some(parent) == runner)).collect()
}

/// Adds what the kernel says of `pid` now; `None` if it has ended.
fn look(pid: &str, seen: &mut Seen) -> Option<()> {
    let stat = stat(pid).filter(|stat| !matches!(stat[0].as_str(), "Z" | "X"))?;
    let mut add = |what: &str, value: &str| {
        *seen.entry(format!("{pid} {what} {value}")).or_insert(0) += 1;
    };
    // Fields 18, 19, 40 and 41 of proc_pid_stat(5), of which the state is field 3.
    for (what, field) in [("priority", 18), ("nice", 19), ("rt_priority", 40), ("policy", 41)] {
        add(what, stat.get(field - 3)?);
    }
    let of = |file: &str, name: &str| {
        let text = read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    add("cpus", &of("status", "Cpus_allowed_list:")?);
    add("cgroup", &of("cgroup", "0::")?);
    Some(())
}

/// The fields of /proc/PID/stat from the state on; the name before it may hold anything.
fn stat(pid: &str) -> Option<Vec<String>> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Processes and threads made since the boot, those of the kernel included.
fn forks() -> Option<u64> {
    let text = read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("processes ")?.parse().ok())
}

/// Programs executed since the boot, by the kernel's own trace: records that are kept and those
/// that were overwritten. `None` unless the kernel argument `trace_event` asked for them; to ask
/// now would take longer than what is watched.
fn execs() -> Option<u64> {
    let tracing = Path::new("/sys/kernel/tracing");
    let recorded = read_to_string(tracing.join("events/sched/sched_process_exec/enable")).ok()?;
    let cpus = std::fs::read_dir(tracing.join("per_cpu")).ok()?.flatten();
    let of_cpu = |cpu: std::fs::DirEntry| {
        let stats = read_to_string(cpu.path().join("stats")).ok()?;
        let of = |name: &str| -> Option<u64> {
            stats.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        Some(of("entries:")? + of("overrun:")?)
    };
    let sum = cpus.map(of_cpu).sum::<Option<u64>>();
    sum.filter(|_| recorded.starts_with('1'))
}

/// The cgroups that somebody was seen in and that still exist, but for the root.
fn left_behind(seen: &Seen) -> Vec<String> {
    let paths = seen.keys().filter_map(|key| Some(key.split_once(" cgroup /")?.1));
    let below_root = paths.filter(|path| !path.is_empty());
    let left = below_root.filter(|path| Path::new("/sys/fs/cgroup").join(path).exists());
    left.map(str::to_owned).collect()
}
