//! Guests booted through the command line, as a user does it: the main job, the ways a scenario
//! travels, and every verdict provoked for real. Needs QEMU and the Debian mirror or its cache.

mod bench;

mod custom;
mod deterministic;
mod input;
mod kernels;
mod kvm;
mod main_job;
mod malformed;
mod modes;
mod schedulers;
mod topology;
mod transport;
mod verdicts;
