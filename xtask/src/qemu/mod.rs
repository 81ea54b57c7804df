//! QEMU: which accelerator, which arguments, and the running process with its control channel.
//! Called by `cmd::vm` and `run`.

mod accel;
mod args;
mod layout;
mod process;
mod qmp;
mod topology;

pub(crate) use accel::{Accel, AccelChoice, Decision, remember_kvm};
pub(crate) use args::{DiskFile, Guest, arguments};
pub(crate) use layout::{Difference, Layout, Numa};
pub(crate) use process::{Qemu, QemuEnd, version};
pub(crate) use qmp::{Command, Notice};
pub(crate) use topology::Topology;
