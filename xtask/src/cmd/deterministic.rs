//! What `vm --deterministic` does to the other options: what would break its promise is refused
//! by name, the scratch disk moves into the guest's memory. Called by `cmd::vm`.

use crate::cli::VmArgs;
use crate::error::Refusal;
use crate::qemu::{AccelChoice, Decision};
use crate::run::{ConfigVia, Disk};
use anyhow::Result;

const MIB: u64 = 1 << 20;

/// Refuses options by which something of the host would reach the guest after the boot.
pub(super) fn check(args: &VmArgs, memory_mib: u64) -> Result<()> {
    let refuse = |message: String, fix: &str| Err(Refusal::input(message, fix).into());
    if args.accel == AccelChoice::Kvm {
        return refuse(
            "a deterministic run counts instructions, which KVM does not".into(),
            "leave out --accel kvm or --deterministic",
        );
    }
    if args.config_via == ConfigVia::Disk {
        return refuse(
            "--config-via disk: a disk of the host answers when it likes, so a deterministic guest has none".into(),
            "use --config-via initramfs",
        );
    }
    match &args.disk {
        Disk::Image { path } => refuse(
            format!(
                "--disk {}: a disk of the host answers when it likes, so a deterministic guest has none",
                path.display()
            ),
            "give a size: the disk is then in the guest's memory",
        ),
        Disk::Scratch { bytes } if !bytes.is_multiple_of(MIB) => refuse(
            format!("--disk of {bytes} bytes: a disk in the guest's memory is made of whole MiB"),
            "give the size as 64M",
        ),
        Disk::Scratch { bytes } if bytes / MIB > memory_mib / 2 => refuse(
            format!(
                "a disk of {} MiB in {} MiB of memory leaves the guest too little",
                bytes / MIB,
                memory_mib
            ),
            "raise --memory to twice the size of --disk, or lower --disk",
        ),
        _ => Ok(()),
    }
}

/// The disk of a deterministic guest.
pub(super) fn disk(asked: &Disk) -> Disk {
    match asked {
        Disk::Scratch { bytes } => Disk::Memory { mib: bytes / MIB },
        other => other.clone(),
    }
}

/// KVM has no part in this.
pub(super) fn accel(cpu_model: Option<String>) -> Decision {
    Decision::emulated(cpu_model, "deterministic runs count instructions")
}
