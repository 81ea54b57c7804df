//! The plan of a boot: everything decided before QEMU starts, so that what cannot work is
//! refused while it costs nothing. Called by `cmd::vm`.

use crate::error::Refusal;
use crate::image::Image;
use crate::kernel::Kernel;
use crate::qemu::{Accel, DiskFile, Guest, Layout};
use crate::run::Folder;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::ValueEnum;
use guest_init::proto::args;
use std::path::PathBuf;
use std::time::Duration;
use workloads::Scenario;

/// COMMAND_LINE_SIZE of x86, with its NUL.
const CMDLINE_BYTES: usize = 2048;
const SECTOR: usize = 512;
/// The driver that the guest needs for any disk.
pub(crate) const DISK_DRIVER: &str = "virtio_blk";

/// What every guest is booted with.
const KERNEL_ARGS: &[&str] = &[
    "console=ttyS0",
    // A panic resets, and QEMU ends at a reset.
    "panic=-1",
    // Addresses in back-traces match System.map.
    "nokaslr",
    // Self-tests would run beside the workload for seconds.
    "cryptomgr.notests",
    // The host's NMI on a hang becomes a panic with a back-trace of every CPU.
    "unknown_nmi_panic",
    // By its older and by its newer name.
    "panic_print=0x40",
    "panic_sys_info=all_bt",
];

/// What emulated guests need beside it.
const TCG_ARGS: &[&str] = &[
    // One time stamp counter for all vCPUs, whatever kernels conclude from how they take turns;
    // without it CLOCK_MONOTONIC would be a device access.
    "tsc=reliable",
    // On a loaded host the kernel's test of its timer sees too few ticks and panics.
    "no_timer_check",
];

/// How the scenario gets into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigVia {
    /// The command line if it fits there, a disk otherwise.
    Auto,
    /// The kernel command line, base64.
    Cmdline,
    /// A read-only virtio disk.
    Disk,
    /// A file in the initramfs.
    Initramfs,
}

/// The workload's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disk {
    None,
    /// A sparse raw file of this size in the run folder.
    Scratch {
        bytes: u64,
    },
    /// An image of the user's.
    Image {
        path: PathBuf,
    },
}

/// How long each stage may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From QEMU's start to the first frame.
    pub(crate) boot: Duration,
    /// From the first frame to the last.
    pub(crate) run: Duration,
    /// Between two frames.
    pub(crate) silence: Duration,
}

impl Limits {
    /// The usual limits: emulation is many times slower than the hardware.
    pub(crate) fn usual(accel: Accel, scenario: &Scenario) -> Self {
        let workers = u32::try_from(scenario.workload.total_workers()).unwrap_or(u32::MAX);
        let run = scenario.warmup + scenario.effective_duration();
        let seconds = Duration::from_secs;
        match accel {
            Accel::Kvm => Self {
                boot: seconds(30),
                run: run * 2 + seconds(20) + Duration::from_millis(10) * workers,
                silence: seconds(5),
            },
            Accel::Tcg => Self {
                boot: seconds(120),
                run: run * 4 + seconds(60) + Duration::from_millis(100) * workers,
                silence: seconds(15),
            },
        }
    }
}

/// What the user fixed about the machine.
#[derive(Debug)]
pub(crate) struct BootPlan {
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    pub(crate) scenario: Scenario,
    pub(crate) via: ConfigVia,
    pub(crate) cpu_model: Option<String>,
    pub(crate) layout: Layout,
    pub(crate) disk: Disk,
    pub(crate) kernel_args: Vec<String>,
}

impl BootPlan {
    /// The virtual machine of this plan, with its files laid out in `folder`.
    pub(crate) fn guest(&self, accel: Accel, folder: &Folder) -> Result<Guest> {
        let text = resolved(&self.scenario)?;
        let scenario_disk = match self.via {
            ConfigVia::Disk => Some(write_scenario_disk(&text, folder)?),
            _ => None,
        };
        Ok(Guest {
            accel,
            cpu_model: self.cpu_model.clone(),
            layout: self.layout.clone(),
            kernel: self.kernel.image.clone(),
            initramfs: self.image.path.clone(),
            cmdline: cmdline(accel, &text, self.via, &self.disk, &self.kernel_args),
            console: folder.console(),
            frames: folder.frames(),
            disk: self.disk.attach(folder)?,
            scenario_disk,
        })
    }
}

