//! A plan for people and for programs: the machine, cgroups, sets and steps, with everything
//! resolved. Made by `check`, shown by `table` or as JSON.

use crate::qemu::Layout;
use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;
use workloads::{
    CgroupDef, CloneMode, Crew, Hold, Op, Plan, PlannedCgroup, PlannedSet, Scenario, Topology,
    WorkSpec, list_text,
};

/// Settings of a set that have a place of their own in its view, or are resolved.
const SHOWN: [&str; 7] =
    ["work_type", "num_workers", "workers_pct", "affinity", "sched_policy", "nice", "pcomm"];

/// What a scenario comes to.
#[derive(Debug, Serialize)]
pub(super) struct View {
    pub(super) machine: MachineView,
    /// How long is measured; with steps at least, as their operations take time too.
    pub(super) length: String,
    /// Cgroups that are there when the measurement begins.
    pub(super) cgroups: Vec<CgroupView>,
    /// Sets of workers, those of later steps too.
    pub(super) sets: Vec<SetView>,
    pub(super) steps: Vec<StepView>,
    /// What must hold, of the run and of its steps.
    pub(super) expect: Vec<Expected>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct MachineView {
    /// Sockets, cores, threads, as `1s2c1t`.
    pub(super) shape: String,
    pub(super) memory_mib: u64,
    pub(super) topology: Topology,
}

#[derive(Debug, Serialize)]
pub(super) struct CgroupView {
    pub(super) path: String,
    /// The CPUs that its tasks may use, as `0-2,5`.
    pub(super) cpus: String,
    /// Whether these are its own, or those of its parent.
    pub(super) own_cpus: bool,
    pub(super) mems: Option<String>,
    pub(super) weight: Option<u64>,
    pub(super) quota: Option<String>,
    /// Whatever else was said of it, by control file.
    pub(super) other: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct SetView {
    /// The `group_idx` of reports.
    pub(super) set: usize,
    pub(super) cgroup: String,
    /// The step that starts it; none if it is there from the beginning.
    pub(super) step: Option<String>,
    pub(super) work_type: String,
    pub(super) workers: usize,
    /// Workers that run together.
    pub(super) group_size: usize,
    /// What the workers are to the kernel.
    pub(super) tasks: String,
    pub(super) sched_policy: Value,
    pub(super) nice: Option<i32>,
    /// CPUs that its workers ask for: a mask a group, `any`, or a draw of each.
    pub(super) cpus: String,
    /// Parameters of the type, and other settings that it was given.
    pub(super) other: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct StepView {
    pub(super) name: String,
    /// When its operations are due at the earliest: those of all steps before it take time too.
    pub(super) begins: String,
    /// How long it is held once they are done.
    pub(super) held: String,
    /// How often the operations are done, and how long each round of a loop is held.
    pub(super) rounds: usize,
    pub(super) interval: Option<String>,
    /// Those of the first round.
    pub(super) operations: Vec<OperationView>,
}

#[derive(Debug, Serialize)]
pub(super) struct OperationView {
    pub(super) operation: String,
    pub(super) changes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Expected {
    /// The name of a step; none for the run.
    pub(super) step: Option<String>,
    pub(super) name: String,
    pub(super) bound: Value,
}

impl View {
    pub(super) fn of(
        scenario: &Scenario,
        plan: &Plan,
        layout: &Layout,
        mut notes: Vec<String>,
    ) -> Result<Self> {
        notes.extend(limits(scenario));
        let cgroups = plan.opening.cgroups.iter();
        let sets = plan.crews.iter().enumerate();
        let sets = sets.flat_map(|(at, crew)| crew.sets.iter().map(move |set| (at, crew, set)));
        let mut expect = expected(None, &scenario.expect)?;
        for (step, planned) in scenario.steps.iter().zip(&plan.steps) {
            if let Some(own) = &step.expect {
                expect.extend(expected(Some(&planned.name), own)?);
            }
        }
        Ok(Self {
            machine: MachineView {
                shape: layout.topology().to_string(),
                memory_mib: layout.memory_mib(),
                topology: plan.topology.clone(),
            },
            length: time(plan.length(scenario)),
            cgroups: cgroups
                .map(|(path, is)| cgroup(path, is, &scenario.cgroups))
                .collect::<Result<_>>()?,
            sets: sets
                .map(|(at, crew, set)| set_view(plan, at, crew, set))
                .collect::<Result<_>>()?,
            steps: steps(scenario, plan)?,
            expect,
            notes,
        })
    }
}

/// What a run needs beyond the machine.
fn limits(scenario: &Scenario) -> Vec<String> {
    let specs = scenario.all_specs();
    let custom = specs.iter().find(|spec| spec.work_type.is_unresolved()).map(|spec| {
        format!("`{}` is a function of yours: `vm` needs --init", spec.work_type.name())
    });
    let ops = scenario.steps.iter().flat_map(|step| &step.ops);
    let change = ops
        .into_iter()
        .any(Op::changes_machine)
        .then(|| "its operations change the machine, so that only a guest can run it".to_owned());
    custom.into_iter().chain(change).collect()
}

fn cgroup(path: &str, is: &PlannedCgroup, defs: &[CgroupDef]) -> Result<CgroupView> {
    let list = |numbers: &std::collections::BTreeSet<usize>| list_text(numbers.iter().copied());
    let quota = is.cpu.max.map(|max| {
        let quota = max.quota.map_or_else(|| "max".into(), time);
        format!("{quota} in {}", time(max.period))
    });
    let mut other = Map::new();
    other.extend(is.cpu.burst.map(|burst| ("cpu.max.burst".into(), time(burst).into())));
    other.extend(is.cpu.idle.map(|idle| ("cpu.idle".into(), idle.into())));
    if let Some(def) = defs.iter().find(|def| def.name == path) {
        for (name, value) in object(serde_json::to_value(&def.memory)?) {
            other.insert(format!("memory.{name}"), value);
        }
        other.extend(def.io_weight.map(|weight| ("io.weight".into(), weight.into())));
        other.extend(def.pids_max.map(|max| ("pids.max".into(), max.into())));
    }
    Ok(CgroupView {
        path: path.to_owned(),
        cpus: list(&is.cpus),
        own_cpus: is.own_cpus,
        mems: is.mems.as_ref().map(list),
        weight: is.cpu.weight,
        quota,
        other,
    })
}

fn set_view(plan: &Plan, crew_at: usize, crew: &Crew, set: &PlannedSet) -> Result<SetView> {
    let WorkSpec { work_type, sched_policy, nice, pcomm, .. } = &set.spec;
    let is_there =
        |scenes: &[workloads::Scene]| scenes.iter().any(|scene| scene.whereabouts.len() > crew_at);
    let later = !is_there(std::slice::from_ref(&plan.opening));
    let step = plan.steps.iter().find(|step| later && is_there(&step.scenes));
    let mut other = match serde_json::to_value(work_type)? {
        Value::Object(named) => {
            object(named.into_iter().next().map(|(_, of)| of).unwrap_or_default())
        }
        _ => Map::new(),
    };
    let settings = object(serde_json::to_value(&set.spec)?);
    other.extend(settings.into_iter().filter(|(name, _)| !SHOWN.contains(&name.as_str())));
    Ok(SetView {
        set: set.group_idx,
        cgroup: crew.cgroup.clone(),
        step: step.map(|step| step.name.clone()),
        work_type: work_type.name().to_owned(),
        workers: set.workers(),
        group_size: work_type.worker_group_size().unwrap_or(1),
        tasks: match (pcomm, crew.clone_mode) {
            (Some(name), _) => format!("threads of {name}"),
            (None, CloneMode::Fork) => "processes".into(),
            (None, CloneMode::Thread) => "threads".into(),
        },
        sched_policy: serde_json::to_value(sched_policy)?,
        nice: *nice,
        cpus: set.placed(),
        other,
    })
}

fn steps(scenario: &Scenario, plan: &Plan) -> Result<Vec<StepView>> {
    let mut views = Vec::new();
    for (step, planned) in scenario.steps.iter().zip(&plan.steps) {
        let first = planned.rounds.first().map_or(&[][..], |round| &round.ops);
        let operations = step.ops.iter().zip(first).map(|(op, planned)| {
            let changes = plan.changes(planned);
            Ok(OperationView { operation: operation(op)?, changes })
        });
        views.push(StepView {
            name: planned.name.clone(),
            begins: time(planned.begins),
            held: time(planned.hold()),
            rounds: planned.rounds.len(),
            interval: match step.hold {
                Hold::Loop { interval, .. } => Some(time(interval)),
                _ => None,
            },
            operations: operations.collect::<Result<_>>()?,
        });
    }
    Ok(views)
}

/// An operation in few words; what workers it brings is said by what changes.
fn operation(op: &Op) -> Result<String> {
    Ok(match op {
        Op::AddCgroup(def) => format!("AddCgroup {}", def.name),
        Op::Spawn { cgroup, .. } => format!("Spawn in {cgroup}"),
        _ => plain(&serde_json::to_value(op)?),
    })
}

fn expected(step: Option<&str>, expect: &impl Serialize) -> Result<Vec<Expected>> {
    let bounds = flat(String::new(), serde_json::to_value(expect)?).into_iter();
    let expected =
        bounds.map(|(name, bound)| Expected { step: step.map(str::to_owned), name, bound });
    Ok(expected.collect())
}

/// What is not an object in `value`, with its path, `latency.wake.p99`.
fn flat(path: String, value: Value) -> Vec<(String, Value)> {
    let Value::Object(fields) = value else { return vec![(path, value)] };
    let dot = if path.is_empty() { "" } else { "." };
    let field = |(name, value)| flat(format!("{path}{dot}{name}"), value);
    fields.into_iter().flat_map(field).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// JSON without its punctuation: `Fifo 10`, `runtime 1ms, period 10ms`.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name} {}", plain(value));
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
