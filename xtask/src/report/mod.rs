//! The report of a run: the document that `--json` prints and the run folder keeps. It holds no
//! fact of the host but the QEMU build; those are in `host.json`. Called by `cmd`.

mod recorded;
mod scenes;
mod schedulers;
mod startup;
mod table;

pub(crate) use recorded::implausible;
pub(crate) use schedulers::SchedulerReport;
pub(crate) use table::{new_table, print_checks, print_measured, print_run, show_value};

use crate::qemu::Attempt;
use crate::run::{BootPlan, Comparison, Observed, Splat, Verdict};
use crate::units::{sum_of, sum_of_known};
use guest_init::proto::{DiskUse, Hello, NodeFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use workloads::{Check, Latency, LatencySummary, RunRecord, Scenario, WorkerReport};

/// Raised whenever a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// `report.json`: what came of a run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "schedlab report")]
pub(crate) struct RunReport {
    /// Version of this document; raised when a field changes its meaning or goes away. Fields may
    /// be added without.
    #[schemars(extend("const" = SCHEMA))]
    pub(crate) schema: u32,
    /// How the run ended.
    pub(crate) verdict: Verdict,
    /// What to do about it, unless it passed.
    pub(crate) advice: Option<String>,
    /// The kernel that ran.
    pub(crate) kernel: KernelFacts,
    /// The guest that it ran in.
    pub(crate) machine: MachineFacts,
    /// The sched_ext scheduler, if one was started.
    #[serde(default)]
    pub(crate) scheduler: Option<SchedulerReport>,
    /// The scenario with every default filled in.
    #[schemars(schema_with = "workloads::schema::scenario_elsewhere")]
    pub(crate) scenario: Scenario,
    /// How the scenario reached the guest.
    pub(crate) scenario_source: Option<String>,
    /// What was judged.
    pub(crate) checks: Vec<Check>,
    /// What was read from outside of the workers: cgroups and steps.
    #[serde(default)]
    pub(crate) record: RunRecord,
    /// One report a worker, in the order of their indices.
    pub(crate) workers: Vec<WorkerReport>,
    /// Sums over all of them.
    pub(crate) totals: Totals,
    /// What the kernel complained about on its console, allowed or not.
    pub(crate) splats: Vec<Splat>,
    /// What the guest remarked, in order, where it is not what was asked for, and lines of its
    /// console that are no complaints but explain numbers.
    pub(crate) notes: Vec<String>,
}

/// A kernel.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KernelFacts {
    /// `uname -r`.
    pub(crate) release: String,
    /// `uname -v`.
    pub(crate) version: String,
    /// Of the image file.
    pub(crate) sha256: String,
    /// The package that it is from, with its version; absent of an image that is from none.
    #[serde(default)]
    pub(crate) package: Option<String>,
    /// Arguments that the scenario and the command line gave it, in order. Absent in reports of
    /// before they were kept.
    #[serde(default)]
    pub(crate) args: Option<Vec<String>>,
    /// /proc/sys/kernel/tainted at the end of the run, a flag a bit. Absent where the guest did not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tainted: Option<u64>,
    /// What this kernel's scheduler offers, as the guest found it.
    pub(crate) features: Vec<String>,
    /// Modules that were loaded for the run.
    pub(crate) modules: Vec<String>,
    /// Modules of the image recipe that this kernel does not have.
    pub(crate) missing_modules: Vec<String>,
}

