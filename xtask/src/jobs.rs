//! Tasks side by side, each in a thread of its own: a guest needs one, whose end is QEMU's end
//! too. Called by `cmd::repeat` and `cmd::hunt`; `kernel::build` asks how many CPUs there are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// CPUs that this process may use: as many deterministic guests run side by side.
pub(crate) fn host_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does `work` on each of `items`, on at most `jobs` at a time and in their order, and tells
/// `done` of each as it ends. When that says no, what runs is finished and nothing more begun.
pub(crate) fn side_by_side<I: Sync, T>(
    items: &[I],
    jobs: usize,
    work: impl Fn(&I) -> T + Sync,
    done: impl FnMut(&I, T) -> bool + Send,
) {
    let (next, enough, done) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(done));
    let worker = || {
        while !enough.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            let outcome = work(item);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            if !done(item, outcome) {
                enough.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(worker);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once() {
        let items: Vec<u64> = (0..50).collect();
        let mut sum = 0;
        side_by_side(
            &items,
            4,
            |n| n * 2,
            |n, twice| {
                assert_eq!(twice, n * 2);
                sum += n;
                true
            },
        );
        assert_eq!(sum, 49 * 50 / 2);
    }

    #[test]
    fn nothing_begins_after_a_no() {
        let items: Vec<u32> = (0..50).collect();
        let mut seen = Vec::new();
        side_by_side(
            &items,
            1,
            |n| *n,
            |n, _| {
                seen.push(*n);
                *n < 3
            },
        );
        assert_eq!(seen, [0, 1, 2, 3]);
    }
}
