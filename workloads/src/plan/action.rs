//! What an operation comes to: single things that the runner does, with everything resolved.

use crate::config::Placement;
use crate::scenario::SchedulerChoice;
use std::collections::BTreeSet;

/// One thing to do. Crews and steps are named by their index in the plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// mkdir.
    Create {
        path: String,
    },
    /// Thaws what is frozen, takes every task out, rmdir.
    Remove {
        path: String,
    },
    /// A control file of a cgroup.
    Write {
        path: String,
        file: &'static str,
        value: String,
    },
    /// All CPUs of the parent again.
    ClearCpus {
        path: String,
    },
    Freeze {
        path: String,
    },
    Thaw {
        path: String,
    },
    /// Makes the workers of a crew in their cgroup; they pass the gate together with all others,
    /// or at once if it is open.
    Start(usize),
    /// Stops these crews and takes their reports.
    Stop(Vec<usize>),
    /// Moves tasks; with the root as `from` those of the crews.
    Move {
        from: String,
        to: String,
        crews: Vec<usize>,
    },
    /// Sets the affinity of one set of workers.
    Affinity {
        crew: usize,
        set: usize,
        placement: Placement,
    },
    /// The CPUs of a crew's cgroup are these now, because it came there, they changed, or the CPU
    /// `plugged` went off or on line: whoever the kernel let forget its own gets them again.
    Keep {
        crew: usize,
        cpus: BTreeSet<usize>,
        plugged: Option<usize>,
    },
    /// Takes a CPU on or off line.
    Cpu {
        id: usize,
        online: bool,
    },
    /// A file that the kernel reads.
    Knob {
        path: String,
        value: String,
    },
    /// Stops the sched_ext scheduler, if one runs, and starts this one.
    Scheduler(Option<SchedulerChoice>),
}
