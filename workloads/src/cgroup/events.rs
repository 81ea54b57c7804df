//! Waiting for what `cgroup.events` says. The kernel wakes who polls it (`cgroup_file_notify`), so
//! nothing is looked at twice in vain.

use super::CgroupError;
use super::files::of;
use crate::clock::{monotonic_ns, to_ns, to_timespec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

/// A kernel that has not done it by then will not.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// Two lines of a few bytes.
const MOST_BYTES: usize = 256;

/// Waits until `cgroup.events` in `dir` has the line `wanted`, as `frozen 1`; ETIMEDOUT if it has
/// not within `limit`.
pub(super) fn wait_for(dir: &Path, wanted: &str, limit: Duration) -> Result<(), CgroupError> {
    let path = dir.join("cgroup.events");
    let failed = |errno| CgroupError::new("wait", &path, Some(wanted), errno);
    let file = File::open(&path).map_err(|error| failed(of(&error)))?;
    let until_ns = monotonic_ns() + to_ns(limit);
    while !says(&file, wanted).map_err(failed)? {
        let Some(left_ns) = until_ns.checked_sub(monotonic_ns()) else {
            return Err(failed(Errno::TIMEDOUT));
        };
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&to_timespec(left_ns))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Whether it is there now. A poll waits for changes after this.
fn says(file: &File, wanted: &str) -> Result<bool, Errno> {
    let mut bytes = [0; MOST_BYTES];
    let length = file.read_at(&mut bytes, 0).map_err(|error| of(&error))?;
    let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
    Ok(text.lines().any(|line| line == wanted))
}
