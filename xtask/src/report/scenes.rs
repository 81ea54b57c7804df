//! What was read from outside of the workers, as people read it: a line a cgroup, and for each
//! step a line a set. Called by `table`.

use super::table::{new_table, share, unknown};
use crate::units::{show_ns, sum_of, sum_of_known};
use anyhow::Result;
use comfy_table::CellAlignment;
use std::collections::BTreeMap;
use std::io::Write;
use workloads::{CgroupUse, RunRecord, StepRecord, StepReport, WorkerReport};

const CGROUP_HEADER: [&str; 9] =
    ["step", "cgroup", "CPUs", "weight", "quota", "cpu time", "cpu", "throttled", "throttled for"];
const STEP_HEADER: [&str; 12] = [
    "step",
    "ops took",
    "held",
    "set",
    "cgroup at the end",
    "n",
    "iterations",
    "per s",
    "cpu",
    "delay",
    "migr.",
    "gap",
];
const LEGEND: &str = "\
cpu of a cgroup: its CPU time in wall time, 100 % is one CPU. throttled: periods in which the quota was
used up, of those in which it ran.";
const STEP_LEGEND: &str = "\
A step is counted while it is held: from the end of its operations to its own end. ops took: the time of
the operations before that; in a loop + those of all later rounds, which are within it.";

/// Cgroups of the run, then steps with those of each.
pub(super) fn print_scenes(
    record: &RunRecord,
    workers: &[WorkerReport],
    out: &mut impl Write,
) -> Result<()> {
    if !record.steps.is_empty() {
        let mut table = new_table(&STEP_HEADER);
        for (index, step) in record.steps.iter().enumerate() {
            add_step(&mut table, index, step, workers);
        }
        align(&mut table, &[1, 2, 5, 6, 7, 8, 9, 10, 11]);
        writeln!(out, "\n{table}\n{STEP_LEGEND}")?;
    }
    if !record.cgroups.is_empty() || record.steps.iter().any(|step| !step.cgroups.is_empty()) {
        let mut table = new_table(&CGROUP_HEADER);
        for (path, used) in &record.cgroups {
            table.add_row(cgroup_cells("all", path, used));
        }
        for step in &record.steps {
            for (path, used) in &step.cgroups {
                table.add_row(cgroup_cells(&step.name, path, used));
            }
        }
        align(&mut table, &[3, 5, 6, 7, 8]);
        writeln!(out, "\n{table}\n{LEGEND}")?;
    }
    Ok(())
}

fn align(table: &mut comfy_table::Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A line for each set that was there.
fn add_step(
    table: &mut comfy_table::Table,
    index: usize,
    step: &StepRecord,
    workers: &[WorkerReport],
) {
    let mut sets: BTreeMap<(usize, &str), Vec<&StepReport>> = BTreeMap::new();
    for worker in workers {
        let cgroup = worker.cgroup.as_deref().unwrap_or("-");
        let of_step = worker.steps.iter().filter(|report| report.step == index);
        sets.entry((worker.group_idx, cgroup)).or_default().extend(of_step);
    }
    sets.retain(|_, reports| !reports.is_empty());
    let mut first = [step.name.clone(), operations(step), show_ns(float(step.held_ns))];
    for ((set, cgroup), reports) in sets {
        let sum = |field: fn(&StepReport) -> Option<u64>| {
            sum_of_known(reports.iter().map(|report| field(report)))
        };
        let wall_ns = sum_of(reports.iter().map(|report| report.wall_time_ns));
        let iterations = sum_of(reports.iter().map(|report| report.iterations));
        let longest = reports.iter().map(|report| report.wall_time_ns).max().unwrap_or(0);
        let rate = if longest > 0 { float(iterations) * 1e9 / float(longest) } else { 0.0 };
        let gap = reports.iter().filter_map(|report| report.max_gap_ns).max();
        let [name, operations, held] = std::mem::take(&mut first);
        table.add_row(vec![
            name,
            operations,
            held,
            set.to_string(),
            cgroup.to_owned(),
            reports.len().to_string(),
            iterations.to_string(),
            format!("{rate:.0}"),
            share(sum(|report| report.cpu_time_ns), wall_ns),
            share(sum(|report| report.run_delay_ns), wall_ns),
            sum(|report| report.migrations).map_or_else(unknown, |n| n.to_string()),
            gap.map_or_else(unknown, |gap| show_ns(float(gap))),
        ]);
    }
}

/// How long the operations of a step took.
fn operations(step: &StepRecord) -> String {
    let first = show_ns(float(step.operations_ns));
    match step.later_operations_ns {
        0 => first,
        later => format!("{first} + {}", show_ns(float(later))),
    }
}

fn cgroup_cells(step: &str, path: &str, used: &CgroupUse) -> Vec<String> {
    let throttled = match (used.throttled_periods, used.periods) {
        (Some(throttled), Some(periods)) => format!("{throttled} of {periods}"),
        _ => unknown(),
    };
    vec![
        step.to_owned(),
        path.to_owned(),
        used.cpus_effective.clone().unwrap_or_else(unknown),
        used.cpu_weight.map_or_else(unknown, |weight| weight.to_string()),
        used.cpu_max.as_deref().map_or_else(unknown, quota),
        used.cpu_time_ns.map_or_else(unknown, |ns| show_ns(float(ns))),
        share(used.cpu_time_ns, used.wall_time_ns),
        throttled,
        used.throttled_ns.map_or_else(unknown, |ns| show_ns(float(ns))),
    ]
}

/// `50000 100000`, as the kernel prints it, in a form with units.
fn quota(cpu_max: &str) -> String {
    let us = |text: &str| text.parse::<u64>().ok().map(|us| show_ns(float(us) * 1e3));
    match cpu_max.split_once(' ') {
        Some(("max", _)) => "none".into(),
        Some((quota, period)) => match (us(quota), us(period)) {
            (Some(quota), Some(period)) => format!("{quota} in {period}"),
            _ => cpu_max.to_owned(),
        },
        None => cpu_max.to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_has_units() {
        assert_eq!(quota("50000 100000"), "50.0 ms in 100 ms");
        assert_eq!(quota("max 100000"), "none");
    }

    #[test]
    fn steps_and_cgroups_have_a_line_each() {
        let used = CgroupUse {
            wall_time_ns: 1_000_000_000,
            cpu_time_ns: Some(500_000_000),
            ..CgroupUse::default()
        };
        let step = StepRecord {
            name: "frozen".into(),
            operations_ns: 1_500_000_000,
            held_ns: 1_000_000_000,
            later_operations_ns: 20_000_000,
            cgroups: [("web".into(), used)].into(),
            ..StepRecord::default()
        };
        let record = RunRecord { steps: vec![step], ..RunRecord::default() };
        let report = StepReport {
            wall_time_ns: 1_000_000_000,
            iterations: 7,
            cpu_time_ns: Some(0),
            ..StepReport::default()
        };
        let worker = WorkerReport { steps: vec![report], ..WorkerReport::default() };
        let mut text = Vec::new();
        print_scenes(&record, &[worker], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.contains("1.00 s")).unwrap();
        assert!(line.contains("frozen") && line.contains("1.50 s + 20.0 ms"), "{text}");
        assert!(line.contains(" 7 ") && line.contains("0.0%"), "{text}");
        let line = text.lines().find(|line| line.contains("web")).unwrap();
        assert!(line.contains("500 ms") && line.contains("50.0%"), "{text}");
    }
}
