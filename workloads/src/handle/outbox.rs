//! Where a worker's report leaves its thread: one pipe a worker, whatever process it is in. A
//! panic becomes a report too, with `panic = "abort"` and without. Called by `life`.

use super::Identity;
use super::host::Host;
use super::life::own_tid;
use crate::report::{ExitInfo, WorkerReport};
use crate::sys::process::exit_now;
use rustix::process::getpid;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Once;

/// First byte on the report pipe: the worker is at the gate.
pub(super) const READY: u8 = b'R';
/// Status of a forked worker that panicked.
const EXIT_PANICKED: i32 = 101;

thread_local! {
    /// The pipe of the worker that this thread is.
    static OUTBOX: RefCell<Option<Outbox>> = const { RefCell::new(None) };
}

/// A worker's way out.
#[derive(Debug)]
struct Outbox {
    pipe: File,
    identity: Identity,
    host: Host,
}

/// Makes `outbox` that of the calling thread, for its own words and for its panic.
pub(super) fn open(pipe: OwnedFd, identity: &Identity, host: Host) {
    let outbox = Outbox { pipe: File::from(pipe), identity: identity.clone(), host };
    OUTBOX.set(Some(outbox));
}

/// Says that the worker is at the gate; false if nobody listens any more.
pub(super) fn say_ready() -> bool {
    OUTBOX.with_borrow_mut(|outbox| {
        outbox.as_mut().is_some_and(|outbox| outbox.pipe.write_all(&[READY]).is_ok())
    })
}

/// Sends the report, which ends the worker for whoever listens; false if nobody does.
pub(super) fn send(report: &WorkerReport) -> bool {
    let Some(mut outbox) = OUTBOX.take() else { return false };
    serde_json::to_vec(report).is_ok_and(|json| outbox.pipe.write_all(&json).is_ok())
}

/// Makes a panic of a worker its report. Threads that are no workers panic as before.
pub(super) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match OUTBOX.take() {
            None => former(info),
            Some(outbox) => outbox.end_by_panic(info.to_string()),
        }));
    });
}

impl Outbox {
    fn end_by_panic(mut self, message: String) {
        let exit_info = Some(ExitInfo::Panicked(message));
        let report = WorkerReport { exit_info, ..WorkerReport::default() };
        let report = self.identity.sign(own_tid(), getpid(), report);
        // Unsent, the exit status says it, or the end of the pipe.
        let _ = serde_json::to_writer(&mut self.pipe, &report);
        if matches!(self.host, Host::Own { .. }) {
            exit_now(EXIT_PANICKED)
        }
        drop(self);
        if cfg!(panic = "abort") {
            // To go on would take the whole process along: the thread stays until that ends.
            loop {
                std::thread::park();
            }
        }
    }
}
