//! Freezing, thawing, removing. All return when the kernel has done it, not when it was asked.

use super::events::{LIMIT, wait_for};
use super::{CgroupError, Cgroups, files, parts, tasks};
use rustix::fs::rmdir;
use rustix::io::Errno;
use std::path::Path;

const FREEZE: &str = "cgroup.freeze";
/// How many processes an error names.
const MOST_NAMED: usize = 5;

impl Cgroups {
    /// Returns when every task in the cgroup and below it stands.
    pub(crate) fn freeze(&self, path: &str) -> Result<(), CgroupError> {
        self.write(path, FREEZE, "1")?;
        wait_for(&self.dir(path), "frozen 1", LIMIT)
    }

    /// Returns when the tasks may run again; below a frozen cgroup they will when that is thawed.
    pub(crate) fn thaw(&self, path: &str) -> Result<(), CgroupError> {
        self.write(path, FREEZE, "0")?;
        if self.is_below_frozen(path) {
            return Ok(());
        }
        wait_for(&self.dir(path), "frozen 0", LIMIT)
    }

    /// Removes a cgroup that was made here, and what workers made below it. Tasks that are left
    /// go where the process was that made it.
    pub(crate) fn remove(&mut self, path: &str) -> Result<(), CgroupError> {
        let dir = self.dir(path);
        if !self.made.contains(&dir) {
            return Err(CgroupError::new("rmdir", &dir, None, Errno::PERM));
        }
        self.remove_tree(&dir)
    }

    /// Removes all that is left, children first, and returns what could not be.
    pub(crate) fn remove_all(&mut self) -> Vec<CgroupError> {
        let mut failed = Vec::new();
        while let Some(dir) = self.made.last().cloned() {
            failed.extend(self.remove_tree(&dir).err());
            self.forget(&dir);
        }
        failed
    }

    fn remove_tree(&mut self, dir: &Path) -> Result<(), CgroupError> {
        for child in files::children(dir)? {
            self.remove_tree(&child)?;
        }
        // The root and old kernels have none.
        let _ = files::write(&dir.join(FREEZE), "0");
        tasks::move_all(dir, &self.refuge)?;
        wait_for(dir, "populated 0", LIMIT).map_err(|error| naming_inhabitants(error, dir))?;
        rmdir(dir).map_err(|errno| {
            naming_inhabitants(CgroupError::new("rmdir", dir, None, errno), dir)
        })?;
        self.forget(dir);
        Ok(())
    }

    fn is_below_frozen(&self, path: &str) -> bool {
        let mut at = self.base.clone();
        let mut frozen = false;
        for part in parts(path) {
            frozen |= files::read(&at.join(FREEZE)).is_ok_and(|text| text.trim_end() == "1");
            at.push(part);
        }
        frozen
    }
}

/// Says in the hint who is in the way.
fn naming_inhabitants(mut error: CgroupError, dir: &Path) -> CgroupError {
    let pids = tasks::listed(dir).unwrap_or_default();
    let mut names: Vec<String> = pids.iter().take(MOST_NAMED).map(|pid| name_of(*pid)).collect();
    if pids.len() > MOST_NAMED {
        names.push(format!("{} more processes", pids.len() - MOST_NAMED));
    }
    let children = files::children(dir).unwrap_or_default();
    names.extend(children.iter().map(|child| child.display().to_string()));
    if matches!(error.errno, Errno::BUSY | Errno::TIMEDOUT) && !names.is_empty() {
        error.hint = format!("in it are {}", names.join(", "));
    }
    error
}

fn name_of(pid: i32) -> String {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} ({})", comm.trim_end())
}
