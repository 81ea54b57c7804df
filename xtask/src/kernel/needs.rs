//! What our guest, scenarios and work types need of a kernel, as a table, and what a kernel has
//! of it. `vm` asks before a boot, `kernel check` shows all.

use super::Kernel;
use serde::Serialize;
use workloads::{KernelVersion, kernel_version};

/// A line of the table.
#[derive(Debug)]
struct Need {
    /// Who needs it. The guest cannot do without; others are skipped, or work in another way.
    by: &'static str,
    /// One of these must be on.
    options: &'static [&'static str],
    /// Whether a module will do: the image carries it.
    module: bool,
    /// From this version on every kernel has it, whatever its options.
    always_since: Option<KernelVersion>,
    /// What happens where it is missing.
    without: &'static str,
}

/// The `by` of what must be there.
const GUEST: &str = "guest";

const fn need(by: &'static str, options: &'static [&'static str], without: &'static str) -> Need {
    Need { by, options, module: false, always_since: None, without }
}

impl Need {
    const fn or_module(self) -> Self {
        Self { module: true, ..self }
    }

    const fn always_since(self, version: KernelVersion) -> Self {
        Self { always_since: Some(version), ..self }
    }
}

const NEEDS: &[Need] = &[
    need(GUEST, &["CONFIG_BLK_DEV_INITRD"], "the kernel finds no PID 1 and panics"),
    need(GUEST, &["CONFIG_BINFMT_ELF"], "the kernel cannot run PID 1 and panics"),
    need(GUEST, &["CONFIG_SERIAL_8250_CONSOLE"], "no console and no report: the guest is silent"),
    need(GUEST, &["CONFIG_PRINTK"], "no console: what the kernel complains of is not seen"),
    need(GUEST, &["CONFIG_DEVTMPFS"], "no device files: no report"),
    need(GUEST, &["CONFIG_PROC_FS"], "no counters of workers"),
    need(GUEST, &["CONFIG_SYSFS"], "no topology"),
    need(GUEST, &["CONFIG_TMPFS"], "no /tmp and /run"),
    need(GUEST, &["CONFIG_FUTEX"], "the start gate and most work types fail"),
    need("several CPUs", &["CONFIG_SMP"], "one CPU, whatever was asked for"),
    need(
        "several NUMA nodes, NumaMigrationChurn, NumaWorkingSetSweep",
        &["CONFIG_NUMA"],
        "one node; refused as not what was asked for",
    ),
    need(
        "Bursty, IdleChurn, sleeps",
        &["CONFIG_HIGH_RES_TIMERS"],
        "sleeps end at the next tick, some ms late",
    ),
    need("busy time of CPUs", &["CONFIG_CGROUP_CPUACCT"], "absent from Linux 7.0 on"),
    need("run_delay_ns, run_delay_max", &["CONFIG_SCHED_INFO"], "not measured: inconclusive"),
    need(
        "migrations of a worker",
        &["CONFIG_SCHED_DEBUG", "CONFIG_PERF_EVENTS"],
        "moves that the worker sees itself, so at least as many",
    )
    .always_since((6, 15)),
    need("I/O types on a disk", &["CONFIG_VIRTIO_BLK"], "a file in memory instead").or_module(),
    need("I/O types on a disk", &["CONFIG_VIRTIO_PCI"], "a file in memory instead").or_module(),
    need(
        "I/O types with --deterministic",
        &["CONFIG_BLK_DEV_NULL_BLK"],
        "a file in memory instead",
    )
    .or_module(),
    need("PriorityInversion with a PI lock", &["CONFIG_FUTEX_PI"], "the worker fails"),
    need("EpollStorm", &["CONFIG_EPOLL"], "the worker fails"),
    need("uid, gid", &["CONFIG_MULTIUSER"], "not applied"),
    need("SCHED_EXT, sched_ext schedulers", &["CONFIG_SCHED_CLASS_EXT"], "refused"),
    need("sched_ext schedulers", &["CONFIG_BPF_SYSCALL"], "refused: cannot be loaded"),
    need("sched_ext schedulers", &["CONFIG_BPF_JIT"], "refused: cannot be loaded"),
    need("sched_ext schedulers", &["CONFIG_DEBUG_INFO_BTF"], "refused: cannot be loaded"),
    need("cgroups, CgroupChurn", &["CONFIG_CGROUPS"], "the run fails before workers start"),
    need("cpu.weight", &["CONFIG_FAIR_GROUP_SCHED", "CONFIG_EXT_GROUP_SCHED"], "not applied"),
    need("cpu.max", &["CONFIG_CFS_BANDWIDTH"], "not applied"),
    need("cpuset of a cgroup", &["CONFIG_CPUSETS"], "not applied"),
    need("memory.max, high, low", &["CONFIG_MEMCG"], "not applied"),
    need("pids.max", &["CONFIG_CGROUP_PIDS"], "not applied"),
    need("io.weight", &["CONFIG_BLK_CGROUP_IOCOST"], "not applied"),
    need("CpuOffline, CpuOnline", &["CONFIG_HOTPLUG_CPU"], "the step fails"),
    need("SchedKnob", &["CONFIG_DEBUG_FS"], "the step fails"),
    need("SchedKnob", &["CONFIG_SCHED_DEBUG"], "the step fails").always_since((6, 15)),
    need("Sysctl", &["CONFIG_PROC_SYSCTL", "CONFIG_SYSCTL"], "the step fails"),
];

/// What a kernel has of a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Has {
    BuiltIn,
    Module,
    No,
    /// Its configuration is not known.
    Unknown,
}

