//! Whether this process may open `/dev/kvm`; if it may not, why, and the command that mends it.
//! Called by `accel`.

use rustix::process::{getegid, getgroups};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const KVM: &str = "/dev/kvm";
const GROUP_MAY_USE: u32 = 0o060;

/// Why KVM cannot be used here, and what mends it.
#[derive(Debug)]
pub(in crate::qemu) struct NoAccess {
    pub(in crate::qemu) why: String,
    pub(in crate::qemu) cure: String,
}

impl fmt::Display for NoAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.cure)
    }
}

/// What the cure depends on.
#[derive(Debug, Default)]
struct Host {
    node: Option<Node>,
    /// The driver of this CPU's kind, if it can have one.
    driver: Option<&'static str>,
    is_loaded: bool,
    /// Groups of this process.
    groups: Vec<u32>,
    /// Names that `/etc/group` has for the node's group, and whether the user is among its members.
    group: Option<String>,
    is_listed: bool,
}

/// Of the device's node.
#[derive(Debug, Clone, Copy)]
struct Node {
    mode: u32,
    gid: u32,
}

/// Opens the device as QEMU does.
pub(in crate::qemu) fn open() -> Result<(), NoAccess> {
    let opened = File::options().read(true).write(true).open(KVM);
    opened.map(drop).map_err(|error| NoAccess {
        why: format!("open({KVM}) failed: {error}"),
        cure: Host::read().cure(&error),
    })
}

/// What an answer about KVM holds for: this node with these rights, and these drivers behind it.
pub(in crate::qemu) fn identity() -> String {
    let node = |of: Metadata| {
        let changed = (of.ctime(), of.ctime_nsec());
        format!("{}:{} {:o} {}:{} {changed:?}", of.rdev(), of.ino(), of.mode(), of.uid(), of.gid())
    };
    let node = std::fs::metadata(KVM).map(node).unwrap_or_default();
    format!("{node} {}", drivers().join(","))
}

/// Whether guests of this host have an AMD CPU with KVM.
pub(in crate::qemu) fn host_is_amd() -> bool {
    is_amd(&cpuinfo())
}

fn is_amd(cpuinfo: &str) -> bool {
    values(cpuinfo, "vendor_id").any(|vendor| vendor == "AuthenticAMD")
}

fn cpuinfo() -> String {
    std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
}

fn values<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// KVM's driver for a CPU with these features.
fn driver(cpuinfo: &str) -> Option<&'static str> {
    let flags = values(cpuinfo, "flags").next()?;
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    match (has("vmx"), has("svm")) {
        (true, _) => Some("kvm_intel"),
        (_, true) => Some("kvm_amd"),
        _ => None,
    }
}

/// What is loaded of KVM beside its core.
fn drivers() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/module").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut all: Vec<_> = names.filter(|name| name.starts_with("kvm_")).collect();
    all.sort();
    all
}

