//! What operations come to, as people read it. Only the host asks, before it boots.

use super::action::Action;
use super::steps::PlannedOp;
use super::{Crew, Plan, PlannedSet};

impl Plan {
    /// What `op` does, a sentence for each single thing.
    pub fn changes(&self, op: &PlannedOp) -> Vec<String> {
        op.actions.iter().flat_map(|action| self.change(action)).collect()
    }

    fn change(&self, action: &Action) -> Vec<String> {
        let one = match action {
            Action::Create { path } => format!("{path} is made"),
            Action::Remove { path } => format!("{path} is removed"),
            Action::Write { path, file, value } => format!("{path}: {file} = {value}"),
            Action::ClearCpus { path } => format!("{path}: the CPUs of its parent"),
            Action::Freeze { path } => format!("{path} is frozen"),
            Action::Thaw { path } => format!("{path} runs again"),
            Action::Start(crew) => return self.starts(&self.crews[*crew]),
            Action::Stop(crews) => self.sets(crews, "end"),
            Action::Move { from, to, crews } => {
                format!("{} from {from} to {to}", self.sets(crews, "move"))
            }
            Action::Affinity { crew, set, placement } => {
                let set = self.crews[*crew].sets[*set].group_idx;
                format!("set {set} may use CPUs {placement}")
            }
            // It changes nothing that anybody should hold.
            Action::Keep { .. } => return Vec::new(),
            Action::Cpu { id, online } => {
                format!("CPU {id} goes {}", if *online { "on line" } else { "off line" })
            }
            Action::Knob { path, value } => format!("{path} = {value}"),
            Action::Scheduler(None) => "the sched_ext scheduler is stopped".into(),
            Action::Scheduler(Some(choice)) => format!("sched_ext scheduler: {choice}"),
        };
        vec![one]
    }

    fn starts(&self, crew: &Crew) -> Vec<String> {
        let start = |set: &PlannedSet| {
            let (workers, name) = (set.workers(), set.spec.work_type.name());
            format!("{}: set {} begins, {workers} x {name}", crew.cgroup, set.group_idx)
        };
        crew.sets.iter().map(start).collect()
    }

    /// What the sets of these crews do.
    fn sets(&self, crews: &[usize], verb: &str) -> String {
        let sets = crews.iter().flat_map(|crew| &self.crews[*crew].sets);
        let numbers: Vec<String> = sets.map(|set| set.group_idx.to_string()).collect();
        match numbers.as_slice() {
            [one] => format!("set {one} {verb}s"),
            several => format!("sets {} {verb}", several.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;
    use crate::topology::Topology;

    #[test]
    fn every_change_is_said_in_words() {
        let text = r#"{"duration":"2s",
            "cgroups":[{"name":"a","works":[{"num_workers":2}]},
                       {"name":"b","cpuset":{"Exact":[0,1]},"works":[{}]}],
            "steps":[{"hold":{"Time":"1s"},"ops":[
                {"SetCpuset":{"cgroup":"a","cpus":{"Exact":[1]}}},
                {"SetCpu":{"cgroup":"a","cpu":{"weight":5}}},
                {"Freeze":"a"},{"Thaw":"a"},
                {"SetAffinity":{"cgroup":"b","affinity":{"Exact":[0]}}},
                {"MoveAllTasks":{"from":"a","to":"b"}},
                {"AddCgroup":{"name":"c/d","works":[{"num_workers":2,"work_type":"PipeIo"}]}},
                {"RemoveCgroup":"c/d"},{"Stop":"b"},
                {"CpuOffline":1},{"CpuOnline":1},
                {"Sysctl":{"name":"kernel.x","value":"1"}},
                {"ReplaceScheduler":{"name":"scx_x","args":["-v"]}},"StopScheduler"]},{}]}"#;
        let plan = Scenario::parse(text).unwrap().plan(&Topology::flat(2)).unwrap();
        let ops = &plan.steps[0].rounds[0].ops;
        let changes: Vec<_> = ops.iter().map(|op| plan.changes(op).join("; ")).collect();
        assert_eq!(
            changes,
            [
                "a: cpuset.cpus = 1",
                "a: cpu.weight = 5",
                "a is frozen",
                "a runs again",
                "set 1 may use CPUs 0",
                "set 0 moves from a to b",
                "c/d is made; c/d: set 2 begins, 2 x PipeIo",
                "set 2 ends; c/d is removed",
                "sets 0, 1 end",
                "CPU 1 goes off line",
                "CPU 1 goes on line",
                "/proc/sys/kernel/x = 1",
                "sched_ext scheduler: scx_x -v",
                "the sched_ext scheduler is stopped",
            ]
        );
    }
}
