//! What `vm --deterministic` does to the other options: what would break its promise is refused
//! by name, the scratch disk moves into the guest's memory. Called by `cmd::vm`.

use crate::cli::VmArgs;
use crate::disk::unwritable;
use crate::error::Refusal;
use crate::files::{sha256, write_whole};
use crate::kernel::Kernel;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::qemu::{AccelChoice, Decision};
use crate::run::{BootPlan, ConfigVia, Disk, Observed, phase_ns};
use anyhow::{Context as _, Result};
use guest_init::proto::Order;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;
/// The folder in the cache that says of which kernels only a guest could tell that they give PID 1 no ports.
const WITHOUT_PORTS: &str = "without-ports";

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

/// What a guest is told after its stop.
pub(super) fn order(via: ConfigVia, seed: u64, schedule_hash: bool) -> Option<Order> {
    (via == ConfigVia::FwCfg).then(|| Order { phase_ns: phase_ns(seed), schedule_hash })
}

/// Whether a guest with this kernel can stop before it knows its scenario, as far as is known before a boot. Says
/// why it cannot.
pub(super) fn stops(
    kernel: &Kernel,
    kernel_args: &[String],
    (paths, progress): (&Paths, &Progress),
) -> bool {
    let why = cannot_stop(kernel, kernel_args)
        .or_else(|| std::fs::read_to_string(shown(kernel, kernel_args, paths).ok()?).ok());
    if let Some(why) = &why {
        progress.step(format!("each run of this guest begins with a boot: {why}"));
    }
    why.is_none()
}

fn cannot_stop(kernel: &Kernel, kernel_args: &[String]) -> Option<String> {
    const PORTS: &str = "CONFIG_X86_IOPL_IOPERM";
    let locked = kernel_args.iter().find(|word| word.starts_with("lockdown="));
    if let Some(word) = locked {
        return Some(format!("`{word}` keeps PID 1 from I/O ports"));
    }
    kernel.lacks(PORTS).then(|| format!("its kernel has no {PORTS}"))
}

/// Remembers that this guest had no ports, so that the next one does not try. Whether it had none.
pub(super) fn learn(plan: &BootPlan, seen: &Observed, paths: &Paths) -> Result<bool> {
    let stop = seen.hello.as_ref().and_then(|hello| hello.stop.as_ref());
    let Some(Err(why)) = stop.filter(|_| seen.stops) else { return Ok(false) };
    let path = shown(&plan.kernel, &plan.kernel_args, paths)?;
    write_whole(&path, why.as_bytes()).with_context(|| unwritable(&path))?;
    Ok(true)
}

/// Where it is that a guest with this kernel showed that it has no ports, if one did.
fn shown(kernel: &Kernel, kernel_args: &[String], paths: &Paths) -> Result<PathBuf> {
    let of = [std::slice::from_ref(&kernel.sha256), kernel_args].concat().join("\n");
    Ok(paths.cache_dir(WITHOUT_PORTS)?.join(sha256(of.as_bytes())))
}

/// KVM has no part in this.
pub(super) fn accel(cpu_model: Option<String>) -> Decision {
    Decision::emulated(cpu_model, "deterministic runs count instructions")
}
