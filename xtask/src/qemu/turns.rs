//! Fair turns for the vCPUs of a deterministic guest. All of them run in one thread of QEMU, each
//! until the next timer of any; up to QEMU 8.0 the one that comes next when a timer is due only
//! serves the timer and loses its turn. A vCPU that follows a busy one might then never run: Linux
//! 6.1 does not get through its boot, and workers stall for 100 ms. From 8.1 on the vCPUs share the
//! time until that timer, but only two can be given the same. Called by `args`.

use super::layout::Layout;
use super::topology::Topology;
use crate::error::Refusal;
use anyhow::Result;

/// How long a turn may last, in the guest's time.
const TURN_US: usize = 200;

/// The timer's name.
const TIMER: &str = "beat";

/// And where two share with a third, for which QEMU takes 5 % more of `wake.json` at 200 and none
/// more at this.
const TURN_OF_TWO_US: usize = 300;

const UNEQUAL: &str = "busy vCPUs are not equally fast with this QEMU: compare counts of workers \
     on different CPUs only between runs of the same placement";

/// Which vCPU runs until the next timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turns {
    /// The one whose turn it is. The next one has none if the timer is due.
    Whole,
    /// Each for an equal part of the time until then, also those that are idle. What these leave
    /// is divided again, until the first busy one has the last instructions. Those behind the next
    /// one then have a turn more.
    Shared,
}

impl Turns {
    /// Those of the QEMU of this version; one that cannot be read is taken for a new one.
    pub(crate) fn of(version: &str) -> Self {
        let words = version.split(|c: char| !c.is_ascii_digit());
        let mut numbers = words.map_while(|word| word.parse::<u32>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) if (major, minor) < (8, 1) => Self::Whole,
            _ => Self::Shared,
        }
    }

    /// Refuses a topology that needs as many vCPUs again and cannot have them.
    pub(crate) fn check(self, topology: Topology) -> Result<()> {
        if self == Self::Shared || topology.cpus() == 1 || topology.doubled().is_ok() {
            return Ok(());
        }
        let message = format!(
            "{topology} is too large for a deterministic run, which needs APIC IDs twice up to QEMU 8.0"
        );
        Err(Refusal::input(message, "use half as many CPUs or sockets, or a newer QEMU").into())
    }

    /// What a reader of a run on so many CPUs has to know.
    pub(crate) fn note(self, cpus: usize) -> Option<&'static str> {
        (self == Self::Shared && cpus > 2).then_some(UNEQUAL)
    }
}

/// CPUs, memory and nodes, and what makes their turns fair.
pub(super) fn arguments(layout: &Layout, model: &str, turns: Turns) -> Vec<String> {
    let cpus = layout.cpus();
    match turns {
        _ if cpus == 1 => layout.arguments(),
        Turns::Whole => {
            let between = (1..cpus).flat_map(|index| [cpus + index - 1, index]);
            [in_order(layout, model, between), beat(cpus, turns)].concat()
        }
        // One that never starts has the turn more of the second.
        Turns::Shared if cpus == 2 => {
            [in_order(layout, model, [1, cpus]), beat(cpus, turns)].concat()
        }
        Turns::Shared => [layout.arguments(), beat(cpus, turns)].concat(),
    }
}

/// CPU 0 and then these in the order of their creation, in which QEMU takes turns. Those that the
/// guest does not have never start, and nobody misses their turns: they are in sockets of their own
/// behind the guest's; [`kernel_argument`] keeps the kernel from them.
fn in_order(layout: &Layout, model: &str, order: impl IntoIterator<Item = usize>) -> Vec<String> {
    let (topology, cpus) = (layout.topology(), layout.cpus());
    // `Turns::check` has refused what cannot be doubled; two CPUs always can.
    let Ok(doubled) = topology.doubled() else { return layout.arguments() };
    let mut made =
        vec!["-smp".into(), format!("cpus=1,maxcpus={}{}", doubled.cpus(), doubled.levels())];
    let kind = model.split(',').next().unwrap_or(model);
    for place in order {
        made.extend(["-device".into(), format!("{kind}-x86_64-cpu,{}", topology.place(place))]);
    }
    layout.around(made, Some(cpus..2 * cpus))
}