/// The guest as it was asked for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MachineFacts {
    /// CPUs.
    pub(crate) cpus: usize,
    /// Sockets, dies or last-level caches if there are several in one, cores and threads, as
    /// `1s2c1t`.
    pub(crate) topology: String,
    /// NUMA nodes.
    #[serde(default = "one")]
    pub(crate) nodes: usize,
    /// Siblings in a core, as the guest's kernel sees them.
    pub(crate) threads_per_core: Option<usize>,
    /// CPUs that share a last-level cache, as `0-3`, as the guest's kernel sees them.
    #[serde(default)]
    pub(crate) llcs: Vec<String>,
    /// CPUs, memory and distances of each node, as the guest's kernel sees them.
    #[serde(default)]
    pub(crate) numa: Vec<NodeFacts>,
    /// Memory.
    pub(crate) memory_mib: u64,
    /// How guest code was to run: `kvm` or `tcg`.
    pub(crate) accel: String,
    /// Who ran it, as the guest's CPU says: `KVMKVMKVM` or `TCGTCGTCGTCG`. Absent where the CPU
    /// model hides it.
    #[serde(default)]
    pub(crate) hypervisor: Option<String>,
    /// The CPU that QEMU made, as its `-cpu` takes it.
    #[serde(default)]
    pub(crate) cpu_model: Option<String>,
    /// Whether the same inputs give the same bytes.
    pub(crate) deterministic: bool,
    /// An instruction of a deterministic guest takes 2^N ns of its time.
    #[serde(default)]
    pub(crate) icount_shift: Option<u8>,
    /// Version of the QEMU build.
    pub(crate) qemu: String,
    /// The clock behind every time in this report.
    pub(crate) clocksource: Option<String>,
}

impl MachineFacts {
    /// In words: `4 CPUs (1s4c1t), 1024 MiB`.
    pub(crate) fn shape(&self) -> String {
        let nodes = match self.nodes {
            1 => String::new(),
            nodes => format!(", {nodes} NUMA nodes"),
        };
        format!("{} CPUs ({}{nodes}), {} MiB", self.cpus, self.topology, self.memory_mib)
    }
}

/// Sums over all workers; latencies are merged by meaning.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Totals {
    /// How many there are.
    pub(crate) workers: usize,
    /// Loops completed.
    pub(crate) iterations: u64,
    /// Steps of work done.
    pub(crate) work_units: u64,
    /// CPU time; this sum and those below are `null` if a worker lacks the counter.
    pub(crate) cpu_time_ns: Option<u64>,
    /// Time spent runnable on a run queue.
    pub(crate) run_delay_ns: Option<u64>,
    /// Switches because a worker blocked or yielded.
    pub(crate) voluntary_switches: Option<u64>,
    /// Switches because another task was preferred.
    pub(crate) involuntary_switches: Option<u64>,
    /// Moves between CPUs.
    pub(crate) migrations: Option<u64>,
    /// The longest wall time of a worker.
    pub(crate) wall_time_ns: u64,
    /// Samples of all workers by meaning.
    pub(crate) latency: BTreeMap<Latency, LatencySummary>,
    /// Where the I/O types worked: a device or a folder.
    pub(crate) io: Option<String>,
    /// Block counters of the workload's disk over the run.
    pub(crate) disk: Option<DiskUse>,
}

impl RunReport {
    /// The report of a run that was watched to its end.
    pub(crate) fn new(
        plan: &BootPlan,
        attempt: &Attempt,
        qemu: &str,
        mut seen: Observed,
        dump: Option<String>,
        judged: (Verdict, Option<String>, Vec<Check>),
    ) -> Self {
        let (verdict, advice, checks) = judged;
        let scheduler = scheduler(&mut seen, dump);
        let mut workers = seen.reports;
        workers.sort_by_key(|worker| worker.index);
        let hello = seen.hello;
        let mut notes = [plan.notes.clone(), seen.notes].concat();
        let differences = hello.iter().flat_map(|hello| plan.layout.differences(hello));
        notes.extend(differences.map(|difference| difference.to_string()));
        notes.extend(seen.console.notes());
        notes.extend(seen.printed.as_ref().and_then(Comparison::note));
        let tainted = seen.printed.as_ref().and_then(Comparison::tainted);
        let (source, io, modules, scenario) = match seen.plan {
            Some(p) => (Some(p.source), Some(p.io), p.modules, p.scenario),
            None => (None, None, Vec::new(), plan.scenario.clone()),
        };
        notes.extend(startup::hint(&scenario, &workers));
        let (clocksource, disk) = seen.end.map_or((None, None), |end| (end.clocksource, end.disk));
        Self {
            schema: SCHEMA,
            verdict,
            advice,
            kernel: KernelFacts { tainted, ..kernel_facts(plan, hello.as_ref(), modules) },
            machine: machine_facts(plan, hello.as_ref(), clocksource, attempt, qemu),
            scheduler,
            scenario,
            scenario_source: source,
            checks,
            record: seen.record.unwrap_or_default(),
            totals: totals(&workers, io, disk),
            workers,
            splats: seen.console.splats,
            notes,
        }
    }
}

