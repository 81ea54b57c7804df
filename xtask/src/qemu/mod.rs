//! QEMU: which accelerator, which arguments, and the running process with its control channel.
//! Called by `cmd::vm` and `run`.

mod accel;
mod args;
mod confinement;
mod host_cpu;
mod kvm;
mod machine;
mod presets;

mod fit;
mod found;
mod layout;
mod numa;
mod topology;
mod written;

mod monitor;
mod process;
mod turns;

pub(crate) use accel::{Accel, AccelChoice, Attempt, Decision, Wish, forget_kvm};
pub(crate) use args::{DiskFile, GDB_HOST, Gdb, Guest, Icount, Memory, arguments, cpu};
pub(crate) use confinement::Confinement;
pub(crate) use found::Difference;
pub(crate) use host_cpu::HostCpu;
pub(crate) use kvm::{lesser_model, needs_kvm, summary as kvm_failure, telling as telling_lines};
pub(crate) use layout::Layout;
pub(crate) use machine::{MachineArgs, MachineTexts};
pub(crate) use monitor::{Command, Notice, UNANNOUNCED, WITHOUT_MEMORY};
pub(crate) use presets::{PRESETS, Preset};
pub(crate) use process::{Bounds, Qemu, QemuEnd, complaints, signal_to_end, version};
pub(crate) use turns::{Turns, kernel_argument};
pub(crate) use written::MachineRecord;
