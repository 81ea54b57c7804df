//! Plans on small machines: what is resolved, and what is refused where.

use super::*;
use crate::topology::Cpu;

/// Four CPUs, two LLCs that are nodes too.
fn machine() -> Topology {
    let cpu = |id| Cpu { id, core: id, llc: id / 2, node: id / 2 };
    Topology::new((0..4).map(cpu).collect(), [0, 1].into())
}

fn planned(json: &str) -> Result<Plan, ConfigError> {
    Scenario::parse(json).unwrap().plan(&machine())
}

fn refusal(json: &str) -> String {
    planned(json).unwrap_err().to_string()
}

fn in_step(ops: &str) -> String {
    format!(
        r#"{{"cgroups":[{{"name":"a","cpuset":{{"Exact":[0,1]}},"works":[{{"num_workers":2}}]}},
            {{"name":"b","cpuset":{{"Exact":[2]}},"pids_max":3,"works":[{{}}]}},
            {{"name":"c"}},{{"name":"d/e"}}],
            "steps":[{{"ops":[{ops}],"hold":{{"Time":"1s"}}}}]}}"#
    )
}

#[test]
fn percentages_are_of_the_cgroups_cpus_and_in_whole_groups() {
    let plan = planned(
        r#"{"cgroups":[
            {"name":"a","cpuset":{"Llc":1},"works":[{"workers_pct":100},{"workers_pct":50,"work_type":"PipeIo"}]},
            {"name":"b","works":[{"workers_pct":800}]}]}"#,
    )
    .unwrap();
    let workers = |crew: usize| plan.crews[crew].sets.iter().map(PlannedSet::workers);
    assert_eq!(workers(0).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(workers(1).collect::<Vec<_>>(), [32]);
    assert_eq!((plan.crews[1].first_worker, plan.total_workers()), (4, 36));
    assert_eq!(plan.crews[1].sets[0].group_idx, 2);
}

#[test]
fn a_cgroup_has_its_parents_cpus_and_affinities_stay_within() {
    let plan = planned(
        r#"{"cgroups":[
            {"name":"a/in","cpuset":{"Disjoint":{"index":1,"of":2}},"works":[{"affinity":"SingleCpu"}]},
            {"name":"a","cpuset":{"Node":1}}]}"#,
    )
    .unwrap();
    assert_eq!(plan.opening.cgroups["a/in"].cpus, [3].into());
    assert_eq!(plan.crews[0].sets[0].placed(), "3");
    // Parents are made first, whatever the order of the file.
    let first = plan.setup.iter().find(|action| matches!(action, Action::Create { .. }));
    assert_eq!(first, Some(&Action::Create { path: "a".into() }));
    let text = refusal(
        r#"{"cgroups":[{"name":"a","cpuset":{"Exact":[0]}},{"name":"a/b","cpuset":{"Exact":[1]}}]}"#,
    );
    assert!(text.starts_with("cgroups[1].cpuset") && text.contains("CPUs 1 are not"), "{text}");
}

