//! Whether the guest has what was asked for, by what its PID 1 found. Called by `run` for the
//! verdict and by `report` for the notes.

use super::layout::Layout;
use guest_init::proto::Hello;
use std::fmt;

/// Something of which the guest has more or less than was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    what: &'static str,
    asked: usize,
    has: usize,
    /// Why it may be less.
    reason: &'static str,
}

const LIMITED: &str = "a kernel argument or the kernel's configuration limits them";
const UNSEEN: &str = "this kernel does not see them on this CPU model; name an Intel one as \
                      --cpu-model, or none with --accel tcg";

impl Layout {
    /// Where the guest is not what was asked for, as far as it says.
    pub(crate) fn differences(&self, hello: &Hello) -> Vec<Difference> {
        let topology = self.topology();
        let dies = topology.sockets * topology.llcs_in_socket();
        let rows = [
            ("CPUs", self.cpus(), Some(hello.cpus), LIMITED),
            ("NUMA nodes", self.nodes(), Some(hello.nodes), LIMITED),
            ("dies", dies, hello.dies, UNSEEN),
            ("threads a core", topology.threads, hello.threads_per_core, UNSEEN),
        ];
        let known = rows.into_iter().filter_map(|(what, asked, has, reason)| {
            Some(Difference { what, asked, has: has?, reason })
        });
        known.filter(|row| row.has != row.asked).collect()
    }
}

impl Difference {
    /// Why the guest may have less than was asked for, if it has less.
    pub(crate) fn shortfall(self) -> Option<String> {
        (self.has < self.asked).then(|| format!("{self}: {}", self.reason))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} were asked for, the guest has {}", self.asked, self.what, self.has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::MachineTexts;

    #[test]
    fn a_guest_with_less_is_told_from_one_with_other() {
        let texts =
            MachineTexts { topology: Some("2s1c2t"), numa: Some("2"), ..MachineTexts::default() };
        let asked = texts.parse().unwrap().layout().unwrap();
        let same = Hello {
            cpus: 4,
            nodes: 2,
            threads_per_core: Some(2),
            dies: Some(2),
            ..Hello::default()
        };
        assert_eq!(asked.differences(&same), []);
        let silent = Hello { threads_per_core: None, dies: None, ..same.clone() };
        assert_eq!(asked.differences(&silent), [], "what the guest does not say is not judged");
        let shown = |hello: &Hello| {
            asked.differences(hello).iter().map(Difference::to_string).collect::<Vec<_>>()
        };
        let one_node = Hello { nodes: 1, ..same.clone() };
        assert_eq!(shown(&one_node), ["2 NUMA nodes were asked for, the guest has 1"]);
        assert!(asked.differences(&one_node)[0].shortfall().is_some());
        let more = Hello { dies: Some(4), ..same.clone() };
        assert_eq!(shown(&more), ["2 dies were asked for, the guest has 4"]);
        assert_eq!(asked.differences(&more)[0].shortfall(), None);
        let no_smt = Hello { cpus: 2, threads_per_core: Some(1), ..same };
        assert_eq!(shown(&no_smt).len(), 2);
    }
}
