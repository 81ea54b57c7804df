//! What PID 1 does while the guest is up: prepare, fork the runner, tell it the scenario, pass its messages on
//! as frames, beat, reap orphans, and say how the runner ended. Called by `boot`.

use crate::handover::{self, Giver, Task};
use crate::mounts::CPU_TIME;
use crate::port::Port;
use crate::proto::{Message, Order, args};
use crate::runner::Machine;
use crate::scheduler::{Keeper, Scribe};
use crate::storage::{Disk, argument};
use crate::wait::wait_readable;
use crate::{facts, loglevel, modules, order, runner, scheduler, source};
use anyhow::{Context as _, Result, bail};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait};
use std::time::{Duration, Instant};
use workloads::{IoPlace, RunOptions, become_supervisor, cgroup_root, fork_child, monotonic_ns};

/// The host calls a guest hung that is silent for many of these.
const BEAT: Duration = Duration::from_secs(2);
const READ_CHUNK: usize = 64 << 10;
/// How the runner's last line begins.
const END: &str = r#"{"kind":"end","#;
/// How a line begins that may say for how long nothing need come.
const STAGE: &str = r#"{"kind":"stage","#;

/// Runs the guest's one scenario. An error is one that the runner could not report itself.
pub(crate) fn run(port: &mut Port, started_ns: u64, notes: Vec<String>) -> Result<()> {
    let cmdline = std::fs::read_to_string("/proc/cmdline").context("read(/proc/cmdline) failed")?;
    let stops = argument(&cmdline, args::CONFIG) == Some(args::CONFIG_FW_CFG);
    let able = stops.then(|| order::cannot_stop().map_or(Ok(()), Err));
    port.send(&Message::Hello(facts::hello(started_ns, able)));
    let note =
        |port: &mut Port, text: String| port.send(&Message::Note { at_ns: monotonic_ns(), text });
    notes.into_iter().chain(loglevel::let_complaints_through()).for_each(|text| note(port, text));
    if let Err(errno) = become_supervisor() {
        note(port, format!("PID 1 is not above the workload: sched_setattr failed: {errno}"));
    }
    let loaded = modules::load_all();
    loaded.refused.into_iter().for_each(|text| note(port, text));
    let (disk, remark) = Disk::bring_up(&cmdline);
    remark.into_iter().for_each(|text| note(port, text));
    let io = disk.as_ref().map_or_else(|| IoPlace::Dir("/tmp".into()), Disk::io_place);
    let machine = Machine {
        options: RunOptions {
            io,
            cgroups: cgroup_root().ok(),
            cpu_time: Some(CPU_TIME.into()),
            schedule_hash: false,
            tick: beat(&cmdline)?,
        },
        disk: disk.as_ref(),
        modules: loaded.names,
    };
    let (scribe, keeper) = schedulers()?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context("pipe2 failed")?;
    let (giver, taker) = handover::pair().context("pipe2 failed")?;
    let runner = fork_child(|| runner::main(machine, keeper, taker, writer));
    let runner = runner.context("fork of the runner failed")?;
    let mut relay = Relay::new(port, runner, reader, scribe)?;
    let relayed = relay.until_ready(&giver).and_then(|is_ready| {
        if is_ready {
            let disk = disk.as_ref();
            giver.give(&task(relay.port, &cmdline, disk, stops)?)?;
        }
        relay.until_end()
    });
    // A runner that was killed could not say that it had ended.
    if relayed.is_err() {
        relay.scribe.iter_mut().for_each(|scribe| scribe.send(relay.port));
    }
    relayed
}

/// What there is to run; of a guest that stops, once it has stopped.
fn task(port: &mut Port, cmdline: &str, disk: Option<&Disk>, stops: bool) -> Result<Task> {
    if stops {
        let (order, scenario) = order::wait_for(port)?;
        return Ok(Task { order, source: "fw_cfg".into(), scenario });
    }
    let (scenario, source) = source::find(cmdline, disk)?;
    let schedule_hash = argument(cmdline, args::SCHEDULE) == Some(args::SCHEDULE_HASH);
    Ok(Task { order: Order { phase_ns: 0, schedule_hash }, source: source.into(), scenario })
}

/// How often a sign of life is due while the workload is measured; none if it is never.
fn beat(cmdline: &str) -> Result<Option<Duration>> {
    let Some(text) = argument(cmdline, args::BEAT) else { return Ok(Some(BEAT)) };
    let ms = text.parse().with_context(|| format!("{}{text} is no number", args::BEAT))?;
    Ok(Some(Duration::from_millis(ms)).filter(|beat| !beat.is_zero()))
}

/// What keeps schedulers and their output, if the image carries any.
fn schedulers() -> Result<(Option<Scribe>, Option<Keeper>)> {
    let carried = scheduler::carried()?;
    if carried.is_empty() {
        return Ok((None, None));
    }
    let (scribe, streams) = Scribe::new().context("pipe2(scheduler output) failed")?;
    Ok((Some(scribe), Some(Keeper::new(carried, streams))))
}

/// Passes on what the runner says.
struct Relay<'a> {
    port: &'a mut Port,
    scribe: Option<Scribe>,
    runner: Pid,
    /// The end of the pipe would not let poll sleep, and a PID 1 that spins keeps a runner of the
    /// same priority from ever ending on its CPU: then only its end is waited for.
    ended: OwnedFd,
    pipe: OwnedFd,
    is_open: bool,
    has_ended: bool,
    lines: Vec<u8>,
    next_beat: Instant,
}

