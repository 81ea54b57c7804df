//! The one wait of PID 1 and of what keeps schedulers: for descriptors to become readable.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use std::time::Duration;

/// Waits until one of them is readable, at most `timeout`.
pub(crate) fn wait_readable<'a>(fds: impl IntoIterator<Item = BorrowedFd<'a>>, timeout: Duration) {
    let timeout = Timespec::try_from(timeout).ok();
    let mut fds: Vec<_> =
        fds.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    // An error ends the wait early, and the caller looks again.
    let _ = poll(&mut fds, timeout.as_ref());
}
