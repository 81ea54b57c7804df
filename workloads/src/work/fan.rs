//! One worker that wakes many at once. It goes by rounds: position 0 begins one, everybody else
//! wakes, works and is done, and the last to be done wakes position 0. So nobody misses a round,
//! and the stamp that a woken worker reads is that of the very round that woke it.

use super::catalogue::params::{FanOutCompute, FutexFanOut, ThunderingHerd};
use super::reference::{Documented, Facts};
use super::wait::{futex_wait, futex_wake};
use super::{Finish, Needs, Rules, Work};
use crate::report::Latency;
use crate::worker::Worker;
use rustix::io::Errno;
use std::collections::TryReserveError;
use std::hint::black_box;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

/// The line with the number of the current round, on which everybody but position 0 sleeps.
const ROUND: usize = 0;
/// The line that counts who is done with it, on which position 0 sleeps; the stamp is that of the
/// latest of them.
const DONE: usize = 1;
/// How many lines rounds need.
pub(super) const LINES: usize = 2;

/// More than any machine runs.
const MAX_FOLLOWERS: usize = 99_999;
const FOLLOWERS_RULE: &str = "1 to 99999 of them";
/// 1 GiB.
const MAX_FOOTPRINT_KB: usize = 1 << 20;
const MATRICES: usize = 3;

/// A group of one that leads and `followers`.
fn led(followers: usize, role: fn(usize) -> &'static str) -> Needs {
    Needs { group_size: followers.saturating_add(1), lines: LINES, role, ..Needs::default() }
}

fn messenger_or_receiver(position: usize) -> &'static str {
    if position == 0 { "messenger" } else { "receiver" }
}

fn check_followers(rules: &mut Rules<'_>, field: &'static str, followers: usize) {
    let holds = (1..=MAX_FOLLOWERS).contains(&followers);
    rules.require(field, holds, followers as u64, FOLLOWERS_RULE);
}

impl Documented for FutexFanOut {
    const FACTS: Facts =
        Facts { group: "fan_out + 1", latency: &[(Latency::Wake, "receivers")], ..Facts::PLAIN };
}

impl Work for FutexFanOut {
    fn needs(&self) -> Needs {
        led(self.fan_out, messenger_or_receiver)
    }

    fn check(&self, rules: &mut Rules<'_>) {
        check_followers(rules, "fan_out", self.fan_out);
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() == 0 {
            return rounds(w, |w| {
                w.spin(self.spin_iters);
                lead(w, self.fan_out)
            });
        }
        let mut seen = 0;
        rounds(w, |w| {
            follow(w, &mut seen)?;
            w.spin(self.spin_iters);
            done(w, self.fan_out)
        })
    }
}

impl Documented for FanOutCompute {
    const FACTS: Facts = Facts {
        group: "fan_out + 1",
        latency: &[
            (Latency::Wake, "receivers"),
            (Latency::Timer, "their sleeps, unless `sleep_usec` is 0"),
        ],
        ..Facts::PLAIN
    };
}

impl Work for FanOutCompute {
    fn needs(&self) -> Needs {
        led(self.fan_out, messenger_or_receiver)
    }

    fn check(&self, rules: &mut Rules<'_>) {
        check_followers(rules, "fan_out", self.fan_out);
        rules.require(
            "cache_footprint_kb",
            self.cache_footprint_kb <= MAX_FOOTPRINT_KB,
            self.cache_footprint_kb as u64,
            "at most 1048576, a GiB a receiver",
        );
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() == 0 {
            return rounds(w, |w| lead(w, self.fan_out));
        }
        let mut matrices = match Matrices::within(self.cache_footprint_kb) {
            Ok(matrices) => matrices,
            Err(error) => {
                let kib = self.cache_footprint_kb;
                return Finish::Failed(format!("no matrices of {kib} KiB: {error}"));
            }
        };
        let think = Duration::from_micros(self.sleep_usec);
        let mut seen = 0;
        rounds(w, |w| {
            follow(w, &mut seen)?;
            if !think.is_zero() && !w.sleep_for(think) {
                return Err(Errno::CANCELED);
            }
            for _ in 0..self.operations {
                if !matrices.multiply(|| w.stopping()) {
                    w.stamp();
                    return Err(Errno::CANCELED);
                }
                w.add_work(1);
            }
            done(w, self.fan_out)
        })
    }
}

impl Documented for ThunderingHerd {
    const FACTS: Facts = Facts {
        group: "waiters + 1",
        latency: &[(Latency::Wake, "waiters"), (Latency::Timer, "the waker's sleeps")],
        ..Facts::PLAIN
    };
}

impl Work for ThunderingHerd {
    fn needs(&self) -> Needs {
        led(self.waiters, |position| if position == 0 { "waker" } else { "waiter" })
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("waiters", &self.waiters, "a herd to wake");
        check_followers(rules, "waiters", self.waiters);
        rules.not_zero("batches", &self.batches, "batches in a series");
        rules.not_zero("inter_batch_ms", &self.inter_batch_ms, "time for the herd to fall asleep");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        if w.position() == 0 {
            let pause = Duration::from_millis(self.inter_batch_ms);
            let mut batch = 0;
            return rounds(w, |w| {
                if !w.sleep_for(pause) {
                    return Err(Errno::CANCELED);
                }
                lead(w, self.waiters)?;
                batch = (batch + 1) % self.batches;
                w.add_work(u64::from(batch == 0));
                Ok(())
            });
        }
        let mut seen = 0;
        rounds(w, |w| {
            follow(w, &mut seen)?;
            done(w, self.waiters)
        })
    }
}

