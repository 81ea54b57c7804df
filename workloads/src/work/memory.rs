//! Types that work the page tables: pages that come and go, and pages that move between nodes.

use super::catalogue::params::{NumaWorkingSetSweep, PageFaultChurn};
use super::reference::{Documented, Facts};
use super::{Finish, Rules, Work};
use crate::nodes;
use crate::report::Latency;
use crate::sys::numa::MAX_NODES;
use crate::sys::region::Region;
use crate::worker::Worker;
use rustix::io::Errno;
use std::time::Duration;

/// Sweeps between two looks at where the pages are; prime, so that it goes round with the nodes.
const CHECK_EVERY: usize = 7;

impl Documented for PageFaultChurn {}

impl Documented for NumaWorkingSetSweep {
    const FACTS: Facts = Facts { latency: &[(Latency::Timer, "each sleep")], ..Facts::PLAIN };
}

impl Work for PageFaultChurn {
    fn check(&self, rules: &mut Rules<'_>) {
        check_region(rules, self.region_kb);
        rules.not_zero(
            "touches_per_cycle",
            &self.touches_per_cycle,
            "touches; without them nothing faults",
        );
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let mut region = match map(self.region_kb) {
            Ok(region) => region,
            Err(why) => return Finish::Failed(why),
        };
        while w.next() {
            if !touch_pages(w, &mut region, self.touches_per_cycle) {
                break;
            }
            if let Err(errno) = region.discard() {
                return Finish::Failed(format!("madvise(MADV_DONTNEED) failed: {errno}"));
            }
            w.spin(self.spin_iters);
        }
        Finish::Done
    }
}

impl Work for NumaWorkingSetSweep {
    fn check(&self, rules: &mut Rules<'_>) {
        check_region(rules, self.region_kb);
        for node in &self.target_nodes {
            let rule = "nodes from 0 to 1023";
            rules.require("target_nodes", *node < MAX_NODES, *node as u64, rule);
        }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let nodes = self.usable_nodes(w);
        let mut region = match map(self.region_kb) {
            Ok(region) => region,
            Err(why) => return Finish::Failed(why),
        };
        // Workers begin on different nodes, so that their pages pass each other.
        for round in w.index().. {
            if !w.next() {
                break;
            }
            let node = nodes.get(round % nodes.len().max(1)).copied();
            if let Some(node) = node {
                // Long for a large region, and the worker is runnable all the while.
                w.stamp();
                match region.bind(node) {
                    Ok(()) => w.tally("sweeps", 1),
                    Err(errno) => w.error("mbind", errno),
                }
            }
            if !touch_all(w, &mut region) {
                break;
            }
            if round.is_multiple_of(CHECK_EVERY) {
                check_place(w, &region, node);
            }
            if !w.sleep_for(Duration::from_millis(self.sweep_period_ms)) {
                break;
            }
        }
        match region.nodes() {
            Ok(pages) => w.set_numa_pages(pages),
            Err(errno) => w.error("move_pages", errno),
        }
        Finish::Done
    }
}

impl NumaWorkingSetSweep {
    /// The nodes to go round: those asked for that have memory, or all that have.
    fn usable_nodes(&self, w: &mut Worker<'_>) -> Vec<usize> {
        let there = nodes::with_memory();
        if self.target_nodes.is_empty() {
            return there;
        }
        let (usable, absent): (Vec<usize>, Vec<usize>) =
            self.target_nodes.iter().partition(|node| there.contains(node));
        for node in absent {
            w.refused("target_nodes", &node, Errno::NOENT);
        }
        usable
    }
}

/// Counts an error unless all pages are where the last sweep moved them.
fn check_place(w: &mut Worker<'_>, region: &Region, node: Option<usize>) {
    let Some(node) = node else { return };
    match region.nodes() {
        Ok(pages) if pages.keys().all(|at| *at == node) => {}
        Ok(_) => w.error("mbind: pages elsewhere than they were moved", Errno::BADMSG),
        Err(errno) => w.error("move_pages", errno),
    }
}

/// Writes to every page in turn, a unit of work each; false if the stop came first.
fn touch_all(w: &mut Worker<'_>, region: &mut Region) -> bool {
    for page in 0..region.pages() {
        if w.stopping() {
            return false;
        }
        region.touch(page);
        w.add_work(1);
    }
    true
}

fn check_region(rules: &mut Rules<'_>, region_kb: usize) {
    rules.not_zero("region_kb", &region_kb, "a region to touch");
    let rule = "a region that fits an address space";
    rules.require("region_kb", bytes_of_kb(region_kb).is_some(), region_kb as u64, rule);
}

fn map(region_kb: usize) -> Result<Region, String> {
    let bytes = bytes_of_kb(region_kb).ok_or("region_kb overflows")?;
    Region::new(bytes).map_err(|errno| format!("mmap of {region_kb} KiB failed: {errno}"))
}

/// Writes to `count` pages at random, a unit of work each; false if the stop came first.
fn touch_pages(w: &mut Worker<'_>, region: &mut Region, count: usize) -> bool {
    for _ in 0..count {
        // A fault costs far more than this look at a flag.
        if w.stopping() {
            return false;
        }
        let page = w.rng().below(region.pages());
        region.touch(page);
        w.add_work(1);
    }
    true
}

/// KiB in bytes, `None` where no allocation can be as large.
pub(super) fn bytes_of_kb(kb: usize) -> Option<usize> {
    kb.checked_mul(1024).filter(|bytes| isize::try_from(*bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;

    #[test]
    fn sizes_are_in_kib_and_do_not_overflow() {
        assert_eq!(bytes_of_kb(4), Some(4096));
        assert_eq!(bytes_of_kb(usize::MAX / 1024), None);
        assert_eq!(bytes_of_kb(usize::MAX), None);
    }

    #[test]
    fn churn_without_pages_or_touches_is_refused_by_name() {
        for (work_type, field) in [
            (WorkType::page_fault_churn(0, 1, 1), "region_kb"),
            (WorkType::page_fault_churn(usize::MAX, 1, 1), "region_kb"),
            (WorkType::page_fault_churn(4, 0, 1), "touches_per_cycle"),
            (WorkType::numa_working_set_sweep(0, 1, vec![]), "region_kb"),
            (WorkType::numa_working_set_sweep(4, 1, vec![0, MAX_NODES]), "target_nodes"),
        ] {
            let error = work_type.validate(0, 1).unwrap_err();
            let path = format!("work_type.{}.{field}", work_type.name());
            assert_eq!(error.path, path, "{error}");
        }
        assert!(WorkType::page_fault_churn(1, 1, 0).validate(0, 1).is_ok());
    }
}
