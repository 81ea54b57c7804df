//! `manifest.json`: what a bundle is, as typed fields, from which everything that runs is made
//! again. Written by `pack`, read by `open`; `sane` says which values are taken.

use super::member::{KERNEL, Members};
use crate::files::sha256;
use crate::run::{BootRecord, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use workloads::{Check, Outcome};

/// Raised whenever older programs would misread it.
pub(super) const FORMAT: u32 = 1;

/// A bundle, but for what is in its other members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Version of the program that packed it.
    pub(crate) schedlab: String,
    /// The guest.
    pub(crate) boot: BootRecord,
    /// Whether the guest ended without the host's doing.
    pub(crate) ended_by_itself: bool,
    /// What was seen.
    pub(crate) expected: Expected,
    /// The reporter's words.
    pub(crate) note: Option<String>,
    /// Every other member.
    pub(crate) members: BTreeMap<String, Digest>,
}

/// The result of the recorded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) verdict: Verdict,
    pub(crate) checks: Vec<ExpectedCheck>,
}

/// A check and how it came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedCheck {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// What a member must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Digest {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Manifest {
    /// Whether a replay on the same QEMU is the same to the byte.
    pub(crate) fn is_exact(&self) -> bool {
        self.boot.icount_shift.is_some() && self.ended_by_itself
    }

    pub(crate) fn has_kernel(&self) -> bool {
        self.members.contains_key(KERNEL)
    }
}

impl Expected {
    pub(crate) fn of(verdict: Verdict, checks: &[Check]) -> Self {
        let check =
            |check: &Check| ExpectedCheck { name: check.name.clone(), outcome: check.outcome };
        Self { verdict, checks: checks.iter().map(check).collect() }
    }
}

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: sha256(bytes) }
    }

    pub(super) fn of_all(members: &Members) -> BTreeMap<String, Self> {
        members.iter().map(|(name, bytes)| ((*name).to_owned(), Self::of(bytes))).collect()
    }
}
