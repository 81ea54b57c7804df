//! Operations of a step on the state: what each comes to, or why it cannot work. Called by
//! `steps`.

use super::action::Action;
use super::crew::ROOT;
use super::state::{State, listed};
use crate::config::{AffinityIntent, CloneMode, ConfigError, CpusetSpec, WorkSpec};
use crate::scenario::{CpuKnobs, Op};
use std::collections::BTreeSet;

const SCHED_KNOBS: &str = "/sys/kernel/debug/sched";
const SYSCTLS: &str = "/proc/sys";
/// A tick of 10 ms in which real-time tasks run on is paid back in a second.
const LEAST_RT_RUNTIME_US: i64 = 10_000;
const LONGEST_RT_PERIOD_US: i64 = 2_000_000;
/// `sched_setscheduler` and the like take no more; nor does a knob.
const MAX_VALUE: usize = 4096;

type Done = Result<Vec<Action>, ConfigError>;

fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(field, why))
}

impl State {
    /// Does `op` to the state. The error's path is within the operation.
    pub(super) fn apply(&mut self, op: &Op) -> Done {
        self.keeping(op, |state| state.change(op))
    }

    fn change(&mut self, op: &Op) -> Done {
        match op {
            Op::AddCgroup(def) => {
                let mut actions = self.add_cgroup(def)?;
                let crew = self.cgroup_crew(def)?;
                actions.extend(crew.into_iter().flat_map(|crew| self.start(crew)));
                Ok(actions)
            }
            Op::RemoveCgroup(path) => self.remove(path),
            Op::Freeze(path) => self.set_frozen(path, true),
            Op::Thaw(path) => self.set_frozen(path, false),
            Op::SetCpuset { cgroup, cpus, mems } => self.set_cpuset(cgroup, cpus, mems.as_ref()),
            Op::ClearCpuset(path) => {
                self.known(path, "")?;
                if let Some(cgroup) = self.cgroups.get_mut(path) {
                    cgroup.cpus = None;
                }
                Ok(vec![Action::ClearCpus { path: path.clone() }])
            }
            Op::SwapCpusets(pair) => self.swap_cpusets(pair),
            Op::SetCpu { cgroup, cpu } => self.set_cpu(cgroup, cpu),
            Op::Spawn { cgroup, work } => self.spawn(cgroup, work),
            Op::Stop(path) => {
                let crews = self.running_in(path, "")?;
                Ok(vec![self.stop(crews)])
            }
            Op::MoveAllTasks { from, to } => self.move_all(from, to),
            Op::SetAffinity { cgroup, affinity } => self.set_affinity(cgroup, affinity),
            Op::CpuOffline(id) => self.set_online(*id, false),
            Op::CpuOnline(id) => self.set_online(*id, true),
            Op::Sysctl { name, value } => {
                let path = name.replace('.', "/");
                keeps_supervisor(&path, value)?;
                keeps_console(&path)?;
                knob(SYSCTLS, name, &path, value)
            }
            Op::SchedKnob { name, value } => knob(SCHED_KNOBS, name, name, value),
            Op::StopScheduler => Ok(vec![Action::Scheduler(None)]),
            Op::StartScheduler(choice) | Op::ReplaceScheduler(choice) => {
                choice.validate()?;
                Ok(vec![Action::Scheduler(Some(choice.clone()))])
            }
        }
    }

    /// A cgroup that is there; the root is not one of those that can be changed.
    fn known(&self, path: &str, field: &str) -> Result<(), ConfigError> {
        if self.cgroups.contains_key(path) {
            return Ok(());
        }
        if path == ROOT {
            return refuse(field, "is the root, which has no such control");
        }
        let names = self.cgroups.keys().map(String::as_str);
        let hint = crate::suggest::nearest(path, names)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        refuse(field, format!("`{path}` is no cgroup at this point{hint}"))
    }

    /// A cgroup that is there, or the root.
    fn place(&self, path: &str, field: &str) -> Result<(), ConfigError> {
        if path == ROOT { Ok(()) } else { self.known(path, field) }
    }

    /// The crews in a cgroup, of which there must be some, and not frozen.
    fn running_in(&self, path: &str, field: &str) -> Result<Vec<usize>, ConfigError> {
        self.place(path, field)?;
        let crews = self.crews_in(path);
        match () {
            () if crews.is_empty() => {
                refuse(field, format!("`{path}` has no workers at this point"))
            }
            () if self.is_frozen(path) => refuse(
                field,
                format!("`{path}` is frozen, and what is frozen cannot end; thaw it first"),
            ),
            () => Ok(crews),
        }
    }

