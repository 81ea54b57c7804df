//! The plan of a boot: everything decided before QEMU starts, so that what cannot work is
//! refused while it costs nothing. Called by `cmd::vm`.

use crate::error::Refusal;
use crate::image::Image;
use crate::kernel::Kernel;
use crate::qemu::{
    Accel, Attempt, DiskFile, Guest, HostCpu, Icount, Layout, Memory, cpu, kernel_argument,
};
use crate::run::{Folder, Limits, write_file};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::ValueEnum;
use guest_init::proto::{Carried, Order, args};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use workloads::{Plan, Scenario, splitmix64};

/// COMMAND_LINE_SIZE of x86, with its NUL.
pub(crate) const CMDLINE_BYTES: usize = 2048;
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
    // With PREEMPT_RT a thread serves many interrupts of a UART in one go, which some kernels take
    // for interrupts that nobody serves: 100,000 of them, and the report port would be dead.
    "noirqdebug",
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

/// What deterministic guests need beside these.
const DETERMINISTIC_ARGS: &[&str] = &[
    // Programs are where they were the last time.
    "norandmaps",
    // A seed from the host is no secret here, and would be another one each time.
    "random.trust_bootloader=off",
    // The host reads the guest's clock instead, so that nothing runs beside the workload.
    "schedlab.beat=0",
];

/// How the scenario gets into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConfigVia {
    /// After the stop of a deterministic guest. In others the command line if it fits there, a disk
    /// otherwise; the initramfs if there is to be none.
    Auto,
    /// A file of QEMU's, which a deterministic guest reads after its stop: nothing of the boot depends on it.
    FwCfg,
    /// The kernel command line, base64.
    Cmdline,
    /// A read-only virtio disk.
    Disk,
    /// A file in the initramfs.
    Initramfs,
}

/// The workload's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
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
    /// A device that the guest makes of its own memory.
    Memory {
        mib: u64,
    },
}

/// What makes a run deterministic, beside everything that is left out.
#[derive(Debug)]
pub(crate) struct Deterministic {
    pub(crate) icount: Icount,
    pub(crate) host_cpu: HostCpu,
}

/// What the user fixed about the machine.
#[derive(Debug)]
pub(crate) struct BootPlan {
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    pub(crate) scenario: Scenario,
    /// What the scenario comes to on this machine.
    pub(crate) resolved: Plan,
    /// What of the command line could not be done to all of it.
    pub(crate) notes: Vec<String>,
    pub(crate) via: ConfigVia,
    pub(crate) deterministic: Option<Deterministic>,
    /// As it was asked for.
    pub(crate) cpu_model: Option<String>,
    pub(crate) layout: Layout,
    pub(crate) disk: Disk,
    /// sched_ext schedulers that the image carries.
    pub(crate) schedulers: Vec<Carried>,
    pub(crate) schedule_hash: bool,
    /// What the guest is told after its stop, beside the scenario.
    pub(crate) order: Option<Order>,
    /// Those of the scenario, then those of the command line.
    pub(crate) kernel_args: Vec<String>,
    /// All words of a recorded run's command line but its scenario, which hold instead of ours.
    pub(crate) recorded_words: Option<Vec<String>>,
}

impl BootPlan {
    pub(crate) fn icount_shift(&self) -> Option<u8> {
        self.deterministic.as_ref().map(|mode| mode.icount.shift)
    }

    pub(crate) fn host_cpu(&self) -> Option<&HostCpu> {
        self.deterministic.as_ref().map(|mode| &mode.host_cpu)
    }

    /// How often a scheduler is attached in the run.
    pub(crate) fn attaches(&self) -> usize {
        let at_start = self.schedulers.iter().any(|scheduler| scheduler.at_start);
        usize::from(at_start) + self.resolved.scheduler_starts()
    }

    /// How long its guest may take, unless the user says otherwise.
    pub(crate) fn limits(&self, accel: Accel, hang_after: Option<Duration>) -> Limits {
        let (shift, workers) = (self.icount_shift(), self.resolved.total_workers());
        let changes = self.resolved.changes_in_steps();
        Limits::usual(accel, shift, &self.scenario, workers)
            .with_schedulers(self.attaches(), shift)
            .with_changes(changes, shift)
            .with_silence(hang_after, shift)
    }