impl Host {
    fn read() -> Self {
        let node = std::fs::metadata(KVM).ok();
        let node = node.map(|of| Node { mode: of.mode(), gid: of.gid() });
        let mut groups: Vec<_> =
            getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw).collect();
        groups.push(getegid().as_raw());
        let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let user = std::env::var("USER").unwrap_or_default();
        let found = node.and_then(|node| group(&text, node.gid, &user));
        Self {
            node,
            driver: driver(&cpuinfo()),
            is_loaded: Path::new("/sys/module/kvm").exists() && !drivers().is_empty(),
            groups,
            group: found.as_ref().map(|(name, _)| name.clone()),
            is_listed: found.is_some_and(|(_, is_listed)| is_listed),
        }
    }

    fn cure(&self, error: &Error) -> String {
        match (error.kind(), self.node) {
            (ErrorKind::PermissionDenied, Some(node)) if error.raw_os_error() == Some(13) => {
                self.cure_of_rights(node)
            }
            // The rights of the node do not matter to a control group of devices.
            (ErrorKind::PermissionDenied, _) => {
                "start this container with --device=/dev/kvm".into()
            }
            (ErrorKind::NotFound, _) if self.is_loaded => {
                "KVM is loaded but its device is not here: start this container with \
                 --device=/dev/kvm"
                    .into()
            }
            _ => match self.driver {
                Some(driver) => format!("load its driver: `sudo modprobe {driver}`"),
                None => "this machine offers no virtualization: turn it on in the firmware, or, \
                         in a virtual machine, as nested virtualization in its host"
                    .into(),
            },
        }
    }

    fn cure_of_rights(&self, node: Node) -> String {
        let open_to_all = "`sudo chmod 0666 /dev/kvm`";
        if node.mode & GROUP_MAY_USE != GROUP_MAY_USE || self.groups.contains(&node.gid) {
            return format!("let everyone use it: {open_to_all}");
        }
        match (&self.group, node.gid) {
            (_, 0) => format!("let everyone use it: {open_to_all}"),
            (Some(name), _) if self.is_listed => format!(
                "this session is older than your membership of the group `{name}`: log in again, \
                 or run `newgrp {name}`"
            ),
            (Some(name), _) => format!(
                "join its group `{name}`: `sudo usermod --append --groups {name} $USER`, then log \
                 in again"
            ),
            (None, gid) => format!(
                "its group {gid} has no name here: start this container with --group-add {gid}"
            ),
        }
    }
}

/// The name of a group by its number in the text of `/etc/group`, and whether `user` is a member.
fn group(text: &str, gid: u32, user: &str) -> Option<(String, bool)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let members = fields.next().unwrap_or_default();
        (number.parse() == Ok(gid))
            .then(|| (name.to_owned(), members.split(',').any(|member| member == user)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACCES: i32 = 13;
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const GROUPS: &str = "root:x:0:\nkvm:x:104:me,other\nusers:x:100:\n";

    fn denied(mode: u32, gid: u32, user: &str) -> String {
        let found = group(GROUPS, gid, user);
        let host = Host {
            node: Some(Node { mode, gid }),
            groups: vec![1000],
            group: found.as_ref().map(|(name, _)| name.clone()),
            is_listed: found.is_some_and(|(_, is_listed)| is_listed),
            ..Host::default()
        };
        host.cure(&Error::from_raw_os_error(EACCES))
    }

    #[test]
    fn who_lacks_the_right_is_told_the_group_and_the_command() {
        let cure = denied(0o20660, 104, "somebody");
        assert!(cure.contains("group `kvm`: `sudo usermod --append --groups kvm $USER`"), "{cure}");
        let cure = denied(0o20660, 104, "me");
        assert!(cure.contains("`newgrp kvm`"), "{cure}");
        assert!(denied(0o20660, 993, "me").contains("--group-add 993"));
        // The group of root, and a group that may not use it either.
        for (mode, gid) in [(0o20660, 0), (0o20600, 104)] {
            assert!(denied(mode, gid, "me").contains("`sudo chmod 0666 /dev/kvm`"));
        }
    }

    #[test]
    fn a_missing_device_is_a_container_a_driver_or_the_firmware() {
        let cure = |is_loaded, driver, error| {
            let host = Host { is_loaded, driver, ..Host::default() };
            host.cure(&Error::from_raw_os_error(error))
        };
        assert!(cure(true, Some("kvm_amd"), ENOENT).contains("--device=/dev/kvm"));
        assert!(cure(true, None, EPERM).contains("--device=/dev/kvm"));
        assert!(cure(false, Some("kvm_amd"), ENOENT).contains("`sudo modprobe kvm_amd`"));
        assert!(cure(false, None, ENOENT).contains("firmware"));
    }

    #[test]
    fn the_cpus_kind_is_read_from_proc() {
        let amd = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm topoext\n";
        let intel = "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\nvmx flags\t: ept\n";
        assert!(is_amd(amd) && !is_amd(intel) && !is_amd(""));
        let none = amd.replace("svm ", "");
        let found = [amd, intel, &none].map(driver);
        assert_eq!(found, [Some("kvm_amd"), Some("kvm_intel"), None]);
    }
}
