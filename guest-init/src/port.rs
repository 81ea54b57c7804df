//! The report port: a serial line that carries frames and nothing else. Owned by PID 1.

use crate::frame::Encoder;
use crate::proto::Message;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};
use std::os::fd::OwnedFd;

/// An open report port.
#[derive(Debug)]
pub(crate) struct Port {
    tty: OwnedFd,
    encoder: Encoder,
}

impl Port {
    /// Opens `path` raw, so that the line discipline changes nothing.
    pub(crate) fn open(path: &str) -> Result<Self, Errno> {
        let tty = open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut mode = tcgetattr(&tty)?;
        mode.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &mode)?;
        Ok(Self { tty, encoder: Encoder::default() })
    }

    /// Sends one message; blocks until the line has taken it.
    pub(crate) fn send(&mut self, message: &Message) {
        match serde_json::to_string(message) {
            Ok(json) => self.send_json(&json),
            Err(error) => crate::boot::say(&format!("guest-init: serialize failed: {error}")),
        }
    }

    /// Sends a message that is JSON already.
    pub(crate) fn send_json(&mut self, json: &str) {
        let line = self.encoder.encode(json);
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match rustix::io::write(&self.tty, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(errno) => {
                    // The host sees the gap in the numbering; the console says why.
                    crate::boot::say(&format!("guest-init: write(report port) failed: {errno}"));
                    return;
                }
            }
        }
    }

    /// Waits until the last byte has left the UART.
    pub(crate) fn drain(&self) {
        while tcdrain(&self.tty) == Err(Errno::INTR) {}
    }
}
