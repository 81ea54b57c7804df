//! A comparison as people read it. Called by `cmd::compare`.

use crate::compare::{Basis, Comparison, Finding, Key, METRICS, Outcome, Side, Standing, Unit};
use crate::error::exit;
use crate::report::new_table;
use crate::units::show_ns;
use anyhow::Result;
use comfy_table::CellAlignment;
use std::collections::BTreeSet;
use std::io::Write;

/// Facts that both sides are compared for, or had better have in common.
const FACTS: [&str; 7] =
    ["kernel", "kernel arguments", "scheduler", "scenario", "machine", "mode", "QEMU"];

pub(super) fn print(
    (a, b): (&Side, &Side),
    comparison: &Comparison,
    outcome: &Outcome,
    out: &mut impl Write,
) -> Result<()> {
    print_facts(a, b, out)?;
    writeln!(out, "runs: A {}; B {}", a.ended(), b.ended())?;
    if !comparison.findings.is_empty() {
        writeln!(out, "{}\n", explained((a, b), comparison))?;
        print_findings(comparison.basis, &comparison.findings, out)?;
    }
    print_outcome(comparison, outcome, out)
}

/// Everything that keeps the comparison from a pass, or that it says no difference.
fn print_outcome(comparison: &Comparison, outcome: &Outcome, out: &mut impl Write) -> Result<()> {
    let list = |keys: &BTreeSet<Key>| -> String {
        keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    writeln!(out)?;
    for text in outcome.lost.iter().chain(&outcome.verdict) {
        writeln!(out, "{text}")?;
    }
    let lists = [
        ("B lacks what A has", &outcome.lacking),
        ("on one side only, or not in every run", &outcome.uneven),
        ("not shown to be within the limit", &outcome.open),
        ("differs by more than the limit", &outcome.exceeded),
    ];
    for (what, keys) in lists.into_iter().filter(|(_, keys)| !keys.is_empty()) {
        writeln!(out, "{what}: {}", list(keys))?;
    }
    let pairs: Vec<bool> = comparison.findings.iter().filter_map(|f| f.same_in_pairs).collect();
    if !pairs.is_empty() && comparison.basis != Basis::Exact {
        let (all, unlike) = (pairs.len(), pairs.iter().filter(|same| !**same).count());
        writeln!(out, "in pairs of one seed, which are exact, {unlike} of {all} metrics differ")?;
    }
    let (judged, needed) = (comparison.judged, comparison.needed);
    let noisy = matches!(comparison.basis, Basis::Statistics | Basis::Nothing);
    if noisy && !comparison.can_show() && !comparison.findings.is_empty() {
        writeln!(
            out,
            "too few runs: among {judged} of the metrics it takes {needed} a side to show a difference \
             that every run has (--repeat {needed}, or --repeat auto)"
        )?;
    }
    let none = comparison.findings.iter().all(|finding| !finding.real) && !pairs.contains(&false);
    let compared = comparison.findings.len();
    if none && outcome.exit_code == exit::PASS && outcome.is_whole() && comparison.can_show() {
        match comparison.basis {
            Basis::Exact => writeln!(out, "no difference in {compared} metrics")?,
            _ => writeln!(out, "no difference above the noise in {compared} metrics")?,
        }
    }
    Ok(())
}

fn print_facts(a: &Side, b: &Side, out: &mut impl Write) -> Result<()> {
    for name in FACTS {
        // Baselines of before a fact was kept do not have it.
        let of =
            |side: &Side| side.facts.get(name).map_or("not recorded", String::as_str).to_owned();
        match (of(a), of(b)) {
            (one, other) if one == other => writeln!(out, "{name}: {one}")?,
            (one, other) => writeln!(out, "{name}: A {one}; B {other}")?,
        }
    }
    for (name, hash, what) in [
        ("kernel", "kernel image", "kernel images: two builds"),
        ("scenario", "scenario hash", "scenarios: two, which differ in more than the seed,"),
    ] {
        let [one, other] = [a, b].map(|side| side.facts.get(hash));
        let both = one.zip(other).is_some_and(|(one, other)| one != other);
        if a.facts.get(name) == b.facts.get(name) && both {
            writeln!(out, "{what} of the same name")?;
        }
    }
    Ok(())
}

fn explained((a, b): (&Side, &Side), comparison: &Comparison) -> String {
    match comparison.basis {
        Basis::Exact => {
            "both are deterministic: every difference is real, of these inputs; whether it holds \
             for others, several seeds tell (--repeat)"
                .into()
        }
        Basis::Statistics => format!(
            "medians; a difference counts if chance makes one in any of the {} judged metrics in 1 \
             of 400 comparisons at most (rank sums), its 95 % interval is to one side of 0, and it is more \
             than the noise: the most that two halves of one side's runs differ",
            comparison.judged
        ),
        Basis::Nothing => "these differences may be noise: nothing is judged".into(),
        Basis::Accelerators => format!(
            "A ran under {}, B under {}: their times have little in common, so that no difference \
             is judged (--across-accelerators judges all the same)",
            a.ran_as(),
            b.ran_as()
        ),
    }
}

fn print_findings(basis: Basis, findings: &[Finding], out: &mut impl Write) -> Result<()> {
    let noisy = basis == Basis::Statistics;
    let mut table = match noisy {
        true => new_table(&["metric", "A", "B", "change", "95 %", "noise", "chance", ""]),
        false => new_table(&["metric", "A", "B", "change", ""]),
    };
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for finding in findings {
        let unit = finding.metric.unit;
        let mut row = vec![
            finding.key.to_string(),
            value(unit, finding.a),
            value(unit, finding.b),
            change(unit, finding.change),
        ];
        if noisy {
            let (low, high) = finding.interval.unwrap_or_default();
            row.push(format!("{} .. {}", change(unit, low), change(unit, high)));
            row.push(change(unit, finding.floor.unwrap_or_default()).replace('+', ""));
            row.push(format!("{:.4}", finding.chance.unwrap_or_default()));
        }
        let limit = match finding.gate {
            Some(Standing::Within) => ", within the limit",
            Some(Standing::Open) => ", limit not shown",
            Some(Standing::Exceeded) => ", over the limit",
            None => "",
        };
        let said = format!("{}{limit}", said(basis, finding));
        row.push(said.trim_start_matches(", ").to_owned());
        table.add_row(row);
    }
    writeln!(out, "{table}\n")?;
    let shown: BTreeSet<_> = findings.iter().map(|finding| finding.metric.name).collect();
    let meant: Vec<_> = METRICS
        .iter()
        .filter(|metric| shown.contains(metric.name))
        .map(|metric| format!("{} = {}", metric.name, metric.what))
        .collect();
    Ok(writeln!(out, "{}", meant.join("; "))?)
}

fn said(basis: Basis, finding: &Finding) -> &'static str {
    match (finding.worse, finding.real, basis) {
        (Some(true), ..) => "worse",
        (Some(false), ..) => "better",
        (None, true, _) => "other",
        (None, false, Basis::Exact) => "same",
        (None, false, Basis::Statistics) => "noise",
        (None, false, Basis::Nothing | Basis::Accelerators) => "",
    }
}

fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ns => show_ns(value),
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::Plain => format!("{value:.4}"),
    }
}

fn change(unit: Unit, change: f64) -> String {
    match unit {
        Unit::Plain => format!("{change:+.4}"),
        Unit::Share => format!("{:+.2} points", change * 100.0),
        _ if change.is_infinite() => "from 0".into(),
        _ => format!("{:+.1} %", change * 100.0),
    }
}
