//! Choices and what follows a loss, where `/dev/kvm` is taken to open.

use super::*;
use crate::error::{exit, exit_code};

const ABORT: &str = "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\n";
const WHY: &str = "error: failed to set MSR 0x10a to 0x69";

fn wish(cpu_model: Option<&str>) -> Wish<'_> {
    Wish { qemu: "7.2.22", cpu_model }
}

/// What `choice` comes to where guests have shown nothing, or what is in `paths`.
fn decide(choice: AccelChoice, cpu_model: Option<&str>, paths: &Paths) -> Decision {
    choice.decide_with(wish(cpu_model), &Answers::read(paths))
}

fn nothing_known<T>(test: impl FnOnce(&Paths) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    test(&Paths::below(dir.path()))
}

fn model(decision: &Decision) -> &str {
    decision.attempt.cpu_model.as_deref().unwrap_or("none")
}

#[test]
fn an_amd_host_gives_its_guests_the_leaves_on_caches_and_siblings() {
    assert_eq!(with_topoext("host", true), "host,topoext=on");
    assert_eq!(with_topoext("max,-svm", true), "max,-svm,topoext=on");
    assert_eq!(with_topoext("host", false), "host");
    for own in ["host,topoext=off", "host,-topoext", "EPYC", "qemu64"] {
        assert_eq!(with_topoext(own, true), own);
    }
}

#[test]
fn a_register_that_cannot_be_set_costs_a_feature_before_it_costs_kvm() {
    nothing_known(|paths| {
        let first = decide(AccelChoice::Auto, None, paths);
        let second = first.after_loss(None, WHY, ABORT).unwrap();
        assert_eq!(second.attempt.accel, Accel::Kvm);
        assert_eq!(model(&second), format!("{},-arch-capabilities", model(&first)));
        assert!(second.notice.as_ref().unwrap().contains(WHY), "{:?}", second.notice);
        let third = second.after_loss(None, "emulation failure", "emulation failure").unwrap();
        assert_eq!(third.attempt, Attempt { accel: Accel::Tcg, cpu_model: None });
        assert!(third.after_loss(None, WHY, ABORT).is_none(), "there is one boot under TCG");
    });
}

#[test]
fn what_is_asked_for_is_never_second_guessed() {
    nothing_known(|paths| {
        let own = decide(AccelChoice::Kvm, None, paths);
        assert!(own.after_loss(None, WHY, ABORT).unwrap().attempt.accel == Accel::Kvm);
        assert!(own.after_loss(None, "emulation failure", "").is_none(), "no TCG unasked");
        let named = decide(AccelChoice::Kvm, Some("max"), paths);
        assert!(named.after_loss(Some("max"), WHY, ABORT).is_none(), "that model or none");
        let emulated = AccelChoice::Tcg.decide(wish(Some("EPYC")), paths).unwrap();
        assert_eq!((emulated.attempt.accel, model(&emulated)), (Accel::Tcg, "EPYC"));
        assert_eq!(emulated.notice, None);
    });
}

#[test]
fn a_cpu_that_only_kvm_has_does_not_go_along_into_emulation() {
    nothing_known(|paths| {
        for (asked, kept) in [("host,-vmx", "none"), ("EPYC", "EPYC")] {
            let trial = decide(AccelChoice::Auto, Some(asked), paths);
            let fallback = trial.after_loss(Some(asked), "emulation failure", "").unwrap();
            assert_eq!(model(&fallback), kept);
            let notice = fallback.notice.unwrap();
            assert_eq!(notice.contains("--cpu-model host,-vmx needs KVM"), kept == "none");
        }
        let no = NoAccess { why: "open failed".into(), cure: "join its group `kvm`".into() };
        let unopened = instead(Some("host".into()), &no);
        assert_eq!(model(&unopened), "none");
        let notice = unopened.notice.unwrap();
        assert!(notice.starts_with("KVM is not used: open failed; join its group"), "{notice}");
        assert!(notice.contains("needs KVM"), "{notice}");
    });
}

#[test]
fn a_lost_trial_is_told_in_each_later_run_until_it_is_forgotten() {
    nothing_known(|paths| {
        let trial = decide(AccelChoice::Auto, None, paths);
        let fallback = trial.after_loss(None, WHY, "").unwrap();
        assert!(fallback.notice.as_ref().unwrap().contains(WHY));
        fallback.learn(paths).unwrap();
        let later = decide(AccelChoice::Auto, None, paths);
        assert_eq!(later.attempt.accel, Accel::Tcg);
        let notice = later.notice.unwrap();
        assert!(notice.contains(WHY) && notice.contains(" h, or by --retry-kvm"), "{notice}");
        let other = decide(AccelChoice::Auto, Some("max"), paths);
        assert_eq!(other.attempt.accel, Accel::Kvm, "another model is another question");
        assert_eq!(decide(AccelChoice::Kvm, None, paths).attempt.accel, Accel::Kvm);
        forget_kvm(paths).unwrap();
        assert!(decide(AccelChoice::Auto, None, paths).on_trial);
    });
}

#[test]
fn the_model_with_which_a_guest_lived_is_the_one_to_begin_with() {
    nothing_known(|paths| {
        let trial = decide(AccelChoice::Auto, None, paths);
        let second = trial.after_loss(None, WHY, ABORT).unwrap();
        second.learn(paths).unwrap();
        for choice in [AccelChoice::Auto, AccelChoice::Kvm] {
            let later = decide(choice, None, paths);
            assert_eq!((later.on_trial, model(&later)), (false, model(&second)));
            assert!(later.after_loss(None, "", "").is_none(), "then it is the kernel's fault");
        }
    });
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let refused = |choice: AccelChoice, deterministic, model, retry| {
        let error = choice.check(deterministic, model, retry).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        error.to_string()
    };
    assert!(refused(AccelChoice::Tcg, false, Some("host"), false).contains("--cpu-model host"));
    assert!(refused(AccelChoice::Auto, true, Some("host,+x"), false).contains("under TCG"));
    for (choice, deterministic) in
        [(AccelChoice::Tcg, false), (AccelChoice::Kvm, false), (AccelChoice::Auto, true)]
    {
        assert!(refused(choice, deterministic, None, true).contains("--retry-kvm"));
    }
    assert!(AccelChoice::Auto.check(false, Some("host"), true).is_ok());
    assert!(AccelChoice::Tcg.check(false, Some("EPYC"), false).is_ok());
}
