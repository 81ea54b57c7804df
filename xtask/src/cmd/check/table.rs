//! A plan as text: the machine, then a line a cgroup, a set, a change, an expectation. Called by
//! `check`.

use super::view::{MachineView, StepView, View, plain};
use crate::report::new_table;
use anyhow::Result;
use comfy_table::{CellAlignment, Table};
use serde_json::{Map, Value};
use std::io::Write;
use workloads::Scenario;

const NONE: &str = "-";

/// All of one file.
pub(super) fn print(
    file: &str,
    scenario: &Scenario,
    view: &View,
    out: &mut impl Write,
) -> Result<()> {
    writeln!(out, "{file}: ok")?;
    let purpose = if scenario.purpose.is_empty() { "" } else { ": " };
    writeln!(out, "  {}{purpose}{}", scenario.name, scenario.purpose)?;
    writeln!(out, "  {}", duration(scenario, view))?;
    let MachineView { shape, memory_mib, topology } = &view.machine;
    writeln!(out, "  {} CPUs ({shape}), {memory_mib} MiB", topology.cpus().len())?;
    for line in topology.to_string().lines() {
        writeln!(out, "    {line}")?;
    }
    for note in &view.notes {
        writeln!(out, "  note: {note}")?;
    }
    let tables = [cgroups(view), sets(view), steps(view), expectations(view)];
    for table in tables.iter().filter(|table| !table.is_empty()) {
        writeln!(out, "\n{table}")?;
    }
    writeln!(out)?;
    Ok(())
}

fn duration(scenario: &Scenario, view: &View) -> String {
    let (length, seed) = (&view.length, scenario.seed);
    let warmup = match scenario.warmup {
        none if none.is_zero() => String::new(),
        time => format!(" after a warm-up of {}", humantime::format_duration(time)),
    };
    match scenario.iterations {
        Some(n) => format!("{n} iterations a worker, at most {length}, seed {seed}"),
        None if view.steps.is_empty() => format!("{length}{warmup}, seed {seed}"),
        None => format!("{length} and what operations take{warmup}, seed {seed}"),
    }
}

fn cgroups(view: &View) -> Table {
    let mut table = new_table(&["cgroup", "CPUs", "mems", "weight", "quota", "with"]);
    for cgroup in &view.cgroups {
        let parent = if cgroup.own_cpus { "" } else { " (of its parent)" };
        table.add_row(vec![
            cgroup.path.clone(),
            format!("{}{parent}", cgroup.cpus),
            cgroup.mems.clone().unwrap_or_else(none),
            cgroup.weight.map_or_else(none, |weight| weight.to_string()),
            cgroup.quota.clone().unwrap_or_else(none),
            all(&cgroup.other),
        ]);
    }
    right(table, &[3])
}

fn sets(view: &View) -> Table {
    const HEADER: [&str; 10] =
        ["set", "cgroup", "begins", "work type", "n", "groups", "tasks", "policy", "nice", "CPUs"];
    let mut table = new_table(&[&HEADER[..], &["with"]].concat());
    for set in &view.sets {
        let groups = match set.group_size {
            1 => none(),
            size => format!("{} of {size}", set.workers / size),
        };
        table.add_row(vec![
            set.set.to_string(),
            set.cgroup.clone(),
            set.step.as_ref().map_or_else(|| "at once".into(), |step| format!("step {step}")),
            set.work_type.clone(),
            set.workers.to_string(),
            groups,
            set.tasks.clone(),
            plain(&set.sched_policy),
            set.nice.map_or_else(none, |nice| nice.to_string()),
            set.cpus.clone(),
            all(&set.other),
        ]);
    }
    right(table, &[4, 8])
}

/// A line a change; what stays the same from line to line is said once.
fn steps(view: &View) -> Table {
    let mut table = new_table(&["step", "not before", "held", "operation", "what changes"]);
    for step in &view.steps {
        let mut first = [step.name.clone(), step.begins.clone(), held(step)];
        let mut row = |operation: &str, change: &str| {
            let [name, begins, held] = std::mem::take(&mut first);
            table.add_row([name, begins, held, operation.to_owned(), change.to_owned()]);
        };
        if step.operations.is_empty() {
            row(NONE, NONE);
        }
        for of in &step.operations {
            let begin = of.changes.first().map_or(NONE, String::as_str);
            row(&of.operation, begin);
            of.changes.iter().skip(1).for_each(|change| row("", change));
        }
    }
    table
}

fn held(step: &StepView) -> String {
    match &step.interval {
        None => step.held.clone(),
        Some(interval) => format!("{}, {} rounds of {interval}", step.held, step.rounds),
    }
}

fn expectations(view: &View) -> Table {
    let mut table = new_table(&["expected", "of", "bound"]);
    for expected in &view.expect {
        let bound = match &expected.bound {
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "not looked at".into(),
            bound => plain(bound),
        };
        let step = expected.step.as_ref();
        let of = step.map_or_else(|| "the run".into(), |step| format!("step {step}"));
        table.add_row(vec![expected.name.clone(), of, bound]);
    }
    table
}

fn right(mut table: Table, columns: &[usize]) -> Table {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn all(fields: &Map<String, Value>) -> String {
    let field = |(name, value): (&String, &Value)| format!("{name} {}", plain(value));
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

fn none() -> String {
    NONE.into()
}