#[test]
fn what_cannot_work_is_refused_with_its_path() {
    for (json, path) in [
        (r#"{"cgroups":[{"name":"a"},{"name":"a"}]}"#, "cgroups[1].name `a` is there already"),
        (r#"{"cgroups":[{"name":"a"}]}"#, "cgroups hold no workers"),
        (
            r#"{"cgroups":[{"name":"a","works":[{}]},{"name":"a/b"}]}"#,
            "cgroups[0].works puts processes into `a`",
        ),
        (
            r#"{"cgroups":[{"name":"a","pids_max":1,"works":[{"num_workers":2}]}]}"#,
            "cgroups[0].works[0].num_workers puts 2 workers",
        ),
        (
            r#"{"cgroups":[{"name":"a","works":[{"num_workers":3,"work_type":"PipeIo"}]}]}"#,
            "cgroups[0].works[0].num_workers is 3, but PipeIo",
        ),
        (
            r#"{"cgroups":[{"name":"a","works":[{"num_workers":1,"workers_pct":5}]}]}"#,
            "cgroups[0].works[0].workers_pct",
        ),
        (r#"{"cgroups":[{"name":"a","mems":[2],"works":[{}]}]}"#, "cgroups[0].mems names NUMA"),
        (r#"{"workload":{"affinity":{"Exact":[4]}}}"#, "workload.affinity"),
        (r#"{"workload":{"affinity":"SmtSiblingPair"}}"#, "workload.affinity"),
        (r#"{"workload":{"numa_node":2}}"#, "workload.numa_node is 2"),
        // A worker for which nothing would be left, and one whose memory could come from nowhere.
        (r#"{"workload":{"numa_node":1,"affinity":{"Exact":[0]}}}"#, "workload.numa_node is 1"),
        (
            r#"{"workload":{"numa_node":0,
                "affinity":{"RandomSubset":{"from":[1,2,3],"count":2}}}}"#,
            "workload.numa_node is 0",
        ),
        (
            r#"{"cgroups":[{"name":"a","mems":[1],"works":[{"mem_policy":{"Bind":[0]}}]}]}"#,
            "cgroups[0].works[0].mem_policy names NUMA nodes 0, and its cgroup has memory of 1",
        ),
        (
            r#"{"workload":{"clone_mode":"Thread"},"cgroups":[{"name":"a","works":[{}]}]}"#,
            "workload.clone_mode is Thread",
        ),
        (r#"{"iterations":1,"steps":[{"hold":{"Time":"1s"}}],"workload":{}}"#, "steps are held"),
    ] {
        let text = refusal(json);
        assert!(text.starts_with(path), "{json}: {text}");
    }
}

#[test]
fn whoever_a_change_makes_the_kernel_forget_is_kept_after_it_and_ends_as_the_last_one_says() {
    let plan = planned(
        r#"{"workload":{},"cgroups":[{"name":"a","works":[{}]},{"name":"b","cpuset":{"Exact":[0]}},
            {"name":"c","works":[{}]}],
        "steps":[{"hold":{"Time":"1s"},"ops":[{"SetCpu":{"cgroup":"a","cpu":{"weight":1}}},
            {"SetCpuset":{"cgroup":"a","cpus":{"Exact":[2,3]}}},
            {"SetCpuset":{"cgroup":"a","cpus":{"Exact":[2,3]}}},
            {"CpuOffline":3},{"MoveAllTasks":{"from":"a","to":"b"}},{"Stop":"c"}]}]}"#,
    )
    .unwrap();
    let kept = |actions: &[Action]| -> Vec<String> {
        let kept = actions.iter().filter_map(|action| match action {
            Action::Keep { crew, cpus, plugged } => {
                Some(format!("{crew}: {} {plugged:?}", state::listed(cpus)))
            }
            _ => None,
        });
        kept.collect()
    };
    assert_eq!(kept(&plan.setup), ["0: 0-3 None", "1: 0-3 None", "2: 0-3 None"]);
    let of_ops = plan.steps[0].rounds[0].ops.iter().map(|op| kept(&op.actions).join(", "));
    let expected =
        ["", "1: 2-3 None", "", "0: 0-2 Some(3), 1: 2 Some(3), 2: 0-2 Some(3)", "1: 0 None", ""];
    assert_eq!(of_ops.collect::<Vec<_>>(), expected);
    let endings = plan.endings.iter().map(|e| state::listed(&e.cpus)).collect::<Vec<_>>();
    assert_eq!(endings, ["0-2", "0", "0-2"]);
    assert!(plan.endings.iter().all(|ending| !ending.steady));
}

#[test]
fn an_operation_that_cannot_work_at_its_point_is_refused() {
    for (ops, path) in [
        (r#"{"Freeze":"x"}"#, "steps[0].ops[0].Freeze `x` is no cgroup"),
        (r#"{"Freeze":"/"}"#, "steps[0].ops[0].Freeze is the root"),
        (r#"{"Thaw":"a"}"#, "steps[0].ops[0].Thaw `a` is not frozen"),
        (r#"{"Freeze":"a"},{"Stop":"a"}"#, "steps[0].ops[1].Stop `a` is frozen"),
        (r#"{"Freeze":"a"},{"Spawn":{"cgroup":"a","work":{}}}"#, "steps[0].ops[1].Spawn.cgroup"),
        (r#"{"Stop":"c"}"#, "steps[0].ops[0].Stop `c` has no workers"),
        (r#"{"Stop":"a"},{"Stop":"a"}"#, "steps[0].ops[1].Stop `a` has no workers"),
        (r#"{"RemoveCgroup":"d"}"#, "steps[0].ops[0].RemoveCgroup `d` has `d/e` below"),
        (r#"{"RemoveCgroup":"a"},{"Freeze":"a"}"#, "steps[0].ops[1].Freeze `a` is no cgroup"),
        (r#"{"SwapCpusets":["a","c"]}"#, "steps[0].ops[0].SwapCpusets[1] `c` has no cpuset"),
        (r#"{"SetCpuset":{"cgroup":"a","cpus":{"Exact":[9]}}}"#, "steps[0].ops[0].SetCpuset.cpus"),
        (r#"{"SetCpu":{"cgroup":"a","cpu":{}}}"#, "steps[0].ops[0].SetCpu.cpu changes nothing"),
        (
            r#"{"SetCpu":{"cgroup":"a","cpu":{"weight":0}}}"#,
            "steps[0].ops[0].SetCpu.cpu.weight is 0",
        ),
        (r#"{"MoveAllTasks":{"from":"a","to":"d"}}"#, "steps[0].ops[0].MoveAllTasks.to puts"),
        (r#"{"MoveAllTasks":{"from":"a","to":"a"}}"#, "steps[0].ops[0].MoveAllTasks.to is"),
        (
            r#"{"MoveAllTasks":{"from":"a","to":"b"}},{"Spawn":{"cgroup":"b","work":{}}}"#,
            "steps[0].ops[1].Spawn.work.num_workers puts 4 workers under pids_max 3",
        ),
        (
            r#"{"SetAffinity":{"cgroup":"a","affinity":{"Exact":[3]}}}"#,
            "steps[0].ops[0].SetAffinity.affinity",
        ),
        (r#"{"CpuOffline":0}"#, "steps[0].ops[0].CpuOffline is CPU 0"),
        (r#"{"CpuOffline":4}"#, "steps[0].ops[0].CpuOffline is CPU 4, which is not there"),
        (r#"{"CpuOnline":1}"#, "steps[0].ops[0].CpuOnline is CPU 1, which is on line already"),
        (r#"{"Sysctl":{"name":"../x","value":"1"}}"#, "steps[0].ops[0].Sysctl.name"),
        (
            r#"{"Sysctl":{"name":"kernel.sched_rt_runtime_us","value":"9999"}}"#,
            "steps[0].ops[0].Sysctl.value leaves the bench no CPU",
        ),
        (
            r#"{"Sysctl":{"name":"kernel/sched_rt_period_us","value":"2000001"}}"#,
            "steps[0].ops[0].Sysctl.value leaves the bench no CPU",
        ),
        (
            r#"{"Sysctl":{"name":"kernel.printk","value":"1"}}"#,
            "steps[0].ops[0].Sysctl.name `kernel/printk` is the bench's own",
        ),
        (r#"{"SchedKnob":{"name":"a/../b","value":"1"}}"#, "steps[0].ops[0].SchedKnob.name"),
        (r#"{"SchedKnob":{"name":"features","value":""}}"#, "steps[0].ops[0].SchedKnob.value"),
        (r#"{"AddCgroup":{"name":"a/x"}}"#, "steps[0].ops[0].AddCgroup.name puts processes"),
        (
            r#"{"AddCgroup":{"name":"n","cpu":{"weight":0}}}"#,
            "steps[0].ops[0].AddCgroup.cpu.weight",
        ),
    ] {
        let text = refusal(&in_step(ops));
        assert!(text.starts_with(path), "{ops}: {text}");
    }
}

#[test]
fn holds_share_the_duration_and_the_last_takes_the_rest() {
    let steps = |holds: &str, duration: &str| {
        let holds = holds.split(';').map(|hold| format!(r#"{{"hold":{hold}}}"#));
        let steps = holds.collect::<Vec<_>>().join(",");
        let plan = planned(&format!(r#"{{{duration}"workload":{{}},"steps":[{steps}]}}"#));
        plan.map(|plan| plan.steps.iter().map(|s| s.ends().as_millis()).collect::<Vec<_>>())
    };
    let ends = steps(r#"{"Fraction":0.25};{"Time":"1s"};"Rest""#, r#""duration":"4s","#);
    assert_eq!(ends.unwrap(), [1000, 2000, 4000]);
    // Without a duration it is the sum of the times.
    assert_eq!(steps(r#"{"Time":"7s"};{"Time":"1s"}"#, "").unwrap(), [7000, 8000]);
    for (holds, path) in [
        (r#"{"Fraction":0.5};{"Fraction":0.6}"#, "steps[1].hold.Fraction"),
        (r#""Rest";{"Time":"1s"}"#, "steps[0].hold.Rest"),
        (r#"{"Fraction":1.0};"Rest""#, "steps[1].hold.Rest has no time"),
        (r#"{"Fraction":-0.5}"#, "steps[0].hold.Fraction is -0.5"),
        (r#"{"Time":"9s"}"#, "steps[0].hold.Time is 9s"),
        (r#"{"Loop":{"interval":"0s"}}"#, "steps[0].hold.Loop.interval is zero"),
        (r#"{"Loop":{"interval":"10ns"}}"#, "steps[0].hold.Loop.interval"),
    ] {
        let text = steps(holds, r#""duration":"5s","#).unwrap_err().to_string();
        assert!(text.starts_with(path), "{holds}: {text}");
    }
}

#[test]
fn more_steps_than_a_phase_word_counts_are_refused() {
    let steps = vec![r#"{"hold":{"Time":"1ms"}}"#; MAX_STEPS + 1].join(",");
    let text = refusal(&format!(r#"{{"workload":{{}},"steps":[{steps}]}}"#));
    assert!(text.starts_with("steps are 10001"), "{text}");
    assert!(crate::worker::phases(MAX_STEPS) < crate::worker::RESTART as usize);
}

#[test]
fn a_loop_is_unrolled_and_every_round_must_work() {
    let looped = |ops: &str| {
        let json = in_step(ops).replace(
            r#""hold":{"Time":"1s"}"#,
            r#""hold":{"Loop":{"interval":"100ms","time":"1s"}}"#,
        );
        planned(&json.replace(r#""cpuset":{"Exact":[0,1]}"#, r#""cpuset":{"Exact":[0]}"#))
    };
    let plan = looped(r#"{"SwapCpusets":["a","b"]}"#).unwrap();
    let step = &plan.steps[0];
    assert_eq!((step.rounds.len(), step.scenes.len()), (10, 2));
    assert!(step.rounds.iter().all(|round| round.held == Duration::from_millis(100)));
    assert_eq!((step.hold(), step.passing.len()), (Duration::from_secs(1), 0));
    assert_eq!(step.scenes[0].cgroups["a"].cpus, [2].into());
    let text = looped(r#"{"Freeze":"a"}"#).unwrap_err().to_string();
    assert!(text.contains("frozen already (in round 1"), "{text}");
    assert!(looped(r#"{"Freeze":"a"},{"Thaw":"a"}"#).is_ok());
}

#[test]
fn what_is_so_between_two_operations_of_a_later_round_passes() {
    let step = |hold: &str, ops: &[&str]| {
        let json = in_step(&ops.join(",")).replace(r#""hold":{"Time":"1s"}"#, hold);
        planned(&json).unwrap().steps.remove(0)
    };
    let looped = r#""hold":{"Loop":{"interval":"100ms","time":"250ms"}}"#;
    let swap = r#"{"SwapCpusets":["a","b"]}"#;
    let back = step(looped, &[swap, swap]);
    let held: Vec<_> = back.rounds.iter().map(|round| round.held.as_millis()).collect();
    assert_eq!(held, [100, 100, 50]);
    let cpus = |scenes: &[Scene]| {
        scenes.iter().map(|scene| scene.cgroups["a"].cpus.clone()).collect::<Vec<_>>()
    };
    assert_eq!((cpus(&back.scenes), cpus(&back.passing)), (vec![[0, 1].into()], vec![[2].into()]));
    assert_eq!(back.scene(), None);
    // The only round of another step is over before that is held.
    assert!(step(r#""hold":{"Time":"1s"}"#, &[swap, swap]).scene().is_some());
    // Where workers were told to be is part of what holds.
    let set = |cpu| format!(r#"{{"SetAffinity":{{"cgroup":"a","affinity":{{"Exact":[{cpu}]}}}}}}"#);
    assert_eq!(step(looped, &[&set(0), &set(1)]).scene(), None);
    assert!(step(looped, &[&set(1)]).scene().is_some());
    // The last is what the loop leaves behind.
    let last = |time: &str| cpus(&step(&looped.replace("250ms", time), &[swap]).scenes);
    assert_eq!(last("200ms"), [[2].into(), [0, 1].into()]);
    assert_eq!(last("300ms"), [[0, 1].into(), [2].into()]);
}

#[test]
fn scenes_say_who_is_where_and_which_cpus_are_left() {
    let ops =
        r#"{"MoveAllTasks":{"from":"a","to":"c"}},{"CpuOffline":2},{"Freeze":"c"},{"Stop":"b"}"#;
    let plan = planned(&in_step(ops)).unwrap();
    let scene = plan.scene(Some(0)).unwrap();
    assert_eq!(scene.whereabouts, [Some("c".into()), None]);
    assert_eq!(scene.online, [0, 1, 3].into());
    // A cgroup whose last CPU is gone has those of its parent.
    assert_eq!(scene.cgroups["b"].cpus, [0, 1, 3].into());
    assert!(scene.cgroups["c"].frozen && !scene.cgroups["a"].frozen);
    assert_eq!(plan.opening.whereabouts, [Some("a".into()), Some("b".into())]);
}
