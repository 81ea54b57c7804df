//! How many guests run side by side: as far as CPUs and memory of this host go. Called by
//! `cmd::matrix`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What QEMU needs beside the guest's memory.
const OVERHEAD_MIB: u64 = 200;

/// What a guest takes while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    cpus: usize,
    memory_mib: u64,
}

/// What is left of the host. Who asked first is served first, so that a large guest is not passed
/// by small ones for ever.
#[derive(Debug)]
pub(super) struct Budget {
    all: Share,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: Share,
    next_ticket: u64,
    served: u64,
}

/// A share that is given back at its end.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    budget: &'a Budget,
    share: Share,
}

impl Share {
    /// A deterministic guest has one CPU of the host, another one a thread for each of its own.
    pub(super) fn of_guest(deterministic: bool, cpus: usize, memory_mib: u64) -> Self {
        let cpus = if deterministic { 1 } else { cpus };
        Self { cpus, memory_mib: memory_mib + OVERHEAD_MIB }
    }
}

impl Budget {
    /// Of a host with so many CPUs and so much memory available.
    pub(super) fn new(cpus: usize, memory_mib: u64) -> Self {
        let all = Share { cpus, memory_mib };
        let state = Mutex::new(State { free: all, next_ticket: 0, served: 0 });
        Self { all, state, changed: Condvar::new() }
    }

    /// Waits for its turn and for what is asked. A guest larger than the host runs alone.
    pub(super) fn take(&self, asked: Share) -> Taken<'_> {
        let share = Share {
            cpus: asked.cpus.min(self.all.cpus),
            memory_mib: asked.memory_mib.min(self.all.memory_mib),
        };
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let waits = |state: &mut State| {
            let fits = state.free.cpus >= share.cpus && state.free.memory_mib >= share.memory_mib;
            state.served != ticket || !fits
        };
        state = self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.served += 1;
        state.free.cpus -= share.cpus;
        state.free.memory_mib -= share.memory_mib;
        drop(state);
        self.changed.notify_all();
        Taken { budget: self, share }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        state.free.cpus += self.share.cpus;
        state.free.memory_mib += self.share.memory_mib;
        drop(state);
        self.budget.changed.notify_all();
    }
}

/// `MemAvailable` of /proc/meminfo; without it as if there were enough.
pub(super) fn available_memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The most CPUs in use at once by guests of these sizes.
    fn most_cpus(host: usize, guests: &[(bool, usize)]) -> usize {
        let budget = Budget::new(host, 10_000);
        let (used, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for (deterministic, cpus) in guests {
                scope.spawn(|| {
                    let taken = budget.take(Share::of_guest(*deterministic, *cpus, 100));
                    let now = used.fetch_add(taken.share.cpus, Ordering::SeqCst) + taken.share.cpus;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::yield_now();
                    used.fetch_sub(taken.share.cpus, Ordering::SeqCst);
                });
            }
        });
        most.into_inner()
    }

    #[test]
    fn guests_never_take_more_cpus_than_there_are_and_large_ones_run() {
        assert!(most_cpus(4, &[(false, 2); 20]) <= 4);
        assert!(most_cpus(2, &[(true, 8); 20]) <= 2);
        assert_eq!(most_cpus(2, &[(false, 16)]), 2);
    }

    #[test]
    fn memory_is_a_bound_too() {
        let budget = Budget::new(8, 1000);
        let first = budget.take(Share::of_guest(true, 1, 500));
        assert_eq!(budget.lock().free, Share { cpus: 7, memory_mib: 300 });
        drop(first);
        let whole = budget.take(Share::of_guest(true, 1, 50_000));
        assert_eq!(budget.lock().free.memory_mib, 0);
        drop(whole);
        assert_eq!(budget.lock().free, budget.all);
    }

    #[test]
    fn this_host_says_how_much_memory_it_has() {
        assert!((64..1 << 30).contains(&available_memory_mib()));
    }
}
