//! A ring of workers that hand one token on, stage by stage. Position 0 holds it first; an
//! iteration is one hand-over and one receipt for each.

use super::catalogue::params::WakeChain;
use super::fan::rounds;
use super::pair::{read_token, wait_for_partner, wake, write_to};
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Rules, Work};
use crate::report::Latency;
use crate::worker::Worker;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// More stages than can run.
const MAX_DEPTH: usize = 100_000;

/// How a stage of [`WorkType::WakeChain`](super::WorkType::WakeChain) wakes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum WakeMechanism {
    /// A byte through a pipe: the kernel is told that the waker will sleep soon (WF_SYNC).
    #[default]
    Pipe,
    /// A futex of the next stage's own, so that one wake call wakes one worker.
    Futex,
}

impl Documented for WakeChain {
    const FACTS: Facts =
        Facts { group: "depth", latency: &[(Latency::Wake, "every worker")], ..Facts::PLAIN };
}

impl Work for WakeChain {
    fn needs(&self) -> Needs {
        let pipes = match self.wake {
            WakeMechanism::Pipe => self.depth,
            WakeMechanism::Futex => 0,
        };
        let role = |position| if position == 0 { "head" } else { "stage" };
        Needs { group_size: self.depth, lines: self.depth, pipes, role, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        let holds = (2..=MAX_DEPTH).contains(&self.depth);
        rules.require("depth", holds, self.depth as u64, "2 to 100000 stages, one to wake another");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let position = w.position();
        let next = (position + 1) % self.depth;
        rounds(w, |w| {
            if position == 0 {
                self.hand_on(w, next)?;
                self.take(w)
            } else {
                self.take(w)?;
                self.hand_on(w, next)
            }
        })
    }
}

impl WakeChain {
    fn take(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        match self.wake {
            WakeMechanism::Pipe => read_token(w),
            WakeMechanism::Futex => wait_for_partner(w),
        }
    }

    fn hand_on(&self, w: &mut Worker<'_>, next: usize) -> Result<(), Errno> {
        if !self.work_per_hop.is_zero() && !w.spin_for(self.work_per_hop) {
            return Err(Errno::CANCELED);
        }
        w.add_work(1);
        match self.wake {
            WakeMechanism::Pipe => write_to(w, next),
            WakeMechanism::Futex => wake(w, next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;
    use std::time::Duration;

    #[test]
    fn json_names_the_mechanism() {
        let json = r#"{"WakeChain":{"depth":4,"wake":"Futex","work_per_hop":"100us"}}"#;
        let chain: WorkType = serde_json::from_str(json).unwrap();
        let hop = Duration::from_micros(100);
        assert_eq!(chain, WorkType::wake_chain(4, WakeMechanism::Futex, hop));
        assert_eq!(serde_json::to_string(&chain).unwrap(), json);
    }

    #[test]
    fn a_ring_has_at_least_two_stages() {
        for (depth, wake) in
            [(0, WakeMechanism::Pipe), (1, WakeMechanism::Futex), (usize::MAX, WakeMechanism::Pipe)]
        {
            let error = WorkType::wake_chain(depth, wake, Duration::ZERO).validate(0, 1);
            assert!(error.unwrap_err().path.ends_with("depth"));
        }
        WorkType::wake_chain(2, WakeMechanism::Pipe, Duration::ZERO).validate(0, 4).unwrap();
    }
}
