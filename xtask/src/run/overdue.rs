//! Whether a deterministic guest should have spoken by its own clock. It does not say that it lives
//! while its workload is measured, and a second of its time may take the host a tenth of one or a
//! minute. So after a long silence the host reads the guest's clock. Called by `watch`; knows
//! nothing of QEMU.

use std::time::Duration;

/// Of the host, before the first question and between two. Ordinary runs are never asked.
const ASK_AFTER: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);

/// What the guest has announced, and how far its clock is.
#[derive(Debug)]
pub(super) struct Overdue {
    /// How late it may be, in its time.
    silence: Duration,
    /// For how long it said that nothing need come.
    quiet: Duration,
    /// The guest's time of its last frame; of one without a time that of the first answer.
    since: Option<Duration>,
    now: Duration,
    /// How much silence of the host's there is before the next question.
    next: Duration,
}

impl Overdue {
    /// Of a guest that may be late by `silence`.
    pub(super) fn new(silence: Duration) -> Self {
        let (quiet, now) = (Duration::ZERO, Duration::ZERO);
        Self { silence, quiet, since: None, now, next: ASK_AFTER.min(silence) }
    }

    /// A frame came. `stage` is its time and what it says of the next ones, if it does.
    pub(super) fn heard(&mut self, stage: Option<(u64, u64)>) {
        *self = Self::new(self.silence);
        if let Some((at_ns, quiet_ns)) = stage {
            self.since = Some(Duration::from_nanos(at_ns));
            self.quiet = Duration::from_nanos(quiet_ns);
        }
    }

    /// Whether to read the clock now, after so much silence.
    pub(super) fn ask(&mut self, silent: Duration) -> bool {
        let is_time = silent > self.next;
        if is_time {
            self.next = silent + ASK_EVERY.min(self.silence);
        }
        is_time
    }

    /// Takes what the clock shows. It begins in the boot, a little after that of the frames.
    pub(super) fn answer(&mut self, now: Duration) {
        self.now = now;
        self.since.get_or_insert(now);
    }

    pub(super) fn is_due(&self) -> bool {
        self.since.is_some_and(|since| self.now > since + self.quiet + self.silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const NS: u64 = 1_000_000_000;

    #[test]
    fn a_guest_is_overdue_by_its_own_clock_and_by_no_other() {
        let mut guest = Overdue::new(seconds(15));
        guest.heard(Some((3 * NS, 60 * NS)));
        assert!(guest.ask(seconds(3600)) && !guest.is_due(), "an hour of the host says nothing");
        guest.answer(seconds(77));
        assert!(!guest.is_due());
        guest.answer(seconds(79));
        assert!(guest.is_due());
        guest.heard(None);
        assert!(!guest.is_due(), "it has spoken");
    }

    #[test]
    fn after_a_frame_without_a_time_the_first_answer_is_where_it_begins() {
        let mut guest = Overdue::new(seconds(15));
        guest.heard(None);
        guest.answer(seconds(500));
        assert!(!guest.is_due());
        guest.answer(seconds(516));
        assert!(guest.is_due());
    }

    #[test]
    fn there_are_few_questions() {
        let mut guest = Overdue::new(seconds(40));
        let asked = (0..=60).filter(|silent| guest.ask(seconds(*silent))).count();
        assert_eq!(asked, 3, "after 31, 42 and 53 s");
        let mut clock_stands = Overdue::new(seconds(15));
        (0..9).for_each(|_| clock_stands.answer(Duration::ZERO));
        assert!(!clock_stands.is_due());
    }
}
