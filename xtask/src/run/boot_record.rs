//! `boot.json`: what a guest is made of, as typed fields. With its kernel and its initramfs they
//! are all that it takes to boot it again. Written by `cmd::vm`, packed and read by `bundle`, read by `cmd::compare`.

use super::{BootPlan, ConfigVia, Deterministic, Disk, command_line};
use crate::files::sha256;
use crate::image::Image;
use crate::kernel::Kernel;
use crate::paths::Paths;
use crate::qemu::{Accel, DiskFile, Guest, HostCpu, Icount, MachineRecord, Memory, arguments};
use anyhow::Result;
use guest_init::proto::{Carried, Order};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use workloads::{Plan, Scenario};

/// Everything of a run that reached the guest, but for files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootRecord {
    /// Version of the QEMU build.
    pub(crate) qemu: String,
    pub(crate) accel: Accel,
    /// Of a deterministic guest.
    pub(crate) icount_shift: Option<u8>,
    pub(crate) cpu_model: Option<String>,
    pub(crate) machine: MachineRecord,
    pub(crate) disk: Disk,
    pub(crate) scenario_via: ConfigVia,
    /// What the guest is told after its stop, beside the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<Order>,
    /// The kernel command line, less the scenario if that is on it.
    pub(crate) kernel_args: Vec<String>,
    /// Those of them that the scenario and the command line asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) extra_args: Vec<String>,
    pub(crate) kernel: KernelRecord,
    /// Of the initramfs.
    pub(crate) initramfs_sha256: String,
    pub(crate) wanted_modules: Vec<String>,
    pub(crate) modules: Vec<String>,
    pub(crate) missing_modules: Vec<String>,
    /// sched_ext schedulers that the initramfs carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) schedulers: Vec<Carried>,
    /// What of the command line could not be done to all of the scenario.
    pub(crate) notes: Vec<String>,
    /// Patterns of splats that may pass.
    pub(crate) allow_splat: Vec<String>,
    /// Of QEMU's arguments, whatever its files are called.
    pub(crate) arguments_sha256: String,
    /// Identity of the guest at its stop: memory and devices, hashed. None if nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
}

/// Which kernel it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KernelRecord {
    pub(crate) release: String,
    pub(crate) version: String,
    /// Of the image.
    pub(crate) sha256: String,
    pub(crate) package: Option<String>,
}

impl KernelRecord {
    /// Its package, or else its release.
    pub(crate) fn name(&self) -> &str {
        self.package.as_ref().unwrap_or(&self.release)
    }
}

impl BootRecord {
    /// The record of `guest`, which was made of `plan`.
    pub(crate) fn new(plan: &BootPlan, guest: &Guest, qemu: &str, allow_splat: &[String]) -> Self {
        Self {
            qemu: qemu.to_owned(),
            accel: guest.accel,
            icount_shift: guest.icount.map(|icount| icount.shift),
            cpu_model: guest.cpu_model.clone(),
            machine: MachineRecord::of(&plan.layout),
            disk: plan.disk.clone(),
            scenario_via: plan.via,
            order: plan.order,
            kernel_args: plan.kernel_words(guest.accel),
            extra_args: plan.kernel_args.clone(),
            kernel: KernelRecord {
                release: plan.kernel.release.clone(),
                version: plan.kernel.version.clone(),
                sha256: plan.kernel.sha256.clone(),
                package: plan.kernel.package.clone(),
            },
            initramfs_sha256: plan.image.sha256.clone(),
            wanted_modules: plan.image.wanted_modules.clone(),
            modules: plan.image.modules.clone(),
            missing_modules: plan.image.missing_modules.clone(),
            schedulers: plan.schedulers.clone(),
            notes: plan.notes.clone(),
            allow_splat: allow_splat.to_vec(),
            arguments_sha256: arguments_sha256(guest),
            snapshot: None,
        }
    }
}