/// Does `round` again and again until the worker has to go.
pub(super) fn rounds<'a>(
    w: &mut Worker<'a>,
    mut round: impl FnMut(&mut Worker<'a>) -> Result<(), Errno>,
) -> Finish {
    while w.next() {
        match round(w) {
            Ok(()) => {}
            Err(Errno::CANCELED) => {
                w.close();
                break;
            }
            Err(errno) => return Finish::Failed(format!("futex round failed: {errno}")),
        }
    }
    Finish::Done
}

/// Begins a round with all `followers` and sleeps until the last of them is done with it.
pub(super) fn lead(w: &mut Worker<'_>, followers: usize) -> Result<(), Errno> {
    let followers = u32::try_from(followers).unwrap_or(u32::MAX);
    let (round, done) = (w.line(ROUND), w.line(DONE));
    done.word.store(0, Relaxed);
    let stamp_ns = w.recent();
    round.stamp_ns.store(stamp_ns, Relaxed);
    round.word.fetch_add(1, Release);
    futex_wake(w, &round.word, followers)?;
    w.checkpoint();
    loop {
        let count = done.word.load(Acquire);
        if count >= followers {
            break;
        }
        futex_wait(w, &done.word, count)?;
    }
    w.resume_after(done.stamp_ns.load(Relaxed));
    w.add_work(1);
    Ok(())
}

/// Sleeps until the round after `seen` has begun, and samples the wake-up.
pub(super) fn follow(w: &mut Worker<'_>, seen: &mut u32) -> Result<(), Errno> {
    w.checkpoint();
    let round = w.line(ROUND);
    let mut slept = false;
    while round.word.load(Acquire) == *seen {
        // Only the last sleep counts: a late wake call of the round before may have ended another.
        slept = futex_wait(w, &round.word, *seen)?;
    }
    *seen = seen.wrapping_add(1);
    let late_ns = w.resume_after(round.stamp_ns.load(Relaxed));
    if slept {
        w.record(Latency::Wake, late_ns);
    }
    w.add_work(1);
    Ok(())
}

/// This follower has done its part of the round; the last of `followers` wakes the leader.
pub(super) fn done(w: &mut Worker<'_>, followers: usize) -> Result<(), Errno> {
    let line = w.line(DONE);
    line.stamp_ns.fetch_max(w.recent(), Relaxed);
    let before = line.word.fetch_add(1, AcqRel);
    if usize::try_from(before).is_ok_and(|before| before + 1 == followers) {
        futex_wake(w, &line.word, 1)?;
    }
    Ok(())
}

/// Three square matrices of one receiver: two factors and their product.
struct Matrices {
    size: usize,
    left: Vec<u64>,
    right: Vec<u64>,
    product: Vec<u64>,
}

impl Matrices {
    /// The largest that fit into `kib`, filled, so that their pages are there.
    fn within(kib: usize) -> Result<Self, TryReserveError> {
        let size = (kib.saturating_mul(1024) / MATRICES / size_of::<u64>()).isqrt();
        let filled = |seed: u64| -> Result<_, TryReserveError> {
            let mut cells = Vec::new();
            cells.try_reserve_exact(size * size)?;
            cells.extend((seed..).take(size * size));
            Ok(cells)
        };
        Ok(Self { size, left: filled(1)?, right: filled(2)?, product: filled(3)? })
    }

    /// The naive product, column by column through the right factor; false if `stopping` came
    /// before its end.
    fn multiply(&mut self, stopping: impl Fn() -> bool) -> bool {
        // Without cells there are no rows, but rows of length 0 cannot be asked for either.
        let size = self.size.max(1);
        let rows = self.left.chunks_exact(size).zip(self.product.chunks_exact_mut(size));
        for (row, cells) in rows {
            if stopping() {
                return false;
            }
            for (column, cell) in cells.iter_mut().enumerate() {
                let column = self.right.iter().skip(column).step_by(size);
                *cell = row
                    .iter()
                    .zip(column)
                    .fold(0, |sum: u64, (a, b)| sum.wrapping_add(a.wrapping_mul(*b)));
            }
        }
        black_box(&self.product);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;

    #[test]
    fn matrices_fit_the_footprint() {
        let matrices = Matrices::within(256).unwrap();
        assert_eq!(matrices.size, 104);
        assert!(MATRICES * matrices.product.len() * 8 <= 256 << 10);
    }

    #[test]
    fn the_product_is_right_and_the_stop_cuts_it() {
        let (left, right) = (vec![1, 2, 3, 4], vec![5, 6, 7, 8]);
        let mut matrices = Matrices { size: 2, left, right, product: vec![0; 4] };
        assert!(!matrices.multiply(|| true));
        assert!(matrices.multiply(|| false));
        assert_eq!(matrices.product, [19, 22, 43, 50]);
        assert!(Matrices::within(0).unwrap().multiply(|| false), "no cells, nothing to do");
    }

    #[test]
    fn groups_that_cannot_be_are_refused() {
        for (work_type, field) in [
            (WorkType::futex_fan_out(0, 1), "fan_out"),
            (WorkType::futex_fan_out(usize::MAX, 1), "fan_out"),
            (WorkType::fan_out_compute(usize::MAX, 1, 1, 1), "fan_out"),
            (WorkType::fan_out_compute(1, usize::MAX, 1, 1), "cache_footprint_kb"),
            (WorkType::thundering_herd(usize::MAX, 1, 1), "waiters"),
            (WorkType::thundering_herd(0, 1, 1), "waiters"),
            (WorkType::thundering_herd(1, 0, 1), "batches"),
            (WorkType::thundering_herd(1, 1, 0), "inter_batch_ms"),
        ] {
            let error = work_type.validate(0, 1).unwrap_err();
            assert!(error.path.ends_with(field), "{error}");
        }
    }
}
