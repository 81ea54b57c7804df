//! The running scenario: crews behind their handles, cgroups, and every action on them. Called by
//! `run` and `steps`.

use super::keeper::SchedulerKeeper;
use super::record::{RunRecord, ScheduleRecord, SwapRecord};
use super::sample::{Held, Subject};
use super::schedule::Recorder;
use super::{Event, RunOptions, RunOutcome, cpus, turn, usage};
use crate::cgroup::{CgroupError, Cgroups, named};
use crate::clock::{monotonic_ns, to_ns};
use crate::handle::{Muster, SpawnOptions, WorkloadHandle};
use crate::plan::{Action, Plan, ROOT, above};
use crate::release;
use crate::report::WorkerReport;
use crate::scenario::{Scenario, SchedulerChoice};
use crate::worker::phases;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long workers may take to leave, plus something for each, since all of them report at once.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_PER_WORKER: Duration = Duration::from_millis(10);
/// How long they may take under a sched_ext scheduler. Who it starves leaves when it is gone.
const PATIENCE_WITH_SCHEDULER: Duration = Duration::from_secs(2);
/// How long they may take to the gate under one.
const GATE_WITH_SCHEDULER: Duration = Duration::from_secs(60);

/// A crew that runs.
struct Running {
    handle: WorkloadHandle,
    cgroup: String,
}

