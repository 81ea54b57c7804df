//! One boot of one kernel with one scenario: plan it, watch it, judge it, keep it. Called by
//! `cmd::vm`.

mod console;
mod difference;
mod folder;
mod limits;
mod plan;
mod tail;
mod verdict;
mod watch;

pub(crate) use console::{Console, Splat};
pub(crate) use difference::differences;
pub(crate) use folder::{Folder, HostFacts, Timings, file_name, shell_word};
pub(crate) use limits::Limits;
pub(crate) use plan::{
    Arguments, BootPlan, ConfigVia, DISK_DRIVER, Deterministic, Disk, choose_via, resolved,
};
pub(crate) use verdict::{Verdict, conclude, judge_console};
pub(crate) use watch::{Observed, Stop, watch};
