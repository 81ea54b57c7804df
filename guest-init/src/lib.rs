//! PID 1 of the guest as a library, and the serial protocol that both ends speak.
//!
//! An init with work functions of one's own registers them and boots, as `examples/custom-init`
//! does:
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use workloads::prelude::*;
//!
//! fn mine(_stop: &AtomicBool) -> WorkerReport {
//!     WorkerReport::default()
//! }
//!
//! register("mine", mine);
//! guest_init::boot()
//! ```

mod boot;
mod supervise;

mod loglevel;
mod modules;
mod mounts;
mod null_blk;
mod order;
mod source;
mod storage;
mod sys;

mod facts;
mod handover;
mod port;
mod printed;
mod runner;
mod scheduler;
mod shape;
mod wait;

pub mod frame;
pub mod proto;

pub use boot::boot;
