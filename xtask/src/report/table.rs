//! A report as people read it: what ran where, a line a role, the checks with their bounds.
//! Called by `cmd`.

use super::scenes::print_scenes;
use super::schedulers::print_scheduler;
use super::{KernelFacts, RunReport};
use crate::terminal::cleaned;
use crate::units::{float, show_ns, sum_of, sum_of_known};
use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use workloads::{Check, CpuUse, LatencySummary, Outcome, RunRecord, WorkerReport};

const LEGEND: &str = "\
cpu: CPU time in wall time, mean. delay: runnable but waiting for a CPU, in wall time, mean.
switches: voluntary + involuntary. gap: longest time between two checkpoints of a worker, blocking
left out up to its deadline or the call that ends it. Latency over all workers of the line: wake =
from just before the wake call to the wakee running; timer = lateness of a sleep; lock = time to
acquire; yield, io = the call. Percentiles are within 1 %, max is exact.";

/// The whole report. `image` is the file that the kernel was booted from, if it is known.
pub(crate) fn print_run(
    report: &RunReport,
    image: Option<&Path>,
    out: &mut impl Write,
) -> Result<()> {
    // What the guest and the scenario say may have any character in it.
    let report = &cleaned(report)?;
    let (kernel, machine) = (&report.kernel, &report.machine);
    let name = if report.scenario.name.is_empty() { "workload" } else { &report.scenario.name };
    writeln!(out, "{}: {name} on Linux {}", report.verdict.name().to_uppercase(), kernel.release)?;
    if let Some(advice) = &report.advice {
        writeln!(out, "  {advice}")?;
    }
    let mode = match machine.icount_shift {
        Some(shift) => format!(" deterministic (icount shift {shift})"),
        None => String::new(),
    };
    writeln!(
        out,
        "  {}, {}{mode}{}, QEMU {}, clock {}, seed {}",
        machine.shape(),
        machine.accel,
        machine.cpu_model.as_ref().map(|model| format!(", CPU {model}")).unwrap_or_default(),
        machine.qemu,
        machine.clocksource.as_deref().unwrap_or("unknown"),
        report.scenario.seed
    )?;
    print_kernel(kernel, image, out)?;
    if !kernel.features.is_empty() {
        writeln!(out, "  kernel features: {}", kernel.features.join(", "))?;
    }
    print_scheduler(report.scheduler.as_ref(), &report.record.swaps, out)?;
    print_io(report, out)?;
    for note in &report.notes {
        writeln!(out, "  note: {note}")?;
    }
    for splat in &report.splats {
        let allowed = if splat.allowed_by.is_some() { " (allowed)" } else { "" };
        writeln!(out, "  console.log:{}: {}{allowed}", splat.line, splat.text)?;
    }
    for lacking in &report.record.not_applied {
        writeln!(out, "  not applied: {lacking}")?;
    }
    print_schedule(&report.record, out)?;
    print_cpus(&report.record, out)?;
    print_measured(&report.record, &report.workers, out)?;
    print_checks(&report.checks, out)
}

/// Which of the kernels with this release it was: many builds of a tree have the same one.
fn print_kernel(kernel: &KernelFacts, image: Option<&Path>, out: &mut impl Write) -> Result<()> {
    const DIGITS: usize = 16;
    let of_image = || image.map(|image| image.display().to_string());
    let name = kernel.package.clone().or_else(of_image).unwrap_or_else(|| "image".into());
    let sha256 = kernel.sha256.get(..DIGITS).unwrap_or(&kernel.sha256);
    writeln!(out, "  kernel: {name}, sha256 {sha256}, {}", kernel.version)?;
    match kernel.args.as_deref() {
        None | Some([]) => Ok(()),
        Some(args) => Ok(writeln!(out, "  kernel arguments: {}", args.join(" "))?),
    }
}

