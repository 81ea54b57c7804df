//! Disks of the guest: which is which, and what the I/O types may use. Called by `supervise`
//! and `source`.

use crate::null_blk;
use crate::proto::{DiskUse, args, serial};
use rustix::mount::{MountFlags, mount};
use std::path::{Path, PathBuf};
use workloads::IoPlace;

const MOUNT_POINT: &str = "/mnt/vda";
/// File systems that an image may carry, tried in this order.
const FILE_SYSTEMS: [&str; 5] = ["ext4", "xfs", "btrfs", "f2fs", "vfat"];
const SECTOR_BYTES: u64 = 512;

/// The workload's disk, if the host attached one and the kernel has a driver for it.
#[derive(Debug)]
pub(crate) struct Disk {
    name: String,
    mounted: bool,
}

impl Disk {
    /// Finds the disk that the command line announces; mounts it if it is an image with a file
    /// system. The second value is a remark for the user.
    pub(crate) fn bring_up(cmdline: &str) -> (Option<Self>, Option<String>) {
        let Some(kind) = argument(cmdline, args::DISK) else { return (None, None) };
        if let Some(mib) = kind.strip_prefix(args::DISK_MEMORY) {
            return match null_blk::create(mib) {
                Ok(name) => (Some(Self { name: name.into(), mounted: false }), None),
                Err(why) => {
                    let text = "the I/O types use files: this kernel makes no disk with null_blk";
                    (None, Some(format!("{text}: {why}")))
                }
            };
        }
        let Some(name) = by_serial(serial::DISK) else {
            let text = "a disk is attached but this kernel shows none: no virtio_blk driver?";
            return (None, Some(format!("{text} The I/O types use files")));
        };
        let device = format!("/dev/{name}");
        let mounted = kind == args::DISK_IMAGE && try_mount(&device);
        let note = (kind == args::DISK_IMAGE && !mounted)
            .then(|| format!("no file system was found on {device}: the I/O types overwrite it"));
        (Some(Self { name, mounted }), note)
    }

    /// Raw, unless it is mounted: then a file on it, never the device.
    pub(crate) fn io_place(&self) -> IoPlace {
        if self.mounted {
            IoPlace::Dir(PathBuf::from(MOUNT_POINT))
        } else {
            IoPlace::Device(PathBuf::from(format!("/dev/{}", self.name)))
        }
    }

    /// Where a file system of the user's may carry a scenario.
    pub(crate) fn scenario_file(&self) -> Option<PathBuf> {
        self.mounted.then(|| Path::new(MOUNT_POINT).join("scenario.json"))
    }

    /// The block layer's counters since boot.
    pub(crate) fn counters(&self) -> Option<DiskUse> {
        let text = std::fs::read_to_string(format!("/sys/block/{}/stat", self.name)).ok()?;
        parse_stat(&text)
    }
}

/// What happened between two readings.
pub(crate) fn difference(before: DiskUse, after: DiskUse) -> DiskUse {
    DiskUse {
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
        written_bytes: after.written_bytes - before.written_bytes,
        flushes: after.flushes - before.flushes,
    }
}

/// Fields of Documentation/block/stat: reads 1, writes 5, sectors written 7, flushes 16.
fn parse_stat(text: &str) -> Option<DiskUse> {
    let fields: Vec<u64> = text.split_whitespace().map_while(|field| field.parse().ok()).collect();
    Some(DiskUse {
        reads: *fields.first()?,
        writes: *fields.get(4)?,
        written_bytes: fields.get(6)? * SECTOR_BYTES,
        flushes: fields.get(15).copied().unwrap_or(0),
    })
}

/// The block device with this virtio serial number.
pub(crate) fn by_serial(wanted: &str) -> Option<String> {
    let entries = std::fs::read_dir("/sys/block").ok()?;
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.into_iter().find(|name| {
        std::fs::read_to_string(format!("/sys/block/{name}/serial"))
            .is_ok_and(|serial| serial.trim() == wanted)
    })
}

fn try_mount(device: &str) -> bool {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    std::fs::create_dir_all(MOUNT_POINT).is_ok()
        && FILE_SYSTEMS.iter().any(|kind| mount(device, MOUNT_POINT, *kind, flags, c"").is_ok())
}

/// The value of the kernel argument that starts with `prefix`; the last one counts.
pub(crate) fn argument<'a>(cmdline: &'a str, prefix: &str) -> Option<&'a str> {
    cmdline.split_whitespace().rev().find_map(|arg| arg.strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_counters_are_picked_by_position() {
        let text = "  10 0 80 1  20 2 400 9 0 7 11  0 0 0 0  5 6\n";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.reads, stat.writes, stat.flushes), (10, 20, 5));
        assert_eq!(stat.written_bytes, 400 * 512);
        assert_eq!(parse_stat("1 2"), None);
    }

    #[test]
    fn the_last_of_repeated_arguments_counts() {
        assert_eq!(
            argument("quiet schedlab.disk=raw schedlab.disk=image", args::DISK),
            Some("image")
        );
        assert_eq!(argument("quiet", args::DISK), None);
    }
}
