//! Whether the kernel took every setting and held it to the end: what was asked for against what
//! workers found. Called by `judge`.

use super::check::{Check, Outcome, float};
use crate::list;
use crate::plan::{Ending, Plan, PlannedSet};
use crate::report::{NotHeld, WorkerReport};
use crate::run::RunRecord;
use crate::scenario::Scenario;
use crate::settings::{MEM_POLICY, SLICE};
use std::collections::BTreeSet;

/// A worker with something that is not as it should be, or cannot be known.
struct Finding {
    worker: usize,
    text: String,
}

/// Settings that the kernel refused or does not hold, those of workers and those of the run.
pub(super) fn applied(
    scenario: &Scenario,
    plan: &Plan,
    record: &RunRecord,
    reports: &[WorkerReport],
) -> Check {
    let mut broken: Vec<Finding> = reports.iter().flat_map(refused).collect();
    let mut unknown = Vec::new();
    // Of the dead nothing was read, and `completed` names them.
    for report in reports.iter().filter(|report| report.exit_info.is_none()) {
        let worker = Judged::of(scenario, plan, report);
        broken.extend(worker.settings());
        match worker.cpus() {
            Ok(different) => broken.extend(different),
            Err(why) => unknown.push(Finding { worker: report.index, text: why }),
        }
    }
    let of_run = record.not_applied.iter().map(|text| format!("refused by the kernel: {text}"));
    let texts: Vec<String> =
        of_run.chain(broken.iter().map(|finding| finding.text.clone())).collect();
    let check = Check {
        measured: Some(float(texts.len() as u64)),
        bound: Some(0.0),
        workers: BTreeSet::from_iter(broken.iter().map(|f| f.worker)).into_iter().collect(),
        ..Check::new("applied", "settings", "settings that the kernel refused or does not hold")
    };
    match (texts.as_slice(), unknown.first()) {
        ([first, rest @ ..], _) => {
            let more = match rest.len() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            Check { outcome: Outcome::Fail, detail: format!("{first}{more}"), ..check }
        }
        ([], Some(Finding { worker, text })) => {
            Check { workers: vec![*worker], ..check.inconclusive(text) }
        }
        ([], None) => check,
    }
}

fn refused(report: &WorkerReport) -> impl Iterator<Item = Finding> {
    let index = report.index;
    report.not_applied.iter().map(move |refused| Finding {
        worker: index,
        text: format!(
            "refused by the kernel: worker {index}: {} {}: {}",
            refused.setting, refused.wanted, refused.error
        ),
    })
}

/// A worker that reported, with what the plan has for it.
struct Judged<'a> {
    report: &'a WorkerReport,
    ending: &'a Ending,
    set: Option<&'a PlannedSet>,
    /// Whether hotplug may unpin it.
    may_be_unpinned: bool,
    /// Whether fair tasks may have come to another slice.
    other_slices: bool,
}

impl<'a> Judged<'a> {
    fn of(scenario: &Scenario, plan: &'a Plan, report: &'a WorkerReport) -> Self {
        let crew = plan.crew_of(report.index);
        let sets = plan.crews.get(crew).map_or(&[][..], |crew| &crew.sets);
        Self {
            report,
            ending: &plan.endings[crew],
            set: sets.iter().find(|set| set.group_idx == report.group_idx),
            may_be_unpinned: scenario.expect.hotplug_unpins && report.unplugged_cpu.is_some(),
            other_slices: plan.changes_slices(),
        }
    }

    /// What it found otherwise than it was to be.
    fn settings(&self) -> impl Iterator<Item = Finding> {
        let is_expected = |different: &NotHeld| match different.setting.as_str() {
            SLICE => self.other_slices,
            MEM_POLICY => self.is_cut_to_its_nodes(&different.held),
            _ => false,
        };
        let different = self.report.not_held.iter();
        different.filter(move |d| !self.was_refused(&d.setting) && !is_expected(d)).map(|d| {
            let hint = if d.setting == MEM_POLICY {
                "; the kernel renames nodes when those of the cgroup change, unless mpol_flags has \
                 STATIC_NODES"
            } else {
                ""
            };
            self.finding(format!(
                "{}: asked for {}, the kernel holds {}{hint}",
                d.setting, d.asked, d.held
            ))
        })
    }

    /// Whether the kernel did not take it, so that it need not hold it.
    fn was_refused(&self, setting: &str) -> bool {
        self.report.not_applied.iter().any(|refused| refused.setting == setting)
    }