    /// The virtual machine of this plan, with its files laid out in `folder`.
    pub(crate) fn guest(&self, attempt: &Attempt, folder: &Folder) -> Result<Guest> {
        let accel = attempt.accel;
        let text = resolved(&self.scenario)?;
        let scenario_disk = match self.via {
            ConfigVia::Disk => Some(write_scenario_disk(&text, folder)?),
            _ => None,
        };
        let by_cmdline = (self.via == ConfigVia::Cmdline).then_some(text.as_str());
        let order = self.order.map(|order| write_order(&order, &text, folder)).transpose()?;
        Ok(Guest {
            accel,
            icount: self.deterministic.as_ref().map(|mode| mode.icount),
            cpu_model: attempt.cpu_model.clone(),
            layout: self.layout.clone(),
            kernel: self.kernel.image.clone(),
            initramfs: self.image.path.clone(),
            cmdline: command_line(self.kernel_words(accel), by_cmdline),
            console: folder.console(),
            frames: folder.frames(),
            log: folder.qemu_log(),
            disk: self.disk.attach(folder)?,
            scenario_disk,
            order,
            memory: Memory::Anonymous,
            gdb: None,
            until: None,
        })
    }

    /// The CPU that QEMU makes in this attempt.
    pub(crate) fn cpu(&self, attempt: &Attempt) -> String {
        let model = attempt.cpu_model.as_deref();
        cpu(
            attempt.accel,
            model,
            &self.layout,
            self.deterministic.as_ref().map(|mode| mode.icount.turns),
        )
    }

    /// The kernel command line without the scenario.
    pub(super) fn kernel_words(&self, accel: Accel) -> Vec<String> {
        match &self.recorded_words {
            Some(words) if accel == Accel::Tcg => emulated(words.clone()),
            Some(words) => words.clone(),
            None => self.arguments(accel).words(),
        }
    }

    fn arguments(&self, accel: Accel) -> Arguments<'_> {
        Arguments {
            emulated: accel == Accel::Tcg,
            deterministic: self.deterministic.as_ref().map(|_| self.layout.cpus()),
            disk: &self.disk,
            schedule_hash: self.schedule_hash,
            by_order: self.via == ConfigVia::FwCfg,
            extra: &self.kernel_args,
        }
    }
}

