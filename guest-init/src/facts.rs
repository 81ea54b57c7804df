//! What PID 1 can say about the guest it finds itself in. Called once by `supervise`.

use crate::proto::{Hello, VERSION};
use crate::shape::{self, CPUS, NODES, list, trimmed};
use rustix::param::page_size;
use std::path::Path;

/// The first frame.
pub(crate) fn hello(started_ns: u64, stop: Option<Result<(), String>>) -> Hello {
    let uname = rustix::system::uname();
    let version = uname.version().to_string_lossy().into_owned();
    let siblings = list(&format!("{CPUS}/cpu0/topology/thread_siblings_list")).len();
    let dies = shape::groups("topology/die_cpus_list").len();
    Hello {
        protocol: VERSION,
        release: uname.release().to_string_lossy().into_owned(),
        cpus: list(&format!("{CPUS}/online")).len(),
        nodes: list(&format!("{NODES}/online")).len().max(1),
        threads_per_core: (siblings > 0).then_some(siblings),
        dies: (dies > 0).then_some(dies),
        cores: shape::groups("topology/thread_siblings_list"),
        llcs: shape::llcs(),
        sockets: shape::groups("topology/core_siblings_list"),
        numa: shape::nodes(),
        memory_kib: memory_kib(),
        features: features(&version),
        hypervisor: workloads::hypervisor(),
        version,
        started_ns,
        stop,
    }
}

/// The clock in use now; kernels change it in the first seconds.
pub(crate) fn clocksource() -> Option<String> {
    let name = trimmed("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    (!name.is_empty()).then_some(name)
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

fn memory_kib() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = if info.mem_unit == 0 { page_size() as u64 } else { u64::from(info.mem_unit) };
    info.totalram * unit / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_in_force_is_the_bracketed_one() {
        assert_eq!(bracketed("none voluntary (full) lazy"), Some("full"));
        assert_eq!(bracketed(""), None);
    }
}
