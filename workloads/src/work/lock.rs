//! Types that contend for one lock in the group's memory. Line 0 is the lock, line 1 the holder's
//! mark, line 2 counts the rounds of priority inversion and line 3 those who begin them no more.

use super::catalogue::params::{MutexContention, PriorityInversion};
use super::reference::{Documented, Facts};
use super::wait::{futex_wait, futex_wake};
use super::{Finish, Needs, Rules, Work};
use crate::config::SchedPolicy;
use crate::report::Latency;
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::thread::futex;
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

const LOCK: usize = 0;
const MARK: usize = 1;
const ROUND: usize = 2;
const LEFT: usize = 3;

/// States of the plain lock: free, taken, taken with somebody waiting.
const FREE: u32 = 0;
const TAKEN: u32 = 1;
const CONTENDED: u32 = 2;

/// The lock that the tiers of `PriorityInversion` contend for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FutexLockMode {
    /// FUTEX_WAIT and FUTEX_WAKE: the holder keeps its own priority.
    #[default]
    Plain,
    /// FUTEX_LOCK_PI: the holder inherits the priority of the highest waiter.
    Pi,
}

impl Documented for MutexContention {
    const FACTS: Facts = Facts {
        group: "contenders",
        latency: &[(Latency::Lock, "each acquisition")],
        ..Facts::PLAIN
    };
}

impl Work for MutexContention {
    fn needs(&self) -> Needs {
        let role = |_| "contender";
        Needs { group_size: self.contenders, lines: 2, role, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("contenders", &self.contenders, "somebody at the mutex");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            w.spin(self.work_iters);
            match locked(w, FutexLockMode::Plain, &|w| w.spin(self.hold_iters)) {
                Ok(()) => {}
                Err(Errno::CANCELED) => break,
                Err(errno) => return Finish::Failed(format!("the mutex failed: {errno}")),
            }
        }
        Finish::Done
    }
}

/// Who a worker of `PriorityInversion` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    High,
    Medium,
    Low,
}

impl PriorityInversion {
    fn tier(&self, position: usize) -> Tier {
        if position < self.high_count {
            Tier::High
        } else if position < self.high_count.saturating_add(self.medium_count) {
            Tier::Medium
        } else {
            Tier::Low
        }
    }

    /// Low holds the lock, and only then do the others wake: every round is an inversion.
    fn lead(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        let mut led = Ok(());
        while led.is_ok() && w.next() {
            let began_ns = w.recent();
            led = locked(w, self.pi_mode, &|w| {
                // A failed wake-up shows as high workers without iterations.
                w.line(ROUND).stamp_ns.fetch_max(w.recent(), AcqRel);
                w.line(ROUND).value.fetch_add(1, AcqRel);
                let _ = call_all(w);
                w.spin(self.hold_iters);
            });
            if led.is_ok() {
                // As long again for what runs below the tiers, which FIFO would starve.
                let took = Duration::from_nanos(w.stamp().saturating_sub(began_ns));
                w.sleep_for(took);
            }
        }
        w.line(LEFT).value.fetch_add(1, AcqRel);
        call_all(w).and(led)
    }

    /// Sleeps until there have been more rounds than `seen`; false if there will be no more.
    fn await_round(&self, w: &mut Worker<'_>, seen: u64) -> Result<bool, Errno> {
        w.checkpoint();
        let round = w.line(ROUND);
        loop {
            // Asked in this order: word, end, rounds. What changes after that changes the word.
            let word = round.word.load(Acquire);
            let ended = w.line(LEFT).value.load(Acquire) >= self.low_count as u64;
            let more = round.value.load(Acquire) > seen;
            if more {
                w.resume_after(round.stamp_ns.load(Acquire));
            } else if ended {
                w.resume();
            }
            if more || ended {
                return Ok(more);
            }
            futex_wait(w, &round.word, word)?;
        }
    }

    /// High and medium do one thing a round and then leave the CPU, so that low gets on.
    fn follow(&self, w: &mut Worker<'_>, tier: Tier) -> Result<(), Errno> {
        let mut seen = 0;
        while w.next_served() && self.await_round(w, seen)? {
            seen += 1;
            match tier {
                Tier::High => locked(w, self.pi_mode, &|w| w.spin(self.hold_iters))?,
                _ => w.spin(self.work_iters),
            }
        }
        Ok(())
    }
}

impl Documented for PriorityInversion {
    const FACTS: Facts = Facts {
        group: "high_count + medium_count + low_count",
        latency: &[
            (Latency::Lock, "high and low, each acquisition"),
            (Latency::Timer, "low, its sleep after each round"),
        ],
        privilege: Some(
            "CAP_SYS_NICE or RLIMIT_RTPRIO; without, the tiers keep the workload's policy, and the \
             report says so",
        ),
        ..Facts::PLAIN
    };
}

impl Work for PriorityInversion {
    fn needs(&self) -> Needs {
        let tiers = [self.high_count, self.medium_count, self.low_count];
        let group_size = tiers.into_iter().fold(0, usize::saturating_add);
        Needs { group_size, lines: 4, ..Needs::default() }
    }