/// Everything that a run has made.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    keeper: Option<&'a mut dyn SchedulerKeeper>,
    pub(super) options: SpawnOptions,
    tick: Option<Duration>,
    cgroups: Option<Cgroups>,
    /// Paths of those that are there, each with the number of cgroups that had been made before it.
    paths: BTreeMap<String, usize>,
    made: usize,
    /// By the index of the crew in the plan; `None` before its start and after its stop.
    crews: Vec<Option<Running>>,
    frozen: Vec<String>,
    offline: Vec<usize>,
    open: bool,
    phase: usize,
    reports: Vec<WorkerReport>,
    /// What was read of workers in steps, by their indices.
    kept: BTreeMap<usize, Vec<Held>>,
    schedule: Option<Recorder>,
    pub(super) record: RunRecord,
    /// When the measurement began.
    pub(super) began: Instant,
    pub(super) began_ns: u64,
    at_begin: usage::Readings,
    /// As in the options.
    cpu_time: Option<PathBuf>,
    /// From the beginning of the measurement on.
    cpus: Option<cpus::Watch>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        keeper: Option<&'a mut dyn SchedulerKeeper>,
        scenario: &Scenario,
        plan: &'a Plan,
        options: &RunOptions,
    ) -> Self {
        let kernel_release = release::running();
        let mut record = RunRecord { kernel_release, ..RunRecord::default() };
        let opened = options.schedule_hash.then(Recorder::open);
        let schedule = opened.and_then(|opened| {
            let missing =
                |why| ScheduleRecord { unavailable: Some(why), ..ScheduleRecord::default() };
            opened.map_err(|why| record.schedule = Some(missing(why))).ok()
        });
        Self {
            plan,
            keeper,
            options: SpawnOptions {
                seed: scenario.seed,
                iterations: scenario.iterations,
                stagger: scenario.stagger,
                io: options.io.clone(),
            },
            tick: options.tick,
            cgroups: options.cgroups.clone().map(|base| Cgroups::below(base, plan.controllers())),
            paths: BTreeMap::new(),
            made: 0,
            crews: plan.crews.iter().map(|_| None).collect(),
            frozen: Vec::new(),
            offline: Vec::new(),
            open: false,
            phase: 0,
            reports: Vec::new(),
            kept: BTreeMap::new(),
            schedule,
            record,
            began: Instant::now(),
            began_ns: monotonic_ns(),
            at_begin: BTreeMap::new(),
            cpu_time: options.cpu_time.clone(),
            cpus: None,
        }
    }

    /// Does `actions` in order; an error says at which point of the scenario.
    pub(super) fn do_all(&mut self, title: &str, actions: &[Action]) -> Result<(), String> {
        actions
            .iter()
            .try_for_each(|action| self.act(action))
            .map_err(|why| format!("{title}: {why}"))
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Create { path } => {
                self.cgroups()?.create(path).map_err(text)?;
                for path in std::iter::once(path.as_str()).chain(above(path)) {
                    self.paths.entry(path.to_owned()).or_insert(self.made);
                }
                self.made += 1;
                Ok(())
            }
            Action::Write { path, file, value } => self.write(path, file, value),
            Action::Remove { path } => {
                self.paths.remove(path);
                self.cgroups()?.remove(path).map_err(text)
            }
            Action::ClearCpus { path } => self.cgroups()?.clear_cpus(path).map_err(text),
            Action::Freeze { path } => {
                self.cgroups()?.freeze(path).map_err(text)?;
                self.frozen.push(path.clone());
                Ok(())
            }
            Action::Thaw { path } => {
                self.frozen.retain(|frozen| frozen != path);
                self.cgroups()?.thaw(path).map_err(text)
            }
            Action::Start(crew) => self.start(*crew),
            Action::Stop(crews) => {
                self.stop(crews);
                Ok(())
            }
            Action::Move { from, to, crews } => self.move_all(from, to, crews),
            Action::Affinity { crew, set, placement } => {
                let crew = self.crews.get_mut(*crew).and_then(Option::as_mut);
                crew.map_or(Ok(()), |crew| crew.handle.set_affinity(*set, placement))
            }
            Action::Keep { crew, cpus, plugged } => {
                if let Some(crew) = self.crews.get_mut(*crew).and_then(Option::as_mut) {
                    crew.handle.keep_affinities(cpus, *plugged);
                }
                Ok(())
            }
            Action::Cpu { id, online } => self.set_online(*id, *online),
            Action::Knob { path, value } => write_file(path, value),
            Action::Scheduler(to) => self.swap_scheduler(to.as_ref()),
        }
    }

    fn cgroups(&mut self) -> Result<&mut Cgroups, String> {
        self.cgroups.as_mut().ok_or_else(|| {
            "there is no cgroup v2 to make cgroups in; mount it, or use a kernel with \
             CONFIG_CGROUPS"
                .to_owned()
        })
    }

    /// A control file that this kernel lacks is noted, and the run goes on without it.
    fn write(&mut self, path: &str, file: &str, value: &str) -> Result<(), String> {
        match self.cgroups()?.write(path, file, value) {
            Err(error) if error.errno == Errno::NOENT => {
                self.record.not_applied.push(error.to_string());
                Ok(())
            }
            done => done.map_err(text),
        }
    }

    fn start(&mut self, at: usize) -> Result<(), String> {
        let crew = &self.plan.crews[at];
        let muster = Muster {
            sets: &crew.sets,
            clone_mode: crew.clone_mode,
            first_worker: crew.first_worker,
            phases: phases(self.plan.steps.len()),
            options: &self.options,
            // Longer than any watchdog of sched_ext, which says what the matter is.
            patience: self.keeper.is_some().then_some(GATE_WITH_SCHEDULER),
        };
        let handle = WorkloadHandle::muster(&muster).map_err(|e| e.to_string())?;
        // In the list before it can fail to be moved, so that its workers are reported.
        let pids = handle.process_ids();
        self.crews[at] = Some(Running { handle, cgroup: crew.cgroup.clone() });
        if crew.cgroup != ROOT {
            for pid in pids {
                self.cgroups()?.move_process(&crew.cgroup, pid).map_err(text)?;
            }
        }
        if self.open {
            self.open_crew(at);
        }
        Ok(())
    }

    fn move_all(&mut self, from: &str, to: &str, crews: &[usize]) -> Result<(), String> {
        if from == ROOT {
            let running = crews.iter().filter_map(|crew| self.crews[*crew].as_ref());
            let pids: Vec<i32> = running.flat_map(|crew| crew.handle.process_ids()).collect();
            for pid in pids {
                self.cgroups()?.move_process(to, pid).map_err(text)?;
            }
        } else {
            self.cgroups()?.move_all(from, to).map_err(text)?;
        }
        for crew in crews {
            if let Some(crew) = self.crews[*crew].as_mut() {
                crew.cgroup = to.to_owned();
            }
        }
        Ok(())
    }

    fn set_online(&mut self, id: usize, online: bool) -> Result<(), String> {
        self.cpus.iter_mut().for_each(|cpus| cpus.took_off_line(id));
        let path = format!("/sys/devices/system/cpu/cpu{id}/online");
        write_file(&path, if online { "1" } else { "0" })?;
        if online {
            self.schedule.iter_mut().for_each(|schedule| schedule.came_on_line(id));
            self.offline.retain(|cpu| *cpu != id)
        } else {
            self.offline.push(id)
        }
        if let (Some(path), Some(cgroups)) = (self.paths.keys().next(), &self.cgroups) {
            cgroups.wait_for_cpusets(path);
        }
        Ok(())
    }

    fn swap_scheduler(&mut self, to: Option<&SchedulerChoice>) -> Result<(), String> {
        let keeper = self.keeper.as_mut().ok_or("there is no sched_ext scheduler in this run")?;
        let began_ns = self.began_ns;
        let swapped = keeper.swap(to)?;
        let at_ns = swapped.at_ns.saturating_sub(began_ns);
        self.record.swaps.push(SwapRecord { at_ns, ..swapped });
        Ok(())
    }

    fn stop(&mut self, crews: &[usize]) {
        let stopped: Vec<Running> =
            crews.iter().filter_map(|crew| self.crews[*crew].take()).collect();
        stopped.iter().for_each(|crew| crew.handle.request_stop());
        for Running { handle, .. } in stopped {
            let workers = u32::try_from(handle.workers()).unwrap_or(u32::MAX);
            let patience = PATIENCE + PATIENCE_PER_WORKER * workers;
            self.reports.extend(handle.stop_and_collect(patience));
        }
    }

    /// Thread ids of everyone who is there.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.running().flat_map(|crew| crew.handle.worker_pids()).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.crews.iter().flatten()
    }

    pub(super) fn open_gate(&mut self) {
        self.open = true;
        let workers = self.pids();
        self.schedule.iter_mut().for_each(|schedule| schedule.begin(&workers));
        (0..self.crews.len()).for_each(|at| self.open_crew(at));
    }

    fn open_crew(&self, at: usize) {
        if let Some(crew) = &self.crews[at] {
            crew.handle.enter_phase(self.phase);
            crew.handle.start();
        }
    }

    pub(super) fn restart_measurement(&self) {
        self.running().for_each(|crew| crew.handle.restart_measurement());
    }

    /// Reads what is counted from outside of the workers, which takes its time.
    pub(super) fn read_begin(&mut self) {
        self.record.turn_ns = turn::longest_ns(self.keeper.is_some());
        let release = &self.record.kernel_release;
        self.cpus = Some(cpus::Watch::begin(self.cpu_time.as_deref(), release));
        self.at_begin = self.read_usage();
    }

    pub(super) fn begin_measurement(&mut self) {
        (self.began, self.began_ns) = (Instant::now(), monotonic_ns());
    }

    /// Tells the caller of something in the measured time, if it wants to hear of that.
    pub(super) fn tell(&self, event: Event, on_event: &mut dyn FnMut(Event)) {
        if self.tick.is_some() {
            on_event(event);
        }
    }

    /// What is counted from now on belongs to `phase`.
    pub(super) fn enter_phase(&mut self, phase: usize) {
        self.phase = phase;
        self.running().for_each(|crew| crew.handle.enter_phase(phase));
    }

    /// Everyone who is there, with what they have published.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.running().flat_map(|crew| crew.handle.subjects()).collect()
    }

    /// Keeps what was read of workers in a step for their reports.
    pub(super) fn keep(&mut self, steps: impl Iterator<Item = (usize, Held)>) {
        for (worker, step) in steps {
            self.kept.entry(worker).or_default().push(step);
        }
    }

    /// What `cpu.stat` of each cgroup says now.
    pub(super) fn read_usage(&self) -> usage::Readings {
        let cgroups = self.cgroups.as_ref();
        cgroups.map_or_else(BTreeMap::new, |cgroups| usage::read_all(cgroups, &self.paths))
    }

    /// Waits until `deadline`, or until everyone has ended in a run without steps.
    pub(super) fn wait_until(
        &mut self,
        deadline: Instant,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<(), String> {
        let stepped = !self.plan.steps.is_empty();
        let mut next_tick = self.next_tick();
        loop {
            self.schedule.iter_mut().for_each(Recorder::relieve);
            if let Some(keeper) = &mut self.keeper {
                keeper.attend()?;
            }
            let now = Instant::now();
            let ended = self.crews.iter().flatten().map(|crew| crew.handle.census());
            let (running, ended) =
                ended.fold((0, 0), |(r, e), census| (r + census.running, e + census.ended));
            if now >= deadline || running == 0 && !stepped {
                return Ok(());
            }
            if next_tick.is_some_and(|tick| now >= tick) {
                let each = self.subjects().into_iter().map(|s| s.iterations);
                let iterations = each.fold(0, u64::saturating_add);
                let ended = ended + self.reports.len();
                on_event(Event::Tick { elapsed: self.began.elapsed(), iterations, ended });
                next_tick = self.next_tick();
            }
            let recorded = self.schedule.iter().flat_map(|of| of.descriptors(&self.offline));
            let keeper = self.keeper.as_ref();
            let look = keeper.and_then(|keeper| keeper.attend_every()).map(|every| now + every);
            let beside: Vec<_> =
                keeper.into_iter().flat_map(|of| of.descriptors()).chain(recorded).collect();
            let mut handles: Vec<_> =
                self.crews.iter_mut().flatten().map(|crew| &mut crew.handle).collect();
            let until = [next_tick, look].into_iter().flatten().fold(deadline, Instant::min);
            let timeout = until.saturating_duration_since(now);
            WorkloadHandle::poll_any(&mut handles, &beside, timeout)
                .map_err(|error| error.to_string())?;
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        self.tick.map(|tick| Instant::now() + tick)
    }

    /// Lets workers that were told to stop leave under the scheduler that they ran under, then stops
    /// that.
    fn end_scheduler(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let mut handles: Vec<_> =
            self.crews.iter_mut().flatten().map(|crew| &mut crew.handle).collect();
        let workers = u32::try_from(self.plan.total_workers()).unwrap_or(u32::MAX);
        let patience = PATIENCE_WITH_SCHEDULER + PATIENCE_PER_WORKER * workers;
        WorkloadHandle::let_leave(&mut handles, patience);
        keeper.end();
    }

    /// Tells everyone to stop and reads what was counted from outside.
    pub(super) fn end_measurement(&mut self) {
        self.record.wall_time_ns = to_ns(self.began.elapsed());
        // First, so that no reading is in what workers measure.
        self.running().for_each(|crew| crew.handle.request_stop());
        if let Some(cpus) = self.cpus.take() {
            cpus.end(&mut self.record);
        }
        self.schedule.iter_mut().for_each(Recorder::end);
        let at_end = self.read_usage();
        self.record.cgroups = usage::between(&self.at_begin, &at_end);
    }

    /// Takes everyone and everything away and says what came of it.
    pub(super) fn close(mut self, error: Option<String>) -> RunOutcome {
        let everyone: Vec<usize> = (0..self.crews.len()).collect();
        let mut errors: Vec<String> = error.into_iter().collect();
        // What is frozen cannot leave.
        for path in std::mem::take(&mut self.frozen) {
            errors
                .extend(self.cgroups().and_then(|cgroups| cgroups.thaw(&path).map_err(text)).err());
        }
        self.end_scheduler();
        self.stop(&everyone);
        for cpu in std::mem::take(&mut self.offline) {
            errors.extend(self.set_online(cpu, true).err());
        }
        if let Some(schedule) = self.schedule.take() {
            self.record.schedule = Some(schedule.finish());
        }
        let left = self.cgroups.take().map(|mut cgroups| cgroups.remove_all()).unwrap_or_default();
        errors.extend(left.into_iter().map(text));
        self.reports.sort_by_key(|report| report.index);
        for report in &mut self.reports {
            let kept = self.kept.remove(&report.index).unwrap_or_default();
            let seen = std::mem::take(&mut report.steps);
            report.steps = kept.into_iter().map(|held| held.report(&seen)).collect();
        }
        RunOutcome {
            workers: self.reports,
            record: self.record,
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        }
    }
}

/// Writes a knob in one call, as the kernel reads it. Never makes the file.
fn write_file(path: &str, value: &str) -> Result<(), String> {
    let written = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(&file, value.as_bytes()));
    let why = match written {
        Ok(length) if length == value.len() => return Ok(()),
        Ok(length) => format!("{length} bytes were taken"),
        Err(Errno::NOENT) => format!("{}: this kernel has no such knob", named(Errno::NOENT)),
        Err(errno) => named(errno),
    };
    Err(format!("write({path}, \"{value}\") failed: {why}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: CgroupError) -> String {
    error.to_string()
}