    fn stop(&mut self, crews: Vec<usize>) -> Action {
        for crew in &crews {
            self.end(*crew);
            self.whereabouts[*crew] = None;
        }
        Action::Stop(crews)
    }

    fn remove(&mut self, path: &str) -> Done {
        self.known(path, "")?;
        if let Some(inner) = self.below(path) {
            return refuse("", format!("`{path}` has `{inner}` below it; remove that first"));
        }
        let mut actions = Vec::new();
        if self.has_workers(path) {
            let crews = self.running_in(path, "")?;
            actions.push(self.stop(crews));
        }
        self.cgroups.remove(path);
        actions.push(Action::Remove { path: path.to_owned() });
        Ok(actions)
    }

    fn set_frozen(&mut self, path: &str, frozen: bool) -> Done {
        self.known(path, "")?;
        let Some(cgroup) = self.cgroups.get_mut(path) else { return Ok(Vec::new()) };
        if cgroup.frozen == frozen {
            let already = if frozen { "frozen already" } else { "not frozen" };
            return refuse("", format!("`{path}` is {already}"));
        }
        cgroup.frozen = frozen;
        let path = path.to_owned();
        Ok(vec![if frozen { Action::Freeze { path } } else { Action::Thaw { path } }])
    }

    /// Notes and writes the CPUs of a cgroup.
    fn own_cpus(&mut self, path: &str, cpus: BTreeSet<usize>) -> Action {
        let value = listed(&cpus);
        if let Some(cgroup) = self.cgroups.get_mut(path) {
            cgroup.cpus = Some(cpus);
        }
        Action::Write { path: path.to_owned(), file: "cpuset.cpus", value }
    }

    fn set_cpuset(
        &mut self,
        path: &str,
        spec: &CpusetSpec,
        mems: Option<&BTreeSet<usize>>,
    ) -> Done {
        self.known(path, "cgroup")?;
        let cpus =
            spec.validate().and_then(|()| spec.resolve(&self.pool_for(path), &self.topology));
        let cpus = cpus.map_err(|why| ConfigError::new("cpus", why))?;
        let mut actions = Vec::new();
        if let Some(mems) = mems {
            if mems.is_empty() {
                return refuse("mems", "names no node");
            }
            self.check_mems(mems).map_err(|why| ConfigError::new("mems", why))?;
            self.set_mems(path, mems);
            let value = listed(mems);
            actions.push(Action::Write { path: path.into(), file: "cpuset.mems", value });
        }
        actions.push(self.own_cpus(path, cpus));
        Ok(actions)
    }

    fn swap_cpusets(&mut self, pair: &[String; 2]) -> Done {
        let [a, b] = pair;
        if a == b {
            return refuse("", format!("names `{a}` twice"));
        }
        let mut own = Vec::new();
        for (at, path) in pair.iter().enumerate() {
            let field = format!("[{at}]");
            self.known(path, &field)?;
            match self.cgroups.get(path).and_then(|cgroup| cgroup.cpus.clone()) {
                Some(cpus) => own.push(cpus),
                None => return refuse(&field, format!("`{path}` has no cpuset of its own")),
            }
        }
        for (path, cpus) in [(a, &own[1]), (b, &own[0])] {
            let pool = self.pool_for(path);
            if !cpus.is_subset(&pool) {
                let (cpus, pool) = (listed(cpus), listed(&pool));
                return refuse(
                    "",
                    format!("would give `{path}` CPUs {cpus}, its parent has {pool}"),
                );
            }
        }
        let [of_a, of_b] = [own[0].clone(), own[1].clone()];
        Ok(vec![self.own_cpus(a, of_b), self.own_cpus(b, of_a)])
    }

    fn set_cpu(&mut self, path: &str, change: &CpuKnobs) -> Done {
        self.known(path, "cgroup")?;
        if change.is_empty() {
            return refuse("cpu", "changes nothing; give weight, max, burst or idle");
        }
        let Some(cgroup) = self.cgroups.get_mut(path) else { return Ok(Vec::new()) };
        let after = cgroup.cpu.changed_by(change);
        after.validate().map_err(|e| e.below("cpu."))?;
        let mut files = change.files();
        if change.burst < cgroup.cpu.burst {
            // The kernel keeps the burst below the quota at every moment.
            files.sort_by_key(|(file, _)| *file != "cpu.max.burst");
        }
        cgroup.cpu = after;
        let write = |(file, value)| Action::Write { path: path.to_owned(), file, value };
        Ok(files.into_iter().map(write).collect())
    }

