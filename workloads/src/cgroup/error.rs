//! Why a cgroup could not be made, written or removed, and what mends it. cgroup v2 says a lot by
//! error numbers alone.

use rustix::io::Errno;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// An operation on a file of cgroup v2 that the kernel refused, or did not do in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{op}({}) failed: {}{}", operands(.file, .value.as_deref()), named(*.errno), fix(.hint))]
pub struct CgroupError {
    /// `mkdir`, `write`, `read`, `readdir`, `rmdir`; `wait` for a line, `move` of all tasks,
    /// `enable` of controllers, which is not tried where processes are.
    pub op: &'static str,
    /// The file or folder, in full.
    pub file: PathBuf,
    /// What was written or waited for.
    pub value: Option<String>,
    /// The kernel's answer.
    pub errno: Errno,
    /// What mends it, if that is known; else empty.
    pub hint: String,
}

impl CgroupError {
    pub(super) fn new(op: &'static str, file: &Path, value: Option<&str>, errno: Errno) -> Self {
        let hint = hint(op, file, value.unwrap_or_default(), errno);
        Self { op, file: file.to_owned(), value: value.map(str::to_owned), errno, hint }
    }
}

fn operands(file: &Path, value: Option<&str>) -> String {
    let value = value.map(|value| format!(", \"{value}\"")).unwrap_or_default();
    format!("{}{value}", file.display())
}

fn fix(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(": {hint}") }
}

