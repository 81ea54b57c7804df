//! The guest's time as the host can read it, for a guest that is to be stopped at one: QEMU's ACPI
//! timer, which counts the guest's time from QEMU's start, against the time stamps of the console,
//! which count from early in the kernel. Called by `watch`; knows nothing of QEMU.

use std::time::Duration;

/// Of the ACPI timer.
const HZ: f64 = 3_579_545.0;
const MASK: u32 = 0xff_ffff;
/// What is read before the firmware has set the timer up.
const ABSENT: u32 = u32::MAX;

/// A time to stop at, and how far the guest is.
#[derive(Debug)]
pub(super) struct GuestClock {
    until_s: f64,
    last: Option<u32>,
    ticks: u64,
    /// The stamp of the last console line when the timer was asked for; the answer comes later.
    asked: Option<Option<f64>>,
    /// From QEMU's start to the zero of the stamps. Too large by how late a line was read, so the
    /// least is the best.
    offset_s: Option<f64>,
}

impl GuestClock {
    pub(super) fn new(until: Duration) -> Self {
        let until_s = until.as_secs_f64();
        Self { until_s, last: None, ticks: 0, asked: None, offset_s: None }
    }

    /// Whether to ask for the timer now; `stamp` is that of the last console line.
    pub(super) fn ask(&mut self, stamp: Option<f64>) -> bool {
        let is_free = self.asked.is_none();
        self.asked.get_or_insert(stamp);
        is_free
    }

    /// Takes what the timer shows.
    pub(super) fn answer(&mut self, timer: u32) {
        let stamp = self.asked.take().flatten();
        if timer == ABSENT {
            return;
        }
        let timer = timer & MASK;
        let passed = self.last.map_or(timer, |last| timer.wrapping_sub(last) & MASK);
        self.last = Some(timer);
        self.ticks += u64::from(passed);
        if let Some(stamp) = stamp {
            let offset = self.since_start() - stamp;
            self.offset_s = Some(self.offset_s.map_or(offset, |least| least.min(offset)));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits of ticks are 80 years")]
    fn since_start(&self) -> f64 {
        self.ticks as f64 / HZ
    }

    /// In the time of the console, once its stamps have begun.
    pub(super) fn now_s(&self) -> Option<f64> {
        self.offset_s.map(|offset| self.since_start() - offset)
    }

    pub(super) fn is_due(&self) -> bool {
        self.now_s().is_some_and(|now| now >= self.until_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_and_the_stamps_give_the_guests_time() {
        let mut clock = GuestClock::new(Duration::from_secs(5));
        let mut read = |stamp: Option<f64>, seconds: f64| {
            assert!(clock.ask(stamp) && !clock.ask(None), "one question at a time");
            #[expect(clippy::cast_possible_truncation, reason = "of seconds")]
            #[expect(clippy::cast_sign_loss, reason = "of seconds")]
            clock.answer((seconds * HZ) as u32);
            (clock.now_s().map(|now| (now * 100.0).round() / 100.0), clock.is_due())
        };
        assert_eq!(read(None, 2.0), (None, false));
        assert_eq!(read(Some(0.5), 3.0), (Some(0.5), false));
        // A line that is read late says less than one that is read at once.
        assert_eq!(read(Some(0.5), 3.5), (Some(1.0), false));
        assert_eq!(read(Some(1.6), 4.0), (Some(1.6), false));
        // Past the 24 bits of the timer.
        assert_eq!(read(Some(1.6), 7.5), (Some(5.1), true));
    }

    #[test]
    fn a_timer_that_is_not_there_yet_says_nothing() {
        let mut clock = GuestClock::new(Duration::ZERO);
        assert!(clock.ask(Some(1.0)));
        clock.answer(ABSENT);
        assert!(!clock.is_due() && clock.ask(None));
    }
}
