//! The commands: a file each, whose `run` is called by `main`.

pub(crate) mod bench;
pub(crate) mod bundle;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod ci;
pub(crate) mod compare;
pub(crate) mod docs;
pub(crate) mod host;
pub(crate) mod hunt;
pub(crate) mod kernel;
pub(crate) mod list;
pub(crate) mod matrix;
pub(crate) mod report;
pub(crate) mod scheduler;
pub(crate) mod vm;

mod deterministic;
mod input;
mod repeat;
