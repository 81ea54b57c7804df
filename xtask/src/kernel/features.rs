//! What a kernel's scheduler offers, as far as its version and its configuration say. `kernel
//! list` and `kernel check` show it; what a booted kernel says of itself is in the report.

use super::Kernel;
use workloads::{EEVDF_SINCE, kernel_version};

/// By the names that reports use too where the guest can tell.
const FEATURES: &[(&str, &str)] = &[
    ("sched_ext", "CONFIG_SCHED_CLASS_EXT"),
    ("preempt_rt", "CONFIG_PREEMPT_RT"),
    ("lazy preemption", "CONFIG_PREEMPT_LAZY"),
    ("dynamic preemption", "CONFIG_PREEMPT_DYNAMIC"),
    ("core scheduling", "CONFIG_SCHED_CORE"),
    ("cache-aware", "CONFIG_SCHED_CACHE"),
    ("proxy execution", "CONFIG_SCHED_PROXY_EXEC"),
    ("uclamp", "CONFIG_UCLAMP_TASK"),
    ("autogroup", "CONFIG_SCHED_AUTOGROUP"),
];

impl Kernel {
    /// The algorithm of the fair class first.
    pub(crate) fn features(&self) -> Vec<&'static str> {
        let fair = match kernel_version(&self.release) {
            Some(version) if version < EEVDF_SINCE => "cfs",
            _ => "eevdf",
        };
        let has = FEATURES.iter().filter(|(_, option)| self.has_built_in(option));
        [fair].into_iter().chain(has.map(|(name, _)| *name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::kernel;

    #[test]
    fn the_version_decides_the_fair_class_and_options_the_rest() {
        let options = "CONFIG_SCHED_CORE=y\nCONFIG_PREEMPT_RT=y\nCONFIG_UCLAMP_TASK=m\n";
        let new = kernel("6.12.1", Some(options));
        assert_eq!(new.features(), ["eevdf", "preempt_rt", "core scheduling"]);
        assert_eq!(kernel("6.5.9", None).features(), ["cfs"]);
    }
}
