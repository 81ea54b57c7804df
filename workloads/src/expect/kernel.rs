//! What the scheduler of the kernel that ran does, as far as it depends on that what a worker is
//! owed. Asked by the rules on shares.

use crate::release::{
    EEVDF_SINCE, KernelVersion, THROTTLES_AT_RETURN_SINCE, YIELDS_REACH_THE_CPU_SINCE,
    kernel_version,
};
use crate::run::RunRecord;

/// The kernel of a run; without a version where its release says none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel(Option<KernelVersion>);

/// What a fair task gives up when it yields (`yield_task_fair`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum YieldCost {
    /// One turn, which it gets back: its weight says what it is owed.
    Turn,
    /// The rest of its slice, for good, among the tasks of its cgroup.
    InGroup,
    /// The same among all tasks of its CPU.
    OnCpu,
}

impl Kernel {
    pub(super) fn of(record: &RunRecord) -> Self {
        Self(kernel_version(&record.kernel_release))
    }

    /// Of a kernel that is not known: the most.
    pub(super) fn yield_cost(self) -> YieldCost {
        match self.0 {
            Some(version) if version < EEVDF_SINCE => YieldCost::Turn,
            Some(version) if version < YIELDS_REACH_THE_CPU_SINCE => YieldCost::InGroup,
            _ => YieldCost::OnCpu,
        }
    }

    /// Whether a task whose cgroup has used its quota up runs on until it returns to user mode. Of
    /// a kernel that is not known: yes.
    pub(super) fn throttles_at_return(self) -> bool {
        self.0.is_none_or(|version| version >= THROTTLES_AT_RETURN_SINCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(release: &str) -> Kernel {
        Kernel::of(&RunRecord { kernel_release: release.into(), ..RunRecord::default() })
    }

    #[test]
    fn each_kernel_has_its_own_rules_and_one_that_is_not_known_the_hardest() {
        for (release, cost, at_return) in [
            ("6.1.0-50-cloud-amd64", YieldCost::Turn, false),
            ("6.5.13", YieldCost::Turn, false),
            ("6.6.0", YieldCost::InGroup, false),
            ("6.12.117+deb13", YieldCost::InGroup, false),
            ("6.18.1", YieldCost::InGroup, true),
            ("7.3.4+deb13-rt-amd64", YieldCost::OnCpu, true),
            ("", YieldCost::OnCpu, true),
        ] {
            let kernel = kernel(release);
            assert_eq!(kernel.yield_cost(), cost, "{release}");
            assert_eq!(kernel.throttles_at_return(), at_return, "{release}");
        }
    }
}
