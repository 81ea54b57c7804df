//! Which accelerator a guest gets and with which CPU model, and what is booted instead of a guest
//! that KVM lost. `/dev/kvm` proves nothing: on some machines it opens and every guest dies. Only a
//! guest that reached PID 1 proves it. Called by `cmd::vm` and `cmd::bundle`.

use super::kvm::{
    self, Answer, Answers, Key, NoAccess, VALID, base, mentions, needs_kvm, without_failed_msr,
};
use crate::error::Refusal;
use crate::paths::Paths;
use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How guest code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Accel {
    Kvm,
    Tcg,
}

impl Accel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// What its guests find in the CPUID leaf of hypervisors.
    pub(crate) fn hypervisor(self) -> &'static str {
        match self {
            Self::Kvm => "KVMKVMKVM",
            Self::Tcg => "TCGTCGTCGTCG",
        }
    }
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccelChoice {
    /// KVM if it works here, TCG otherwise.
    Auto,
    /// KVM, or fail.
    Kvm,
    /// TCG, QEMU's emulation.
    Tcg,
}

/// What shapes the choice beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Version of the QEMU build.
    pub(crate) qemu: &'a str,
    pub(crate) cpu_model: Option<&'a str>,
}

/// One way to run a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) accel: Accel,
    /// As QEMU takes it; none is what emulation has by itself.
    pub(crate) cpu_model: Option<String>,
}

/// What to try, and why.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) attempt: Attempt,
    pub(crate) reason: String,
    /// What the user is told of this attempt, if it is not what one would expect.
    pub(crate) notice: Option<String>,
    /// Whether a guest lost before PID 1 may be KVM's fault, so that TCG is to be tried.
    on_trial: bool,
    /// Whether the CPU model may be made less than it is.
    may_lessen: bool,
    /// Why guests were lost under KVM before this attempt.
    lost: Option<String>,
    /// What is learned of KVM holds for this; none if nothing can be.
    key: Option<Key>,
}

impl AccelChoice {
    /// Refuses options that contradict each other.
    pub(crate) fn check(
        self,
        deterministic: bool,
        cpu_model: Option<&str>,
        retry: bool,
    ) -> Result<()> {
        let emulated = deterministic || self == Self::Tcg;
        if let Some(model) = cpu_model.filter(|model| emulated && needs_kvm(model)) {
            let message = format!("--cpu-model {model} is a CPU of KVM's; this run is under TCG");
            let fix = "leave out --cpu-model, or name another, as --cpu-model max";
            return Err(Refusal::input(message, fix).into());
        }
        if retry && (deterministic || self != Self::Auto) {
            let message = "--retry-kvm: only --accel auto asks what is remembered of KVM";
            return Err(Refusal::input(message, "leave out --retry-kvm").into());
        }
        Ok(())
    }

    /// Decides from the choice, the device and what guests have shown.
    pub(crate) fn decide(self, wish: Wish<'_>, paths: &Paths) -> Result<Decision> {
        let asked = wish.cpu_model.map(str::to_owned);
        if self == Self::Tcg {
            return Ok(Decision::emulated(asked, "asked for"));
        }
        let opened = kvm::open();
        match (self, opened) {
            (Self::Auto, Err(no)) => Ok(instead(asked, &no)),
            (_, Err(no)) => Err(Refusal::host(no.why, no.cure).or("; or use --accel tcg").into()),
            (_, Ok(())) => Ok(self.decide_with(wish, &Answers::read(paths))),
        }
    }

    /// The same, where KVM opens.
    fn decide_with(self, wish: Wish<'_>, answers: &Answers) -> Decision {
        let key = key(wish);
        let own = with_topoext(wish.cpu_model.unwrap_or("host"), kvm::host_is_amd());
        let known = answers.of(&key);
        let proven = known.and_then(|answer| answer.works_with.clone());
        let is_auto = self == Self::Auto;
        if let Some(answer) = known.filter(|_| is_auto && proven.is_none()) {
            return remembered(wish.cpu_model.map(str::to_owned), answer);
        }
        let reason = match (is_auto, proven.is_some()) {
            (false, _) => "asked for",
            (true, true) => "a guest reached PID 1 under KVM",
            (true, false) => "/dev/kvm opens; not yet proven by a guest",
        };
        Decision {
            on_trial: is_auto && proven.is_none(),
            may_lessen: is_auto || wish.cpu_model.is_none(),
            attempt: Attempt { accel: Accel::Kvm, cpu_model: Some(proven.unwrap_or(own)) },
            reason: reason.into(),
            notice: None,
            lost: None,
            key: Some(key),
        }
    }
}

/// Forgets every answer about KVM.
pub(crate) fn forget_kvm(paths: &Paths) -> Result<()> {
    Answers::read(paths).forget()
}

