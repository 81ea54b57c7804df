//! The life of workers on this machine: forked for real, stopped, killed, counted. What they do
//! to a scheduler is asserted in guests, where counts are exact.

mod delay;

mod faults;
mod lifecycle;
mod literals;
mod modes;
mod sync;
mod work_types;
