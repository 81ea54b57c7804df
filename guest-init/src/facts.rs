//! What PID 1 can say about the guest it finds itself in. Called once by `supervise`.

use crate::proto::{Hello, VERSION};
use rustix::param::page_size;
use std::fs::read_to_string;
use std::path::Path;

const CPUS: &str = "/sys/devices/system/cpu";

/// The first frame.
pub(crate) fn hello(started_ns: u64) -> Hello {
    let uname = rustix::system::uname();
    let version = uname.version().to_string_lossy().into_owned();
    let siblings = list_len(&format!("{CPUS}/cpu0/topology/thread_siblings_list"));
    Hello {
        protocol: VERSION,
        release: uname.release().to_string_lossy().into_owned(),
        cpus: list_len(&format!("{CPUS}/online")),
        nodes: list_len("/sys/devices/system/node/online").max(1),
        threads_per_core: (siblings > 0).then_some(siblings),
        dies: dies(),
        memory_kib: memory_kib(),
        features: features(&version),
        version,
        started_ns,
    }
}

/// The clock in use now; kernels change it in the first seconds.
pub(crate) fn clocksource() -> Option<String> {
    let name = trimmed("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    (!name.is_empty()).then_some(name)
}

/// The number of dies, each counted at the first of its CPUs.
fn dies() -> Option<usize> {
    let leads = |cpu: &usize| {
        let die = trimmed(&format!("{CPUS}/cpu{cpu}/topology/die_cpus_list"));
        die.split(['-', ',']).next().and_then(|first| first.parse().ok()) == Some(*cpu)
    };
    let count = (0..list_len(&format!("{CPUS}/possible"))).filter(leads).count();
    (count > 0).then_some(count)
}

fn features(version: &str) -> Vec<String> {
    let mut features = Vec::new();
    if Path::new("/sys/kernel/sched_ext").exists() {
        features.push("sched_ext".into());
    }
    if version.contains("PREEMPT_RT") {
        features.push("preempt_rt".into());
    }
    // `none voluntary (full) lazy`: the model in force is in brackets.
    if let Some(model) = bracketed(&trimmed("/sys/kernel/debug/sched/preempt")) {
        features.push(format!("preempt:{model}"));
    }
    let sched_features = trimmed("/sys/kernel/debug/sched/features");
    if sched_features.split(' ').any(|feature| feature == "PLACE_LAG") {
        features.push("eevdf".into());
    }
    features
}

fn bracketed(text: &str) -> Option<&str> {
    text.split_once('(')?.1.split_once(')').map(|(model, _)| model)
}

/// Length of a kernel list such as `0-3,8`.
fn list_len(path: &str) -> usize {
    count_list(&trimmed(path))
}

fn count_list(list: &str) -> usize {
    let range = |part: &str| -> Option<usize> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    list.split(',').filter_map(range).sum()
}

fn memory_kib() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = if info.mem_unit == 0 { page_size() as u64 } else { u64::from(info.mem_unit) };
    info.totalram * unit / 1024
}

fn trimmed(path: &str) -> String {
    read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lists_are_counted() {
        assert_eq!(count_list("0-3,8"), 5);
        assert_eq!(count_list("0"), 1);
        assert_eq!(count_list(""), 0);
    }

    #[test]
    fn the_model_in_force_is_the_bracketed_one() {
        assert_eq!(bracketed("none voluntary (full) lazy"), Some("full"));
        assert_eq!(bracketed(""), None);
    }
}
