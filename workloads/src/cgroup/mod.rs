//! Cgroups of one run as files of cgroup v2: made, limited, filled, frozen, emptied, removed.
//! Called by whoever runs a scenario, who decides on names and values. No descriptor is kept:
//! opening a control file costs little beside what a write to it does.

mod error;
mod place;

mod events;
mod files;
mod life;
mod tasks;
mod usage;

pub use error::CgroupError;
pub(crate) use error::named;
pub(crate) use place::own_dir;
pub use place::root;
pub(crate) use usage::CgroupUsage;

use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// Cgroups made for one run, below a base that may be the root of cgroup v2. Paths are relative
/// to the base, as `web/front`; `/` is the base. Dropped, it removes what it made, as far as it
/// can; controllers that it enabled in a base that was there before stay enabled.
#[derive(Debug)]
pub(crate) struct Cgroups {
    base: PathBuf,
    controllers: BTreeSet<&'static str>,
    /// In order a parent comes before what is below it.
    made: BTreeSet<PathBuf>,
    /// Whose children have the controllers.
    enabled: BTreeSet<PathBuf>,
    /// Where tasks go that are left in a cgroup at its removal.
    refuge: PathBuf,
    /// A forked worker has a copy of this, whose end must remove nothing.
    owner: Pid,
}

impl Cgroups {
    /// Cgroups below `base`, which is made if it is missing, with these controllers. What is left
    /// in them at their removal goes where the calling process is now.
    pub(crate) fn below(
        base: PathBuf,
        controllers: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self {
            refuge: own_dir().unwrap_or_else(|_| base.clone()),
            base,
            controllers: controllers.into_iter().collect(),
            made: BTreeSet::new(),
            enabled: BTreeSet::new(),
            owner: getpid(),
        }
    }

    /// Makes a cgroup and the parents that are missing, and enables the controllers in each of
    /// them and in the base. One that somebody else made is refused.
    pub(crate) fn create(&mut self, path: &str) -> Result<(), CgroupError> {
        let mut at = self.base.clone();
        self.make(&at)?;
        for part in parts(path) {
            self.enable(&at)?;
            at.push(part);
            self.make(&at)?;
        }
        if self.made.contains(&at) {
            return Ok(());
        }
        Err(CgroupError::new("mkdir", &at, None, Errno::EXIST))
    }

    /// Writes a control file, as `cpu.max` of `web`.
    pub(crate) fn write(&self, path: &str, file: &str, value: &str) -> Result<(), CgroupError> {
        files::write(&self.dir(path).join(file), value)
    }

    /// Gives a cgroup all CPUs that its parent has and will have. Linux 6.12 refuses an empty
    /// `cpuset.cpus` while tasks are in it (`validate_change`); all CPUs there can be are the same.
    pub(crate) fn clear_cpus(&self, path: &str) -> Result<(), CgroupError> {
        let possible = files::read(Path::new("/sys/devices/system/cpu/possible"))?;
        self.write(path, "cpuset.cpus", possible.trim_end())
    }

    /// Returns when the cpusets have followed a CPU off or on line. Linux 6.1 does that in a work
    /// item, for which a write to a cpuset waits (`cpuset_write_resmask`), also to `path`, one of
    /// them, and of what is there.
    pub(crate) fn wait_for_cpusets(&self, path: &str) {
        if let Ok(cpus) = files::read(&self.dir(path).join("cpuset.cpus")) {
            // A kernel that refuses it, as newer ones may, has followed already.
            let _ = self.write(path, "cpuset.cpus", cpus.trim_end());
        }
    }

    /// CPU time used so far, and what holds for the cgroup now.
    pub(crate) fn usage(&self, path: &str) -> CgroupUsage {
        usage::of(&self.dir(path))
    }

    fn dir(&self, path: &str) -> PathBuf {
        let mut dir = self.base.clone();
        dir.extend(parts(path));
        dir
    }

    /// mkdir of one that may be there.
    fn make(&mut self, dir: &Path) -> Result<(), CgroupError> {
        match mkdir(dir, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                self.made.insert(dir.to_owned());
                Ok(())
            }
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(CgroupError::new("mkdir", dir, None, errno)),
        }
    }

    fn enable(&mut self, dir: &Path) -> Result<(), CgroupError> {
        if self.enabled.contains(dir) {
            return Ok(());
        }
        // With threaded controllers alone the kernel would take it and make what is below a
        // threaded tree, which takes no processes.
        let is_root = !dir.join("cgroup.events").exists();
        if !is_root && !self.controllers.is_empty() && !tasks::listed(dir)?.is_empty() {
            let controllers = Vec::from_iter(self.controllers.iter().copied()).join(" ");
            let file = dir.join(SUBTREE_CONTROL);
            return Err(CgroupError::new("enable", &file, Some(&controllers), Errno::BUSY));
        }
        // One by one, so that a refusal names the controller.
        for controller in &self.controllers {
            files::write(&dir.join(SUBTREE_CONTROL), &format!("+{controller}"))?;
        }
        self.enabled.insert(dir.to_owned());
        Ok(())
    }

    fn forget(&mut self, dir: &Path) {
        self.made.remove(dir);
        self.enabled.remove(dir);
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if self.owner == getpid() {
            self.remove_all();
        }
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