/// One need, looked up.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) by: &'static str,
    /// The options of which one is enough.
    pub(crate) options: &'static [&'static str],
    pub(crate) has: Has,
    /// What happens if it has none.
    pub(crate) without: &'static str,
}

impl Finding {
    /// Whether no guest of ours can do with this kernel.
    pub(crate) fn is_fatal(&self) -> bool {
        self.by == GUEST && self.has == Has::No
    }
}

impl Kernel {
    /// Everything that something of ours needs, in the order of the table.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let find = |need: &Need| Finding {
            by: need.by,
            options: need.options,
            has: self.has(need),
            without: need.without,
        };
        NEEDS.iter().map(find).collect()
    }

    /// Whether its version is below `minimum`, as `6.12`.
    pub(crate) fn is_older_than(&self, minimum: &str) -> bool {
        matches!((kernel_version(&self.release), kernel_version(minimum)), (Some(own), Some(least)) if own < least)
    }

    fn has(&self, need: &Need) -> Has {
        if need.always_since.is_some_and(|since| kernel_version(&self.release) >= Some(since)) {
            return Has::BuiltIn;
        }
        let Some(config) = &self.config else { return Has::Unknown };
        let value = |wanted: &str| need.options.iter().any(|o| config.value(o) == Some(wanted));
        match (value("y"), need.module && value("m")) {
            (true, _) => Has::BuiltIn,
            (false, true) => Has::Module,
            (false, false) => Has::No,
        }
    }
}

/// Whether a minimum reads like `6.12`.
pub(crate) fn is_release(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(major, minor)| [major, minor].iter().all(|part| part.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::kernel;
    use super::*;
    use workloads::WorkType;

    fn has(kernel: &Kernel, option: &str) -> Has {
        let findings = kernel.findings();
        findings.iter().find(|finding| finding.options.contains(&option)).unwrap().has
    }

    #[test]
    fn options_are_built_in_modules_or_missing() {
        let kernel = kernel(
            "6.1.0",
            Some("CONFIG_VIRTIO_BLK=m\nCONFIG_EXT_GROUP_SCHED=y\nCONFIG_TMPFS=m\n"),
        );
        assert_eq!(has(&kernel, "CONFIG_VIRTIO_BLK"), Has::Module);
        assert_eq!(has(&kernel, "CONFIG_FAIR_GROUP_SCHED"), Has::BuiltIn);
        assert_eq!(has(&kernel, "CONFIG_TMPFS"), Has::No);
        let fatal: Vec<_> = kernel.findings().into_iter().filter(Finding::is_fatal).collect();
        assert!(fatal.iter().any(|finding| finding.options == ["CONFIG_TMPFS"]), "{fatal:?}");
        assert!(fatal.iter().all(|finding| finding.by == GUEST));
    }

    #[test]
    fn what_lost_its_option_is_known_by_the_version() {
        for (release, want) in [("6.14.9", Has::No), ("6.15.0-rc1", Has::BuiltIn)] {
            assert_eq!(has(&kernel(release, Some("")), "CONFIG_SCHED_DEBUG"), want, "{release}");
        }
    }

    #[test]
    fn nothing_is_fatal_of_a_kernel_without_a_known_configuration() {
        let kernel = kernel("6.1.0", None);
        assert!(kernel.findings().iter().all(|finding| !finding.is_fatal()));
        assert_eq!(has(&kernel, "CONFIG_SMP"), Has::Unknown);
    }

    #[test]
    fn work_types_are_called_by_their_names() {
        for need in NEEDS {
            let words = need.by.split([' ', ',']).filter(|word| {
                word.chars().filter(char::is_ascii_uppercase).count() > 1
                    && word.chars().any(|c| c.is_ascii_lowercase())
            });
            for word in words.filter(|word| !["CPUs", "SchedKnob"].contains(word)) {
                let known = WorkType::ALL_NAMES.contains(&word) || word.starts_with("Cpu");
                assert!(known, "{word}");
            }
        }
    }
}
