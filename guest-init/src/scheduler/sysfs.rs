//! What `/sys/kernel/sched_ext` says. It tells that a scheduler ended, never why: `kernel_log` does.

use std::collections::BTreeMap;

const ROOT: &str = "/sys/kernel/sched_ext";

fn read(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/{name}")).ok()?;
    Some(text.trim().to_owned())
}

/// Whether a scheduler is attached and not about to leave.
pub(super) fn is_enabled() -> bool {
    read("state").as_deref() == Some("enabled")
}

/// Whether none is, and none is about to come or leave.
pub(super) fn is_disabled() -> bool {
    read("state").as_deref() == Some("disabled")
}

/// Whether this kernel has sched_ext.
pub(super) fn exists() -> bool {
    read("state").is_some()
}

/// What the scheduler calls itself.
pub(super) fn ops() -> Option<String> {
    read("root/ops").filter(|name| !name.is_empty())
}

/// How often one was enabled since the boot.
pub(super) fn enable_seq() -> u64 {
    number("enable_seq").unwrap_or(0)
}

/// Whether it took the tasks of the fair class.
pub(super) fn switch_all() -> Option<bool> {
    number("switch_all").map(|value| value != 0)
}

/// Tasks that it refused.
pub(super) fn nr_rejected() -> Option<u64> {
    number("nr_rejected")
}

/// Counters by name, where this kernel has them.
pub(super) fn events() -> BTreeMap<String, u64> {
    read("root/events").map(|text| counters(&text)).unwrap_or_default()
}

fn number(name: &str) -> Option<u64> {
    read(name)?.parse().ok()
}

fn counters(text: &str) -> BTreeMap<String, u64> {
    let counter = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_lines_of_a_name_and_a_number() {
        let seen = counters("SCX_EV_BYPASS_ACTIVATE 2\nSCX_EV_DISPATCH_KEEP_LAST 41\nodd\n");
        assert_eq!(seen.len(), 2);
        assert_eq!(seen["SCX_EV_DISPATCH_KEEP_LAST"], 41);
    }
}
