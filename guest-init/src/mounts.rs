//! What PID 1 mounts, as a table. Called once by `boot`.

use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// A file system to mount, and whether the guest cannot do without it.
struct Mount {
    kind: &'static str,
    target: &'static str,
    options: &'static str,
    required: bool,
}

const fn optional(kind: &'static str, target: &'static str) -> Mount {
    Mount { kind, target, options: "", required: false }
}

const fn required(kind: &'static str, target: &'static str, options: &'static str) -> Mount {
    Mount { kind, target, options, required: true }
}

/// What the tasks of each CPU ran, as the kernel charges it: of all tasks, because nobody makes
/// cgroups in this hierarchy.
pub(crate) const CPU_TIME: &str = "/run/cpuacct/cpuacct.usage_percpu";

const MOUNTS: &[Mount] = &[
    required("proc", "/proc", ""),
    required("sysfs", "/sys", ""),
    required("devtmpfs", "/dev", "mode=0755"),
    required("tmpfs", "/tmp", "mode=1777"),
    required("tmpfs", "/run", "mode=0755"),
    optional("tmpfs", "/dev/shm"),
    optional("cgroup2", "/sys/fs/cgroup"),
    // A controller of cgroup v1 alone: it leaves those of v2 as they are.
    Mount { kind: "cgroup", target: "/run/cpuacct", options: "cpuacct", required: false },
    optional("debugfs", "/sys/kernel/debug"),
    optional("tracefs", "/sys/kernel/tracing"),
    optional("bpf", "/sys/fs/bpf"),
];

/// Mounts the table in order and returns what could not be mounted, one sentence each. A kernel
/// without a required file system still gets as far as it can.
pub(crate) fn mount_all() -> Vec<String> {
    MOUNTS.iter().filter_map(|entry| mount_one(entry).err()).collect()
}

fn mount_one(entry: &Mount) -> Result<(), String> {
    let Mount { kind, target, options, required } = entry;
    match mkdir(*target, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        // Below sysfs the kernel makes the folder itself, if it has the feature.
        Err(_) if !required => {}
        Err(errno) => return Err(format!("mkdir({target}) failed: {errno}")),
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = std::ffi::CString::new(*options).unwrap_or_default();
    match mount(*kind, *target, *kind, flags, options.as_c_str()) {
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(Errno::NODEV | Errno::NOENT) if !required => {
            Err(format!("{target} is not mounted: this kernel has no {kind}"))
        }
        // Of a controller that the kernel does not know, or was told not to have.
        Err(Errno::INVAL) if !required && !options.is_empty() => {
            let options = options.to_string_lossy();
            Err(format!("{target} is not mounted: this kernel has no {kind} `{options}`"))
        }
        Err(errno) => Err(format!("mount({kind}, {target}) failed: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_what_is_below_them() {
        for (index, entry) in MOUNTS.iter().enumerate() {
            let later = &MOUNTS[index + 1..];
            let hidden = later.iter().find(|m| entry.target.starts_with(&format!("{}/", m.target)));
            assert!(hidden.is_none(), "{} would be hidden", entry.target);
        }
    }
}
