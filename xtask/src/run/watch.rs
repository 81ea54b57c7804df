//! Watches a guest from QEMU's start to its end: reads both serial ports and the monitor, applies
//! the limits, and makes a guest that went silent show where it is. Called by `cmd::vm` and
//! `cmd::bundle`.

use super::at_stop::{AtStop, begin, go_on};
use super::console::Console;
use super::guest_clock::GuestClock;
use super::limits::Limits;
use super::load::{HostLoad, LoadMeter};
use super::overdue::Overdue;
use super::printed::Comparison;
use super::stall::StallMeter;
use super::tail::Tail;
use crate::progress::Progress;
use crate::qemu::{
    Accel, Bounds, Command, Guest, Notice, Qemu, QemuEnd, complaints, signal_to_end,
};
use crate::snapshot::{Rest, Snapshot, Start};
use anyhow::Result;
use guest_init::frame::{Damage, Decoder};
use guest_init::proto::{End, Hello, Message, Plan, Printed, SchedulerLife, SchedulerOutput};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use workloads::{RunRecord, WorkerReport};

/// How often the serial files are looked at: often enough to react, rarely enough not to take
/// the CPU from the guest.
const TICK: Duration = Duration::from_millis(20);
/// The same for a guest that is to be stopped at a time.
const CLOCK_TICK: Duration = Duration::from_millis(2);
/// How long QEMU may take to quit.
const QUIT: Duration = Duration::from_secs(5);

/// Why the watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// QEMU ended by itself.
    Ended(QemuEnd),
    /// The guest said its last and did not power off, or panicked and did not reset; ended by us.
    Finished,
    /// QEMU stopped the vCPUs with this status, as KVM does when it cannot go on.
    Halted,
    /// No first frame in time.
    BootTimeout,
    /// No frame for too long.
    Silence,
    /// No frame for too long, because QEMU did not run.
    StoodStill,
    /// No last frame in time.
    Timeout,
    /// Ctrl-C.
    Interrupted,
    /// The guest has come as far as it should.
    Reached,
}

impl Stop {
    /// Whether the guest itself ended the run: then deterministic ones end at the same instant.
    pub(crate) fn is_guests_own(self) -> bool {
        self == Self::Ended(QemuEnd::Exited(0))
    }
}

/// Everything that was seen of a guest.
#[derive(Debug)]
pub(crate) struct Observed {
    /// What it was to run under.
    pub(crate) accel: Accel,
    pub(crate) stop: Stop,
    pub(crate) hello: Option<Hello>,
    pub(crate) plan: Option<Plan>,
    pub(crate) notes: Vec<String>,
    pub(crate) reports: Vec<WorkerReport>,
    pub(crate) record: Option<RunRecord>,
    pub(crate) schedulers: Vec<SchedulerLife>,
    /// What they wrote, in parts.
    pub(crate) scheduler_output: Vec<SchedulerOutput>,
    pub(crate) end: Option<End>,
    pub(crate) damage: Damage,
    pub(crate) unfinished: usize,
    pub(crate) console: Console,
    /// That against what the kernel logged, if the guest could still say it.
    pub(crate) printed: Option<Comparison>,
    /// Whether it is to stop before it knows its scenario.
    pub(crate) stops: bool,
    /// The command line of its kernel.
    pub(crate) cmdline: String,
    /// What QEMU wrote to stderr.
    pub(crate) complaints: String,
    /// QEMU's name for why it stopped the vCPUs.
    pub(crate) halted: Option<String>,
    pub(crate) boot: Option<Duration>,
    pub(crate) run: Option<Duration>,
    pub(crate) total: Duration,
    /// The guest's time in seconds at which it was stopped, if it was to be.
    pub(crate) stopped_at_s: Option<f64>,
    pub(crate) load: HostLoad,
    /// Of the snapshot that it went on from, or that was made of it.
    pub(crate) snapshot: Option<String>,
    /// Whether it is to be compared with one that is booted.
    pub(crate) is_sample: bool,
}