fn print_schedule(record: &RunRecord, out: &mut impl Write) -> Result<()> {
    let Some(schedule) = &record.schedule else { return Ok(()) };
    match (&schedule.switches, &schedule.order_hash, &schedule.timed_hash) {
        (Some(switches), Some(order), Some(timed)) => {
            writeln!(out, "  {switches} context switches: order {order}, with times {timed}")?
        }
        _ => {
            let why = schedule.unavailable.as_deref().unwrap_or("nothing was recorded");
            writeln!(out, "  no hash of context switches: {why}")?
        }
    }
    Ok(())
}

/// One line: each CPU of a few, the ends of many.
fn print_cpus(record: &RunRecord, out: &mut impl Write) -> Result<()> {
    const FEW: usize = 8;
    let busy =
        |used: &CpuUse| share(Some(used.busy_ns.min(record.wall_time_ns)), record.wall_time_ns);
    let (least, most) = (
        record.cpus.iter().min_by_key(|used| used.busy_ns),
        record.cpus.iter().max_by_key(|used| used.busy_ns),
    );
    let (Some(least), Some(most)) = (least, most) else { return Ok(()) };
    if record.cpus.len() > FEW {
        writeln!(out, "  CPUs busy: {} to {}", busy(least), busy(most))?;
    } else {
        let each: Vec<_> =
            record.cpus.iter().map(|used| format!("{} {}", used.cpu, busy(used))).collect();
        writeln!(out, "  CPUs busy: {}", each.join(", "))?;
    }
    Ok(())
}

fn print_io(report: &RunReport, out: &mut impl Write) -> Result<()> {
    let Some(target) = report.workers.iter().find_map(|worker| worker.io_target.as_deref()) else {
        return Ok(());
    };
    match report.totals.disk {
        Some(used) => writeln!(
            out,
            "  I/O on {target}: {} writes, {} KiB written, {} flushes at the device",
            used.writes,
            used.written_bytes / 1024,
            used.flushes
        )?,
        None => writeln!(out, "  I/O on {target}: no disk for the workload in this guest")?,
    }
    Ok(())
}

/// Workers, then cgroups and steps where there are any.
pub(crate) fn print_measured(
    record: &RunRecord,
    workers: &[WorkerReport],
    out: &mut impl Write,
) -> Result<()> {
    print_workers(workers, out)?;
    print_scenes(record, workers, out)
}

/// A line for each set and role, latencies merged.
fn print_workers(workers: &[WorkerReport], out: &mut impl Write) -> Result<()> {
    if workers.is_empty() {
        return Ok(());
    }
    let mut roles: BTreeMap<(usize, &str), Vec<&WorkerReport>> = BTreeMap::new();
    for worker in workers {
        roles.entry((worker.group_idx, &worker.role)).or_default().push(worker);
    }
    let mut table = new_table(&[
        "set",
        "work type",
        "role",
        "n",
        "iterations",
        "per s",
        "cpu",
        "delay",
        "switches",
        "migr.",
        "gap",
        "latency",
        "samples",
        "p50",
        "p99",
        "max",
    ]);
    for ((set, role), members) in roles {
        let fixed = worker_cells(set, role, &members);
        let mut kinds: Vec<_> = members.iter().flat_map(|w| w.latency.keys().copied()).collect();
        kinds.sort();
        kinds.dedup();
        if kinds.is_empty() {
            table.add_row([fixed.clone(), vec![String::new(); 5]].concat());
        }
        for (row, kind) in kinds.into_iter().enumerate() {
            let parts = members.iter().filter_map(|w| w.latency.get(&kind));
            let name = serde_json::to_value(kind)?.as_str().unwrap_or_default().to_owned();
            let first = if row == 0 { fixed.clone() } else { vec![String::new(); fixed.len()] };
            table.add_row([first, latency_cells(name, LatencySummary::merged(parts))].concat());
        }
    }
    for column in 3..16 {
        if let Some(column) = table.column_mut(column).filter(|_| column != 11) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "\n{table}\n{LEGEND}")?;
    Ok(())
}