/// Chooses the way for `Auto`, and refuses a way that this kernel or this scenario rules out.
pub(crate) fn choose_via(
    asked: ConfigVia,
    scenario: &Scenario,
    disk: &Disk,
    kernel_args: &[String],
    has_disk_driver: bool,
) -> Result<ConfigVia> {
    let text = resolved(scenario)?;
    // TCG has the longest one.
    let length = cmdline(Accel::Tcg, &text, ConfigVia::Cmdline, disk, kernel_args).len();
    let fits = length < CMDLINE_BYTES;
    match asked {
        ConfigVia::Auto if fits => Ok(ConfigVia::Cmdline),
        ConfigVia::Auto if has_disk_driver => Ok(ConfigVia::Disk),
        ConfigVia::Auto => Ok(ConfigVia::Initramfs),
        ConfigVia::Cmdline if !fits => Err(Refusal::input(
            format!("the kernel command line would be {length} bytes, {} fit", CMDLINE_BYTES - 1),
            "use --config-via disk or --config-via initramfs",
        )
        .into()),
        ConfigVia::Disk if !has_disk_driver => Err(Refusal::input(
            format!("this kernel has no {DISK_DRIVER}, so it cannot read a scenario from a disk"),
            "use --config-via initramfs, or a kernel with its modules",
        )
        .into()),
        asked => Ok(asked),
    }
}

/// The scenario with every default filled in, in one line: what the guest gets and the report shows.
pub(crate) fn resolved(scenario: &Scenario) -> Result<String> {
    serde_json::to_string(scenario).context("serialize(scenario) failed")
}

fn cmdline(accel: Accel, scenario: &str, via: ConfigVia, disk: &Disk, extra: &[String]) -> String {
    let disk = match disk {
        Disk::None => None,
        Disk::Scratch { .. } => Some(args::DISK_RAW),
        Disk::Image { .. } => Some(args::DISK_IMAGE),
    };
    let disk = disk.map(|kind| format!("{}{kind}", args::DISK));
    let scenario = (via == ConfigVia::Cmdline)
        .then(|| format!("{}{}", args::SCENARIO, STANDARD_NO_PAD.encode(scenario)));
    let emulated = if accel == Accel::Tcg { TCG_ARGS } else { &[] };
    let fixed = KERNEL_ARGS.iter().chain(emulated).map(|arg| (*arg).to_owned());
    fixed.chain(disk).chain(extra.iter().cloned()).chain(scenario).collect::<Vec<_>>().join(" ")
}

fn write_scenario_disk(text: &str, folder: &Folder) -> Result<DiskFile> {
    let path = folder.path().join("scenario.img");
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    std::fs::write(&path, bytes).with_context(|| format!("write(`{}`) failed", path.display()))?;
    Ok(DiskFile { path, format: "raw" })
}

impl Disk {
    fn attach(&self, folder: &Folder) -> Result<Option<DiskFile>> {
        match self {
            Self::None => Ok(None),
            Self::Image { path } => Ok(Some(DiskFile { path: path.clone(), format: "raw" })),
            Self::Scratch { bytes } => {
                let path = folder.path().join("disk.img");
                let file = std::fs::File::create(&path)
                    .with_context(|| format!("create(`{}`) failed", path.display()))?;
                file.set_len(*bytes)
                    .with_context(|| format!("truncate(`{}`, {bytes}) failed", path.display()))?;
                Ok(Some(DiskFile { path, format: "raw" }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use workloads::{WorkSpec, WorkType, WorkloadConfig};

    fn large() -> Scenario {
        let spec = WorkSpec {
            work_type: WorkType::pipe_io(77_777),
            num_workers: Some(2),
            ..WorkSpec::default()
        };
        let workload = WorkloadConfig { composed: vec![spec; 30], ..WorkloadConfig::default() };
        Scenario { workload, ..Scenario::default() }
    }

    fn via(asked: ConfigVia, scenario: &Scenario, has_driver: bool) -> Result<ConfigVia> {
        choose_via(asked, scenario, &Disk::None, &[], has_driver)
    }

    #[test]
    fn a_scenario_goes_by_command_line_while_it_fits() {
        let small = Scenario::default();
        assert_eq!(via(ConfigVia::Auto, &small, true).unwrap(), ConfigVia::Cmdline);
        assert_eq!(via(ConfigVia::Auto, &large(), true).unwrap(), ConfigVia::Disk);
        assert_eq!(via(ConfigVia::Auto, &large(), false).unwrap(), ConfigVia::Initramfs);
    }

    #[test]
    fn a_way_that_cannot_work_is_refused_before_the_boot() {
        assert!(via(ConfigVia::Cmdline, &large(), true).is_err());
        assert!(via(ConfigVia::Disk, &Scenario::default(), false).is_err());
    }

    #[test]
    fn the_command_line_carries_the_scenario_last() {
        let text = cmdline(
            Accel::Kvm,
            "{}",
            ConfigVia::Cmdline,
            &Disk::Scratch { bytes: 1 },
            &["quiet".into()],
        );
        assert!(text.starts_with("console=ttyS0 panic=-1"), "{text}");
        assert!(text.ends_with("schedlab.disk=raw quiet schedlab.scenario=e30"), "{text}");
    }
}
