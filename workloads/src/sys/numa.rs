//! set_mempolicy(2) and its kin, which `rustix` does not have. Called by `config::memory` and
//! `sys::region`.

use super::process::last_errno;
use rustix::io::Errno;

/// Nodes that a mask can name: MAX_NUMNODES of the largest kernels.
pub(crate) const MAX_NODES: usize = 1024;
const WORD_BITS: usize = 64;

/// A set of NUMA nodes as the kernel takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodeMask([u64; MAX_NODES / WORD_BITS]);

impl NodeMask {
    /// Nodes from [`MAX_NODES`] on are left out; configurations that name them are refused.
    pub(crate) fn of(nodes: impl IntoIterator<Item = usize>) -> Self {
        let mut mask = Self::default();
        for node in nodes {
            if let Some(word) = mask.0.get_mut(node / WORD_BITS) {
                *word |= 1 << (node % WORD_BITS);
            }
        }
        mask
    }

    /// The nodes in it, in order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = usize> {
        (0..MAX_NODES).filter(|node| self.0[node / WORD_BITS] >> (node % WORD_BITS) & 1 == 1)
    }

    pub(super) fn as_ptr(&self) -> *const u64 {
        self.0.as_ptr()
    }
}

/// What the kernel wants as `maxnode`: it takes one off.
pub(super) const MAXNODE: libc::c_ulong = MAX_NODES as libc::c_ulong + 1;

/// Sets the policy of the calling thread for memory that it will allocate.
pub(crate) fn set_mempolicy(mode: u32, nodes: &NodeMask) -> Result<(), Errno> {
    // SAFETY: the mask lives across the call and has the `MAXNODE` - 1 bits that the kernel reads.
    let rc = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), MAXNODE) };
    if rc == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Mode with its flags, and nodes, of the calling thread's policy.
pub(crate) fn mempolicy() -> Result<(u32, NodeMask), Errno> {
    let (mut mode, mut nodes) = (0_i32, NodeMask::default());
    let mask = nodes.0.as_mut_ptr();
    // SAFETY: both pointers are to live values, and the kernel writes at most an int and
    // `MAXNODE` - 1 bits. Address 0 with no flags means the thread's own policy.
    let rc = unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, mask, MAXNODE, 0, 0) };
    if rc == 0 { Ok((mode.cast_unsigned(), nodes)) } else { Err(last_errno()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_a_bit_for_each_node() {
        assert_eq!(NodeMask::of([0, 3, 64]).0[..2], [0b1001, 1]);
        assert_eq!(NodeMask::of([MAX_NODES]), NodeMask::default());
    }
}
