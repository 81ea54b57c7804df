//! Workers that are started together in one cgroup. Made by `State`, started by `run`.

use super::state::{State, listed};
use crate::config::{
    CloneMode, ConfigError, MpolFlags, Placement, WorkSpec, WorkloadConfig, check_containers,
    place_of_set,
};
use crate::scenario::CgroupDef;
use std::collections::BTreeSet;

/// The cgroup in which the run itself is.
pub(crate) const ROOT: &str = "/";
/// More than this is a mistyped number.
const MAX_WORKERS: usize = 100_000;
const MAX_PCT: f64 = 1e6;

/// Sets of workers with one start and one cgroup.
#[derive(Debug, Clone, PartialEq)]
pub struct Crew {
    /// Where they are started: a path, or `/`.
    pub cgroup: String,
    /// Their sets.
    pub sets: Vec<PlannedSet>,
    /// Whether those without `pcomm` are processes or threads of the runner.
    pub clone_mode: CloneMode,
    /// Index of the first among all workers of the run.
    pub first_worker: usize,
}

/// A set with everything resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedSet {
    /// Index among all sets of the run: the `group_idx` of reports.
    pub group_idx: usize,
    /// What its workers are, with `num_workers` given.
    pub spec: WorkSpec,
    /// Which CPUs each of them asks for.
    pub(crate) placement: Placement,
}

impl PlannedSet {
    /// How many workers.
    pub fn workers(&self) -> usize {
        self.spec.num_workers.unwrap_or(0)
    }

    /// Which CPUs its workers ask for, as text.
    pub fn placed(&self) -> String {
        self.placement.to_string()
    }
}

impl Crew {
    /// How many workers in all sets.
    pub fn workers(&self) -> usize {
        self.sets.iter().map(PlannedSet::workers).sum()
    }
}

impl State {
    /// The workers of `workload`, in the root.
    pub(super) fn root_crew(&mut self, workload: &WorkloadConfig) -> Result<usize, ConfigError> {
        let specs = workload.specs();
        self.recruit(ROOT, specs, workload.clone_mode, place_of_set)
    }

    /// The workers that a cgroup is defined with, if there are any.
    pub(super) fn cgroup_crew(&mut self, def: &CgroupDef) -> Result<Option<usize>, ConfigError> {
        if def.works.is_empty() {
            return Ok(None);
        }
        self.refuse_inner(&def.name).map_err(|why| ConfigError::new("works", why))?;
        let place = |set: usize| format!("works[{set}].");
        self.recruit(&def.name, def.specs().collect(), CloneMode::Fork, place).map(Some)
    }

    /// Plans workers in `cgroup`; returns the index of their crew.
    pub(super) fn recruit(
        &mut self,
        cgroup: &str,
        specs: Vec<WorkSpec>,
        clone_mode: CloneMode,
        place: impl Fn(usize) -> String,
    ) -> Result<usize, ConfigError> {
        let pool = self.effective(cgroup);
        let mut sets = Vec::with_capacity(specs.len());
        for (at, spec) in specs.into_iter().enumerate() {
            let group_idx = self.sets;
            let planned = self.plan_set(group_idx, spec, cgroup, &pool, clone_mode);
            sets.push(planned.map_err(|e| e.below(&place(at)))?);
            self.sets += 1;
        }
        let crew = Crew { cgroup: cgroup.into(), sets, clone_mode, first_worker: self.workers };
        let specs: Vec<_> = crew.sets.iter().map(|set| set.spec.clone()).collect();
        check_containers(&specs, &place)?;
        self.workers += crew.workers();
        if self.workers > MAX_WORKERS {
            let why = format!("makes {} workers in all; {MAX_WORKERS} can run", self.workers);
            return Err(ConfigError::new("num_workers", why).below(&place(0)));
        }
        self.crews.push(crew);
        self.whereabouts.push(Some(cgroup.into()));
        self.check_pids(cgroup)
            .map_err(|why| ConfigError::new("num_workers", why).below(&place(0)))?;
        Ok(self.crews.len() - 1)
    }

    fn plan_set(
        &self,
        group_idx: usize,
        spec: WorkSpec,
        cgroup: &str,
        pool: &BTreeSet<usize>,
        clone_mode: CloneMode,
    ) -> Result<PlannedSet, ConfigError> {
        let spec = WorkSpec { num_workers: Some(count(&spec, pool)?), workers_pct: None, ..spec };
        spec.validate(group_idx, clone_mode)?;
        let placement = spec
            .affinity
            .place(Some(pool), Some(&self.topology))
            .map_err(|why| ConfigError::new("affinity", why))?;
        self.check_nodes(&spec, &placement, pool)?;
        self.check_memory(&spec, cgroup)?;
        Ok(PlannedSet { group_idx, spec, placement })
    }

    /// Nodes whose memory a set names must be there, and its cgroup must have one of them.
    fn check_memory(&self, spec: &WorkSpec, cgroup: &str) -> Result<(), ConfigError> {
        let with_memory = self.topology.memory_nodes();
        if let Some(node) =
            spec.mem_policy.named_nodes().into_iter().find(|n| !with_memory.contains(n))
        {
            let why = format!(
                "names NUMA node {node}, which has no memory here; the machine is\n{}",
                self.topology
            );
            return Err(ConfigError::new("mem_policy", why));
        }
        let named = spec.mem_policy.named_nodes();
        let relative = spec.mpol_flags.contains(MpolFlags::RELATIVE_NODES);
        match self.effective_mems(cgroup).filter(|mems| named.is_disjoint(mems)) {
            Some(mems) if !named.is_empty() && !relative => {
                let (named, mems) = (listed(&named), listed(&mems));
                let why =
                    format!("names NUMA nodes {named}, and its cgroup has memory of {mems} only");
                Err(ConfigError::new("mem_policy", why))
            }
            _ => Ok(()),
        }
    }

    /// The node of a set must have some of the CPUs that each of its workers asks for.
    fn check_nodes(
        &self,
        spec: &WorkSpec,
        placement: &Placement,
        pool: &BTreeSet<usize>,
    ) -> Result<(), ConfigError> {
        let Some(node) = spec.numa_node else { return Ok(()) };
        let nodes = self.topology.nodes();
        let there = nodes.get(node as usize);
        if there.is_none_or(|cpus| cpus.is_disjoint(pool) || !placement.reaches(cpus)) {
            let why = format!(
                "is {node}, which has none of the set's CPUs; the machine is\n{}",
                self.topology
            );
            return Err(ConfigError::new("numa_node", why));
        }
        Ok(())
    }
}

/// How many workers: as many as are given, or a percentage of the CPUs, rounded up to whole groups.
fn count(spec: &WorkSpec, pool: &BTreeSet<usize>) -> Result<usize, ConfigError> {
    let Some(pct) = spec.workers_pct else {
        return spec
            .num_workers
            .ok_or_else(|| ConfigError::new("num_workers", "must be given, or workers_pct"));
    };
    if spec.num_workers.is_some() {
        return Err(ConfigError::new("workers_pct", "and num_workers both say how many; keep one"));
    }
    if !(pct > 0.0 && pct <= MAX_PCT) {
        let why = format!("is {pct}; a percentage above 0 is needed, 100 is a worker a CPU");
        return Err(ConfigError::new("workers_pct", why));
    }
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 CPUs")]
    let exact = pool.len() as f64 * pct / 100.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let workers = exact.ceil() as usize;
    let group = spec.work_type.worker_group_size().unwrap_or(1).max(1);
    Ok(workers.max(1).next_multiple_of(group))
}