/// Starts `guest` as `start` says within `bounds`, and watches it to its end.
pub(crate) fn watch(
    (guest, start): (&Guest, Start),
    bounds: Bounds<'_>,
    limits: Limits,
    console: Console,
    interrupted: &AtomicBool,
    progress: &Progress,
) -> Result<Observed> {
    let mut watch = Watch::start((guest, start), bounds, limits, console, progress)?;
    let stop = loop {
        watch.wait_for_news();
        if interrupted.load(Ordering::Relaxed) {
            break Stop::Interrupted;
        }
        if let Some(stop) = watch.look()? {
            break stop;
        }
    };
    watch.finish(stop)
}

struct Watch<'a> {
    qemu: Qemu,
    guest: Guest,
    bounds: Bounds<'a>,
    limits: Limits,
    progress: &'a Progress,
    frames: Tail,
    decoder: Decoder,
    log: Tail,
    qemu_log: PathBuf,
    started: Instant,
    stall: StallMeter,
    /// What the guest goes on from. It must stay where it is until the end.
    _snapshot: Option<Snapshot>,
    at_stop: AtStop,
    /// Of a guest whose time is not the host's.
    overdue: Option<Overdue>,
    /// How long QEMU could run up to the first frame.
    able_at_boot: Duration,
    /// When nothing more is to be expected of this guest, and what the watch then ends with.
    closing: Option<(Instant, Stop)>,
    /// Of a guest that is to be stopped.
    clock: Option<GuestClock>,
    is_debugged: bool,
    printed: Option<Printed>,
    load: LoadMeter,
    seen: Observed,
}

impl<'a> Watch<'a> {
    fn start(
        (guest, start): (&Guest, Start),
        bounds: Bounds<'a>,
        limits: Limits,
        console: Console,
        progress: &'a Progress,
    ) -> Result<Self> {
        let started = Instant::now();
        let (qemu, snapshot, at_stop) = begin(guest, start, bounds)?;
        progress.update(if snapshot.is_some() { "going on from a snapshot" } else { "booting" });
        let seen = Observed {
            accel: guest.accel,
            stop: Stop::Finished,
            hello: None,
            plan: None,
            notes: Vec::new(),
            reports: Vec::new(),
            record: None,
            schedulers: Vec::new(),
            scheduler_output: Vec::new(),
            end: None,
            damage: Damage::default(),
            unfinished: 0,
            console,
            printed: None,
            stops: guest.order.is_some(),
            cmdline: guest.cmdline.clone(),
            complaints: String::new(),
            halted: None,
            boot: None,
            run: None,
            total: Duration::ZERO,
            stopped_at_s: None,
            load: HostLoad::default(),
            snapshot: snapshot.as_ref().map(|snapshot| snapshot.facts.identity.clone()),
            is_sample: snapshot.as_ref().is_some_and(|snapshot| snapshot.is_sample),
        };
        Ok(Self {
            load: LoadMeter::new(qemu.pid()),
            qemu,
            guest: guest.clone(),
            bounds,
            limits,
            progress,
            frames: Tail::new(&guest.frames),
            decoder: Decoder::default(),
            log: Tail::new(&guest.console),
            qemu_log: guest.log.clone(),
            started,
            stall: StallMeter::new(started),
            _snapshot: snapshot,
            at_stop,
            overdue: guest.icount.map(|_| Overdue::new(limits.silence)),
            able_at_boot: Duration::ZERO,
            closing: None,
            clock: guest.until.map(GuestClock::new),
            is_debugged: guest.gdb.is_some(),
            printed: None,
            seen,
        })
    }

