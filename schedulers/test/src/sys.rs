//! The unsafe code: signals that are waited for instead of handled.
#![expect(unsafe_code, reason = "signal sets of libc; safe signatures out")]

use anyhow::{Context as _, Result};
use std::io::Error;
use std::time::Duration;

/// SIGINT and SIGTERM, which do nothing until somebody waits for them.
#[derive(Debug)]
pub(crate) struct Signals {
    waited_for: libc::sigset_t,
}

impl Signals {
    /// Blocks both; SIGINT is never waited for if it is to be ignored.
    pub(crate) fn block(ignore_sigint: bool) -> Result<Self> {
        let blocked = set_of(&[libc::SIGINT, libc::SIGTERM]);
        // SAFETY: the set is initialised; the old one is not asked for.
        let outcome = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &blocked, std::ptr::null_mut()) };
        match outcome {
            0 if ignore_sigint => Ok(Self { waited_for: set_of(&[libc::SIGTERM]) }),
            0 => Ok(Self { waited_for: blocked }),
            _ => Err(Error::last_os_error()).context("sigprocmask failed"),
        }
    }

    /// True if one came, false if the time has passed.
    pub(crate) fn wait(&self, time: Duration) -> Result<bool> {
        let limit = libc::timespec {
            tv_sec: i64::try_from(time.as_secs())?,
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        // SAFETY: set and limit are initialised; what came is not asked for.
        let signal = unsafe { libc::sigtimedwait(&self.waited_for, std::ptr::null_mut(), &limit) };
        if signal > 0 {
            return Ok(true);
        }
        let error = Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(false),
            _ => Err(error).context("sigtimedwait failed"),
        }
    }
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: it initialises the set that it is given and fails never.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it is initialised now.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised and the signal exists.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}
