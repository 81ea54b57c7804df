//! Runs one scenario on this machine and prints how much was done in which time, as one line of
//! JSON: `rate '{"iterations": 100000, "workload": {"num_workers": 2, "work_type": "PipeIo"}}'`.
//! A second word is the disk that I/O types may overwrite; without it they use files.
//! `cargo xtask bench` builds it as guest-init is built and sets bare loops beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write as _;
use std::time::Instant;
use workloads::{
    Event, IoPlace, Latency, LatencySummary, RunOptions, Scenario, Topology, become_supervisor,
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).ok_or("usage: rate SCENARIO [DISK], the first as JSON")?;
    let disk = std::env::args_os().nth(2);
    let scenario = Scenario::parse(&text)?;
    // As the guest's runner: a parent that shares the CPUs with what it runs starts and stops late.
    let supervised = become_supervisor().is_ok();
    let (space_pages, private_pages) = memory()?;
    let begun = Instant::now();
    let (mut ready, mut stopping) = (begun, begun);
    let plan = scenario.plan(&Topology::read()?)?;
    let mut options = RunOptions::default();
    if let Some(disk) = disk {
        options.io = IoPlace::Device(disk.into());
    }
    let outcome = workloads::run(&scenario, &plan, &options, &mut |event| match event {
        Event::Ready { .. } => ready = Instant::now(),
        Event::Stopping => stopping = Instant::now(),
        Event::Measuring | Event::Step { .. } | Event::Tick { .. } => {}
    });
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    let reports = outcome.workers;
    let collected = Instant::now();
    if let Some(bad) = reports.iter().find(|report| !report.completed) {
        return Err(format!("worker {} did not complete: {bad:?}", bad.index).into());
    }
    let kinds: BTreeSet<Latency> =
        reports.iter().flat_map(|report| report.latency.keys().copied()).collect();
    let samples = kinds.into_iter().filter_map(|kind| {
        let of = reports.iter().filter_map(|report| report.latency.get(&kind));
        Some((kind, LatencySummary::merged(of)?))
    });
    let latency: BTreeMap<Latency, LatencySummary> = samples.collect();
    let line = serde_json::json!({
        "latency": latency,
        "iterations": reports.iter().map(|report| report.iterations).max(),
        "work_units": reports.iter().map(|report| report.work_units).sum::<u64>(),
        "wall_ns": reports.iter().map(|report| report.wall_time_ns).max(),
        "cpu_ns": reports.iter().map(|report| report.cpu_time_ns).sum::<Option<u64>>(),
        "sleeps": reports.iter().map(|report| report.voluntary_switches).sum::<Option<u64>>(),
        "spawn_ns": ready.duration_since(begun).as_nanos(),
        "run_ns": stopping.duration_since(ready).as_nanos(),
        "collect_ns": collected.duration_since(stopping).as_nanos(),
        "supervised": supervised,
        "space_pages": space_pages,
        "private_pages": private_pages,
    });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The address space that workers are forked from, and how much of it is private and in memory.
fn memory() -> Result<(u64, u64), Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    match pages[..] {
        [space, resident, shared, ..] => Ok((space, resident - shared)),
        _ => Err(format!("/proc/self/statm holds `{text}`").into()),
    }
}