/// Those that cgroup v2 and knobs answer with.
const NAMES: &[(Errno, &str)] = &[
    (Errno::ACCESS, "EACCES"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::BUSY, "EBUSY"),
    (Errno::EXIST, "EEXIST"),
    (Errno::INVAL, "EINVAL"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOENT, "ENOENT"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::PERM, "EPERM"),
    (Errno::RANGE, "ERANGE"),
    (Errno::ROFS, "EROFS"),
    (Errno::SRCH, "ESRCH"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
];

/// `EBUSY (Device or resource busy)`. For knobs of the kernel too.
pub(crate) fn named(errno: Errno) -> String {
    let text = errno.to_string();
    match NAMES.iter().find(|(known, _)| *known == errno) {
        Some((_, name)) => {
            format!("{name} ({})", text.split(" (os error").next().unwrap_or_default())
        }
        None => text,
    }
}

/// The first that fits: what was done, the error, the file, then advice.
fn hint(op: &str, file: &Path, value: &str, errno: Errno) -> String {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let dir = file.parent().unwrap_or(file);
    match (op, errno) {
        ("mkdir", _) => of_mkdir(errno, dir),
        ("rmdir", Errno::PERM) => "it was not made by this run, which leaves it alone".into(),
        ("move", _) => "tasks are forked there faster than they are moved; stop them first".into(),
        ("wait", Errno::TIMEDOUT) => {
            "a task there may be in an uninterruptible wait: look at its /proc/PID/stack".into()
        }
        (_, Errno::ACCESS | Errno::PERM | Errno::ROFS) => of_rights(dir),
        (_, Errno::NODEV) => "the cgroup was removed meanwhile".into(),
        (_, Errno::NOENT) if !dir.exists() => format!("there is no cgroup {}", dir.display()),
        _ if name == super::SUBTREE_CONTROL => of_enabling(errno, dir, value),
        (_, Errno::NOENT) => of_missing(name, dir),
        _ if name == super::tasks::PROCS => of_moving(errno, dir),
        _ => of_value(errno, name),
    }
}

fn of_mkdir(errno: Errno, dir: &Path) -> String {
    match errno {
        Errno::EXIST => "another run made it or left it behind; rmdir it if that has ended".into(),
        Errno::NOENT => format!("there is no cgroup {}", dir.display()),
        Errno::AGAIN => "cgroup.max.depth or cgroup.max.descendants above it is reached".into(),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => of_rights(dir),
        _ => String::new(),
    }
}

fn of_rights(dir: &Path) -> String {
    format!("{} must be writable: run as root, or in a cgroup that was delegated", dir.display())
}

fn of_enabling(errno: Errno, dir: &Path, value: &str) -> String {
    let controller = value.trim_start_matches(['+', '-']);
    let kernel = config_of(controller).map(|name| format!(" ({name})")).unwrap_or_default();
    match errno {
        Errno::NOENT => format!(
            "cgroup.controllers in {} has no {controller}: enable it in the cgroup above; cgroup \
             v1 must not hold it",
            dir.display()
        ),
        Errno::BUSY => format!(
            "cgroup v2 keeps processes in the leaves, and {} has some itself: move them first",
            dir.display()
        ),
        Errno::INVAL if controller == "cpu" => format!(
            "the kernel has no cpu controller{kernel}, or has CONFIG_RT_GROUP_SCHED, with which \
             real-time tasks must be in the root: boot with rt_group_sched=0 or without it"
        ),
        Errno::INVAL => format!("the kernel has no {controller} controller{kernel}"),
        Errno::OPNOTSUPP => "a threaded cgroup has no such controller".into(),
        _ => String::new(),
    }
}

/// A control file that is not there, in a cgroup that is.
fn of_missing(name: &str, dir: &Path) -> String {
    let controller = name.split('.').next().unwrap_or_default();
    let dir = dir.display();
    match (config_of(name).or_else(|| config_of(controller)), controller) {
        (_, "cgroup") => format!("{dir} is the root, or the kernel is older than {name}"),
        (Some(needs), _) => format!(
            "not supported here: {name} needs {needs}, and `{controller}` enabled in the cgroup \
             above {dir}; the root has none"
        ),
        (None, _) => format!("{dir} has no such control file"),
    }
}

fn of_moving(errno: Errno, dir: &Path) -> String {
    let dir = dir.display();
    match errno {
        Errno::BUSY => format!(
            "cgroup v2 keeps processes in the leaves, and {dir} has controllers enabled below \
             it; or a SCHED_DEADLINE task has no bandwidth on its CPUs"
        ),
        Errno::INVAL => "a kernel thread stays in the root; a real-time task too on a kernel with \
                         CONFIG_RT_GROUP_SCHED, unless that has rt_group_sched=0"
            .into(),
        Errno::NOSPC => format!("cpuset.cpus.effective or cpuset.mems.effective of {dir} is empty"),
        Errno::OPNOTSUPP => format!("{dir} is in a threaded tree: see its cgroup.type"),
        _ => String::new(),
    }
}

fn of_value(errno: Errno, name: &str) -> String {
    let text = match (errno, name) {
        (Errno::NOSPC, "cpuset.cpus" | "cpuset.mems") => {
            "tasks are in it, so it must keep some: write all that the machine has instead"
        }
        (Errno::BUSY, "cpuset.cpus") => {
            "SCHED_DEADLINE tasks in it need more than these CPUs have, or a partition has them"
        }
        (Errno::INVAL | Errno::RANGE, "cpuset.cpus" | "cpuset.mems") => {
            "a list as `0-3,8` of what the machine has"
        }
        (Errno::INVAL, "cpu.max") => {
            "`QUOTA PERIOD` in microseconds: a quota of 1000 or more, not below cpu.max.burst, or \
             `max`; a period of 1000 to 1000000"
        }
        (Errno::INVAL, "cpu.max.burst") => "microseconds, at most the quota of cpu.max",
        (Errno::INVAL, "cpu.weight") => "a number, and none while cpu.idle is 1",
        (Errno::RANGE | Errno::INVAL, "cpu.weight" | "io.weight") => "1 to 10000",
        (Errno::RANGE | Errno::INVAL, "cpu.idle" | "cgroup.freeze") => "0 or 1",
        (Errno::INVAL | Errno::RANGE, "pids.max") => "a number of tasks, or `max`",
        (Errno::INVAL, "memory.max" | "memory.high" | "memory.low") => "bytes, or `max`",
        (Errno::BUSY, "memory.max") => "less than is in use and cannot be reclaimed",
        (Errno::OPNOTSUPP, _) => "this kernel does not do that for this cgroup",
        _ => "",
    };
    text.into()
}

/// What a kernel must be built with for a controller or for one file of it.
fn config_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "cpu" => "CONFIG_CGROUP_SCHED",
        "cpu.max" => "CONFIG_CFS_BANDWIDTH",
        "cpu.max.burst" => "Linux 5.14 with CONFIG_CFS_BANDWIDTH",
        "cpu.weight" | "cpu.weight.nice" => "CONFIG_FAIR_GROUP_SCHED or CONFIG_EXT_GROUP_SCHED",
        "cpu.idle" => "Linux 5.15 with CONFIG_FAIR_GROUP_SCHED",
        "cpu.uclamp.min" | "cpu.uclamp.max" => "CONFIG_UCLAMP_TASK_GROUP",
        "cpuset" => "CONFIG_CPUSETS",
        "memory" => "CONFIG_MEMCG",
        "pids" => "CONFIG_CGROUP_PIDS",
        "io" => "CONFIG_BLK_CGROUP",
        "io.weight" => "CONFIG_BLK_CGROUP_IOCOST",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(file: &str, value: &str, errno: Errno) -> String {
        CgroupError::new("write", Path::new(file), Some(value), errno).to_string()
    }

    #[test]
    fn an_error_has_the_file_the_value_the_name_and_the_fix() {
        assert_eq!(
            refused("/web/cpu.weight", "0", Errno::RANGE),
            "write(/web/cpu.weight, \"0\") failed: ERANGE (Numerical result out of range): 1 to 10000"
        );
    }

    #[test]
    fn what_is_not_known_is_left_to_the_kernels_words() {
        let error = CgroupError::new("rmdir", Path::new("/web"), None, Errno::NAMETOOLONG);
        assert_eq!(error.to_string(), "rmdir(/web) failed: File name too long (os error 36)");
    }

    #[test]
    fn a_missing_file_names_what_the_kernel_needs() {
        // Their cgroup exists; `/` stands for it.
        for (file, needs) in [
            ("/io.weight", "CONFIG_BLK_CGROUP_IOCOST"),
            ("/cpu.idle", "Linux 5.15"),
            ("/cpu.max", "CONFIG_CFS_BANDWIDTH"),
            ("/cpuset.cpus", "CONFIG_CPUSETS"),
            ("/pids.max", "CONFIG_CGROUP_PIDS"),
        ] {
            let text = refused(file, "1", Errno::NOENT);
            assert!(text.contains(needs) && text.contains("the cgroup above"), "{text}");
        }
        let text = refused("/not/there/cpu.max", "1", Errno::NOENT);
        assert!(text.ends_with("there is no cgroup /not/there"), "{text}");
    }
}