    /// Whether its memory policy is what is left of it in its cgroup.
    fn is_cut_to_its_nodes(&self, held: &str) -> bool {
        let (Some(set), Some(mems)) = (self.set, &self.ending.mems) else { return false };
        let flags = set.spec.mpol_flags;
        set.spec.mem_policy.within(mems, flags).text(flags) == held
    }

    /// The CPUs that the kernel holds for it, if they are not those of its cgroup that it asks for,
    /// or all of them where its cgroup has none of these.
    fn cpus(&self) -> Result<Option<Finding>, String> {
        let is_users = self.set.is_some_and(|set| set.spec.work_type.work().needs().user_code);
        let is_free = is_users && self.report.cpus_asked.is_none();
        if is_free || self.was_refused("affinity") || self.was_refused("numa_node") {
            return Ok(None);
        }
        let index = self.report.index;
        let parsed = |text: &str| list::parse(text).map_err(|why| format!("worker {index}: {why}"));
        let held = match &self.report.cpus_allowed {
            Some(held) => parsed(held)?,
            None => return Err(self.unknown("the CPUs that the kernel holds for it")),
        };
        let cgroup = &self.ending.cpus;
        let asked = self.report.cpus_asked.as_deref().map(parsed).transpose()?;
        let left: BTreeSet<usize> = match &asked {
            Some(asked) => asked & cgroup,
            None => cgroup.clone(),
        };
        let expected = if left.is_empty() { cgroup } else { &left };
        let unpinned = self.may_be_unpinned && held == *cgroup;
        if held == *expected || unpinned {
            return Ok(None);
        }
        if self.report.left_early && !self.ending.steady {
            return Err(
                self.unknown("which CPUs it was to have when its loop ended, before the run")
            );
        }
        let listed = |cpus: &BTreeSet<usize>| list::format(cpus.iter().copied());
        let asked = asked.map_or_else(|| "all".into(), |asked| listed(&asked));
        let unplugged = self.report.unplugged_cpu.map_or_else(String::new, |cpu| {
            format!(
                "; it lost them when CPU {cpu} went off line, which `hotplug_unpins` in `expect` \
                 allows"
            )
        });
        Ok(Some(self.finding(format!(
            "affinity: asked for CPUs {asked}, its cgroup has {}, the kernel holds {}{unplugged}",
            listed(cgroup),
            listed(&held)
        ))))
    }

    fn unknown(&self, what: &str) -> String {
        let index = self.report.index;
        let why = self.report.unavailable.get("cpus_allowed");
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        format!("of worker {index} it is not known {what}{why}")
    }

