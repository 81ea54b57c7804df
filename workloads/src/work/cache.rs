//! Types that keep a buffer hot in the cache: alone, with a yield after each burst, or with a
//! token exchange after it.

use super::catalogue::params::{CachePipe, CachePressure, CacheYield};
use super::memory::bytes_of_kb;
use super::pair::{pipe_exchange, pipe_pair};
use super::reference::{Documented, Facts};
use super::spin::yield_once;
use super::{Finish, Needs, Rules, Work, Yields};
use crate::report::Latency;
use crate::worker::Worker;
use std::hint::black_box;

/// Accesses of one iteration of the types that do not choose it.
const ACCESSES: u64 = 1024;
/// Accesses between two looks at the stop flag.
const UNCHECKED: u64 = 4096;
/// A cache line: the stride of `CachePipe`.
const LINE: usize = 64;

impl Documented for CachePressure {}

impl Work for CachePressure {
    fn needs(&self) -> Needs {
        Needs { system_calls: false, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        check_size(rules, self.size_kb);
        check_stride(rules, self.size_kb, self.stride);
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        press(w, self.size_kb, self.stride, |_| {})
    }
}

impl Documented for CacheYield {
    const FACTS: Facts = Facts { latency: &[(Latency::Yield, "each call")], ..Facts::PLAIN };
}

impl Work for CacheYield {
    fn needs(&self) -> Needs {
        Needs { yields: Yields::Always, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        check_size(rules, self.size_kb);
        check_stride(rules, self.size_kb, self.stride);
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        press(w, self.size_kb, self.stride, yield_once)
    }
}

/// A burst on the cache in each iteration, and then `after`.
fn press(w: &mut Worker<'_>, size_kb: usize, stride: usize, after: fn(&mut Worker<'_>)) -> Finish {
    let mut buffer = match Buffer::new(size_kb, stride) {
        Ok(buffer) => buffer,
        Err(why) => return Finish::Failed(why),
    };
    while w.next() {
        buffer.burst(w, ACCESSES);
        after(w);
    }
    Finish::Done
}

impl Documented for CachePipe {
    const FACTS: Facts =
        Facts { group: "2", latency: &[(Latency::Wake, "both workers")], ..Facts::PLAIN };
}

impl Work for CachePipe {
    fn needs(&self) -> Needs {
        pipe_pair()
    }

    fn check(&self, rules: &mut Rules<'_>) {
        check_size(rules, self.size_kb);
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let mut buffer = match Buffer::new(self.size_kb, LINE) {
            Ok(buffer) => buffer,
            Err(why) => return Finish::Failed(why),
        };
        pipe_exchange(w, |w| buffer.burst(w, self.burst_iters))
    }
}

fn check_size(rules: &mut Rules<'_>, size_kb: usize) {
    rules.not_zero("size_kb", &size_kb, "a buffer to work on");
    let rule = "a buffer that fits an address space";
    rules.require("size_kb", bytes_of_kb(size_kb).is_some(), size_kb as u64, rule);
}

fn check_stride(rules: &mut Rules<'_>, size_kb: usize, stride: usize) {
    rules.not_zero("stride", &stride, "a step; without one it touches one byte only");
    let inside = bytes_of_kb(size_kb).is_some_and(|bytes| stride < bytes);
    rules.require("stride", inside, stride as u64, "a step shorter than its buffer");
}

/// Memory of one worker's own, allocated by the worker itself.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// Shorter than the buffer.
    stride: usize,
    at: usize,
}

impl Buffer {
    fn new(size_kb: usize, stride: usize) -> Result<Self, String> {
        let size = bytes_of_kb(size_kb).ok_or("size_kb overflows")?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|e| format!("no buffer of {size_kb} KiB: {e}"))?;
        // Writes every page, so that the loop faults on none.
        bytes.resize(size, 1);
        Ok(Self { bytes, stride, at: 0 })
    }

    /// `count` accesses, a unit of work each; fewer if the stop comes in between.
    fn burst(&mut self, w: &mut Worker<'_>, count: u64) {
        let mut left = count;
        while left > 0 {
            let chunk = left.min(UNCHECKED);
            (0..chunk).for_each(|_| self.access());
            w.add_work(chunk);
            left -= chunk;
            if left > 0 && w.stopping() {
                return;
            }
        }
    }

    /// One read-modify-write, and on by the stride. For all that the optimiser knows the
    /// address has been given away, so that it can neither merge nor drop the access.
    #[inline]
    fn access(&mut self) {
        let byte = black_box(&mut self.bytes[self.at]);
        *byte = byte.wrapping_add(1);
        self.at += self.stride;
        if self.at >= self.bytes.len() {
            self.at -= self.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;

    #[test]
    fn accesses_step_by_the_stride_and_wrap() {
        let mut buffer = Buffer::new(1, 256).unwrap();
        (0..6).for_each(|_| buffer.access());
        let written: Vec<_> = buffer.bytes.iter().enumerate().filter(|(_, b)| **b != 1).collect();
        assert_eq!(written, [(0, &3), (256, &3), (512, &2), (768, &2)]);
    }

    #[test]
    fn a_stride_that_does_not_divide_stays_inside() {
        let mut buffer = Buffer::new(1, 1023).unwrap();
        (0..1024).for_each(|_| buffer.access());
        assert!(buffer.bytes.iter().all(|byte| *byte == 2), "each byte once, backwards");
    }

    #[test]
    fn sizes_and_strides_without_sense_are_refused_by_name() {
        for (work_type, field) in [
            (WorkType::cache_pressure(0, 64), "CachePressure.size_kb"),
            (WorkType::cache_pressure(32, 0), "CachePressure.stride"),
            (WorkType::cache_pressure(32, 32 << 10), "CachePressure.stride"),
            (WorkType::cache_pressure(usize::MAX, 64), "CachePressure.size_kb"),
            (WorkType::cache_yield(0, 64), "CacheYield.size_kb"),
            (WorkType::cache_yield(1, usize::MAX), "CacheYield.stride"),
            (WorkType::cache_pipe(0, 1), "CachePipe.size_kb"),
            (WorkType::cache_pipe(1 << 53, 1), "CachePipe.size_kb"),
        ] {
            let error = work_type.validate(0, 2).unwrap_err();
            assert_eq!(error.path, format!("work_type.{field}"), "{error}");
        }
        assert!(WorkType::cache_pipe(1, 0).validate(0, 2).is_ok());
    }
}