    fn spawn(&mut self, path: &str, work: &WorkSpec) -> Done {
        self.place(path, "cgroup")?;
        self.refuse_inner(path).map_err(|why| ConfigError::new("cgroup", why))?;
        if self.is_frozen(path) {
            let why = format!("`{path}` is frozen, so no worker would begin; thaw it first");
            return refuse("cgroup", why);
        }
        let work = WorkSpec { num_workers: work.num_or_one(), ..work.clone() };
        let crew = self.recruit(path, vec![work], CloneMode::Fork, |_| "work.".into())?;
        Ok(self.start(crew))
    }

    fn move_all(&mut self, from: &str, to: &str) -> Done {
        self.place(from, "from")?;
        self.place(to, "to")?;
        if from == to {
            return refuse("to", format!("is `{to}` too"));
        }
        self.refuse_inner(to).map_err(|why| ConfigError::new("to", why))?;
        let crews = self.crews_in(from);
        if crews.is_empty() {
            return refuse("from", format!("`{from}` has no workers at this point"));
        }
        for crew in &crews {
            self.whereabouts[*crew] = Some(to.to_owned());
        }
        self.check_pids(to).map_err(|why| ConfigError::new("to", why))?;
        Ok(vec![Action::Move { from: from.into(), to: to.into(), crews }])
    }

    fn set_affinity(&mut self, path: &str, affinity: &AffinityIntent) -> Done {
        let crews = self.running_in(path, "cgroup")?;
        let pool = self.effective(path);
        // Nobody is there to inherit from: every CPU, as before a mask was set.
        let every = AffinityIntent::CrossCgroup;
        let affinity = if *affinity == AffinityIntent::Inherit { &every } else { affinity };
        let placement = affinity
            .place(Some(&pool), Some(&self.topology))
            .map_err(|why| ConfigError::new("affinity", why))?;
        self.unsteady.extend(&crews);
        let mut actions = Vec::new();
        for crew in crews {
            for set in 0..self.crews[crew].sets.len() {
                self.affinities.insert((crew, set), placement.clone());
                actions.push(Action::Affinity { crew, set, placement: placement.clone() });
            }
        }
        Ok(actions)
    }

    fn set_online(&mut self, id: usize, online: bool) -> Done {
        if !self.topology.cpus().contains(&id) {
            let why = format!("is CPU {id}, which is not there; the machine is\n{}", self.topology);
            return refuse("", why);
        }
        if id == 0 {
            return refuse("", "is CPU 0, which x86 kernels keep on line");
        }
        let changed = if online { self.online.insert(id) } else { self.online.remove(&id) };
        if !changed {
            let already = if online { "on" } else { "off" };
            return refuse("", format!("is CPU {id}, which is {already} line already"));
        }
        Ok(vec![Action::Cpu { id, online }])
    }
}

/// With so little real-time bandwidth, or for such periods, kernels before 6.12 keep PID 1 from its
/// CPU for longer than a guest may be silent: it is SCHED_FIFO itself.
fn keeps_supervisor(path: &str, value: &str) -> Result<(), ConfigError> {
    let us = value.trim().parse::<i64>().ok();
    let too_long = match path {
        "kernel/sched_rt_runtime_us" => us.is_some_and(|us| (1..LEAST_RT_RUNTIME_US).contains(&us)),
        "kernel/sched_rt_period_us" => us.is_some_and(|us| us > LONGEST_RT_PERIOD_US),
        _ => false,
    };
    if !too_long {
        return Ok(());
    }
    let rule = format!(
        "leaves the bench no CPU, which is SCHED_FIFO itself: sched_rt_runtime_us may be -1, 0, or \
         {LEAST_RT_RUNTIME_US} and more, sched_rt_period_us at most {LONGEST_RT_PERIOD_US}"
    );
    refuse("value", rule)
}

/// The console shows the complaints of the kernel.
fn keeps_console(path: &str) -> Result<(), ConfigError> {
    if path != "kernel/printk" {
        return Ok(());
    }
    refuse(
        "name",
        format!("`{path}` is the bench's own: complaints of the kernel would not be seen"),
    )
}

/// A file below `dir`; names lead nowhere else.
fn knob(dir: &str, name: &str, path: &str, value: &str) -> Done {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/');
    let parts_are_named = path.split('/').all(|part| !part.is_empty());
    if !parts_are_named || !path.chars().all(plain) {
        return refuse("name", format!("`{name}` is no name of a file below {dir}"));
    }
    if value.is_empty() || value.len() > MAX_VALUE || value.contains('\0') {
        return refuse("value", format!("must be 1 to {MAX_VALUE} bytes without NUL"));
    }
    Ok(vec![Action::Knob { path: format!("{dir}/{path}"), value: value.to_owned() }])
}
