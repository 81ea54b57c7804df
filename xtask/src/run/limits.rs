//! How long a guest may take before it counts as lost. All limits but one are wall time of the host in
//! which QEMU could run. Called by `cmd::vm`, applied by `watch`.

use crate::qemu::Accel;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use workloads::Scenario;

/// Instructions in a second of the host that a deterministic guest surely gets: a twentieth of
/// what one core of 2020 does, because its one CPU may be shared with others.
const LEAST_INSTRUCTIONS: u64 = 10_000_000;

/// How long an operation of a step may take on the average: hotplug takes tens of milliseconds,
/// most others less than one.
const OPERATION: Duration = Duration::from_millis(100);
/// How long guest-init waits for a scheduler to attach, and then to end, with something to spare.
const SCHEDULER: Duration = Duration::from_secs(150);

/// How long each stage may take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// From QEMU's start to the first frame.
    pub(crate) boot: Duration,
    /// From the first frame to the last.
    pub(crate) run: Duration,
    /// Between two frames, beside what the guest announces; in the time of a deterministic guest.
    pub(crate) silence: Duration,
    /// How long QEMU may stand still between two frames.
    pub(crate) standstill: Duration,
    /// From the last frame, a panic or an NMI to QEMU's end.
    pub(crate) grace: Duration,
}

impl Limits {
    /// The usual limits: emulation is many times slower than the hardware.
    pub(crate) fn usual(
        accel: Accel,
        icount_shift: Option<u8>,
        scenario: &Scenario,
        workers: usize,
    ) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let run = scenario.warmup + scenario.effective_duration();
        let seconds = Duration::from_secs;
        let each = |ms: u64| Duration::from_millis(ms) * workers;
        match (accel, icount_shift) {
            (Accel::Tcg, Some(shift)) => Self::deterministic(shift, run, each(500)),
            (Accel::Tcg, None) => Self {
                boot: seconds(120),
                run: run * 4 + seconds(60) + each(100),
                silence: seconds(15),
                standstill: seconds(15),
                grace: seconds(5),
            },
            (Accel::Kvm, _) => Self {
                boot: seconds(30),
                run: run * 2 + seconds(20) + each(10),
                silence: seconds(5),
                standstill: seconds(5),
                grace: seconds(5),
            },
        }
    }

    /// With time for schedulers to be attached so often.
    #[must_use]
    pub(crate) fn with_schedulers(self, attaches: usize, icount_shift: Option<u8>) -> Self {
        self.with(attaches, SCHEDULER, icount_shift)
    }

    /// With time for so many changes by steps, which no hold includes.
    #[must_use]
    pub(crate) fn with_changes(self, changes: usize, icount_shift: Option<u8>) -> Self {
        self.with(changes, OPERATION, icount_shift)
    }

    /// With `each` of the guest's own time so often, of which a deterministic one needs more.
    fn with(self, times: usize, each: Duration, icount_shift: Option<u8>) -> Self {
        let second = icount_shift.map_or(Duration::from_secs(1), slow_second);
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let each = second.mul_f64(each.as_secs_f64());
        Self { run: self.run.saturating_add(each.saturating_mul(times)), ..self }
    }

    /// With what the user said instead. A deterministic guest gets the time in which a silence shows:
    /// one that hangs shall not be called late.
    #[must_use]
    pub(super) fn with_silence(self, asked: Option<Duration>, icount_shift: Option<u8>) -> Self {
        let (silence, standstill) = (self.silence, self.standstill);
        let or = |usual| asked.unwrap_or(usual);
        let limits = Self { silence: or(silence), standstill: or(standstill), ..self };
        limits.with(usize::from(icount_shift.is_some()), limits.silence, icount_shift)
    }

    /// For a guest that somebody stops and looks into.
    pub(crate) fn none() -> Self {
        let [boot, run, silence, standstill, grace] = [Duration::from_secs(u32::MAX.into()); 5];
        Self { boot, run, silence, standstill, grace }
    }

    /// A second of the guest may take a minute: what it counts are instructions, not seconds. The
    /// grace is long because cutting off a guest that powers off would cut its console short.
    fn deterministic(shift: u8, run: Duration, workers: Duration) -> Self {
        let second = slow_second(shift);
        Self {
            boot: Duration::from_secs(600),
            run: second.mul_f64(run.as_secs_f64()) + Duration::from_secs(120) + workers,
            // No load of the host delays it, and steps may set a period of real-time throttling of 2 s.
            silence: Duration::from_secs(5),
            standstill: Duration::from_secs(60),
            grace: Duration::from_secs(60),
        }
    }
}

/// What a second of a deterministic guest takes at most.
fn slow_second(shift: u8) -> Duration {
    let second = Duration::from_millis((1_000_000_000_000 / LEAST_INSTRUCTIONS) >> shift);
    second.max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deterministic_guest_gets_time_by_its_instructions() {
        let scenario = Scenario { duration: Some(Duration::from_secs(2)), ..Scenario::default() };
        let limits = |shift| Limits::usual(Accel::Tcg, Some(shift), &scenario, 1);
        assert_eq!(limits(0).run - limits(1).run, Duration::from_secs(100));
        assert!(limits(10).run > Duration::from_secs(120));
    }

    #[test]
    fn a_deterministic_guest_has_time_to_be_silent_in() {
        let scenario = Scenario::default();
        let limits = Limits::usual(Accel::Tcg, Some(2), &scenario, 1);
        let run = |asked| limits.with_silence(asked, Some(2)).run - limits.run;
        // At 25 s of the host for one of its own.
        assert_eq!(run(None), Duration::from_secs(5 * 25));
        assert_eq!(run(Some(Duration::from_secs(60))), Duration::from_secs(60 * 25));
        let limits = Limits::usual(Accel::Tcg, None, &scenario, 1);
        assert_eq!(limits.with_silence(Some(Duration::from_secs(60)), None).run, limits.run);
    }

    #[test]
    fn a_scheduler_that_takes_two_minutes_to_attach_is_waited_for() {
        let scenario = Scenario::default();
        for shift in [None, Some(2)] {
            let limits = Limits::usual(Accel::Tcg, shift, &scenario, 1);
            let more = |attaches| limits.with_schedulers(attaches, shift).run - limits.run;
            assert_eq!(more(0), Duration::ZERO);
            assert!(more(2) >= 2 * Duration::from_secs(135), "{:?}", more(2));
            let changed = limits.with_changes(1000, shift).run - limits.run;
            assert!(changed >= Duration::from_secs(100), "{changed:?}");
        }
    }
}