impl Decision {
    /// Under TCG, of which nothing has to be learned.
    pub(crate) fn emulated(cpu_model: Option<String>, reason: &str) -> Self {
        Self {
            attempt: Attempt { accel: Accel::Tcg, cpu_model },
            reason: reason.into(),
            notice: None,
            on_trial: false,
            may_lessen: false,
            lost: None,
            key: None,
        }
    }

    /// A recorded guest once more, as it was.
    pub(crate) fn as_recorded(attempt: Attempt) -> Self {
        Self { attempt, ..Self::emulated(None, "as recorded") }
    }

    /// Whether KVM is chosen and a guest has lived under it.
    pub(crate) fn is_proven_kvm(&self) -> bool {
        self.attempt.accel == Accel::Kvm && !self.on_trial
    }

    /// What to boot instead of a guest that was lost before PID 1 spoke, if anything: `why`, in one
    /// line, and all that QEMU said.
    pub(crate) fn after_loss(&self, asked: Option<&str>, why: &str, stderr: &str) -> Option<Self> {
        if self.attempt.accel != Accel::Kvm {
            return None;
        }
        let model = self.attempt.cpu_model.as_deref().unwrap_or("host");
        if let Some(less) = without_failed_msr(model, stderr).filter(|_| self.may_lessen) {
            let reason = format!("QEMU does not start with -cpu {model} here ({why})");
            return Some(Self {
                attempt: Attempt { accel: Accel::Kvm, cpu_model: Some(less.clone()) },
                notice: Some(format!("{reason}; it is tried with -cpu {less}")),
                reason,
                ..self.clone()
            });
        }
        if !self.on_trial {
            return None;
        }
        let text = format!(
            "a guest died under it before PID 1 ({why}), see kvm-trial in the run folder; if that \
             guest lives under TCG, KVM is tried again in {} h, or by --retry-kvm",
            VALID.as_secs() / 3600
        );
        Some(Self {
            reason: format!("a guest died under KVM before PID 1: {why}"),
            lost: Some(why.to_owned()),
            key: self.key.clone(),
            ..without_kvm(asked.map(str::to_owned), &text)
        })
    }

    /// Remembers what a guest has shown that reached PID 1: of KVM that it works, of TCG that KVM
    /// was the fault.
    pub(crate) fn learn(&self, paths: &Paths) -> Result<()> {
        let Some(key) = self.key.clone() else { return Ok(()) };
        let answers = || Answers::read(paths);
        match (self.attempt.accel, &self.lost) {
            (Accel::Kvm, _) => {
                let model = self.attempt.cpu_model.clone();
                answers().learn(key, model, "a guest reached PID 1".into(), paths)
            }
            (Accel::Tcg, Some(why)) => answers().learn(key, None, why.clone(), paths),
            (Accel::Tcg, None) => Ok(()),
        }
    }
}

/// TCG where KVM would have been taken, and the line that says why.
fn without_kvm(asked: Option<String>, why: &str) -> Decision {
    let dropped = asked.as_deref().filter(|model| needs_kvm(model)).map(|model| {
        format!("; --cpu-model {model} needs KVM, so that the guest has TCG's own CPU")
    });
    let notice = format!("KVM is not used: {why}{}", dropped.unwrap_or_default());
    let model = asked.filter(|model| !needs_kvm(model));
    Decision { notice: Some(notice), ..Decision::emulated(model, why) }
}

fn instead(asked: Option<String>, no: &NoAccess) -> Decision {
    Decision { reason: no.why.clone(), ..without_kvm(asked, &no.to_string()) }
}

fn remembered(asked: Option<String>, answer: &Answer) -> Decision {
    let age = answer.age().unwrap_or_default();
    let text = format!(
        "a guest died under it before PID 1 {} ago ({}); it is tried again in {}, or by \
         --retry-kvm",
        about(age),
        answer.why,
        about(VALID - age)
    );
    let reason = format!("a guest died under KVM before PID 1: {}", answer.why);
    Decision { reason, ..without_kvm(asked, &text) }
}

fn about(time: Duration) -> String {
    match time.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes => format!("{} h", minutes / 60),
    }
}

/// QEMU leaves `topoext` out of the richest CPUs of an AMD host. Without its feature bit
/// Linux does not read the leaves that say which threads of AMD share a core or a cache.
fn with_topoext(model: &str, host_is_amd: bool) -> String {
    let is_rich = ["host", "max"].contains(&base(model));
    match host_is_amd && is_rich && !mentions(model, "topoext") {
        true => format!("{model},topoext=on"),
        false => model.to_owned(),
    }
}

fn key(wish: Wish<'_>) -> Key {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Key {
        qemu: wish.qemu.to_owned(),
        cpu_model: wish.cpu_model.map(str::to_owned),
        access: kvm::identity(),
        boot_id: boot_id.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests;
