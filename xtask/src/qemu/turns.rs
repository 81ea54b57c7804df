//! Fair turns for the vCPUs of a deterministic guest. All of them run in one thread of QEMU, each
//! until the next timer of any; up to QEMU 8.0 the one that comes next when a timer is due only
//! serves the timer and loses its turn. A vCPU that follows a busy one might then never run: Linux
//! 6.1 does not get through its boot, and workers stall for 100 ms. Called by `args`.

use super::layout::Layout;
use super::topology::Topology;
use crate::error::Refusal;
use anyhow::Result;

/// How long a turn may last, in the guest's time.
const TURN_US: u32 = 200;

/// CPUs, memory and nodes. Between any two vCPUs there is one more that never starts, whose turns
/// nobody misses: QEMU takes them in the order of their creation. They are in sockets of their own
/// behind the guest's; [`kernel_argument`] keeps the kernel from them.
pub(super) fn arguments(layout: &Layout, model: &str) -> Vec<String> {
    let (topology, cpus) = (layout.topology(), layout.cpus());
    let Some(doubled) = topology.doubled().ok().filter(|_| cpus > 1) else {
        return layout.arguments();
    };
    let mut made =
        vec!["-smp".into(), format!("cpus=1,maxcpus={}{}", doubled.cpus(), doubled.levels())];
    let kind = model.split(',').next().unwrap_or(model);
    for index in 1..cpus {
        for place in [cpus + index - 1, index] {
            made.extend(["-device".into(), format!("{kind}-x86_64-cpu,{}", topology.place(place))]);
        }
    }
    [layout.around(made, Some(cpus..2 * cpus)), beat()].concat()
}

/// A timer that nobody sees: a network that consists of one unused port, and a filter on it that
/// looks for packets.
fn beat() -> Vec<String> {
    vec![
        "-netdev".into(),
        "hubport,id=nowhere,hubid=0".into(),
        "-object".into(),
        format!("filter-buffer,id=beat,netdev=nowhere,interval={TURN_US}"),
    ]
}

/// What QEMU says of that network.
pub(super) const EXPECTED_COMPLAINT: &str = "nowhere has no peer";

/// The kernel uses so many CPUs, the first ones.
pub(crate) fn kernel_argument(cpus: usize) -> String {
    format!("nr_cpus={cpus}")
}

/// Refuses a topology that cannot have as many vCPUs again.
pub(crate) fn check(topology: Topology) -> Result<()> {
    if topology.cpus() == 1 || topology.doubled().is_ok() {
        return Ok(());
    }
    let message =
        format!("{topology} is too large for a deterministic run, which needs APIC IDs twice");
    Err(Refusal::input(message, "use half as many CPUs or sockets").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(topology: &str, nodes: &str) -> Layout {
        Layout::new(topology.parse().unwrap(), &nodes.parse().unwrap(), Some(512)).unwrap()
    }

    #[test]
    fn a_vcpu_that_never_starts_is_between_any_two() {
        let arguments = arguments(&layout("1s1c3t", "1"), "max,-rdrand");
        insta::assert_snapshot!(arguments.join(" ").replace(" -", "\n-"), @r"
        -smp cpus=1,maxcpus=6,sockets=2,dies=1,cores=1,threads=3
        -device max-x86_64-cpu,socket-id=1,die-id=0,core-id=0,thread-id=0
        -device max-x86_64-cpu,socket-id=0,die-id=0,core-id=0,thread-id=1
        -device max-x86_64-cpu,socket-id=1,die-id=0,core-id=0,thread-id=1
        -device max-x86_64-cpu,socket-id=0,die-id=0,core-id=0,thread-id=2
        -m 512M
        -netdev hubport,id=nowhere,hubid=0
        -object filter-buffer,id=beat,netdev=nowhere,interval=200
        ");
    }

    #[test]
    fn those_that_never_start_are_in_the_first_node() {
        let text = arguments(&layout("2s1c1t", "2"), "max").join(" ");
        assert!(text.contains("nodeid=0,cpus=0-0,cpus=2-3,memdev"), "{text}");
        assert!(text.contains("nodeid=1,cpus=1-1,memdev"), "{text}");
    }

    #[test]
    fn a_single_cpu_shares_with_nobody() {
        let single = layout("1c", "1");
        assert_eq!(arguments(&single, "max"), single.arguments());
    }

    #[test]
    fn a_topology_whose_double_does_not_fit_is_refused() {
        let fits = |text: &str| check(text.parse().unwrap()).is_ok();
        assert!(fits("64c") && fits("1c") && fits("2s4c2t"));
        assert!(!fits("128c") && !fits("3s33c"));
    }
}
