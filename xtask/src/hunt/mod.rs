//! What a hunt knows: which seeds, what came of each, which failures are the same one, and how a
//! scenario gets smaller. It boots nothing; `cmd::hunt` does.

mod seeds;
mod shrink;
mod signature;
mod store;

pub(crate) use seeds::{Seeds, Shard};
pub(crate) use shrink::{Shrunk, shrink};
pub(crate) use signature::{Signature, undecided};
pub(crate) use store::{Cell, Store};
