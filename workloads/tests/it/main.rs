//! The life of workers on this machine: forked for real, stopped, killed, counted. What they do
//! to a scheduler is asserted in guests, where counts are exact.

mod faults;
mod lifecycle;
mod sync;
mod work_types;
