//! Cgroups on the cgroup v2 of this machine, where it may be written to: all that needs no
//! controller. The VM tests do the rest.

use super::events::wait_for;
use super::{CgroupUsage, Cgroups, own_dir, usage};
use crate::supervisor::fork_child;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder of its own that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("schedlab-{name}-{}", getpid()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn with(self, file: &str, text: &str) -> Self {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Cgroups below the one that the test is in; `None` where it may not make any.
fn real(name: &str) -> Option<(PathBuf, Cgroups)> {
    let base = own_dir().ok()?.join(format!("schedlab-test-{name}-{}", getpid()));
    std::fs::create_dir(&base).ok()?;
    std::fs::remove_dir(&base).unwrap();
    Some((base.clone(), Cgroups::below(base, [])))
}

/// A child that sleeps until it is killed. Dropped, it is.
struct Sleeper(Pid);

impl Sleeper {
    fn new() -> Self {
        let pid = fork_child(|| {
            loop {
                rustix::event::pause();
            }
        });
        Self(pid.unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.as_raw_nonzero().get()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        kill_process(self.0, Signal::KILL).unwrap();
        waitpid(Some(self.0), WaitOptions::empty()).unwrap();
    }
}

#[test]
fn controllers_are_enabled_in_the_base_and_every_parent_but_not_in_the_leaf() {
    let control = "cgroup.subtree_control";
    let folder = Folder::new("enable").with(control, "").with("web/cgroup.subtree_control", "");
    let folder = folder.with("web/front/cgroup.subtree_control", "");
    let base = folder.0.clone();
    let mut cgroups = Cgroups::below(base.clone(), ["cpu"]);
    cgroups.create("web/front/x").unwrap();
    let said = |dir: &str| std::fs::read_to_string(base.join(dir).join(control)).ok();
    for dir in ["", "web", "web/front"] {
        assert_eq!(said(dir).as_deref(), Some("+cpu"), "{dir}");
    }
    assert_eq!(said("web/front/x"), None);
    // Parents that were there are not removed, nor is the base.
    assert_eq!(cgroups.made, [base.join("web/front/x")].into());
    let taken = cgroups.create("web/front").unwrap_err();
    assert_eq!((taken.op, taken.errno), ("mkdir", Errno::EXIST));
}

#[test]
fn a_controller_that_is_not_there_is_named() {
    let folder = Folder::new("refused");
    let mut cgroups = Cgroups::below(folder.0.clone(), ["cpu"]);
    let error = cgroups.create("web").unwrap_err().to_string();
    assert!(error.contains("cgroup.subtree_control, \"+cpu\") failed: ENOENT"), "{error}");
    assert!(error.contains("has no cpu: enable it in the cgroup above"), "{error}");
}

#[test]
fn controllers_are_not_enabled_where_processes_are() {
    let Some((base, mut cgroups)) = real("inner") else { return };
    cgroups.create("a").unwrap();
    let sleeper = Sleeper::new();
    cgroups.move_process("a", sleeper.pid()).unwrap();
    let error = Cgroups::below(base.join("a"), ["cpu"]).create("b").unwrap_err();
    assert_eq!((error.op, error.errno), ("enable", Errno::BUSY));
    assert!(error.hint.contains("keeps processes in the leaves"), "{error}");
    assert!(!base.join("a/b").exists());
}

#[test]
fn an_empty_value_is_written_too() {
    let folder = Folder::new("empty").with("web/cpuset.mems", "");
    let cgroups = Cgroups::below(folder.0.clone(), []);
    cgroups.write("web", "cpuset.mems", "").unwrap();
    assert_eq!(std::fs::read(folder.0.join("web/cpuset.mems")).unwrap(), b"\n");
}

#[test]
fn a_wait_has_a_limit_and_says_for_what() {
    let folder = Folder::new("wait").with("cgroup.events", "populated 1\nfrozen 0\n");
    wait_for(&folder.0, "populated 1", Duration::ZERO).unwrap();
    let error = wait_for(&folder.0, "frozen 1", Duration::from_millis(5)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cgroup.events, \"frozen 1\") failed: ETIMEDOUT"), "{text}");
}

#[test]
fn usage_is_in_nanoseconds_and_absent_with_a_reason() {
    let stat = "usage_usec 7\nuser_usec 5\nnr_periods 4\nnr_throttled 2\nthrottled_usec 3\n";
    let folder = Folder::new("usage").with("cpu.stat", stat).with("cpu.max", "50000 100000\n");
    let folder = folder.with("cpu.weight", "200\n").with("cpuset.cpus.effective", "0-1\n");
    let full = CgroupUsage {
        usage_ns: Some(7000),
        nr_periods: Some(4),
        nr_throttled: Some(2),
        throttled_ns: Some(3000),
        cpu_max: Some("50000 100000".into()),
        cpu_weight: Some(200),
        cpus_effective: Some("0-1".into()),
        ..CgroupUsage::default()
    };
    assert_eq!(usage::of(&folder.0), full);
    let folder = folder.with("cpu.stat", "usage_usec 9\n").with("cpu.weight", "");
    std::fs::remove_file(folder.0.join("cpu.max")).unwrap();
    let usage = usage::of(&folder.0);
    assert_eq!(usage.usage_ns, Some(9000));
    let absent: Vec<&str> = usage.unavailable.keys().map(String::as_str).collect();
    assert_eq!(absent, ["cpu_max", "cpu_weight", "nr_periods", "nr_throttled", "throttled_ns"]);
    assert!(usage.unavailable["cpu_max"].contains("CONFIG_CFS_BANDWIDTH"), "{usage:?}");
    assert!(usage.unavailable["nr_periods"].contains("not enabled here"), "{usage:?}");
}

#[test]
fn every_process_is_moved_and_those_that_ended_are_no_error() {
    let Some((_, mut cgroups)) = real("move") else { return };
    cgroups.create("from").unwrap();
    cgroups.create("to").unwrap();
    let sleepers: Vec<Sleeper> = (0..5).map(|_| Sleeper::new()).collect();
    let mut pids: Vec<i32> = sleepers.iter().map(Sleeper::pid).collect();
    pids.sort_unstable();
    assert!(pids.iter().all(|pid| cgroups.move_process("from", *pid).unwrap()));
    assert_eq!(cgroups.move_all("from", "to").unwrap(), 5);
    assert!(cgroups.processes("from").unwrap().is_empty());
    let mut moved = cgroups.processes("to").unwrap();
    moved.sort_unstable();
    assert_eq!(moved, pids);
    drop(sleepers);
    assert!(!cgroups.move_process("from", pids[0]).unwrap(), "{} has ended", pids[0]);
}

#[test]
fn freezing_returns_when_all_stand_and_a_frozen_parent_keeps_them_so() {
    let Some((base, mut cgroups)) = real("freeze") else { return };
    cgroups.create("a/b").unwrap();
    let sleeper = Sleeper::new();
    cgroups.move_process("a/b", sleeper.pid()).unwrap();
    let is = |dir: &str, line: &str| wait_for(&base.join(dir), line, Duration::ZERO).is_ok();
    for path in ["a/b", "a"] {
        cgroups.freeze(path).unwrap();
        assert!(is(path, "frozen 1"), "{path}");
    }
    cgroups.thaw("a/b").unwrap();
    assert!(is("a/b", "frozen 1"));
    cgroups.thaw("a").unwrap();
    assert!(is("a/b", "frozen 0"));
}

#[test]
fn removal_lets_out_who_is_frozen_inside_and_takes_what_workers_made() {
    let Some((base, mut cgroups)) = real("remove") else { return };
    cgroups.create("a/b").unwrap();
    std::fs::create_dir(base.join("a/b/worker-made")).unwrap();
    let sleeper = Sleeper::new();
    cgroups.move_process("a/b/worker-made", sleeper.pid()).unwrap();
    cgroups.freeze("a").unwrap();
    cgroups.remove("a").unwrap();
    assert!(!base.join("a").exists() && base.exists());
    assert!(tasks_of(&own_dir().unwrap()).contains(&sleeper.pid()));
    assert_eq!(cgroups.remove("a").unwrap_err().errno, Errno::PERM);
    cgroups.create("a/b").unwrap();
    drop(cgroups);
    assert!(!base.exists());
}

#[test]
fn the_end_of_a_forked_copy_removes_nothing() {
    let Some((base, mut cgroups)) = real("copy") else { return };
    cgroups.create("a").unwrap();
    let mut here = Some(cgroups);
    let child = fork_child(|| {
        drop(here.take());
        0
    });
    waitpid(Some(child.unwrap()), WaitOptions::empty()).unwrap();
    assert!(base.join("a").exists());
    drop(here);
    assert!(!base.exists());
}

fn tasks_of(dir: &Path) -> Vec<i32> {
    super::tasks::listed(dir).unwrap()
}
