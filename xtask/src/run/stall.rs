//! Tells a silent guest from a host that stood still. Time in which QEMU was stopped or got no CPU,
//! or in which this program itself did not run, is not held against the guest. Fed by `watch`.

use std::time::{Duration, Instant};

/// QEMU stood still if it ran for less than this part of the time and did not sleep of itself. A
/// guest that runs, or waits beside others for a CPU of a loaded host, is far above it.
const LEAST_PART: u32 = 20;
/// Looks are a quarter of a second apart. After this this program itself stood still.
const OWN_STALL: Duration = Duration::from_secs(2);

/// What QEMU's threads did since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activity {
    /// CPU time of all of them.
    pub(super) ran: Duration,
    /// Whether each waits for something of its own accord, as those of an idle guest do.
    pub(super) asleep: bool,
}

/// Adds up how long the guest could have spoken.
#[derive(Debug)]
pub(super) struct StallMeter {
    looked: Instant,
    since_start: Spent,
    since_frame: Spent,
}

/// Wall time by what QEMU could do in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// It ran, or slept because the guest was idle.
    pub(super) able: Duration,
    /// It was stopped, or got no CPU.
    pub(super) stood: Duration,
    /// Neither it nor this program ran.
    pub(super) both_stood: Duration,
}

impl Spent {
    /// All time in which QEMU did not run.
    pub(super) fn still(self) -> Duration {
        self.stood + self.both_stood
    }
}

impl StallMeter {
    pub(super) fn new(now: Instant) -> Self {
        Self { looked: now, since_start: Spent::default(), since_frame: Spent::default() }
    }

    /// Takes what QEMU did up to `now`; `None` where the kernel does not say.
    pub(super) fn look(&mut self, now: Instant, seen: Option<Activity>) {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        let idle_part = |seen: &Activity| seen.ran * LEAST_PART < passed;
        let did_not_run = seen.filter(idle_part);
        for spent in [&mut self.since_start, &mut self.since_frame] {
            match did_not_run {
                Some(_) if passed > OWN_STALL => spent.both_stood += passed,
                // A guest that ran all the while had nobody who heard it.
                None if passed > OWN_STALL => {}
                Some(Activity { asleep: false, .. }) => spent.stood += passed,
                _ => spent.able += passed,
            }
        }
    }

    /// The guest has spoken.
    pub(super) fn heard(&mut self) {
        self.since_frame = Spent::default();
    }

    pub(super) fn since_start(&self) -> Spent {
        self.since_start
    }

    pub(super) fn since_frame(&self) -> Spent {
        self.since_frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);
    const SPINS: Activity = Activity { ran: LOOK, asleep: false };
    const IDLES: Activity = Activity { ran: Duration::from_micros(50), asleep: true };
    const STOPPED: Activity = Activity { ran: Duration::ZERO, asleep: false };
    /// One of eight who want the same CPU.
    const CROWDED: Activity = Activity { ran: Duration::from_millis(31), asleep: false };

    fn after(looks: u32, seen: Option<Activity>) -> Spent {
        let start = Instant::now();
        let mut meter = StallMeter::new(start);
        (1..=looks).for_each(|look| meter.look(start + LOOK * look, seen));
        meter.since_frame()
    }

    #[test]
    fn a_guest_that_spins_or_idles_could_have_spoken() {
        for seen in [Some(SPINS), Some(IDLES), Some(CROWDED), None] {
            let able = Duration::from_secs(15);
            assert_eq!(after(60, seen), Spent { able, ..Spent::default() }, "{seen:?}");
        }
    }

    #[test]
    fn a_stopped_qemu_could_not() {
        let stood = Duration::from_secs(15);
        assert_eq!(after(60, Some(STOPPED)), Spent { stood, ..Spent::default() });
    }

    #[test]
    fn time_in_which_we_did_not_run_is_nobodys_silence() {
        let start = Instant::now();
        let mut meter = StallMeter::new(start);
        let hour = Duration::from_secs(3600);
        meter.look(start + hour, Some(STOPPED));
        assert_eq!(meter.since_frame(), Spent { both_stood: hour, ..Spent::default() });
        meter.look(start + hour * 2, Some(Activity { ran: hour, asleep: false }));
        meter.look(start + hour * 2 + LOOK, Some(SPINS));
        let both = Spent { able: LOOK, both_stood: hour, ..Spent::default() };
        assert_eq!(meter.since_frame(), both);
        meter.heard();
        assert_eq!(meter.since_frame(), Spent::default());
        assert_eq!((meter.since_start(), both.still()), (both, hour));
    }
}
