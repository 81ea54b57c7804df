//! Where the memory of workers comes from: NUMA policies. Validated with the configuration,
//! applied by the worker prologue.

use crate::list;
use crate::sys::numa::{MAX_NODES, NodeMask, mempolicy, set_mempolicy};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::ops::BitOr;

/// The NUMA policy for memory that a worker allocates; see set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum MemPolicy {
    /// The parent's policy: no system call is made.
    #[default]
    Default,
    /// These nodes and no others.
    Bind(BTreeSet<usize>),
    /// This node first, then those near it.
    Preferred(usize),
    /// Page by page round these nodes.
    Interleave(BTreeSet<usize>),
    /// The node of the CPU that first touches a page.
    Local,
    /// These nodes first; Linux 5.15.
    PreferredMany(BTreeSet<usize>),
    /// Round these nodes by the weights in /sys/kernel/mm/mempolicy; Linux 6.9.
    WeightedInterleave(BTreeSet<usize>),
}

/// MPOL_DEFAULT to MPOL_WEIGHTED_INTERLEAVE in include/uapi/linux/mempolicy.h.
const PREFERRED: u32 = 1;
const BIND: u32 = 2;
const INTERLEAVE: u32 = 3;
const LOCAL: u32 = 4;
const PREFERRED_MANY: u32 = 5;
const WEIGHTED_INTERLEAVE: u32 = 6;

impl MemPolicy {
    /// The nodes that the policy names, so that a host can refuse those it will not have.
    pub fn named_nodes(&self) -> BTreeSet<usize> {
        match self {
            Self::Default | Self::Local => BTreeSet::new(),
            Self::Preferred(node) => [*node].into(),
            Self::Bind(nodes)
            | Self::Interleave(nodes)
            | Self::PreferredMany(nodes)
            | Self::WeightedInterleave(nodes) => nodes.clone(),
        }
    }

    fn mode(&self) -> u32 {
        match self {
            Self::Default => 0,
            Self::Preferred(_) => PREFERRED,
            Self::Bind(_) => BIND,
            Self::Interleave(_) => INTERLEAVE,
            Self::Local => LOCAL,
            Self::PreferredMany(_) => PREFERRED_MANY,
            Self::WeightedInterleave(_) => WEIGHTED_INTERLEAVE,
        }
    }

    /// As reports have it: `Bind 0-1 STATIC_NODES`.
    pub(crate) fn text(&self, flags: MpolFlags) -> String {
        text(self.mode() | flags.0, &NodeMask::of(self.named_nodes()))
    }

    /// The policy that the kernel holds for the calling thread.
    pub(crate) fn held() -> Result<String, Errno> {
        mempolicy().map(|(mode, nodes)| text(mode, &nodes))
    }

    /// What is left of it where a cpuset has only these nodes: the kernel takes the others out of
    /// the policy, unless its flags say that the nodes are to stay.
    pub(crate) fn within(&self, mems: &BTreeSet<usize>, flags: MpolFlags) -> Self {
        if flags.contains(MpolFlags::STATIC_NODES) || flags.contains(MpolFlags::RELATIVE_NODES) {
            return self.clone();
        }
        let nodes = |nodes: &BTreeSet<usize>| nodes & mems;
        match self {
            Self::Default | Self::Local | Self::Preferred(_) => self.clone(),
            Self::Bind(named) => Self::Bind(nodes(named)),
            Self::Interleave(named) => Self::Interleave(nodes(named)),
            Self::PreferredMany(named) => Self::PreferredMany(nodes(named)),
            Self::WeightedInterleave(named) => Self::WeightedInterleave(nodes(named)),
        }
    }

    pub(crate) fn validate(&self, flags: MpolFlags) -> Result<(), (&'static str, String)> {
        let nodes = self.named_nodes();
        let takes_nodes = !matches!(self, Self::Default | Self::Local);
        if takes_nodes && nodes.is_empty() {
            return Err(("mem_policy", "names no node".into()));
        }
        if let Some(node) = nodes.iter().find(|node| **node >= MAX_NODES) {
            return Err(("mem_policy", format!("names node {node}; {MAX_NODES} can be named")));
        }
        flags.validate(self, takes_nodes).map_err(|why| ("mpol_flags", why))
    }

