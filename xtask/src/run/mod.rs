//! One boot of one kernel with one scenario: plan it, watch it, judge it, keep it. Called by
//! `cmd::vm`.

mod at_stop;
mod backtrace;
mod boot_record;
mod complaint;
mod console;
mod difference;
mod folder;
mod guest_clock;
mod limits;
mod load;
mod overdue;
mod plan;
mod printed;
mod scheduler;
mod stall;
mod tail;
mod verdict;
mod watch;

pub(crate) use boot_record::{BootRecord, arguments_sha256};
pub(crate) use complaint::{COMPLAINTS, Kind};
pub(crate) use console::{Console, Splat};
pub(crate) use difference::{Compared, broken_promise, compare_runs, first_value, printk_time};
pub(crate) use folder::{
    Folder, HostFacts, Timings, copy_folder, file_name, kernel_image, remove_folder, shell_word,
    write_file, write_json,
};
pub(crate) use limits::Limits;
pub(crate) use load::{doubt, doubt_verdict};
pub(crate) use plan::{
    Arguments, BootPlan, CMDLINE_BYTES, ConfigVia, DISK_DRIVER, Deterministic, Disk,
    LONGEST_PHASE_NS, choose_via, command_line, phase_ns, resolved,
};
pub(crate) use printed::Comparison;
pub(crate) use scheduler::{judge_schedulers, write_scheduler_files};
pub(crate) use verdict::{Verdict, conclude, is_lost, judge_console};
pub(crate) use watch::{Observed, Stop, watch};
