//! The page `docs/work-types.md`, made from what `workloads` says of its types. Called by `docs`.

use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use workloads::{Parameter, RENAMED, Reference, Role, Sampled, WorkType};

const HEAD: &str = "\
# Work types

<!-- Made by `cargo xtask docs`. Edit `workloads/src/work/`, not this page. -->

What a worker can do, what each type is for, what it takes and which kernel functions it drives. This page is made from the
catalogue `workloads/src/work/catalogue.rs` and the family files beside it, and a test refuses a stale one. To make it anew:

    cargo xtask docs

`cargo xtask list work-types` prints a line a type, with `--json` everything that is here.
";

const TERMS: &str = "\
## What the entries say

- **Parameters** may be left out, except where the default is `-`. A duration is text such as `\"50ms\"`. A spin step is one
  PAUSE; under TCG it is the same loop without PAUSE.
- **Group**: workers that belong together. `num_workers` must be a multiple of it; several groups run side by side.
- **Kernel**: functions that the type drives, as Linux 7.3 calls them. A task that a sched_ext scheduler runs goes through
  the `_scx` function of its class in place of the `_fair` one.
";

const MORE_TERMS: &str = "\
- **Privilege**: what the type needs beyond an ordinary user, and what happens without. In a guest workers are root, unless
  the workload has a `uid`.
- **Threads**: whether the workers may be threads of one process instead of processes. Threads wait on private futexes
  (`FUTEX_PRIVATE_FLAG`), as those of programs do; processes on shared ones, which cost more.
- **Latency**: the kinds of samples; [the README](../README.md#reading-the-report) says from where to where each is.
";

/// The whole page.
pub(super) fn page() -> Result<String> {
    let types = WorkType::reference().context("the catalogue has a type without JSON")?;
    let mut page = format!("{HEAD}\n## Choosing a work type\n\n");
    page.push_str("| behaviour to test | work type |\n|---|---|\n");
    for of in &types {
        writeln!(page, "| {} | {} |", of.choose, link(of.name))?;
    }
    write!(page, "\n{TERMS}")?;
    for (now, before, since) in RENAMED {
        writeln!(page, "  `{now}` is `{before}` before {since}.")?;
    }
    page.push_str(MORE_TERMS);
    for family in types.chunk_by(|a, b| a.family == b.family) {
        writeln!(page, "\n## {}", family.first().map_or("", |of| of.family))?;
        for of in family {
            entry(&mut page, of)?;
        }
    }
    Ok(page)
}

/// All of one type.
fn entry(page: &mut String, of: &Reference) -> Result<()> {
    writeln!(page, "\n### {}\n\n{}\n", of.name, of.summary)?;
    if !of.details.is_empty() {
        writeln!(page, "{}\n", of.details)?;
    }
    if !of.parameters.is_empty() {
        page.push_str("| parameter | type | default | |\n|---|---|---|---|\n");
    }
    for parameter in &of.parameters {
        let default = match &parameter.default {
            Some(value) => format!("`{value}`"),
            None => "-".into(),
        };
        let Parameter { name, doc, .. } = parameter;
        writeln!(page, "| `{name}` | {} | {default} | {doc} |", written(parameter))?;
    }
    if !of.parameters.is_empty() {
        page.push('\n');
    }
    writeln!(page, "- For: {}", of.choose)?;
    writeln!(page, "- Kernel: {}", of.kernel)?;
    writeln!(page, "- Group: {}", group(of))?;
    writeln!(page, "- Privilege: {}", of.privilege.unwrap_or("none"))?;
    match of.own_process {
        None => writeln!(page, "- Threads: yes")?,
        Some(why) => writeln!(page, "- Threads: no, {why}")?,
    }
    writeln!(page, "- Latency: {}", latency(&of.latency)?)?;
    writeln!(page, "\n```json\n{}\n```", of.example)?;
    Ok(())
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

fn written(parameter: &Parameter) -> String {
    match (parameter.choices, parameter.unit) {
        ([], None) => parameter.kind.into(),
        ([], Some(unit)) => format!("{}, {unit}", parameter.kind),
        (choices, _) => {
            choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn group(of: &Reference) -> String {
    let role = |role: &Role| match role.workers {
        1 => role.name.to_owned(),
        workers => format!("{workers} x {}", role.name),
    };
    let roles = of.roles.iter().map(role).collect::<Vec<_>>().join(", ");
    match (of.group, of.group_size) {
        (_, 1) => "none, each worker is on its own".into(),
        (formula, size) if formula == size.to_string() => format!("{size}: {roles}"),
        (formula, size) => format!("`{formula}`, by default {size}: {roles}"),
    }
}

fn latency(samples: &[Sampled]) -> Result<String> {
    let mut kinds = Vec::new();
    for sampled in samples {
        let kind = serde_json::to_value(sampled.kind)?;
        kinds.push(format!("{} ({})", kind.as_str().unwrap_or_default(), sampled.of));
    }
    Ok(if kinds.is_empty() { "none".into() } else { kinds.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_chosen_by_a_behaviour_and_links_to_its_entry() {
        let page = page().unwrap();
        for name in WorkType::ALL_NAMES {
            assert_eq!(page.matches(&format!(" | {} |\n", link(name))).count(), 1, "{name}");
            assert_eq!(page.matches(&format!("\n### {name}\n")).count(), 1, "{name}");
        }
    }

    #[test]
    fn no_cell_breaks_its_table() {
        for row in page().unwrap().lines().filter(|line| line.starts_with('|')) {
            assert!(matches!(row.matches('|').count(), 3 | 5), "{row}");
        }
    }
}
