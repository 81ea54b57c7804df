//! Types that work the page tables.

use super::catalogue::params::PageFaultChurn;
use super::reference::Documented;
use super::{Finish, Rules, Work};
use crate::sys::region::Region;
use crate::worker::Worker;

impl Documented for PageFaultChurn {}

impl Work for PageFaultChurn {
    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("region_kb", &self.region_kb, "a region to fault on");
        let fits = bytes_of_kb(self.region_kb).is_some();
        let rule = "a region that fits an address space";
        rules.require("region_kb", fits, self.region_kb as u64, rule);
        rules.not_zero(
            "touches_per_cycle",
            &self.touches_per_cycle,
            "touches; without them nothing faults",
        );
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let Some(bytes) = bytes_of_kb(self.region_kb) else {
            return Finish::Failed("region_kb overflows".into());
        };
        let mut region = match Region::new(bytes) {
            Ok(region) => region,
            Err(errno) => {
                return Finish::Failed(format!("mmap of {} KiB failed: {errno}", self.region_kb));
            }
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
        ] {
            let error = work_type.validate(0, 1).unwrap_err();
            assert_eq!(error.path, format!("work_type.PageFaultChurn.{field}"), "{error}");
        }
        assert!(WorkType::page_fault_churn(1, 1, 0).validate(0, 1).is_ok());
    }
}
