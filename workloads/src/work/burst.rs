//! Types that burn CPU for a time and then sleep.

use super::catalogue::params::{Bursty, IdleChurn};
use super::reference::{Documented, Facts};
use super::{Finish, Rules, Work};
use crate::report::Latency;
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::thread::{current_timer_slack, set_current_timer_slack};
use std::num::NonZeroU64;

impl Documented for Bursty {
    const FACTS: Facts = Facts { latency: &[(Latency::Timer, "each sleep")], ..Facts::PLAIN };
}

impl Work for Bursty {
    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("burst_duration", &self.burst_duration, "a burst to sleep after");
        rules.not_zero(
            "sleep_duration",
            &self.sleep_duration,
            "a sleep; without one it is SpinWait",
        );
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            if !w.spin_for(self.burst_duration) || !w.sleep_for(self.sleep_duration) {
                break;
            }
        }
        Finish::Done
    }
}

impl Documented for IdleChurn {
    const FACTS: Facts = Facts { latency: &[(Latency::Timer, "each sleep")], ..Facts::PLAIN };
}

impl Work for IdleChurn {
    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("burst_duration", &self.burst_duration, "a burst to sleep after");
        rules.not_zero("sleep_duration", &self.sleep_duration, "a sleep to go idle in");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let precise = self.precise_timing.then(Slack::least).transpose();
        let _slack = match precise {
            Ok(slack) => slack,
            Err(errno) => {
                return Finish::Failed(format!("prctl(PR_SET_TIMERSLACK) failed: {errno}"));
            }
        };
        while w.next() {
            if !w.spin_for(self.burst_duration) || !w.sleep_for(self.sleep_duration) {
                break;
            }
        }
        Finish::Done
    }
}

/// The least timer slack there is; the former one comes back when this is dropped.
struct Slack {
    former_ns: u64,
}

impl Slack {
    fn least() -> Result<Self, Errno> {
        let former_ns = current_timer_slack()?;
        // Zero would not mean none but the default.
        set_current_timer_slack(Some(NonZeroU64::MIN))?;
        Ok(Self { former_ns })
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        // A real-time task has none, and its zero asks for the default, which is right too.
        let _ = set_current_timer_slack(NonZeroU64::new(self.former_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_slack_comes_back() {
        set_current_timer_slack(NonZeroU64::new(70_000)).unwrap();
        let slack = Slack::least().unwrap();
        assert_eq!(current_timer_slack(), Ok(1));
        drop(slack);
        assert_eq!(current_timer_slack(), Ok(70_000));
    }
}
