//! Who is in a cgroup, and moving tasks. Many moves in a row cost one RCU grace period together
//! (`cgroup_threadgroup_rwsem`), a single one costs it alone.

use super::events::wait_for;
use super::{CgroupError, Cgroups, files};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

pub(super) const PROCS: &str = "cgroup.procs";
/// Each moves all that were there at its beginning; only tasks forked meanwhile are left.
const MOST_ROUNDS: usize = 200;
/// For tasks that are listed and ending, who can no longer be moved.
const ENDING: Duration = Duration::from_millis(10);

impl Cgroups {
    /// Moves a process with all its threads; false if it has ended.
    pub(crate) fn move_process(&self, path: &str, pid: i32) -> Result<bool, CgroupError> {
        enter(&self.dir(path), pid)
    }

    /// The processes in a cgroup, without those below it. Zombies are not among them.
    #[cfg(test)]
    pub(crate) fn processes(&self, path: &str) -> Result<Vec<i32>, CgroupError> {
        listed(&self.dir(path))
    }

    /// Moves every process, those forked meanwhile too, and says how many. For a cgroup without
    /// others below it.
    pub(crate) fn move_all(&self, from: &str, to: &str) -> Result<usize, CgroupError> {
        move_all(&self.dir(from), &self.dir(to))
    }
}

pub(super) fn listed(dir: &Path) -> Result<Vec<i32>, CgroupError> {
    let text = files::read(&dir.join(PROCS))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Moves until nobody is in `from`.
pub(super) fn move_all(from: &Path, to: &Path) -> Result<usize, CgroupError> {
    let mut moved = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let pids = listed(from)?;
        // A leader that ended before its threads stays in the list after they were moved.
        if pids.is_empty() || wait_for(from, "populated 0", Duration::ZERO).is_ok() {
            return Ok(moved.len());
        }
        let before = moved.len();
        for pid in pids {
            if enter(to, pid)? {
                moved.insert(pid);
            }
        }
        if moved.len() == before {
            // The caller may be above them all: they end only if it leaves them the CPU.
            let _ = wait_for(from, "populated 0", ENDING);
        }
    }
    let value = format!("{} more", listed(from)?.len());
    Err(CgroupError::new("move", &from.join(PROCS), Some(&value), Errno::AGAIN))
}

fn enter(dir: &Path, pid: i32) -> Result<bool, CgroupError> {
    match files::write(&dir.join(PROCS), &pid.to_string()) {
        Ok(()) => Ok(true),
        Err(error) if error.errno == Errno::SRCH => Ok(false),
        Err(error) => Err(error),
    }
}
