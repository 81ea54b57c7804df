//! A running QEMU: started with pipes for its monitor and a file for its complaints, ended with us. Called by
//! `run::watch`.

use super::args::{Guest, arguments};
use super::confinement::Confinement;
use super::host_cpu::HostCpu;
use super::monitor::{Command, Monitor, Notice};
use super::turns::EXPECTED_COMPLAINT;
use crate::error::Refusal;
use crate::sys::die_with_parent;
use anyhow::{Context as _, Result};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

const PROGRAM: &str = "qemu-system-x86_64";

/// How QEMU ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QemuEnd {
    Exited(i32),
    Signaled(i32),
    /// It exited with 0 because somebody sent it this signal.
    Told(i32),
}

/// Where on the host QEMU runs, and what it may do there: by itself what its user may, anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds<'a> {
    pub(crate) cpu: Option<&'a HostCpu>,
    pub(crate) confinement: Option<&'a Confinement>,
}

/// A QEMU that runs, or has ended and was not looked at yet.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    monitor: Monitor,
    pidfd: OwnedFd,
    commands: ChildStdin,
    notices: Pipe,
    /// Whether QEMU takes commands.
    negotiated: bool,
}

/// A pipe read without blocking.
#[derive(Debug)]
struct Pipe {
    file: File,
    text: Vec<u8>,
}

/// `QEMU emulator version 7.2.22 (Debian ...)`, as QEMU says it.
pub(crate) fn version() -> Result<String> {
    let output = command().arg("--version").output().with_context(missing)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("QEMU emulator version ")
        .to_owned())
}

/// What QEMU wrote into its log, without what every deterministic one writes.
pub(crate) fn complaints(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.split_inclusive('\n').filter(|line| !line.contains(EXPECTED_COMPLAINT)).collect()
}

/// The signal that made QEMU end in order, as it says on stderr (`qemu_kill_report`).
pub(crate) fn signal_to_end(complaints: &str) -> Option<i32> {
    const SAID: &str = "terminating on signal ";
    let number = complaints.lines().find_map(|line| Some(line.split_once(SAID)?.1))?;
    number.split(' ').next()?.parse().ok()
}

fn missing() -> Refusal {
    Refusal::host(
        format!("starting `{PROGRAM}` failed"),
        "install it: apt-get install --no-install-recommends qemu-system-x86",
    )
}

fn command() -> std::process::Command {
    std::process::Command::new(PROGRAM)
}

impl Qemu {
    /// Starts QEMU for `guest`; it is killed should this thread end first.
    /// It has `inherits` open under the same numbers.
    pub(crate) fn start(
        guest: &Guest,
        bounds: Bounds<'_>,
        inherits: &[BorrowedFd<'_>],
    ) -> Result<Self> {
        // A guest that goes on from its stop may have one already.
        let mut log = File::options();
        let log = log.create(true).write(true).append(guest.memory.goes_on());
        let log = log.truncate(!guest.memory.goes_on()).open(&guest.log);
        let log = log.with_context(|| format!("create(`{}`) failed", guest.log.display()))?;
        let mut command = command();
        command.args(arguments(guest));
        // A file takes everything, whoever ends first, and never makes QEMU wait.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let place = bounds.cpu.map(HostCpu::place);
        let confinement = bounds.confinement.map(Confinement::try_clone).transpose()?;
        let command = die_with_parent(&mut command, place, confinement, inherits);
        let mut child = command.spawn().with_context(missing)?;
        let (Some(commands), Some(notices)) = (child.stdin.take(), child.stdout.take()) else {
            anyhow::bail!("QEMU's pipes are gone");
        };
        let pid = Pid::from_child(&child);
        Ok(Self {
            pidfd: pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open(QEMU) failed")?,
            child,
            monitor: guest.monitor(),
            commands,
            notices: Pipe::new(notices.into())?,
            negotiated: false,
        })
    }

    /// Asks for events and makes QEMU take commands.
    pub(crate) fn negotiate(&mut self) {
        if !std::mem::replace(&mut self.negotiated, true) {
            self.send(&Command::Capabilities);
        }
    }

    /// Sends a command.
    pub(crate) fn tell(&mut self, command: &Command) {
        self.negotiate();
        self.send(command);
    }

    /// A QEMU that is gone does not hear it, and `ended` will say so.
    fn send(&mut self, command: &Command) {
        let _ = self.commands.write_all(self.monitor.lines(command).as_bytes());
    }

    /// What QEMU has said since the last call.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        self.notices.read_available();
        let (text, monitor) = (&mut self.notices.text, self.monitor);
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = text.drain(..whole).collect();
        String::from_utf8_lossy(&lines).lines().filter_map(|line| monitor.parse(line)).collect()
    }

    /// How QEMU ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<QemuEnd>> {
        let status = self.child.try_wait().context("waitpid(QEMU) failed")?;
        Ok(status.map(|status| match status.signal() {
            Some(signal) => QemuEnd::Signaled(signal),
            None => QemuEnd::Exited(status.code().unwrap_or(-1)),
        }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Becomes readable when it has ended.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Descriptors that become readable when there is news.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.notices.file.as_fd(), self.pidfd.as_fd()]
    }

    /// Ends QEMU at once.
    pub(crate) fn kill(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            self.kill();
        }
    }
}

impl Pipe {
    fn new(fd: OwnedFd) -> Result<Self> {
        let flags = fcntl_getfl(&fd).context("fcntl(F_GETFL) failed")?;
        fcntl_setfl(&fd, flags | OFlags::NONBLOCK).context("fcntl(F_SETFL) failed")?;
        Ok(Self { file: fd.into(), text: Vec::new() })
    }

    fn read_available(&mut self) {
        let mut chunk = [0; 4096];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => self.text.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
