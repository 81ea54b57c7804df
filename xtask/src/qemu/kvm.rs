//! What is known of this host's KVM: whether it can be opened, what guests have shown of it, and how
//! its failures look. Called by `accel`, and for the failures by `run` and `cmd::vm`.

mod access;
mod answers;
mod failure;

pub(super) use access::{NoAccess, host_is_amd, identity, open};
pub(super) use answers::{Answer, Answers, Key, VALID};
pub(super) use failure::{base, mentions, without_failed_msr};
pub(crate) use failure::{lesser_model, needs_kvm, summary, telling};
