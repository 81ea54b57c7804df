//! An init of one's own: the guest's PID 1 with a work function that schedlab does not have. This
//! one renders frames: every 16 ms a burst of work that must be done before the next one is due.
//!
//!     cargo xtask vm --init examples/custom-init --config examples/custom-init/frames.json
//!
//! The function is named in the scenario: `"work_type": {"Custom": {"name": "frames"}}`. What it
//! counts by itself is under `tallies` in `report.json`. The handle does the rest as for any work
//! type: it forks the worker, applies affinity, policy and nice level, opens the gate, and tells
//! the function to stop by setting the flag and interrupting what blocks (SIGUSR1, EINTR).

use rustix::io::Errno;
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;
use workloads::prelude::*;

/// From one frame to the next.
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 16_000_000 };
/// Steps of work in a frame: a small part of the period on a CPU of its own.
const STEPS: u64 = 200_000;

fn main() {
    // Before `boot`, which never returns. Scenarios find the function by this name.
    register("frames", frames);
    guest_init::boot()
}

/// Renders until the stop. It owns its loop and its report; nothing is measured for it.
fn frames(stop: &AtomicBool) -> WorkerReport {
    let (mut rendered, mut missed, mut skipped) = (0, 0, 0);
    let begun = Instant::now();
    let mut due = clock_gettime(ClockId::Monotonic) + PERIOD;
    while !stop.load(Relaxed) {
        (0..STEPS).for_each(|step| {
            black_box(step);
        });
        rendered += 1;
        let now = clock_gettime(ClockId::Monotonic);
        missed += u64::from(now > due);
        // A frame that is late costs those whose time has passed; none is made up for.
        while due < now {
            due += PERIOD;
            skipped += 1;
        }
        // To a point in time, so that one late wake-up does not shift all that follow.
        while clock_nanosleep_absolute(ClockId::Monotonic, &due) == Err(Errno::INTR)
            && !stop.load(Relaxed)
        {}
        due += PERIOD;
    }
    // The default leaves what was not measured absent, and the handle adds who the worker is.
    WorkerReport {
        work_units: rendered * STEPS,
        iterations: rendered,
        wall_time_ns: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
        tallies: [("missed", missed), ("skipped", skipped)].map(|(k, n)| (k.into(), n)).into(),
        ..WorkerReport::default()
    }
}
