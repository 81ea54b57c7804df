//! The machine and the cgroups as they are at one point of a scenario. Operations change it; a
//! scene is what the checks need to know of it.

use super::MAX_CGROUPS;
use super::action::Action;
use super::crew::{Crew, ROOT};
use super::ending::Ending;
use crate::config::{ConfigError, Placement};
use crate::list;
use crate::scenario::{CgroupDef, CpuKnobs};
use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet};

/// Who is where, with which limits, while nothing changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// Cgroups by path; the root is not among them.
    pub cgroups: BTreeMap<String, PlannedCgroup>,
    /// For each crew its cgroup, or `None` while it is not running.
    pub whereabouts: Vec<Option<String>>,
    /// CPUs that are on line.
    pub online: BTreeSet<usize>,
    /// Affinities that steps have set, by crew and set within it, in place of the first ones.
    pub(crate) affinities: BTreeMap<(usize, usize), Placement>,
}

/// A cgroup as it is meant to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlannedCgroup {
    /// The CPUs that its tasks may use.
    pub cpus: BTreeSet<usize>,
    /// Whether it has CPUs of its own, or those of its parent.
    pub own_cpus: bool,
    /// NUMA nodes of its own.
    pub mems: Option<BTreeSet<usize>>,
    /// Weight, quota and the rest.
    pub cpu: CpuKnobs,
    /// Whether it, or one above it, is frozen.
    pub frozen: bool,
}

#[derive(Debug, Default)]
pub(super) struct Cgroup {
    pub(super) cpus: Option<BTreeSet<usize>>,
    mems: Option<BTreeSet<usize>>,
    pub(super) cpu: CpuKnobs,
    pub(super) frozen: bool,
    pids_max: Option<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) topology: Topology,
    pub(super) cgroups: BTreeMap<String, Cgroup>,
    pub(super) online: BTreeSet<usize>,
    pub(super) crews: Vec<Crew>,
    pub(super) whereabouts: Vec<Option<String>>,
    pub(super) affinities: BTreeMap<(usize, usize), Placement>,
    pub(super) sets: usize,
    pub(super) workers: usize,
    /// Crews for which the kernel is to hold something else than at their beginning.
    pub(super) unsteady: BTreeSet<usize>,
    /// How crews ended, those that have.
    pub(super) ended: BTreeMap<usize, Ending>,
}

/// The paths above `path`, the root left out, the nearest first.
pub(crate) fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(path), |path| parent(path))
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

