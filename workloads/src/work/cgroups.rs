//! A type that moves itself round cgroups of its own.

use super::catalogue::params::CgroupChurn;
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Rules, Work};
use crate::cgroup::own_dir;
use crate::cpuset::{held_cpus, keep_to};
use crate::report::Latency;
use crate::worker::Worker;
use rustix::fs::{Mode, OFlags, mkdir, open, rmdir};
use rustix::io::{Errno, write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Spin steps in each cgroup.
const STEPS: u64 = 256;
/// More would take longer to make and to remove than to go round.
const MOST_GROUPS: u64 = 1000;
/// Moves between two looks at where the kernel has the worker.
const CHECK_EVERY: usize = 7;

impl Documented for CgroupChurn {
    const FACTS: Facts = Facts {
        latency: &[(Latency::Timer, "each sleep")],
        privilege: Some(
            "a cgroup v2 of its own to write to, as root or by delegation; without, it fails",
        ),
        ..Facts::PLAIN
    };
}

impl Work for CgroupChurn {
    fn needs(&self) -> Needs {
        Needs {
            own_process: Some("a write to cgroup.procs moves the whole process"),
            restless: true,
            ..Needs::default()
        }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("groups", &self.groups, "cgroups to go round");
        let groups = u64::try_from(self.groups).unwrap_or(u64::MAX);
        rules.require("groups", groups <= MOST_GROUPS, groups, "1 to 1000 cgroups");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let mut round_trip = match RoundTrip::prepare(w.index(), self.groups) {
            Ok(round_trip) => round_trip,
            Err(why) => return Finish::Failed(format!("no cgroups to go round: {why}")),
        };
        let mut kernel_keeps = false;
        for round in 0_usize.. {
            if !w.next() {
                break;
            }
            let (dir, procs) = &round_trip.groups[round % self.groups];
            match enter(procs) {
                Ok(()) if round.is_multiple_of(CHECK_EVERY) && !is_in(dir) => {
                    w.error("cgroup.procs: not where it was moved", Errno::BADMSG);
                }
                Ok(()) => {}
                Err(errno) => w.error("write(cgroup.procs)", errno),
            }
            kernel_keeps = kernel_keeps || keep_cpus(w);
            w.spin(STEPS);
            if !w.sleep_for(Duration::from_millis(self.cycle_ms)) {
                break;
            }
        }
        for (op, errno) in round_trip.leave() {
            w.error(op, errno);
        }
        keep_cpus(w);
        Finish::Done
    }
}

/// Sets the CPUs again that the worker is to have; whether the kernel had kept them. Before Linux
/// 6.2 it forgets them with each move.
fn keep_cpus(w: &mut Worker<'_>) -> bool {
    let Some(asked) = w.asked_cpus() else { return false };
    let kept = held_cpus(None).is_ok_and(|held| held == asked);
    if !kept && let Err(errno) = keep_to(None, &asked) {
        w.error("sched_setaffinity", errno);
    }
    kept
}

/// The worker's cgroups. Dropped, it goes back to where it began and removes them.
struct RoundTrip {
    home: OwnedFd,
    groups: Vec<(PathBuf, OwnedFd)>,
}

impl RoundTrip {
    fn prepare(index: usize, count: usize) -> Result<Self, String> {
        let home = own_dir()?;
        let mut trip = Self { home: open_procs(&home)?, groups: Vec::new() };
        for i in 0..count {
            let dir = home.join(format!("schedlab-churn-{index}-{i}"));
            match mkdir(&dir, Mode::from_raw_mode(0o755)) {
                // One that a killed worker left behind serves as well.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(format!("mkdir({}) failed: {errno}", dir.display())),
            }
            match open_procs(&dir) {
                Ok(procs) => trip.groups.push((dir, procs)),
                Err(why) => {
                    let _ = rmdir(&dir);
                    return Err(why);
                }
            }
        }
        Ok(trip)
    }

    /// Goes home and removes the cgroups, once; returns what failed.
    fn leave(&mut self) -> Vec<(&'static str, Errno)> {
        let groups = std::mem::take(&mut self.groups);
        if groups.is_empty() {
            return Vec::new();
        }
        let back = enter(&self.home).map_err(|errno| ("write(cgroup.procs) to leave", errno));
        let removed =
            groups.iter().map(|(dir, _)| rmdir(dir).map_err(|errno| ("rmdir(cgroup)", errno)));
        std::iter::once(back).chain(removed).filter_map(Result::err).collect()
    }
}

impl Drop for RoundTrip {
    fn drop(&mut self) {
        self.leave();
    }
}

fn open_procs(dir: &Path) -> Result<OwnedFd, String> {
    let path = dir.join("cgroup.procs");
    open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| format!("open({}) failed: {e}", path.display()))
}

/// Moves this process: 0 stands for the writer.
fn enter(procs: &OwnedFd) -> Result<(), Errno> {
    write(procs, b"0").map(drop)
}

fn is_in(dir: &Path) -> bool {
    own_dir().is_ok_and(|own| own == dir)
}