/// A timer that nobody sees: a network that consists of one unused port, and a filter on it that
/// looks for packets so often.
fn beat(cpus: usize, turns: Turns) -> Vec<String> {
    vec![
        "-netdev".into(),
        "hubport,id=nowhere,hubid=0".into(),
        "-object".into(),
        timer(cpus, turns),
    ]
}

fn timer(cpus: usize, turns: Turns) -> String {
    let interval_us = match turns {
        Turns::Whole => TURN_US,
        Turns::Shared if cpus == 2 => TURN_OF_TWO_US * (cpus + 1),
        Turns::Shared => TURN_US * cpus,
    };
    format!("filter-buffer,id={TIMER},netdev=nowhere,interval={interval_us}")
}

/// What QEMU says of that network.
pub(super) const EXPECTED_COMPLAINT: &str = "nowhere has no peer";

/// The kernel uses so many CPUs, the first ones.
pub(crate) fn kernel_argument(cpus: usize) -> String {
    format!("nr_cpus={cpus}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(topology: &str, nodes: &str) -> Layout {
        Layout::new(topology.parse().unwrap(), &nodes.parse().unwrap(), Some(512)).unwrap()
    }

    #[test]
    fn a_vcpu_that_never_starts_is_between_any_two() {
        let arguments = arguments(&layout("1s1c3t", "1"), "max,-rdrand", Turns::Whole);
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
        let text = arguments(&layout("2s1c1t", "2"), "max", Turns::Whole).join(" ");
        assert!(text.contains("nodeid=0,cpus=0-0,cpus=2-3,memdev"), "{text}");
        assert!(text.contains("nodeid=1,cpus=1-1,memdev"), "{text}");
    }

    #[test]
    fn a_single_cpu_shares_with_nobody() {
        let single = layout("1c", "1");
        for turns in [Turns::Whole, Turns::Shared] {
            assert_eq!(arguments(&single, "max", turns), single.arguments());
        }
    }

    #[test]
    fn vcpus_that_share_a_turn_have_one_as_long_as_theirs_together() {
        let layout = layout("1s1c3t", "1");
        let arguments = arguments(&layout, "max", Turns::Shared);
        let beat = arguments.strip_prefix(layout.arguments().as_slice()).unwrap();
        assert_eq!(beat[3], "filter-buffer,id=beat,netdev=nowhere,interval=600");
    }

    #[test]
    fn behind_two_that_share_is_one_that_never_starts() {
        let arguments = arguments(&layout("1s1c2t", "1"), "max", Turns::Shared);
        insta::assert_snapshot!(arguments.join(" ").replace(" -", "\n-"), @r"
        -smp cpus=1,maxcpus=4,sockets=2,dies=1,cores=1,threads=2
        -device max-x86_64-cpu,socket-id=0,die-id=0,core-id=0,thread-id=1
        -device max-x86_64-cpu,socket-id=1,die-id=0,core-id=0,thread-id=0
        -m 512M
        -netdev hubport,id=nowhere,hubid=0
        -object filter-buffer,id=beat,netdev=nowhere,interval=900
        ");
    }

    #[test]
    fn only_more_than_two_that_share_are_unequal() {
        for (turns, cpus, unequal) in
            [(Turns::Whole, 8, false), (Turns::Shared, 2, false), (Turns::Shared, 3, true)]
        {
            assert_eq!(turns.note(cpus).is_some(), unequal, "{turns:?} {cpus}");
        }
    }

    #[test]
    fn qemu_shares_turns_from_8_1_on() {
        for old in ["7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)", "7.2", "8.0.50"] {
            assert_eq!(Turns::of(old), Turns::Whole, "{old}");
        }
        for new in ["8.1.0", "10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", "11.0", "of my own", ""] {
            assert_eq!(Turns::of(new), Turns::Shared, "{new}");
        }
    }

    #[test]
    fn a_topology_whose_double_does_not_fit_is_refused() {
        let fits = |text: &str, turns: Turns| turns.check(text.parse().unwrap()).is_ok();
        for text in ["64c", "1c", "2s4c2t", "128c", "3s33c"] {
            assert!(fits(text, Turns::Shared), "{text}");
            assert_eq!(fits(text, Turns::Whole), !["128c", "3s33c"].contains(&text), "{text}");
        }
    }
}
