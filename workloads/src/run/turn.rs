//! How long a fair task may keep its CPU while others wait for it: what a measurement must be long
//! against to say anything of who got how much. Called by `stage` as the measurement begins.

use crate::clock::tick_ns;

/// The slice of EEVDF, then the time in which CFS lets everybody run once, whom there are at least
/// two of.
const SLICES: [(&str, u64); 2] =
    [("/sys/kernel/debug/sched/base_slice_ns", 1), ("/sys/kernel/debug/sched/latency_ns", 2)];
/// SCX_SLICE_DFL, which a sched_ext scheduler may leave as it is.
const SCX_SLICE_NS: u64 = 20_000_000;

/// A slice and a tick: what has used its slice up is seen at the next tick. Without right to read
/// the slice it counts as none.
pub(super) fn longest_ns(under_sched_ext: bool) -> u64 {
    let slice = SLICES.iter().find_map(|(path, parts)| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().parse::<u64>().ok()? / parts)
    });
    let least = if under_sched_ext { SCX_SLICE_NS } else { 0 };
    slice.unwrap_or(0).max(least) + tick_ns()
}