impl State {
    pub(super) fn new(topology: Topology) -> Self {
        let online = topology.cpus();
        Self {
            topology,
            cgroups: BTreeMap::new(),
            online,
            crews: Vec::new(),
            whereabouts: Vec::new(),
            affinities: BTreeMap::new(),
            sets: 0,
            workers: 0,
            unsteady: BTreeSet::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Makes a cgroup with its limits, and its parents where they are not there.
    pub(super) fn add_cgroup(&mut self, def: &CgroupDef) -> Result<Vec<Action>, ConfigError> {
        def.validate()?;
        let name = &def.name;
        let refuse = |field: &str, why: String| Err(ConfigError::new(field, why));
        if self.cgroups.contains_key(name) {
            return refuse("name", format!("`{name}` is there already"));
        }
        for parent in above(name) {
            if self.has_workers(parent) {
                return refuse("name", inner_why(parent, name));
            }
            self.cgroups.entry(parent.to_owned()).or_default();
        }
        self.cgroups.insert(
            name.clone(),
            Cgroup {
                mems: def.mems.clone(),
                cpu: def.cpu.clone(),
                pids_max: def.pids_max,
                ..Cgroup::default()
            },
        );
        if self.cgroups.len() > MAX_CGROUPS {
            return refuse("name", format!("is one of more than {MAX_CGROUPS} cgroups"));
        }
        let mut actions = vec![Action::Create { path: name.clone() }];
        let write = |file, value| Action::Write { path: name.clone(), file, value };
        if let Some(mems) = &def.mems {
            self.check_mems(mems).map_err(|why| ConfigError::new("mems", why))?;
            actions.push(write("cpuset.mems", listed(mems)));
        }
        if let Some(spec) = &def.cpuset {
            let cpus = spec.resolve(&self.pool_for(name), &self.topology);
            let cpus = cpus.map_err(|why| ConfigError::new("cpuset", why))?;
            actions.push(write("cpuset.cpus", listed(&cpus)));
            if let Some(cgroup) = self.cgroups.get_mut(name) {
                cgroup.cpus = Some(cpus);
            }
        }
        let io = def.io_weight.map(|weight| ("io.weight", weight.to_string()));
        let pids = def.pids_max.map(|max| ("pids.max", max.to_string()));
        let files = def.cpu.files().into_iter().chain(def.memory.files()).chain(io).chain(pids);
        actions.extend(files.map(|(file, value)| write(file, value)));
        Ok(actions)
    }

    pub(super) fn check_mems(&self, mems: &BTreeSet<usize>) -> Result<(), String> {
        match mems.iter().find(|node| !self.topology.memory_nodes().contains(node)) {
            None => Ok(()),
            Some(node) => Err(format!(
                "names NUMA node {node}, which has no memory here; the machine is\n{}",
                self.topology
            )),
        }
    }

    pub(super) fn set_mems(&mut self, path: &str, mems: &BTreeSet<usize>) {
        if let Some(cgroup) = self.cgroups.get_mut(path) {
            cgroup.mems = Some(mems.clone());
        }
    }

    /// The CPUs among which a cgroup may have its own: those of its parent.
    pub(super) fn pool_for(&self, path: &str) -> BTreeSet<usize> {
        self.effective(parent(path).unwrap_or(ROOT))
    }

    /// The CPUs that tasks of a cgroup may use, as `cpuset.cpus.effective` is computed: its own
    /// that its parent has and that are on line, or all those of the parent if that leaves none.
    pub(super) fn effective(&self, path: &str) -> BTreeSet<usize> {
        if path == ROOT {
            return self.online.clone();
        }
        let pool = self.pool_for(path);
        let own = self.cgroups.get(path).and_then(|cgroup| cgroup.cpus.as_ref());
        let left: BTreeSet<usize> =
            own.map(|own| own.intersection(&pool).copied().collect()).unwrap_or_default();
        if left.is_empty() { pool } else { left }
    }

    /// The NUMA nodes that tasks of a cgroup may take memory from; `None` where nobody said so.
    pub(super) fn effective_mems(&self, path: &str) -> Option<BTreeSet<usize>> {
        let own = |path: &str| self.cgroups.get(path)?.mems.clone();
        let all = std::iter::once(path).chain(above(path)).filter_map(own);
        all.reduce(|inner, outer| if inner.is_disjoint(&outer) { outer } else { &inner & &outer })
    }

    /// Whether workers are in this very cgroup.
    pub(super) fn has_workers(&self, path: &str) -> bool {
        self.whereabouts.iter().flatten().any(|at| at == path)
    }

    /// Crews in a cgroup, not those below it.
    pub(super) fn crews_in(&self, path: &str) -> Vec<usize> {
        let here = self.whereabouts.iter().enumerate();
        here.filter(|(_, at)| at.as_deref() == Some(path)).map(|(crew, _)| crew).collect()
    }

    /// A cgroup below `path`, if there is one.
    pub(super) fn below(&self, path: &str) -> Option<&str> {
        let inner = |name: &&String| name.strip_prefix(path).is_some_and(|r| r.starts_with('/'));
        self.cgroups.keys().find(inner).map(String::as_str)
    }

    /// cgroup v2 keeps processes out of cgroups that have some below them.
    pub(super) fn refuse_inner(&self, path: &str) -> Result<(), String> {
        match self.below(path) {
            Some(inner) if path != ROOT => Err(inner_why(path, inner)),
            _ => Ok(()),
        }
    }

    pub(super) fn is_frozen(&self, path: &str) -> bool {
        let frozen = |path: &str| self.cgroups.get(path).is_some_and(|cgroup| cgroup.frozen);
        frozen(path) || above(path).any(frozen)
    }

    /// Whether every limit on tasks at `path` and above leaves room for those that are there.
    pub(super) fn check_pids(&self, path: &str) -> Result<(), String> {
        for limited in std::iter::once(path).chain(above(path)) {
            let Some(max) = self.cgroups.get(limited).and_then(|cgroup| cgroup.pids_max) else {
                continue;
            };
            let inside = |at: &str| at == limited || above(at).any(|up| up == limited);
            let crews = self.crews.iter().zip(&self.whereabouts);
            let here = crews.filter(|(_, at)| at.as_deref().is_some_and(inside));
            let tasks: usize = here.map(|(crew, _)| crew.workers()).sum();
            if tasks as u64 > max {
                return Err(format!("puts {tasks} workers under pids_max {max} of `{limited}`"));
            }
        }
        Ok(())
    }

    /// What the checks need to know of now.
    pub(super) fn scene(&self) -> Scene {
        let planned = |(path, cgroup): (&String, &Cgroup)| {
            let planned = PlannedCgroup {
                cpus: self.effective(path),
                own_cpus: cgroup.cpus.is_some(),
                mems: cgroup.mems.clone(),
                cpu: cgroup.cpu.clone(),
                frozen: self.is_frozen(path),
            };
            (path.clone(), planned)
        };
        Scene {
            cgroups: self.cgroups.iter().map(planned).collect(),
            whereabouts: self.whereabouts.clone(),
            online: self.online.clone(),
            affinities: self.affinities.clone(),
        }
    }
}

pub(super) fn listed(numbers: &BTreeSet<usize>) -> String {
    list::format(numbers.iter().copied())
}

fn inner_why(path: &str, inner: &str) -> String {
    format!(
        "puts processes into `{path}`, which has `{inner}` below it: cgroup v2 keeps processes in \
         the leaves; give the workers a cgroup of their own"
    )
}