    fn role(&self, position: usize) -> &'static str {
        match self.tier(position) {
            Tier::High => "high",
            Tier::Medium => "medium",
            Tier::Low => "low",
        }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("high_count", &self.high_count, "somebody to be kept waiting");
        rules.not_zero("medium_count", &self.medium_count, "somebody to get in between");
        rules.not_zero("low_count", &self.low_count, "somebody to hold the lock");
        rules.not_zero("hold_iters", &self.hold_iters, "a lock that is held for a time");
        rules.not_zero("work_iters", &self.work_iters, "a medium tier that uses the CPU");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let tier = self.tier(w.position());
        let outcome = match tier {
            Tier::High => {
                w.set_policy(&SchedPolicy::Fifo(70));
                self.follow(w, tier)
            }
            Tier::Medium => {
                w.set_policy(&SchedPolicy::Fifo(50));
                self.follow(w, tier)
            }
            Tier::Low => {
                w.set_policy(&SchedPolicy::Fifo(30));
                self.lead(w)
            }
        };
        match outcome {
            Ok(()) | Err(Errno::CANCELED) => Finish::Done,
            Err(errno) => Finish::Failed(format!("the lock failed: {errno}")),
        }
    }
}

/// Makes everybody in [`PriorityInversion::await_round`] look again.
fn call_all(w: &Worker<'_>) -> Result<(), Errno> {
    let word = &w.line(ROUND).word;
    word.fetch_add(1, AcqRel);
    futex_wake(w, word, u32::MAX)
}

/// Acquires, calls `hold` and releases. Who gave up waiting because of the stop never enters.
#[inline(never)]
fn locked(
    w: &mut Worker<'_>,
    mode: FutexLockMode,
    hold: &dyn Fn(&mut Worker<'_>),
) -> Result<(), Errno> {
    let word = &w.line(LOCK).word;
    let from_ns = w.recent();
    match mode {
        FutexLockMode::Plain => lock(w, word)?,
        FutexLockMode::Pi => lock_pi(w, word)?,
    }
    // The former holder's, just before it let go.
    let freed = &w.line(LOCK).stamp_ns;
    w.resume_after(freed.load(Relaxed));
    // All of the wait, in which others may hold it by right; only what follows the release is a gap.
    w.record(Latency::Lock, w.latest().saturating_sub(from_ns));
    prove_alone(w, hold);
    freed.store(w.recent(), Relaxed);
    match mode {
        FutexLockMode::Plain if release(word) => futex_wake(w, word, 1),
        FutexLockMode::Pi if release_pi(word) => futex::unlock_pi(word, w.futex_flags()),
        _ => Ok(()),
    }
}

/// Holds the lock and notices a second holder, by a mark that nobody else may touch.
fn prove_alone(w: &mut Worker<'_>, hold: &dyn Fn(&mut Worker<'_>)) {
    let mark = &w.line(MARK).value;
    let me = w.index() as u64 + 1;
    let before = mark.load(Relaxed);
    mark.store(me, Relaxed);
    hold(w);
    if before != 0 || mark.load(Relaxed) != me {
        w.error("exclusion: two holders", Errno::BUSY);
    }
    mark.store(0, Relaxed);
}

fn lock(w: &Worker<'_>, word: &AtomicU32) -> Result<(), Errno> {
    if word.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_ok() {
        return Ok(());
    }
    // Whoever has waited cannot know that it was the last, so it takes the lock as contended.
    while word.swap(CONTENDED, Acquire) != FREE {
        futex_wait(w, word, CONTENDED)?;
    }
    Ok(())
}

/// Frees the lock; whether somebody waits for it.
fn release(word: &AtomicU32) -> bool {
    word.swap(FREE, Release) == CONTENDED
}

fn lock_pi(w: &mut Worker<'_>, word: &AtomicU32) -> Result<(), Errno> {
    if word.compare_exchange(FREE, own_tid(), Acquire, Relaxed).is_ok() {
        return Ok(());
    }
    loop {
        // Without a timeout, as pthread_mutex_lock. A signal does not end the call; the holder, which
        // sees the stop and lets go, does, and so does its death.
        match futex::lock_pi(word, w.futex_flags(), None) {
            Ok(()) => {
                inherit(w, word);
                return Ok(());
            }
            Err(Errno::INTR | Errno::AGAIN) if w.stopping() => return Err(Errno::CANCELED),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The kernel hands on the lock of a holder that died and says so in the word. Its mark is void.
fn inherit(w: &mut Worker<'_>, word: &AtomicU32) {
    if word.load(Relaxed) & futex::OWNER_DIED != 0 {
        w.error("futex(FUTEX_LOCK_PI)", Errno::OWNERDEAD);
        w.line(MARK).value.store(0, Relaxed);
    }
}

/// Frees the lock, unless somebody waits for it: then only the kernel can.
fn release_pi(word: &AtomicU32) -> bool {
    word.compare_exchange(own_tid(), FREE, Release, Relaxed).is_err()
}

/// What the kernel expects in the word of a lock that we hold.
fn own_tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_come_in_the_order_of_their_priority() {
        let work = PriorityInversion { high_count: 2, low_count: 3, ..Default::default() };
        let roles: Vec<_> = (0..work.needs().group_size).map(|at| work.role(at)).collect();
        assert_eq!(roles, ["high", "high", "medium", "low", "low", "low"]);
    }

    #[test]
    fn a_plain_lock_wakes_only_if_somebody_waits() {
        let word = AtomicU32::new(TAKEN);
        assert!(!release(&word));
        assert_eq!(word.load(Relaxed), FREE);
    }

    #[test]
    fn a_pi_lock_without_contention_stays_in_user_space() {
        let word = AtomicU32::new(own_tid());
        assert!(!release_pi(&word));
        assert_eq!(word.load(Relaxed), FREE);
    }
}