impl<'a> Relay<'a> {
    fn new(port: &'a mut Port, runner: Pid, pipe: OwnedFd, scribe: Option<Scribe>) -> Result<Self> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK).context("fcntl(runner pipe) failed")?;
        let ended = pidfd_open(runner, PidfdFlags::empty()).context("pidfd_open(runner) failed")?;
        Ok(Self {
            port,
            scribe,
            runner,
            ended,
            pipe,
            is_open: true,
            has_ended: false,
            lines: Vec::new(),
            next_beat: Instant::now() + BEAT,
        })
    }

    /// Whether the runner waits for its task. If not, it has ended or is about to.
    fn until_ready(&mut self, giver: &Giver) -> Result<bool> {
        loop {
            // Before the round: what the runner wrote until then is passed on by it.
            let is_ready = giver.is_ready();
            self.pass_on()?;
            match is_ready {
                Some(is_ready) => return Ok(is_ready),
                None if self.has_ended => return Ok(false),
                None => self.wait(Some(giver.as_fd())),
            }
        }
    }

    fn until_end(&mut self) -> Result<()> {
        while !self.has_ended {
            self.pass_on()?;
            if !self.has_ended {
                self.wait(None);
            }
        }
        Ok(())
    }

    /// Passes on what is there. An error says that the runner was killed.
    fn pass_on(&mut self) -> Result<()> {
        let status = reap(self.runner);
        // Read after the reaping: what a dead runner wrote is in the pipe by then.
        self.is_open = self.is_open && drain(&self.pipe, &mut self.lines);
        self.scribe.iter_mut().for_each(Scribe::take);
        if let Some(quiet) = send_lines(self.port, &mut self.lines, self.scribe.as_mut()) {
            self.next_beat = Instant::now() + quiet + BEAT;
        }
        match status {
            Some(status) if status.exit_status().is_some() => self.has_ended = true,
            Some(status) => {
                bail!("the runner was killed by signal {:?}", status.terminating_signal())
            }
            None => {}
        }
        Ok(())
    }

    /// Waits for more, or for the time of the next sign of life, which is given.
    fn wait(&mut self, also: Option<BorrowedFd<'_>>) {
        if Instant::now() >= self.next_beat {
            self.port.send(&Message::Heartbeat {});
            self.next_beat = Instant::now() + BEAT;
        }
        let timeout = self.next_beat.saturating_duration_since(Instant::now());
        let written = self.scribe.iter().flat_map(|scribe| scribe.descriptors());
        let runner = [Some(&self.ended), self.is_open.then_some(&self.pipe)];
        let runner = runner.into_iter().flatten().map(|fd| fd.as_fd());
        wait_readable(runner.chain(written).chain(also), timeout);
    }
}

/// Reaps whatever has ended; the runner's status if it is among them.
fn reap(runner: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == runner => ended = Some(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return ended,
        }
    }
}

/// Whether more may come.
fn drain(pipe: &OwnedFd, lines: &mut Vec<u8>) -> bool {
    let mut chunk = [0; READ_CHUNK];
    loop {
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => return false,
            Ok(n) => lines.extend_from_slice(&chunk[..n]),
            Err(Errno::INTR) => {}
            Err(errno) => return errno == Errno::AGAIN,
        }
    }
}

/// Sends the whole lines of `lines` and keeps the rest; says for how long nothing need come after
/// them. What schedulers wrote goes before the end.
fn send_lines(
    port: &mut Port,
    lines: &mut Vec<u8>,
    mut scribe: Option<&mut Scribe>,
) -> Option<Duration> {
    let end = lines.iter().rposition(|byte| *byte == b'\n')?;
    let mut quiet = Duration::ZERO;
    let rest = lines.split_off(end + 1);
    for line in std::mem::replace(lines, rest).split(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok("") | Err(_) => {}
            Ok(json) => {
                if json.starts_with(END) {
                    scribe.iter_mut().for_each(|scribe| scribe.send(port));
                }
                port.send_json(json);
                quiet = quiet_after(json);
            }
        }
    }
    Some(quiet)
}

/// For how long nothing need come after a line.
fn quiet_after(json: &str) -> Duration {
    let stage = json.starts_with(STAGE).then(|| serde_json::from_str(json));
    match stage {
        Some(Ok(Message::Stage { quiet_ns, .. })) => Duration::from_nanos(quiet_ns),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stage_says_for_how_long_nothing_need_come() {
        let stage = Message::Stage { at_ns: 1, text: "measuring".into(), quiet_ns: 5_000_000 };
        let quiet = quiet_after(&serde_json::to_string(&stage).unwrap());
        assert_eq!(quiet, Duration::from_millis(5));
        let note = Message::Note { at_ns: 1, text: r#"{"kind":"stage","#.into() };
        assert_eq!(quiet_after(&serde_json::to_string(&note).unwrap()), Duration::ZERO);
        assert_eq!(quiet_after(r#"{"kind":"stage","at_ns":1,"text":""}"#), Duration::ZERO);
    }

    #[test]
    fn the_beat_is_what_the_command_line_says_last() {
        assert_eq!(beat("quiet").unwrap(), Some(BEAT));
        assert_eq!(beat("schedlab.beat=0").unwrap(), None);
        let last = beat("schedlab.beat=0 schedlab.beat=250").unwrap();
        assert_eq!(last, Some(Duration::from_millis(250)));
        assert!(beat("schedlab.beat=often").is_err());
    }
}