fn scheduler(seen: &mut Observed, dump: Option<String>) -> Option<SchedulerReport> {
    let mut lives = std::mem::take(&mut seen.schedulers).into_iter();
    let life = lives.next()?;
    let output_bytes = seen.scheduler_output.last().map_or(0, |part| part.total_bytes);
    Some(SchedulerReport { life, later: lives.collect(), output_bytes, dump })
}

fn kernel_facts(plan: &BootPlan, hello: Option<&Hello>, modules: Vec<String>) -> KernelFacts {
    let (release, version) = match hello {
        Some(hello) => (hello.release.clone(), hello.version.clone()),
        None => (plan.kernel.release.clone(), plan.kernel.version.clone()),
    };
    KernelFacts {
        release,
        version,
        sha256: plan.kernel.sha256.clone(),
        package: plan.kernel.package.clone(),
        args: Some(plan.kernel_args.clone()),
        tainted: None,
        features: hello.map(|hello| hello.features.clone()).unwrap_or_default(),
        modules,
        missing_modules: plan.image.missing_modules.clone(),
    }
}

fn machine_facts(
    plan: &BootPlan,
    hello: Option<&Hello>,
    clocksource: Option<String>,
    attempt: &Attempt,
    qemu: &str,
) -> MachineFacts {
    MachineFacts {
        cpus: plan.layout.cpus(),
        topology: plan.layout.topology().to_string(),
        nodes: plan.layout.nodes(),
        threads_per_core: hello.and_then(|hello| hello.threads_per_core),
        llcs: hello.map(|hello| hello.llcs.clone()).unwrap_or_default(),
        numa: hello.map(|hello| hello.numa.clone()).unwrap_or_default(),
        memory_mib: plan.layout.memory_mib(),
        accel: attempt.accel.name().to_owned(),
        hypervisor: hello.and_then(|hello| hello.hypervisor.clone()),
        cpu_model: Some(plan.cpu(attempt)),
        deterministic: plan.deterministic.is_some(),
        icount_shift: plan.icount_shift(),
        qemu: qemu.to_owned(),
        clocksource,
    }
}

/// For reports that were written when all guests had one node.
fn one() -> usize {
    1
}

/// Sums over `workers`. A counter that one of them lacks has no sum.
pub(crate) fn totals(
    workers: &[WorkerReport],
    io: Option<String>,
    disk: Option<DiskUse>,
) -> Totals {
    let sum = |field: fn(&WorkerReport) -> Option<u64>| sum_of_known(workers.iter().map(field));
    let kinds = workers.iter().flat_map(|worker| worker.latency.keys().copied());
    let merged = |kind| {
        let parts = workers.iter().filter_map(|worker| worker.latency.get(&kind));
        LatencySummary::merged(parts).map(|all| (kind, all))
    };
    Totals {
        workers: workers.len(),
        iterations: sum_of(workers.iter().map(|worker| worker.iterations)),
        work_units: sum_of(workers.iter().map(|worker| worker.work_units)),
        cpu_time_ns: sum(|worker| worker.cpu_time_ns),
        run_delay_ns: sum(|worker| worker.run_delay_ns),
        voluntary_switches: sum(|worker| worker.voluntary_switches),
        involuntary_switches: sum(|worker| worker.involuntary_switches),
        migrations: sum(|worker| worker.migrations),
        wall_time_ns: workers.iter().map(|worker| worker.wall_time_ns).max().unwrap_or(0),
        latency: kinds
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .filter_map(merged)
            .collect(),
        io,
        disk,
    }
}
