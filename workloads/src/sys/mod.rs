//! The only unsafe code of the crate: each file wraps what `rustix` does not offer and has
//! safe signatures only.
#![expect(unsafe_code, reason = "the boundary to the kernel; safe signatures out")]

pub(crate) mod cpu;
pub(crate) mod numa;
pub(crate) mod perf;
pub(crate) mod process;
pub(crate) mod region;
pub(crate) mod sched;
pub(crate) mod shared;
pub(crate) mod simd;
pub(crate) mod switches;
pub(crate) mod usage;