fn worker_cells(set: usize, role: &str, members: &[&WorkerReport]) -> Vec<String> {
    let iterations = sum_of(members.iter().map(|w| w.iterations));
    let wall_ns: u64 = members.iter().map(|w| w.wall_time_ns).max().unwrap_or(0);
    let mean = |field: fn(&WorkerReport) -> Option<u64>| {
        let total = sum_of_known(members.iter().map(|w| field(w)));
        let wall = sum_of(members.iter().map(|w| w.wall_time_ns));
        share(total, wall)
    };
    let sum =
        |field: fn(&WorkerReport) -> Option<u64>| sum_of_known(members.iter().map(|w| field(w)));
    let switches = match (sum(|w| w.voluntary_switches), sum(|w| w.involuntary_switches)) {
        (Some(voluntary), Some(involuntary)) => format!("{voluntary}+{involuntary}"),
        _ => unknown(),
    };
    let gap = members.iter().filter_map(|w| w.max_gap_ns).max();
    let rate = if wall_ns > 0 { float(iterations) * 1e9 / float(wall_ns) } else { 0.0 };
    vec![
        set.to_string(),
        members.first().map(|w| w.work_type.clone()).unwrap_or_default(),
        role.to_owned(),
        members.len().to_string(),
        iterations.to_string(),
        format!("{rate:.0}"),
        mean(|w| w.cpu_time_ns),
        mean(|w| w.run_delay_ns),
        switches,
        sum(|w| w.migrations).map_or_else(unknown, |n| n.to_string()),
        gap.map_or_else(unknown, |gap| show_ns(float(gap))),
    ]
}

fn latency_cells(name: String, all: Option<LatencySummary>) -> Vec<String> {
    let Some(all) = all else { return vec![name, "0".into(), unknown(), unknown(), unknown()] };
    let time = |ns| show_ns(float(ns));
    vec![name, all.count.to_string(), time(all.p50_ns), time(all.p99_ns), time(all.max_ns)]
}

/// Every check with what was measured, the bound, and who broke it.
pub(crate) fn print_checks(checks: &[Check], out: &mut impl Write) -> Result<()> {
    if checks.is_empty() {
        return Ok(());
    }
    let mut table = new_table(&["check", "outcome", "measured", "bound", "workers", "what"]);
    for check in checks {
        let outcome = match check.outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "FAIL",
            Outcome::Inconclusive => "inconclusive",
        };
        table.add_row(vec![
            check.name.clone(),
            outcome.to_owned(),
            show_value(check.measured, &check.unit),
            show_value(check.bound, &check.unit),
            some_of(&check.workers),
            check.detail.clone(),
        ]);
    }
    writeln!(out, "\n{table}")?;
    Ok(())
}

/// A measured value or a bound, with its unit.
pub(crate) fn show_value(value: Option<f64>, unit: &str) -> String {
    match value {
        None => unknown(),
        Some(ns) if unit == "ns" => show_ns(ns),
        Some(value) if value.fract() == 0.0 => format!("{value:.0} {unit}"),
        Some(value) => format!("{value:.4} {unit}"),
    }
}

/// The first few indices; the report has all of them.
fn some_of(workers: &[usize]) -> String {
    const SHOWN: usize = 6;
    let mut text = workers.iter().take(SHOWN).map(usize::to_string).collect::<Vec<_>>().join(" ");
    if workers.len() > SHOWN {
        text.push_str(&format!(" and {} more", workers.len() - SHOWN));
    }
    text
}

/// A table without lines under this header.
pub(crate) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

/// A part of `wall_ns` in percent.
pub(super) fn share(part_ns: Option<u64>, wall_ns: u64) -> String {
    part_ns
        .filter(|_| wall_ns > 0)
        .map_or_else(unknown, |part| format!("{:.1}%", 100.0 * float(part) / float(wall_ns)))
}

pub(super) fn unknown() -> String {
    "-".into()
}
