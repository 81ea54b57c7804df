//! What becomes of runs that KVM fails, by a QEMU that fails as real ones did: the abort on a register,
//! KVM's internal error, and emulation in KVM's place. On a host whose `/dev/kvm` does not open, that this
//! is told.

use crate::bench::{Run, Vm, default_kernel, file, instead_of_qemu};
use std::fs::OpenOptions;
use std::path::Path;

const SHORT: &str = r#"{"duration":"100ms"}"#;
const MSR: &str = "failed to set MSR 0x10a to 0x69";
/// Aborts as QEMU 7.2 and 10.0 do; without the register's feature fails as KVM does on an instruction
/// that it cannot interpret. Emulates only where it may.
const FAILING: &str = r#"
case "$*" in
*"-accel kvm"*arch-capabilities*)
    for n in 1 2 3 4 5; do echo "qemu-system-x86_64: warning: number $n" >&2; done
    printf 'KVM internal error. Suberror: 1\nextra data[0]: 0x1\nextra data[1]: 0x2\n' >&2
    printf 'emulation failure\nRAX=0 RBX=0\nRIP=000000000474221d RFL=00000006\nCode=89 <c4>\n' >&2
    exit 1 ;;
*"-accel kvm"*)
    echo 'qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69' >&2
    kill -ABRT $$ ;;
*-accel*) [ -z "$NO_TCG" ] || exit 1 ;;
esac
"#;
/// Emulates where KVM was asked for, and says nothing of it.
const EMULATING: &str = r#"
for word; do
    shift
    case "$word" in
    kvm) word=tcg,thread=single ;;
    host*) word=max ;;
    esac
    set -- "$@" "$word"
done
"#;

fn kvm_opens() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// `vm` with this QEMU and what `cache` remembers.
fn vm(script: &str, dir: &Path, args: &[&str]) -> Vm {
    let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join("qemu-system-x86_64"))
        .find(|path| path.exists())
        .unwrap();
    let script = format!("{script}exec {} \"$@\"\n", real.display());
    let kernel = file(&default_kernel(), "image");
    let vm = Vm::new(SHORT).env("PATH", instead_of_qemu(dir, &script));
    let vm = vm.env("SCHEDLAB_CACHE", dir.join("cache")).test_init();
    vm.args(["--kernel", kernel.to_str().unwrap()]).args(args.iter().copied())
}

/// The line of a run that did not get KVM.
#[track_caller]
fn notice(run: &Run) -> &str {
    let line = run.stderr.lines().find(|line| line.contains("KVM is not used: "));
    line.unwrap_or_else(|| panic!("no line: {}", run.stderr))
}

#[test]
fn a_register_costs_a_feature_then_kvm_is_given_up_and_each_later_run_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let first = vm(FAILING, dir.path(), &[]).run();
    let report = first.expect("pass", 0);
    assert_eq!(report["machine"]["accel"], "tcg");
    assert_eq!(report["machine"]["hypervisor"], "TCGTCGTCGTCG");
    assert_eq!(report["machine"]["cpu_model"], "max");
    if !kvm_opens() {
        assert!(notice(&first).contains("open(/dev/kvm) failed"), "{}", first.stderr);
        return;
    }
    assert!(
        first.stderr.contains(&format!("{MSR}); it is tried with -cpu host")),
        "{}",
        first.stderr
    );
    let told = "KVM internal error. Suberror: 1, emulation failure, RIP=000000000474221d";
    assert!(notice(&first).contains(told), "{}", first.stderr);
    assert!(first.text("kvm-trial/1/qemu.log").contains(MSR));
    assert!(first.text("kvm-trial/2/qemu.log").contains("Code=89 <c4>"));
    assert!(first.text("kvm-trial/2/qemu.args").contains("-arch-capabilities"));
    assert_eq!(first.text("qemu.log"), "");
    // Nothing of these needs a guest.
    let later = |args: &[&str]| vm(FAILING, dir.path(), args).env("NO_TCG", "1").run();
    let second = later(&[]);
    second.expect("qemu-failed", 4);
    assert!(!second.file("kvm-trial").exists(), "it was tried again");
    assert!(notice(&second).contains(told) && notice(&second).contains("--retry-kvm"));
    let model = later(&["--cpu-model", "host,-vmx"]);
    assert!(model.file("kvm-trial/2").exists(), "another model is another question");
    assert!(notice(&model).contains("--cpu-model host,-vmx needs KVM"), "{}", model.stderr);
    assert!(model.text("qemu.args").contains("-cpu max "), "{}", model.text("qemu.args"));
    let third = later(&["--retry-kvm"]);
    assert!(third.file("kvm-trial/2").exists(), "it was forgotten: {}", third.stderr);
}

#[test]
fn kvm_that_was_asked_for_is_never_replaced_and_what_tells_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let run = vm(FAILING, dir.path(), &["--accel", "kvm"]).run();
    if !kvm_opens() {
        assert_eq!(run.code, 3, "{}", run.stderr);
        assert!(run.stderr.contains("open(/dev/kvm) failed"), "{}", run.stderr);
        return;
    }
    let report = run.expect("qemu-failed", 4);
    assert_eq!(report["machine"]["accel"], "kvm");
    let model = report["machine"]["cpu_model"].as_str().unwrap();
    assert!(model.starts_with("host,") && model.ends_with(",-arch-capabilities"), "{model}");
    for line in ["QEMU: emulation failure", "QEMU: RIP=000000000474221d", "QEMU: Code=89 <c4>"] {
        assert!(run.stderr.contains(line), "no `{line}`: {}", run.stderr);
    }
    assert!(!run.stderr.contains("QEMU: RAX") && !run.stderr.contains("QEMU: extra data"));
    assert!(run.text("qemu.log").contains("extra data[1]"), "all of it is kept");
    let named = vm(FAILING, dir.path(), &["--accel", "kvm", "--cpu-model", "max,topoext=on"]).run();
    let advice = named.expect("qemu-failed", 4)["advice"].as_str().unwrap().to_owned();
    assert!(advice.ends_with("try --cpu-model max,topoext=on,-arch-capabilities"), "{advice}");
}

#[test]
fn a_guest_that_is_emulated_in_silence_is_a_guest_error() {
    let dir = tempfile::tempdir().unwrap();
    let run = vm(EMULATING, dir.path(), &["--accel", "kvm"]).run();
    if !kvm_opens() {
        assert_eq!(run.code, 3, "{}", run.stderr);
        return;
    }
    let report = run.expect("guest-error", 4);
    assert_eq!(report["machine"]["hypervisor"], "TCGTCGTCGTCG");
    let advice = report["advice"].as_str().unwrap();
    assert!(advice.starts_with("kvm was asked for, the guest's CPU says"), "{advice}");
}

#[test]
fn options_that_kvm_alone_could_keep_are_refused() {
    for (args, text) in [
        (&["--accel", "tcg", "--cpu-model", "host"][..], "--cpu-model host is a CPU of KVM's"),
        (&["--deterministic", "--cpu-model", "host,-vmx"], "this run is under TCG"),
        (&["--accel", "tcg", "--retry-kvm"], "--retry-kvm: only --accel auto"),
        (&["--deterministic", "--retry-kvm"], "--retry-kvm: only --accel auto"),
    ] {
        let run = Vm::new(SHORT).args(args.iter().copied()).run();
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains(text), "{}", run.stderr);
    }
}
