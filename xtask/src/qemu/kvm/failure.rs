//! How KVM's failures look in QEMU's words: which lines tell, and what of a CPU model this KVM
//! cannot give. Called by `accel`, `run` and `cmd::vm`.

use std::ops::RangeInclusive;

/// Lines with one of these tell why a guest died under KVM.
const TELLING: &[&str] = &[
    "KVM internal error",
    "emulation failure",
    "KVM: entry failed",
    "kvm run failed",
    "failed to set MSR",
    "failed to get MSR",
    "failed to initialize",
    "Could not access KVM",
    "ioctl(KVM",
];
/// Lines that begin so belong to them: where the guest was, and its code there.
const PLACE: [&str; 3] = ["RIP=", "EIP=", "Code="];

/// Registers that QEMU sets at its start, and the feature without which it leaves them alone. QEMU
/// aborts where KVM names a register and then refuses its value.
const REGISTERS: [(RangeInclusive<u32>, &str); 2] = [
    // IA32_ARCH_CAPABILITIES.
    (0x10a..=0x10a, "arch-capabilities"),
    // IA32_VMX_BASIC to IA32_VMX_VMFUNC.
    (0x480..=0x491, "vmx"),
];

/// The lines of QEMU's stderr that tell of a failure of KVM; none if it is about something else.
pub(crate) fn telling(stderr: &str) -> Vec<&str> {
    let tells = |line: &&str| TELLING.iter().any(|words| line.contains(words));
    if !stderr.lines().any(|line| tells(&line)) {
        return Vec::new();
    }
    let of_place = |line: &&str| PLACE.iter().any(|start| line.starts_with(start));
    stderr.lines().filter(|line| tells(line) || of_place(line)).collect()
}

/// The same in one line, without the code.
pub(crate) fn summary(stderr: &str) -> Option<String> {
    let lines = telling(stderr).into_iter().filter(|line| !line.starts_with("Code="));
    let short = lines.map(|line| match PLACE.iter().any(|start| line.starts_with(start)) {
        true => line.split(' ').next().unwrap_or_default(),
        false => line.strip_prefix("qemu-system-x86_64: ").unwrap_or(line),
    });
    let text = short.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

/// `model` without the feature whose register QEMU could not set, if it is for that that QEMU
/// ended; none if the model says something of that feature already.
pub(in crate::qemu) fn without_failed_msr(model: &str, stderr: &str) -> Option<String> {
    const BEFORE: &str = "failed to set MSR 0x";
    let (_, rest) = stderr.split_once(BEFORE)?;
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    let register = u32::from_str_radix(&digits, 16).ok()?;
    let (_, feature) = REGISTERS.iter().find(|(registers, _)| registers.contains(&register))?;
    (!mentions(model, feature)).then(|| format!("{model},-{feature}"))
}

/// What mends the abort of a QEMU with this model, as an option.
pub(crate) fn lesser_model(model: Option<&str>, stderr: &str) -> Option<String> {
    let less = without_failed_msr(model.unwrap_or("host"), stderr)?;
    Some(format!("--cpu-model {less}"))
}

/// Whether `model` switches `feature` on or off.
pub(in crate::qemu) fn mentions(model: &str, feature: &str) -> bool {
    model.split(',').skip(1).any(|part| {
        let name = part.trim_start_matches(['+', '-']);
        name.split('=').next().unwrap_or_default() == feature
    })
}

/// Whether QEMU makes this CPU with KVM alone.
pub(crate) fn needs_kvm(model: &str) -> bool {
    base(model) == "host"
}

/// The name of a CPU model, without its features.
pub(in crate::qemu) fn base(model: &str) -> &str {
    model.split(',').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU 7.2 on a host whose KVM names a register that it does not take.
    const ABORT: &str = "\
qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69
qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == \
cpu->kvm_msr_buf->nmsrs' failed.
";
    /// The same on an instruction that such a KVM does not know, shortened.
    const INTERNAL: &str = "\
qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]
qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]
KVM internal error. Suberror: 1
extra data[0]: 0x0000000000000001
extra data[1]: 0x8d49c0f76942c40f
extra data[2]: 0x04e8c1f9894cfc55
extra data[3]: 0x0000000000001000
extra data[4]: 0x0000000000000000
emulation failure
RAX=0000000001ad2b90 RBX=0000000004784b64 RCX=0000000001ad2b90 RDX=0000000000000005
RIP=000000000474221d RFL=00000006 [-----P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
EFER=0000000000000500
Code=05 83 fa 0f 77 b5 4d 01 fd 41 b8 01 00 00 00 89 c8 89 55 00 <c4> 42 69 f7 c0
";

    #[test]
    fn the_lines_that_tell_are_found_wherever_they_are() {
        assert_eq!(summary(ABORT).unwrap(), "error: failed to set MSR 0x10a to 0x69");
        let lines = telling(INTERNAL);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[3].starts_with("Code=05 83"), "{lines:?}");
        let text = "KVM internal error. Suberror: 1, emulation failure, RIP=000000000474221d";
        assert_eq!(summary(INTERNAL).unwrap(), text);
        let other = "qemu-system-x86_64: cannot set up guest memory 'pc.ram'\n";
        assert_eq!((telling(other).len(), summary(other)), (0, None));
    }

    #[test]
    fn a_register_that_cannot_be_set_costs_its_feature_and_only_once() {
        let less = |model: &str, register: &str| {
            without_failed_msr(model, &ABORT.replace("0x10a", register))
        };
        assert_eq!(less("host", "0x10a").unwrap(), "host,-arch-capabilities");
        assert_eq!(less("max,+x2apic", "0x48b").unwrap(), "max,+x2apic,-vmx");
        assert_eq!(less("host,-arch-capabilities", "0x10a"), None);
        assert_eq!(less("host,arch-capabilities=on", "0x10a"), None);
        assert_eq!(less("host", "0x1a"), None);
        assert_eq!(without_failed_msr("host", INTERNAL), None);
    }

    #[test]
    fn only_the_hosts_cpu_needs_kvm() {
        assert!(needs_kvm("host") && needs_kvm("host,-vmx"));
        assert!(!needs_kvm("max") && !needs_kvm("EPYC") && !needs_kvm("hostile"));
    }
}
