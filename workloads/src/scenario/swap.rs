//! `--work-type`: another type in the place of the usual one, so that one scenario tries many.
//! Called by the host before it plans.

use super::{Op, Scenario};
use crate::config::WorkSpec;
use crate::work::WorkType;

impl Scenario {
    /// Puts `work_type` in the place of SpinWait in `workload`, and of whatever the workers of a
    /// `swappable` cgroup do. Sets that do not divide into its groups stay as they are; returns
    /// one sentence on each of them, or one if nothing was replaced at all.
    pub fn override_work_type(&mut self, work_type: &WorkType) -> Vec<String> {
        let mut swap = Swap { work_type, done: 0, notes: Vec::new() };
        if let Some(workload) = &mut self.workload {
            if workload.work_type == WorkType::SpinWait
                && swap.fits("workload", Some(workload.num_workers))
            {
                workload.work_type = work_type.clone();
            }
            let composed = workload.composed.iter_mut().enumerate();
            for (at, spec) in composed.filter(|(_, spec)| spec.work_type == WorkType::SpinWait) {
                swap.replace(&format!("workload.composed[{at}]"), spec);
            }
        }
        let swappable = self.cgroups.iter_mut().enumerate().filter(|(_, def)| def.swappable);
        for (at, def) in swappable {
            swap.works(&format!("cgroups[{at}]"), &mut def.works);
        }
        for (step_at, step) in self.steps.iter_mut().enumerate() {
            for (op_at, op) in step.ops.iter_mut().enumerate() {
                if let Op::AddCgroup(def) = op
                    && def.swappable
                {
                    swap.works(&format!("steps[{step_at}].ops[{op_at}]"), &mut def.works);
                }
            }
        }
        if swap.done == 0 && swap.notes.is_empty() {
            swap.notes.push(format!(
                "{} replaced nothing: no set of `workload` is SpinWait and no cgroup with workers \
                 is swappable",
                work_type.name()
            ));
        }
        swap.notes
    }
}

struct Swap<'a> {
    work_type: &'a WorkType,
    done: usize,
    notes: Vec<String>,
}

impl Swap<'_> {
    fn works(&mut self, place: &str, works: &mut [WorkSpec]) {
        for (at, spec) in works.iter_mut().enumerate() {
            self.replace(&format!("{place}.works[{at}]"), spec);
        }
    }

    fn replace(&mut self, place: &str, spec: &mut WorkSpec) {
        // A percentage is rounded to whole groups, whatever their size.
        let number = spec.num_or_one();
        if self.fits(place, number) {
            spec.work_type = self.work_type.clone();
        }
    }

    fn fits(&mut self, place: &str, number: Option<usize>) -> bool {
        let group = self.work_type.worker_group_size().unwrap_or(1);
        match number.filter(|number| !number.is_multiple_of(group)) {
            None => {
                self.done += 1;
                true
            }
            Some(number) => {
                let name = self.work_type.name();
                self.notes.push(format!(
                    "{place} keeps its work type: {number} workers do not divide into the groups \
                     of {group} that {name} needs"
                ));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swapped(json: &str, name: &str) -> (Scenario, Vec<String>) {
        let mut scenario = Scenario::parse(json).unwrap();
        let notes = scenario.override_work_type(&WorkType::from_name(name).unwrap());
        (scenario, notes)
    }

    #[test]
    fn spin_wait_and_swappable_cgroups_are_replaced_and_nothing_else() {
        let json = r#"{"workload":{"num_workers":2,"composed":[{"num_workers":2,"work_type":"Mixed"}]},
            "cgroups":[{"name":"a","works":[{"num_workers":2}]},
                       {"name":"b","swappable":true,"works":[{"num_workers":2,"work_type":"Mixed"}]}]}"#;
        let (scenario, notes) = swapped(json, "FutexPingPong");
        let workload = scenario.workload.unwrap();
        assert_eq!(workload.work_type.name(), "FutexPingPong");
        assert_eq!(workload.composed[0].work_type.name(), "Mixed");
        assert_eq!(scenario.cgroups[0].works[0].work_type.name(), "SpinWait");
        assert_eq!(scenario.cgroups[1].works[0].work_type.name(), "FutexPingPong");
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn a_set_that_does_not_divide_is_left_with_a_note() {
        let (scenario, notes) = swapped(r#"{"num_workers":3}"#, "PipeIo");
        assert_eq!(scenario.workload.unwrap().work_type.name(), "SpinWait");
        assert!(
            notes[0].contains("workload keeps") && notes[0].contains("groups of 2"),
            "{notes:?}"
        );
        let json = r#"{"cgroups":[{"name":"a","swappable":true,"works":[{"workers_pct":150}]}]}"#;
        let (scenario, notes) = swapped(json, "PipeIo");
        assert_eq!(scenario.cgroups[0].works[0].work_type.name(), "PipeIo");
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn a_replacement_of_nothing_is_said() {
        let (_, notes) = swapped(r#"{"work_type":"Mixed"}"#, "PipeIo");
        assert!(notes[0].contains("replaced nothing"), "{notes:?}");
    }
}
