//! Types that burn CPU for a time and then sleep.

use super::catalogue::params::Bursty;
use super::{Finish, Rules, Work};
use crate::worker::Worker;

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
