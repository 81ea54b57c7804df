//! Which CPU this is, and of what kind. Called by `Worker` for the CPUs that it used and to
//! choose its spin step.

use std::arch::x86_64::{__cpuid, __rdtscp, _rdtsc};

/// CPUID leaves of hypervisors' names: the first, and the next one that a hypervisor has which
/// answers as another for its guest's sake.
const HYPERVISOR_LEAVES: [u32; 2] = [0x4000_0000, 0x4000_0100];
/// The one that others answer as.
const HYPER_V: &str = "Microsoft Hv";
const TCG: &str = "TCGTCGTCGTCG";
/// The highest leaf of extended features, and the first of them.
const EXTENDED_LEAVES: u32 = 0x8000_0000;
const EXTENDED_LEAF: u32 = 0x8000_0001;
/// CPUID.80000001:EDX bit 27.
const RDTSCP_PRESENT: u32 = 1 << 27;
/// Linux sets IA32_TSC_AUX to the node, shifted by 12, and the CPU (`setup_getcpu`).
const CPU_OF_MARK: u32 = 0xfff;
/// A thread that is moved between two reads tries again.
const TRIES: usize = 8;
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

/// The time stamp counter and the CPU on which it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) ticks: u64,
    /// Another one on another CPU. [`current_cpu`] says which that is.
    pub(crate) cpu_mark: u32,
}

/// How a [`Sight`] is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// By one instruction. Linux keeps the CPU in a register that RDTSCP reads along.
    Rdtscp,
    /// By two reads.
    Apart,
}

impl Reader {
    /// RDTSCP where there is one and what it reads is the CPU, which a hypervisor may not keep.
    pub(crate) fn choose() -> Self {
        let leaf = __cpuid(EXTENDED_LEAF);
        let has = __cpuid(EXTENDED_LEAVES).eax >= EXTENDED_LEAF && leaf.edx & RDTSCP_PRESENT != 0;
        if has && rdtscp_knows_the_cpu() { Self::Rdtscp } else { Self::Apart }
    }

    #[inline]
    pub(crate) fn read(self) -> Sight {
        match self {
            Self::Rdtscp => rdtscp(),
            Self::Apart => Sight { ticks: ticks(), cpu_mark: to_mark(current_cpu()) },
        }
    }
}

fn to_mark(cpu: usize) -> u32 {
    u32::try_from(cpu).unwrap_or(u32::MAX)
}

/// Whether it says the same as the kernel, when the thread is on one CPU for the time of both.
fn rdtscp_knows_the_cpu() -> bool {
    (0..TRIES).any(|_| {
        let before = to_mark(current_cpu());
        let mark = rdtscp().cpu_mark & CPU_OF_MARK;
        before & CPU_OF_MARK == mark && to_mark(current_cpu()) == before
    })
}

#[inline]
fn rdtscp() -> Sight {
    let mut cpu_mark = 0;
    // SAFETY: the caller has chosen it for a CPU that has it; it writes to `cpu_mark` alone.
    let ticks = unsafe { __rdtscp(&raw mut cpu_mark) };
    Sight { ticks, cpu_mark }
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
    fn rdtscp_is_taken_where_it_knows_the_cpu_and_both_ways_tell_cpus_apart() {
        // Nobody can say on which CPUs this test runs; both ways must agree on the one that it is on.
        let reader = Reader::choose();
        let agree = (0..TRIES).any(|_| {
            let before = Reader::Apart.read();
            let sight = reader.read();
            let after = Reader::Apart.read();
            let same = sight.cpu_mark & CPU_OF_MARK == before.cpu_mark & CPU_OF_MARK;
            same && before.cpu_mark == after.cpu_mark && sight.ticks > before.ticks
        });
        assert!(agree, "{reader:?}");
    }

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
