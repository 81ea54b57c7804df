//! Which CPU this is, and of what kind. Called by `Worker` for the CPUs that it used and to
//! choose its spin step.

use std::arch::x86_64::__cpuid;

/// CPUID leaf of the hypervisor's name, and what QEMU's emulation answers.
const HYPERVISOR_LEAF: u32 = 0x4000_0000;
const TCG: &[u8; 12] = b"TCGTCGTCGTCG";
/// CPUID.1:ECX bit 31: a hypervisor is present.
const HYPERVISOR_PRESENT: u32 = 1 << 31;

/// Whether QEMU's TCG executes us. It ends a vCPU's turn at every PAUSE, so that a spin step
/// could take as long as another vCPU's turn.
pub(crate) fn is_emulated() -> bool {
    if __cpuid(1).ecx & HYPERVISOR_PRESENT == 0 {
        return false;
    }
    let leaf = __cpuid(HYPERVISOR_LEAF);
    let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat();
    name == TCG
}

/// The CPU that runs the calling thread. libc reads it from the thread's rseq area, which costs a
/// tenth of the vDSO's getcpu; a worker looks every iteration.
#[inline]
pub(crate) fn current_cpu() -> usize {
    // SAFETY: sched_getcpu takes nothing and touches no memory of ours.
    let cpu = unsafe { libc::sched_getcpu() };
    // It fails only where there is no getcpu(2), before Linux 2.6.19.
    usize::try_from(cpu).unwrap_or(usize::MAX)
}