/// Chooses the way for `Auto`, and refuses a way that this kernel or this scenario rules out.
/// `virtio_disk` is whether the guest can read one.
pub(crate) fn choose_via(
    asked: ConfigVia,
    scenario: &Scenario,
    arguments: &Arguments<'_>,
    virtio_disk: bool,
) -> Result<ConfigVia> {
    let length = arguments.line(Some(&resolved(scenario)?)).len();
    let fits = length < CMDLINE_BYTES;
    match asked {
        ConfigVia::Auto if arguments.by_order => Ok(ConfigVia::FwCfg),
        ConfigVia::FwCfg if !arguments.by_order => Err(Refusal::input(
            "--config-via fw-cfg: only a deterministic guest whose kernel gives PID 1 the I/O ports \
             stops before it knows its scenario",
            "leave it out",
        )
        .into()),
        ConfigVia::Auto if fits => Ok(ConfigVia::Cmdline),
        ConfigVia::Auto if virtio_disk => Ok(ConfigVia::Disk),
        ConfigVia::Auto => Ok(ConfigVia::Initramfs),
        ConfigVia::Cmdline if !fits => Err(Refusal::input(
            format!("the kernel command line would be {length} bytes, {} fit", CMDLINE_BYTES - 1),
            if arguments.deterministic.is_some() {
                "use --config-via initramfs"
            } else {
                "use --config-via disk or --config-via initramfs"
            },
        )
        .into()),
        ConfigVia::Disk if !virtio_disk => Err(Refusal::input(
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

/// What the kernel command line is made of, beside the scenario.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) emulated: bool,
    /// The number of CPUs, if the run is to be deterministic.
    pub(crate) deterministic: Option<usize>,
    pub(crate) disk: &'a Disk,
    pub(crate) schedule_hash: bool,
    /// Whether the guest is told after its stop what to do.
    pub(crate) by_order: bool,
    pub(crate) extra: &'a [String],
}

impl Arguments<'_> {
    fn line(&self, scenario: Option<&str>) -> String {
        command_line(self.words(), scenario)
    }

    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = KERNEL_ARGS.iter().map(|arg| (*arg).to_owned()).collect();
        let mut add = |args: &[&str]| words.extend(args.iter().map(|arg| (*arg).to_owned()));
        if self.emulated {
            add(TCG_ARGS);
        }
        if let Some(cpus) = self.deterministic {
            add(DETERMINISTIC_ARGS);
            add(&[&kernel_argument(cpus)]);
        }
        match self.disk {
            Disk::None => {}
            Disk::Scratch { .. } => add(&[&format!("{}{}", args::DISK, args::DISK_RAW)]),
            Disk::Image { .. } => add(&[&format!("{}{}", args::DISK, args::DISK_IMAGE)]),
            Disk::Memory { mib } => add(&[&format!("{}{}{mib}", args::DISK, args::DISK_MEMORY)]),
        }
        if self.by_order {
            words.push(format!("{}{}", args::CONFIG, args::CONFIG_FW_CFG));
        } else if self.schedule_hash {
            words.push(format!("{}{}", args::SCHEDULE, args::SCHEDULE_HASH));
        }
        words.extend(self.extra.iter().cloned());
        words
    }
}

/// A kernel command line of these words, with the scenario last if it travels there.
pub(crate) fn command_line(mut words: Vec<String>, scenario: Option<&str>) -> String {
    words
        .extend(scenario.map(|text| format!("{}{}", args::SCENARIO, STANDARD_NO_PAD.encode(text))));
    words.join(" ")
}

/// The words of a command line with what emulated guests need beside them.
fn emulated(mut words: Vec<String>) -> Vec<String> {
    let missing: Vec<_> = TCG_ARGS.iter().filter(|arg| !words.iter().any(|w| w == *arg)).collect();
    words.extend(missing.into_iter().map(|arg| (*arg).to_owned()));
    words
}

/// Of a guest after its stop.
pub(crate) const LONGEST_PHASE_NS: u64 = 1_000_000_000;

/// How long a guest sleeps after its stop. Its boot does not depend on the seed, so that the seed says when the run
/// begins: as much later as the kernel's rarer timers are apart, of which each seed so has others in its run. A
/// second in which the guest idles takes the host 0.1 s.
pub(crate) fn phase_ns(seed: u64) -> u64 {
    splitmix64(seed) % LONGEST_PHASE_NS
}

fn write_order(order: &Order, scenario: &str, folder: &Folder) -> Result<PathBuf> {
    let path = folder.path().join("order");
    let bytes = order.file(scenario).context("serialize(order) failed")?;
    write_file(&path, &bytes)?;
    Ok(path)
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
            Self::None | Self::Memory { .. } => Ok(None),
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
        Scenario { workload: Some(workload), ..Scenario::default() }
    }

    fn via(asked: ConfigVia, scenario: &Scenario, has_driver: bool) -> Result<ConfigVia> {
        choose_via(asked, scenario, &arguments(&Disk::None, &[]), has_driver)
    }

    fn arguments<'a>(disk: &'a Disk, extra: &'a [String]) -> Arguments<'a> {
        Arguments {
            emulated: true,
            deterministic: None,
            disk,
            schedule_hash: false,
            by_order: false,
            extra,
        }
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
        let disk = Disk::Memory { mib: 64 };
        let text = arguments(&disk, &["quiet".into()]).line(Some("{}"));
        assert!(text.starts_with("console=ttyS0 panic=-1"), "{text}");
        assert!(text.ends_with("schedlab.disk=memory:64 quiet schedlab.scenario=e30"), "{text}");
    }

    #[test]
    fn a_guest_that_stops_is_told_its_scenario_later_and_seeds_begin_apart() {
        let disk = Disk::None;
        let by_order =
            Arguments { by_order: true, deterministic: Some(2), ..arguments(&disk, &[]) };
        assert_eq!(
            choose_via(ConfigVia::Auto, &large(), &by_order, false).unwrap(),
            ConfigVia::FwCfg
        );
        assert!(by_order.line(None).ends_with(" schedlab.config=fw_cfg"));
        assert!(via(ConfigVia::FwCfg, &Scenario::default(), true).is_err());
        let phases: std::collections::BTreeSet<_> =
            (0..1000).map(|seed| phase_ns(seed) / 1_000_000).collect();
        assert!(phases.len() > 600 && phases.iter().all(|ms| *ms < 1000), "{}", phases.len());
    }
}