    fn finding(&self, text: String) -> Finding {
        let index = self.report.index;
        Finding { worker: index, text: format!("worker {index}: {text}") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::fixture::Case;
    use crate::report::{NotHeld, WorkerReport};
    use crate::topology::{Cpu, Topology};

    const PINNED: &str = r#"{"cgroups":[{"name":"a","works":[{"num_workers":2,
        "affinity":{"Exact":[1]}}]}]}"#;
    /// CPU 1 goes and comes back; its worker is asked back only by the cgroup that it moves to.
    const UNPLUGGED: &str = r#"{"workload":{"num_workers":1},"steps":[
        {"ops":[{"CpuOffline":1}],"hold":{"Time":"1s"}},
        {"ops":[{"CpuOnline":1}],"hold":{"Time":"1s"}}],"expect":{"hotplug_unpins":true}}"#;

    /// The outcome for worker 0 with these CPUs.
    fn with_cpus(json: &str, asked: Option<&str>, held: &str) -> super::Check {
        let case = Case::new(json).with(0, |r| {
            (r.cpus_asked, r.cpus_allowed) = (asked.map(str::to_owned), Some(held.to_owned()));
        });
        case.check("applied")
    }

    #[test]
    fn cpus_are_those_asked_for_that_the_cgroup_has_or_all_of_it() {
        let narrow = r#"{"cgroups":[{"name":"a","cpuset":{"Exact":[0]},"works":[{}]}]}"#;
        for (json, asked, held, outcome) in [
            (PINNED, Some("1"), "1", Outcome::Pass),
            (PINNED, Some("1"), "0-1", Outcome::Fail),
            (PINNED, Some("1"), "0", Outcome::Fail),
            (PINNED, None, "0-1", Outcome::Pass),
            (PINNED, None, "1", Outcome::Fail),
            (narrow, Some("0-1"), "0", Outcome::Pass),
            (narrow, Some("1"), "0", Outcome::Pass),
            (narrow, Some("1"), "0-1", Outcome::Fail),
        ] {
            let check = with_cpus(json, asked, held);
            assert_eq!(check.outcome, outcome, "{asked:?} {held}: {}", check.detail);
        }
        let check = with_cpus(PINNED, Some("1"), "0-1");
        assert_eq!((check.workers, check.measured), (vec![0], Some(1.0)));
        let detail =
            "worker 0: affinity: asked for CPUs 1, its cgroup has 0-1, the kernel holds 0-1";
        assert_eq!(check.detail, detail);
    }

    #[test]
    fn who_lost_its_cpus_to_hotplug_is_told_unless_that_is_expected() {
        let case = |json: &str, held: &str| {
            let case = Case::new(json).with(0, |r| {
                (r.cpus_asked, r.cpus_allowed) = (Some("1".into()), Some(held.into()));
                r.unplugged_cpu = Some(1);
            });
            case.check("applied")
        };
        assert_eq!(case(UNPLUGGED, "0-1").outcome, Outcome::Pass);
        assert_eq!(case(UNPLUGGED, "1").outcome, Outcome::Pass);
        assert_eq!(case(UNPLUGGED, "0").outcome, Outcome::Fail, "not where it may be either");
        let unexpected = UNPLUGGED.replace("true", "false");
        let check = case(&unexpected, "0-1");
        assert_eq!(check.outcome, Outcome::Fail);
        assert!(check.detail.contains("when CPU 1 went off line"), "{}", check.detail);
        // It has what is expected of hotplug without any.
        assert_eq!(with_cpus(UNPLUGGED, Some("1"), "0-1").outcome, Outcome::Fail);
    }

    fn different(setting: &str, asked: &str, held: &str) -> impl FnOnce(&mut WorkerReport) {
        let [setting, asked, held] = [setting, asked, held].map(str::to_owned);
        move |r| r.not_held.push(NotHeld { setting, asked, held })
    }

    #[test]
    fn a_setting_that_is_another_at_the_end_fails_and_is_named() {
        let case = Case::new(r#"{"num_workers":2}"#).with(1, different("nice", "3", "0"));
        let check = case.with(1, different("sched_policy", "SCHED_RR 1", "SCHED_OTHER"));
        let check = check.check("applied");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![1]));
        assert_eq!(check.measured, Some(2.0));
        let detail = "worker 1: nice: asked for 3, the kernel holds 0 (and 1 more)";
        assert_eq!(check.detail, detail);
    }

    #[test]
    fn a_slice_may_change_with_the_number_of_cpus_and_with_knobs_alone() {
        let slice = |json: &str| {
            let case = Case::new(json).with(0, different("slice_ns", "2800000", "1400000"));
            case.outcome("applied")
        };
        assert_eq!(slice(r#"{"num_workers":1}"#), Outcome::Fail);
        assert_eq!(slice(UNPLUGGED), Outcome::Pass);
    }

    #[test]
    fn nodes_that_the_cgroup_lacks_may_be_gone_from_a_memory_policy() {
        let mems = |json: &str, held: &str| {
            let cpu = |id| Cpu { id, core: id, llc: id, node: id };
            let topology = Topology::new(vec![cpu(0), cpu(1)], [0, 1].into());
            let case = Case::on(&topology, json).with(0, different("mem_policy", "Bind 0-1", held));
            case.outcome("applied")
        };
        let json =
            r#"{"cgroups":[{"name":"a","mems":[1],"works":[{"mem_policy":{"Bind":[0,1]}}]}]}"#;
        assert_eq!(mems(json, "Bind 1"), Outcome::Pass);
        assert_eq!(mems(json, "Bind 0"), Outcome::Fail);
        assert_eq!(mems(&json.replace(r#""mems":[1],"#, ""), "Bind 1"), Outcome::Fail);
    }

    #[test]
    fn what_nobody_could_read_is_not_passed() {
        let case = Case::new(r#"{"num_workers":1}"#).with(0, |r| {
            r.cpus_allowed = None;
            r.unavailable.insert("cpus_allowed".into(), "EPERM".into());
        });
        let check = case.check("applied");
        assert_eq!((check.outcome, check.workers), (Outcome::Inconclusive, vec![0]));
        assert!(check.detail.ends_with("holds for it: EPERM"), "{}", check.detail);
        // It left when nobody knows what held.
        let early = Case::new(UNPLUGGED).with(0, |r| {
            (r.cpus_asked, r.left_early) = (Some("1".into()), true);
        });
        assert_eq!(early.outcome("applied"), Outcome::Inconclusive);
    }
}