impl BootRecord {
    /// Its kernel, of which the image is at this path now; `spec` says where it is from.
    pub(crate) fn kernel_at(&self, spec: &str, image: PathBuf) -> Kernel {
        Kernel {
            spec: spec.to_owned(),
            image,
            release: self.kernel.release.clone(),
            version: self.kernel.version.clone(),
            sha256: self.kernel.sha256.clone(),
            package: self.kernel.package.clone(),
            modules: None,
            symbols: None,
            config: None,
        }
    }

    /// Its modules in an initramfs at this path.
    pub(crate) fn image_at(&self, path: PathBuf, sha256: String) -> Image {
        Image {
            path,
            sha256,
            wanted_modules: self.wanted_modules.clone(),
            modules: self.modules.clone(),
            missing_modules: self.missing_modules.clone(),
        }
    }

    /// A run of the guest that this describes, with these files and this scenario.
    pub(crate) fn plan(
        &self,
        (kernel, image): (Kernel, Image),
        (scenario, resolved): (Scenario, Plan),
        qemu: &str,
        paths: &Paths,
    ) -> Result<BootPlan> {
        let mode = |shift| -> Result<_> {
            Ok(Deterministic { icount: Icount::of(shift, qemu), host_cpu: HostCpu::choose(paths)? })
        };
        Ok(BootPlan {
            kernel,
            image,
            scenario,
            resolved,
            notes: self.notes.clone(),
            via: self.scenario_via,
            deterministic: self.icount_shift.map(mode).transpose()?,
            cpu_model: self.cpu_model.clone(),
            layout: self.machine.layout()?,
            disk: self.disk.clone(),
            schedulers: self.schedulers.clone(),
            // Its words are among the recorded ones.
            schedule_hash: false,
            order: self.order,
            kernel_args: self.extra_args.clone(),
            recorded_words: Some(self.kernel_args.clone()),
        })
    }

    /// The guest that this describes, with the files of a bundle; `scenario` is the text that it
    /// gets.
    pub(crate) fn guest(&self, scenario: &str) -> Result<Guest> {
        let file = |is_there: bool| is_there.then(|| DiskFile { path: "".into(), format: "raw" });
        let by_cmdline = (self.scenario_via == ConfigVia::Cmdline).then_some(scenario);
        Ok(portable(&Guest {
            accel: self.accel,
            icount: self.icount_shift.map(|shift| Icount::of(shift, &self.qemu)),
            cpu_model: self.cpu_model.clone(),
            layout: self.machine.layout()?,
            kernel: PathBuf::new(),
            initramfs: PathBuf::new(),
            cmdline: command_line(self.kernel_args.clone(), by_cmdline),
            console: PathBuf::new(),
            frames: PathBuf::new(),
            log: PathBuf::new(),
            disk: file(matches!(self.disk, Disk::Scratch { .. } | Disk::Image { .. })),
            scenario_disk: file(self.scenario_via == ConfigVia::Disk),
            order: self.order.map(|_| PathBuf::new()),
            memory: Memory::Anonymous,
            gdb: None,
            until: None,
        }))
    }
}

/// The same guest with the files of a bundle, as seen from a folder beside them.
fn portable(guest: &Guest) -> Guest {
    let named = |disk: &Option<DiskFile>, name: &str| {
        disk.as_ref().map(|disk| DiskFile { path: name.into(), ..disk.clone() })
    };
    Guest {
        kernel: "../kernel".into(),
        initramfs: "../initramfs".into(),
        console: "console.log".into(),
        frames: "frames.log".into(),
        disk: named(&guest.disk, "disk.img"),
        scenario_disk: named(&guest.scenario_disk, "../scenario.img"),
        order: guest.order.as_ref().map(|_| "order".into()),
        memory: Memory::Anonymous,
        gdb: None,
        until: None,
        ..guest.clone()
    }
}

/// Tells whether two guests are the same machine, whatever their files are called.
pub(crate) fn arguments_sha256(guest: &Guest) -> String {
    let words = arguments(&portable(guest)).join("\0");
    sha256(words.as_bytes())
}