    /// Sets the policy of the calling thread; `Default` leaves it as it is.
    pub(crate) fn apply(&self, flags: MpolFlags) -> Result<(), Errno> {
        match self {
            Self::Default => Ok(()),
            _ => set_mempolicy(self.mode() | flags.0, &NodeMask::of(self.named_nodes())),
        }
    }
}

/// Mode with its flags, and nodes.
fn text(mode: u32, nodes: &NodeMask) -> String {
    const NAMES: [&str; 7] = [
        "Default",
        "Preferred",
        "Bind",
        "Interleave",
        "Local",
        "PreferredMany",
        "WeightedInterleave",
    ];
    let all = MpolFlags::NAMES.iter().fold(0, |all, (_, flag)| all | flag.0);
    let plain = mode & !all;
    let name = usize::try_from(plain).ok().and_then(|plain| NAMES.get(plain));
    let mut text = name.map_or_else(|| format!("mode {plain}"), |name| (*name).to_owned());
    let nodes = list::format(nodes.nodes());
    let flags = MpolFlags::NAMES.iter().filter(|(_, flag)| mode & flag.0 != 0);
    let words = Some(nodes.as_str()).filter(|nodes| !nodes.is_empty()).into_iter();
    for word in words.chain(flags.map(|(name, _)| *name)) {
        text.push(' ');
        text.push_str(word);
    }
    text
}

/// Flags of a [`MemPolicy`]; in JSON a list of names, `["STATIC_NODES"]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MpolFlags(u32);

impl MpolFlags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// MPOL_F_STATIC_NODES: the nodes stay as named when the cpuset changes.
    pub const STATIC_NODES: Self = Self(1 << 15);
    /// MPOL_F_RELATIVE_NODES: the nodes count from the first of the cpuset.
    pub const RELATIVE_NODES: Self = Self(1 << 14);
    /// MPOL_F_NUMA_BALANCING: bound pages may move among their nodes; Linux 5.12.
    pub const NUMA_BALANCING: Self = Self(1 << 13);

    const NAMES: [(&'static str, Self); 3] = [
        ("STATIC_NODES", Self::STATIC_NODES),
        ("RELATIVE_NODES", Self::RELATIVE_NODES),
        ("NUMA_BALANCING", Self::NUMA_BALANCING),
    ];

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is in it.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn validate(self, policy: &MemPolicy, takes_nodes: bool) -> Result<(), String> {
        if !self.is_empty() && !takes_nodes {
            return Err(format!("{policy:?} names no nodes, so it takes no flags"));
        }
        if self.contains(Self::STATIC_NODES | Self::RELATIVE_NODES) {
            return Err("STATIC_NODES and RELATIVE_NODES exclude each other".into());
        }
        let balances = matches!(policy, MemPolicy::Bind(_) | MemPolicy::PreferredMany(_));
        if self.contains(Self::NUMA_BALANCING) && !balances {
            return Err("NUMA_BALANCING goes with Bind or PreferredMany".into());
        }
        Ok(())
    }
}

impl BitOr for MpolFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Serialize for MpolFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = Self::NAMES.iter().filter(|(_, flag)| self.contains(*flag));
        serializer.collect_seq(names.map(|(name, _)| *name))
    }
}

impl<'de> Deserialize<'de> for MpolFlags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flags = Self::NONE;
        for name in Vec::<String>::deserialize(deserializer)? {
            let known = Self::NAMES.iter().find(|(known, _)| *known == name);
            flags = flags | known.map(|(_, flag)| *flag).ok_or_else(|| unknown(&name))?;
        }
        Ok(flags)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for MpolFlags {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MpolFlags".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Flags of a memory policy, by name.",
            "type": "array",
            "items": { "enum": Self::NAMES.map(|(name, _)| name) },
        })
    }
}

