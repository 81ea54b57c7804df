//! Which kernel it is, by its release, and since which one kernels do what reports depend on.
//! Used where CPUs are read, by the checks, and by the host's list of kernels.

/// Major and minor number.
pub type KernelVersion = (u32, u32);

/// Since this version the fair class is EEVDF (`pick_eevdf`).
pub const EEVDF_SINCE: KernelVersion = (6, 6);
/// Up to here the idle column of `/proc/stat` is time that the kernel measures
/// (`get_cpu_idle_time_us` of `struct tick_sched`). Later ones give the ticks at which a CPU was
/// idle the whole time of a tick (`account_idle_time`), except where the tick was stopped.
pub(crate) const IDLE_IS_SAMPLED_SINCE: KernelVersion = (7, 0);
/// Since this version a task of a cgroup that has used its quota up runs on until it returns to
/// user mode (`task_throttle_setup_work`); before it, it stopped at once.
pub(crate) const THROTTLES_AT_RETURN_SINCE: KernelVersion = (6, 18);
/// Since this version, at the latest, a yield is paid for among all tasks of the CPU
/// (`yield_task_fair` moves the task in the queue of the CPU). Before it, it was among those of
/// the task's own cgroup.
pub(crate) const YIELDS_REACH_THE_CPU_SINCE: KernelVersion = (7, 0);

/// `6.12.41-rt` is 6.12.
pub fn kernel_version(release: &str) -> Option<KernelVersion> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The release of the kernel that this runs on.
pub(crate) fn running() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_its_version() {
        assert_eq!(kernel_version("6.12.41-rt"), Some((6, 12)));
        assert_eq!(kernel_version("7.3.0-rc1+"), Some((7, 3)));
        assert_eq!(kernel_version("7"), None);
        assert_eq!(kernel_version(""), None);
        assert!(kernel_version(&running()).is_some());
    }
}
