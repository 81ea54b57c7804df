//! Which CPU this is, and of what kind. Called by `Worker` for the CPUs that it used and to
//! choose its spin step.

use std::arch::x86_64::{__cpuid, _rdtsc};

/// CPUID leaves of hypervisors' names: the first, and the next one that a hypervisor has which
/// answers as another for its guest's sake.
const HYPERVISOR_LEAVES: [u32; 2] = [0x4000_0000, 0x4000_0100];
/// The one that others answer as.
const HYPER_V: &str = "Microsoft Hv";
const TCG: &str = "TCGTCGTCGTCG";
/// CPUID.1:ECX bit 31: a hypervisor is present.
const HYPERVISOR_PRESENT: u32 = 1 << 31;

/// Who runs this machine, as its CPU says: `KVMKVMKVM`, `TCGTCGTCGTCG` for QEMU's emulation, or
/// another name. None on hardware, and where the CPU names nobody.
pub fn hypervisor() -> Option<String> {
    if __cpuid(1).ecx & HYPERVISOR_PRESENT == 0 {
        return None;
    }
    let [first, second] = HYPERVISOR_LEAVES.map(|leaf| {
        let leaf = __cpuid(leaf);
        name([leaf.ebx, leaf.ecx, leaf.edx])
    });
    if first.as_deref() == Some(HYPER_V) { second.or(first) } else { first }
}

/// Twelve characters, or fewer and zeros.
fn name(registers: [u32; 3]) -> Option<String> {
    let bytes = registers.map(u32::to_le_bytes).concat();
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_end_matches('\0');
    let is_name = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    (is_name && !text.is_empty()).then(|| text.to_owned())
}

/// Whether QEMU's TCG executes us. It ends a vCPU's turn at every PAUSE, so that a spin step
/// could take as long as another vCPU's turn.
pub(crate) fn is_emulated() -> bool {
    hypervisor().as_deref() == Some(TCG)
}

/// The time stamp counter, in units of its own: a tenth of what the clock costs to read, and good
/// enough to see that next to no time has passed.
#[inline]
pub(crate) fn ticks() -> u64 {
    // SAFETY: RDTSC is part of x86-64, changes two registers and touches no memory.
    unsafe { _rdtsc() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisors_name_is_what_its_registers_spell() {
        let of = |text: &[u8; 12]| {
            let part = |at: usize| u32::from_le_bytes(text[at..at + 4].try_into().unwrap());
            name([part(0), part(4), part(8)])
        };
        assert_eq!(of(b"KVMKVMKVM\0\0\0").as_deref(), Some("KVMKVMKVM"));
        assert_eq!(of(b"TCGTCGTCGTCG").as_deref(), Some(TCG));
        assert_eq!(of(b"Microsoft Hv").as_deref(), Some(HYPER_V));
        // A leaf that is beyond the last, and one with something else in it.
        assert_eq!(of(&[0; 12]), None);
        assert_eq!(of(b"\x01\x02\x03\x04\0\0\0\0\0\0\0\0"), None);
    }
}
