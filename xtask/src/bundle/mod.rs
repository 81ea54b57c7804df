//! Bundles: one file that replays a run, for somebody else. `pack` makes one of a run folder;
//! [`Bundle`] is one that was read and found whole, which nothing else can boot. Called by
//! `cmd::bundle`.
//!
//! Bundles come from strangers. They are read into memory in bounds (`archive`), every hash is
//! compared (`open`), every value must be one that the options of `vm` would take (`sane`), and
//! QEMU's arguments are made of those values, never taken from the file.

mod manifest;
mod member;

mod archive;
mod open;
mod pack;
mod sane;

mod readme;
mod script;

mod compare;
mod outcome;
mod replay;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod strangers;

pub(crate) use compare::Difference;
pub(crate) use open::Bundle;
pub(crate) use outcome::{Judgement, Outcome, Replayed, first_unlike, judge};
pub(crate) use pack::{Packed, pack};

use crate::error::Refusal;

/// It is no longer what was packed.
fn damaged(why: impl Into<String>) -> Refusal {
    Refusal::input(why, "get the file again, and compare its SHA-256 with the sender's")
}

/// It never was a bundle, or somebody made it what it is.
fn foreign(why: impl Into<String>) -> Refusal {
    Refusal::input(why, "ask its sender for one from `cargo xtask bundle pack`; do not unpack this")
}

/// Text of a stranger's as a message may hold it: on one line, not too long.
fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let short: String = text.chars().take(LONGEST).collect();
    short.escape_debug().to_string()
}
