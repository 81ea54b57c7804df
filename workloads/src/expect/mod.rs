//! Expectations and how reports are judged against them: pass, fail, or inconclusive where
//! nothing was measured. Called by the host on the reports of a run.

mod demand;

mod check;
mod part;
mod rules;

mod accounting;
mod basic;
mod grain;
mod held;
mod kernel;
mod latency;
mod peers;
mod place;
mod quota;
mod sets;
mod share;
mod siblings;
mod weight;

pub use check::{Check, Outcome};
pub use demand::{Expect, LatencyBounds, StepExpect};
pub use sets::jain_index;

use crate::plan::Plan;
use crate::report::WorkerReport;
use crate::run::RunRecord;
use crate::scenario::Scenario;
use part::{Part, titled};
use rules::of_part;

/// Judges `reports` and `record` against what `scenario` expects, as `plan` resolved it. Without
/// any report there is nothing to judge and no check. Splats are not in reports: `no_splat` is
/// judged by who has the console.
pub fn judge(
    scenario: &Scenario,
    plan: &Plan,
    record: &RunRecord,
    reports: &[WorkerReport],
) -> Vec<Check> {
    if reports.is_empty() {
        return Vec::new();
    }
    let expect = &scenario.expect;
    let mut checks = vec![accounting::total(reports, record, plan.topology.cpus().len())];
    checks.extend(accounting::of_cpus(plan, record, reports));
    checks.extend(expect.completed.then(|| basic::completed(scenario, reports)));
    checks.extend(expect.applied.then(|| held::applied(scenario, plan, record, reports)));
    let run = Part::of_run(plan, record, reports);
    // In a run with steps each of them is looked at by itself.
    let isolation = expect.isolation && plan.steps.is_empty();
    checks.extend(of_part(&Expect { isolation, ..expect.clone() }, &run));
    for (at, planned) in plan.steps.iter().enumerate() {
        let own = scenario.steps.get(at).and_then(|step| step.expect.as_ref());
        let stalled = own.map_or(&[][..], |own| &own.stalled);
        let part = Part::of_step(plan, record, reports, at, stalled);
        let title = |check: Check| Check {
            name: format!("{}: {}", titled(&planned.name), check.name),
            step: Some(at),
            ..check
        };
        checks.extend(of_part(&expect.in_step(own), &part).into_iter().map(title));
    }
    checks
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
