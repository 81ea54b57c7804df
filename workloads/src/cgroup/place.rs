//! Where cgroup v2 is mounted, and where this process is in it.

use std::path::{Path, PathBuf};

/// The root of the cgroup v2 file system.
pub fn root() -> Result<PathBuf, String> {
    let mounts = read("/proc/self/mounts")?;
    mount_point(&mounts).map(PathBuf::from).ok_or_else(|| "no cgroup v2 is mounted".into())
}

/// The directory of this process in the cgroup v2 file system.
pub(crate) fn own_dir() -> Result<PathBuf, String> {
    let root = root()?;
    let cgroups = read("/proc/self/cgroup")?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(root.join(own.ok_or("/proc/self/cgroup names no cgroup v2")?))
}

fn read(path: impl AsRef<Path>) -> Result<String, String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).map_err(|e| format!("read({}) failed: {e}", path.display()))
}

fn mount_point(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_by_its_type() {
        let text =
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\nnone /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(text), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }
}