fn unknown<E: serde::de::Error>(name: &str) -> E {
    let names = MpolFlags::NAMES.map(|(name, _)| name);
    E::custom(format!("no flag `{name}`; there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::numa::mempolicy;

    #[test]
    fn json_uses_the_variant_names_and_lists_flags() {
        for (json, policy) in [
            (r#""Local""#, MemPolicy::Local),
            (r#"{"Bind":[0,1]}"#, MemPolicy::Bind([0, 1].into())),
            (r#"{"Preferred":1}"#, MemPolicy::Preferred(1)),
        ] {
            assert_eq!(serde_json::from_str::<MemPolicy>(json).unwrap(), policy);
            assert_eq!(serde_json::to_string(&policy).unwrap(), json);
        }
        let flags = MpolFlags::STATIC_NODES | MpolFlags::NUMA_BALANCING;
        let json = r#"["STATIC_NODES","NUMA_BALANCING"]"#;
        assert_eq!(serde_json::to_string(&flags).unwrap(), json);
        assert_eq!(serde_json::from_str::<MpolFlags>(json).unwrap(), flags);
        let error = serde_json::from_str::<MpolFlags>(r#"["STATIC"]"#).unwrap_err().to_string();
        assert!(error.contains("`STATIC`") && error.contains("RELATIVE_NODES"), "{error}");
    }

    #[test]
    fn what_the_kernel_would_refuse_everywhere_is_refused_here() {
        let bind = MemPolicy::Bind([0].into());
        let both = MpolFlags::STATIC_NODES | MpolFlags::RELATIVE_NODES;
        for (policy, flags, field) in [
            (MemPolicy::Bind([].into()), MpolFlags::NONE, "mem_policy"),
            (MemPolicy::Preferred(MAX_NODES), MpolFlags::NONE, "mem_policy"),
            (MemPolicy::Local, MpolFlags::STATIC_NODES, "mpol_flags"),
            (MemPolicy::Default, MpolFlags::NUMA_BALANCING, "mpol_flags"),
            (MemPolicy::Interleave([0].into()), MpolFlags::NUMA_BALANCING, "mpol_flags"),
            (bind.clone(), both, "mpol_flags"),
        ] {
            let (refused, _) = policy.validate(flags).unwrap_err();
            assert_eq!(refused, field, "{policy:?} {flags:?}");
        }
        bind.validate(MpolFlags::STATIC_NODES | MpolFlags::NUMA_BALANCING).unwrap();
    }

    #[test]
    fn a_policy_is_said_with_its_nodes_and_flags() {
        let both = MpolFlags::STATIC_NODES | MpolFlags::NUMA_BALANCING;
        let bind = MemPolicy::Bind([0, 1, 3].into());
        assert_eq!(bind.text(both), "Bind 0-1,3 STATIC_NODES NUMA_BALANCING");
        assert_eq!(MemPolicy::Local.text(MpolFlags::NONE), "Local");
        let mems = [1, 2].into();
        assert_eq!(bind.within(&mems, MpolFlags::NONE).text(MpolFlags::NONE), "Bind 1");
        assert_eq!(bind.within(&mems, both), bind, "static nodes stay");
    }

    #[test]
    fn the_kernel_holds_what_was_applied() {
        // The policy is the thread's, so it ends with it.
        let thread = std::thread::spawn(|| {
            let nodes = || BTreeSet::from([0]);
            for policy in [
                MemPolicy::Bind(nodes()),
                MemPolicy::Preferred(0),
                MemPolicy::Interleave(nodes()),
                MemPolicy::PreferredMany(nodes()),
            ] {
                policy.apply(MpolFlags::STATIC_NODES).unwrap();
                let expected = (policy.mode() | MpolFlags::STATIC_NODES.0, NodeMask::of([0]));
                assert_eq!(mempolicy().unwrap(), expected, "{policy:?}");
                assert_eq!(MemPolicy::held().unwrap(), policy.text(MpolFlags::STATIC_NODES));
            }
            MemPolicy::Local.apply(MpolFlags::NONE).unwrap();
            assert_eq!(mempolicy().unwrap().0, LOCAL);
            MemPolicy::Default.apply(MpolFlags::NONE).unwrap();
            assert_eq!(mempolicy().unwrap().0, LOCAL, "Default changes nothing");
            let absent = MemPolicy::Bind([MAX_NODES - 1].into());
            assert_eq!(absent.apply(MpolFlags::NONE), Err(Errno::INVAL));
        });
        thread.join().unwrap();
    }
}