    fn wait_for_news(&self) {
        let [notices, ended] = self.qemu.descriptors();
        let mut fds = [
            PollFd::from_borrowed_fd(notices, PollFlags::IN),
            PollFd::from_borrowed_fd(ended, PollFlags::IN),
        ];
        let tick = if self.clock.is_some() { CLOCK_TICK } else { TICK };
        let timeout = Timespec::try_from(tick).ok();
        // A signal ends it early; the caller looks at everything anyway.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Takes all news; says why to stop, if there is a reason.
    fn look(&mut self) -> Result<Option<Stop>> {
        let ended = self.qemu.ended()?;
        if let Some(seen) = self.load.tick() {
            self.stall.look(Instant::now(), seen);
        }
        self.read_ports();
        if let Some(end) = ended {
            return Ok(Some(
                self.closing.map_or(Stop::Ended(end), |(_, stop)| self.reason(stop, end)),
            ));
        }
        for notice in self.qemu.notices() {
            match notice {
                Notice::Ready => self.qemu.negotiate(),
                Notice::Timer(timer) => self.take_time(timer),
                Notice::Counter(now) => self.overdue.iter_mut().for_each(|o| o.answer(now)),
                Notice::Stopped if self.seen.stopped_at_s.is_some() => {
                    return Ok(self.reached());
                }
                Notice::Stopped if self.is_debugged => {}
                Notice::Stopped => self.qemu.tell(&Command::QueryStatus),
                Notice::Status(status) if status == "running" => {}
                Notice::Status(status) => {
                    self.seen.halted = Some(status);
                    return Ok(Some(Stop::Halted));
                }
                Notice::Refused(why) => self.seen.notes.push(format!("QMP: {why}")),
                Notice::AtTheStop(is_there) => self.at_stop.answered(is_there),
                Notice::Migration(status) => self.at_stop.sent(&status, self.progress)?,
            }
        }
        self.at_stop.next(&mut self.qemu)?;
        if let Some(rest) = self.at_stop.rest() {
            self.go_on(&rest)?;
        }
        self.ask_for_time();
        Ok(self.limits_reached())
    }

    /// The QEMU that booted the guest has nothing more of it.
    fn go_on(&mut self, rest: &Rest) -> Result<()> {
        self.qemu.kill();
        self.qemu = go_on(&self.guest, rest, self.bounds)?;
        self.load.follow(self.qemu.pid());
        if self.guest.awaits_gdb() {
            self.progress.step("the guest stands before its scenario: gdb lets it go on");
        }
        Ok(())
    }

    fn ask_for_time(&mut self) {
        let stamp = self.seen.console.stamp;
        let is_running = self.seen.stopped_at_s.is_none();
        if is_running && self.clock.as_mut().is_some_and(|clock| clock.ask(stamp)) {
            self.qemu.tell(&Command::ReadTimer);
        }
    }

    fn take_time(&mut self, timer: u32) {
        let Some(clock) = &mut self.clock else { return };
        clock.answer(timer);
        if clock.is_due() && self.seen.stopped_at_s.is_none() {
            self.seen.stopped_at_s = clock.now_s();
            self.qemu.tell(&Command::Stop);
        }
    }

    /// A stopped guest ends the watch, unless a debugger may come to look at it.
    fn reached(&mut self) -> Option<Stop> {
        let at = self.seen.stopped_at_s.unwrap_or_default();
        self.progress.step(format!("the guest is stopped at {at:.3} s of its time"));
        (!self.is_debugged).then_some(Stop::Reached)
    }

    /// A guest that ends after its last frame or panic has ended by itself.
    fn reason(&self, closing: Stop, end: QemuEnd) -> Stop {
        if closing == Stop::Finished { Stop::Ended(end) } else { closing }
    }

    fn limits_reached(&mut self) -> Option<Stop> {
        let now = Instant::now();
        if let Some((deadline, stop)) = self.closing {
            return (now >= deadline).then_some(stop);
        }
        if self.seen.end.is_some() || self.seen.console.panic.is_some() {
            self.closing = Some((now + self.limits.grace, Stop::Finished));
            return None;
        }
        let (all, silent) = (self.stall.since_start(), self.stall.since_frame());
        let is_silent = self.seen.boot.is_some() && self.is_silent(silent.able);
        let overdue = match self.seen.boot {
            // It could not take an NMI either.
            _ if silent.stood > self.limits.standstill => return Some(Stop::StoodStill),
            None if all.able > self.limits.boot => Stop::BootTimeout,
            Some(_) if all.able > self.able_at_boot + self.limits.run => Stop::Timeout,
            Some(_) if is_silent => Stop::Silence,
            _ => return None,
        };
        self.progress.step("the guest is overdue or silent: an NMI makes it show where it is");
        self.qemu.tell(&Command::InjectNmi);
        self.closing = Some((now + self.limits.grace, overdue));
        None
    }

    /// Whether PID 1 should have spoken, after so much silence of the host's. A guest with a time
    /// of its own is asked for that.
    fn is_silent(&mut self, silent: Duration) -> bool {
        let Some(overdue) = &mut self.overdue else { return silent > self.limits.silence };
        if overdue.ask(silent) {
            self.qemu.tell(&Command::ReadCounter);
        }
        overdue.is_due()
    }

    fn read_ports(&mut self) {
        let text = self.log.read();
        self.seen.console.push(&text, self.progress);
        let bytes = self.frames.read();
        for message in self.decoder.push(&bytes) {
            self.stall.heard();
            let stage = match &message {
                Message::Stage { at_ns, quiet_ns, .. } => Some((*at_ns, *quiet_ns)),
                _ => None,
            };
            self.overdue.iter_mut().for_each(|overdue| overdue.heard(stage));
            self.take(message);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Hello(hello) => {
                let boot = self.started.elapsed();
                self.progress.step(format!(
                    "PID 1 after {:.1} s on {}, {} CPUs",
                    boot.as_secs_f64(),
                    hello.release,
                    hello.cpus
                ));
                self.seen.boot = Some(boot);
                self.able_at_boot = self.stall.since_start().able;
                self.seen.hello = Some(hello);
            }
            Message::Plan(plan) => {
                let source = &plan.source;
                self.progress.step(format!("scenario by {source}, {} workers", plan.workers));
                self.seen.plan = Some(*plan);
            }
            Message::Waiting {} => {
                let printed = self.printed.take();
                let so_far = printed.map(|printed| Comparison::of(&self.log.all(), printed));
                self.at_stop.waits(so_far.and_then(|so_far| so_far.hole()));
            }
            Message::Stage { text, .. } => self.progress.update(text),
            Message::Note { text, .. } => {
                self.progress.step(&text);
                self.seen.notes.push(text);
            }
            Message::Heartbeat {} => {}
            Message::Progress { elapsed_ns, iterations, .. } => {
                let elapsed = Duration::from_nanos(elapsed_ns).as_secs_f64();
                self.progress.update(format!("measuring: {elapsed:.1} s, {iterations} iterations"));
            }
            Message::Record(record) => self.seen.record = Some(*record),
            Message::Worker(report) => self.seen.reports.push(*report),
            Message::Scheduler(life) => self.seen.schedulers.push(*life),
            Message::SchedulerOutput(output) => self.seen.scheduler_output.push(output),
            Message::Printed(printed) => self.printed = Some(printed),
            // The first one counts: what follows an end is a consequence of it.
            Message::End(end) => {
                self.seen.run = self.seen.boot.map(|boot| self.started.elapsed() - boot);
                self.seen.end.get_or_insert(end);
            }
        }
    }

    /// Ends QEMU if it still runs and gathers what is left.
    fn finish(mut self, stop: Stop) -> Result<Observed> {
        if self.qemu.ended()?.is_none() {
            self.quit()?;
        }
        self.read_ports();
        let complaints = complaints(&self.qemu_log);
        let ended_well = self.seen.end.as_ref().is_some_and(|end| end.error.is_none());
        if self.printed.is_none() && ended_well {
            // Not in the report: a bundle of that schedlab's gives the bytes that it gave there.
            self.progress.step("PID 1 is of an older schedlab: console.log could not be checked");
        }
        let printed = self.printed.take();
        let printed = printed.map(|printed| Comparison::of(&self.log.all(), printed));
        Ok(Observed {
            stop: match (stop, signal_to_end(&complaints)) {
                (Stop::Ended(QemuEnd::Exited(0)), Some(signal)) => {
                    Stop::Ended(QemuEnd::Told(signal))
                }
                (stop, _) => stop,
            },
            damage: self.decoder.damage(),
            unfinished: self.decoder.unfinished(),
            complaints,
            printed,
            total: self.started.elapsed(),
            load: self.load.load(self.stall.since_start().still()),
            snapshot: self.seen.snapshot.or_else(|| self.at_stop.identity()),
            ..self.seen
        })
    }

    /// A clean quit, so that disk images are whole; then force.
    fn quit(&mut self) -> Result<()> {
        self.qemu.tell(&Command::Quit);
        let deadline = Instant::now() + QUIT;
        while self.qemu.ended()?.is_none() {
            if Instant::now() >= deadline {
                self.qemu.kill();
                return Ok(());
            }
            self.wait_for_news();
            self.qemu.notices();
        }
        Ok(())
    }
}
