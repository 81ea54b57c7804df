//! The end of a measurement: what the loop and the kernel counted becomes a report. Called by
//! `Worker::next` when the loop is over, and by `handle` for the report.

use super::Worker;
use crate::clock;
use crate::config::SchedPolicy;
use crate::counters::{Now, known};
use crate::nodes;
use crate::report::WorkerReport;
use crate::settings;
use crate::sys::sched::{SchedAttr, get_attr};
use rustix::io::Errno;
use rustix::process::getpriority_process;
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::atomic::Ordering::Relaxed;

impl Worker<'_> {
    /// Closes the measurement, once, while the type's memory is still where it was. A loop that
    /// leaves by `break` and has such memory calls it; for all others `next` or `finish` does.
    #[cold]
    pub(crate) fn close(&mut self) {
        if self.closed.is_some() {
            return;
        }
        if self.seat.control.phase.load(Relaxed) != self.phase {
            // The stop ended a block in which the run went on.
            self.resume();
        }
        let now = Now::read();
        let wall_time_ns = clock::monotonic_ns().saturating_sub(self.started_ns);
        let mut report = WorkerReport { wall_time_ns, ..WorkerReport::default() };
        self.counters.end(now, self.moves_seen, &mut report);
        let pages = known(pages_of_process(), &["numa_pages"], &mut report.unavailable);
        report.numa_pages = by_name(pages.unwrap_or_default());
        self.closed = Some(Box::new(report));
    }

    /// The whole report but for who the worker is.
    pub(crate) fn finish(mut self) -> WorkerReport {
        self.close();
        let attr = self.leave_policy();
        let (latency, gap, cpus_used, steps) = self.whole_and_parts();
        let closed = self.closed.take().map_or_else(WorkerReport::default, |closed| *closed);
        let mut report = WorkerReport {
            work_units: self.work_units,
            iterations: self.iterations,
            served: self.served,
            max_gap_ns: Some(gap.wall_ns),
            max_gap_cpu_ns: Some(gap.cpu_ns),
            max_gap_at_ns: Some(gap.ended_ns),
            max_gap_on_cpu: Some(gap.on_cpu),
            startup_cpu_ns: self.startup_cpu_ns,
            latency,
            cpus_used,
            steps,
            errors: take(&mut self.errors),
            tallies: self.tallies.iter().map(|(what, sum)| ((*what).to_owned(), *sum)).collect(),
            io_target: self.io_target.take(),
            not_applied: take(&mut self.not_applied),
            alu_width: self.alu_width.take(),
            ..closed
        };
        if let Some(pages) = self.numa_pages.take() {
            report.numa_pages = by_name(pages);
        }
        settings::fill_in(&mut report, attr, &self.asked, self.seat.slot);
        report
    }

    /// Policy and parameters at the end of the loop. A policy that the loop chose ends here: a
    /// report takes more CPU time than SCHED_DEADLINE may give in seconds.
    fn leave_policy(&mut self) -> Result<SchedAttr, Errno> {
        let attr = get_attr(None);
        if self.chose_policy {
            let nice = getpriority_process(None).unwrap_or(0);
            // Refused, it is only slow.
            let _ = SchedPolicy::Normal.apply(nice);
        }
        attr
    }
}

/// Pages by node, none on a machine with one node, where they could only be there.
fn pages_of_process() -> Result<BTreeMap<usize, u64>, String> {
    if nodes::online().len() > 1 { nodes::pages_of_process() } else { Ok(BTreeMap::new()) }
}

fn by_name(pages: BTreeMap<usize, u64>) -> BTreeMap<String, u64> {
    pages.into_iter().map(|(node, count)| (node.to_string(), count)).collect()
}
