//! Which CPUs a cgroup gets, in terms of a topology that need not be there yet. Validated with a
//! scenario, resolved on the host against the planned guest and again where it runs.

use crate::list;
use crate::topology::Topology;
use rustix::thread::CpuSet;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// What a product of fractions may be off: 0.29 of 100 CPUs are 28.999999999999996.
const ROUNDING: f64 = 1e-9;

/// CPUs out of those of the parent cgroup. Those are counted in order of their number; what
/// resolves to none of them is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub enum CpusetSpec {
    /// Those of a last-level cache, counted from 0 in order of the caches' first CPUs.
    Llc(usize),
    /// Those of a NUMA node, by the kernel's number.
    Node(usize),
    /// From one fraction of the CPUs, 0 to 1, up to another; both are rounded down to whole CPUs.
    Range {
        /// Fraction that is left out before.
        #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
        start: f64,
        /// Fraction at which the rest is left out.
        #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
        end: f64,
    },
    /// One of several equal parts. The last also gets what does not divide.
    Disjoint {
        /// Which part, from 0.
        index: usize,
        /// How many parts.
        of: usize,
    },
    /// As `Disjoint`, widened on both sides so that neighbours share CPUs.
    Overlap {
        /// Which part, from 0.
        index: usize,
        /// How many parts.
        of: usize,
        /// What two neighbours share, as a fraction of a part, 0 to 1, rounded up to whole CPUs.
        #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
        fraction: f64,
    },
    /// These CPUs; in JSON `[0, 1, 8]` or `"0-1,8"`.
    Exact(
        #[serde(deserialize_with = "numbers")]
        #[cfg_attr(feature = "schema", schemars(schema_with = "numbers_schema"))]
        BTreeSet<usize>,
    ),
}

impl CpusetSpec {
    /// What can be refused on any machine.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Llc(_) | Self::Node(_) => Ok(()),
            Self::Range { start, end } if !(0.0 <= *start && start < end && *end <= 1.0) => {
                Err(format!("goes from {start} to {end}; give 0 <= start < end <= 1"))
            }
            Self::Disjoint { index, of } | Self::Overlap { index, of, .. } if index >= of => {
                Err(format!("is part {index} of {of}; parts are counted from 0"))
            }
            Self::Overlap { fraction, .. } if !(0.0..=1.0).contains(fraction) => {
                Err(format!("shares {fraction} of a part; 0 to 1 can be shared"))
            }
            Self::Exact(cpus) if cpus.is_empty() => Err("names no CPU".into()),
            Self::Exact(cpus) => match cpus.last() {
                Some(cpu) if *cpu >= CpuSet::MAX_CPU => {
                    Err(format!("names CPU {cpu}; {} can be named", CpuSet::MAX_CPU))
                }
                _ => Ok(()),
            },
            Self::Range { .. } | Self::Disjoint { .. } | Self::Overlap { .. } => Ok(()),
        }
    }

    /// The CPUs, out of those in `pool`, which the parent cgroup has.
    pub(crate) fn resolve(
        &self,
        pool: &BTreeSet<usize>,
        topology: &Topology,
    ) -> Result<BTreeSet<usize>, String> {
        let chosen = self.validate().and_then(|()| match self {
            Self::Llc(llc) => within(pool, &topology.llcs(), *llc, "LLC"),
            Self::Node(node) => within(pool, &topology.nodes(), *node, "node"),
            Self::Exact(cpus) => {
                let outside = cpus.difference(pool).copied();
                match list::format(outside) {
                    none if none.is_empty() => Ok(cpus.clone()),
                    some => Err(format!("CPUs {some} are not among them")),
                }
            }
            Self::Range { .. } | Self::Disjoint { .. } | Self::Overlap { .. } => {
                let places = self.places(pool.len())?;
                Ok(pool.iter().copied().skip(places.start).take(places.len()).collect())
            }
        });
        chosen.map_err(|why| topology.refusal(self, pool, &why))
    }

    /// Which of `count` CPUs, by their place among them.
    fn places(&self, count: usize) -> Result<Range<usize>, String> {
        let (index, of, fraction) = match *self {
            Self::Disjoint { index, of } => (index, of, 0.0),
            Self::Overlap { index, of, fraction } => (index, of, fraction),
            Self::Range { start, end } => {
                let places = whole(start, count)..whole(end, count);
                return match places.is_empty() {
                    true => Err("no whole CPU is between the two; move them apart".into()),
                    false => Ok(places),
                };
            }
            Self::Llc(_) | Self::Node(_) | Self::Exact(_) => return Ok(0..count),
        };
        let part = count / of;
        if part == 0 {
            return Err(format!("{of} parts need as many CPUs; make fewer, or give it more CPUs"));
        }
        // Rounded up: whoever asks for an overlap gets one.
        let shared = part - whole(1.0 - fraction, part);
        let before = shared / 2;
        let start = if index == 0 { 0 } else { index * part - before };
        let end = if index + 1 == of { count } else { (index + 1) * part + shared - before };
        Ok(start..end.min(count))
    }
}

/// The CPUs of `pool` in the set with this number.
fn within(
    pool: &BTreeSet<usize>,
    sets: &[BTreeSet<usize>],
    number: usize,
    kind: &str,
) -> Result<BTreeSet<usize>, String> {
    let Some(set) = sets.get(number).filter(|set| !set.is_empty()) else {
        return Err(format!("{kind} {number} has no online CPU"));
    };
    match set & pool {
        none if none.is_empty() => {
            Err(format!("{kind} {number} has CPUs {}", list::format(set.iter().copied())))
        }
        some => Ok(some),
    }
}

/// How many whole CPUs are in this fraction of `count`.
fn whole(fraction: f64, count: usize) -> usize {
    let limit = fraction * count as f64 + ROUNDING;
    (1..=count).take_while(|n| *n as f64 <= limit).count()
}

/// A list of numbers, or its text as the kernel writes it.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<usize>, D::Error> {
    struct Numbers;

    impl<'de> Visitor<'de> for Numbers {
        type Value = BTreeSet<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("CPUs as [0, 1, 8] or \"0-1,8\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            list::parse(text).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut numbers = BTreeSet::new();
            while let Some(number) = seq.next_element()? {
                numbers.insert(number);
            }
            Ok(numbers)
        }
    }

    deserializer.deserialize_any(Numbers)
}

#[cfg(feature = "schema")]
fn numbers_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let list = generator.subschema_for::<BTreeSet<usize>>();
    let part = "\\s*[0-9]+(-[0-9]+)?\\s*";
    let text = serde_json::json!({
        "type": "string",
        "pattern": format!("^({part}(,{part})*)?$"),
        "examples": ["0-1,8"],
    });
    schemars::json_schema!({ "anyOf": [list, text] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Cpu;

    /// Three LLCs of two cores of two CPUs, siblings numbered in turn; node 0 has two of them,
    /// node 1 only memory, node 2 the last. CPU 6 is offline.
    fn machine() -> Topology {
        let cpu = |id: usize| Cpu { id, core: id % 6, llc: id % 6 / 2, node: id % 6 / 4 * 2 };
        Topology::new((0..12).filter(|id| *id != 6).map(cpu).collect(), [0, 1, 2].into())
    }

    /// The list of what `spec` resolves to out of the CPUs in `pool`.
    fn resolved(spec: &CpusetSpec, pool: &str) -> Result<String, String> {
        spec.resolve(&list::parse(pool).unwrap(), &machine()).map(list::format)
    }

    fn refusal(spec: &CpusetSpec, pool: &str) -> String {
        resolved(spec, pool).unwrap_err()
    }

    #[test]
    fn llcs_and_nodes_are_cut_to_the_pool() {
        let all = list::format(machine().cpus());
        assert_eq!(resolved(&CpusetSpec::Llc(0), &all).unwrap(), "0-1,7");
        assert_eq!(resolved(&CpusetSpec::Llc(2), &all).unwrap(), "4-5,10-11");
        assert_eq!(resolved(&CpusetSpec::Node(0), "1-5").unwrap(), "1-3");
        assert_eq!(resolved(&CpusetSpec::Node(2), "1-5").unwrap(), "4-5");
    }

    #[test]
    fn a_refusal_says_what_was_asked_of_which_cpus_of_what_machine() {
        let why = refusal(&CpusetSpec::Llc(2), "0-3");
        assert!(why.starts_with("Llc(2) of CPUs 0-3: LLC 2 has CPUs 4-5,10-11"), "{why}");
        assert!(why.ends_with(&machine().to_string()), "{why}");
        for (spec, part) in [
            (CpusetSpec::Llc(3), "LLC 3 has no online CPU"),
            (CpusetSpec::Node(1), "node 1 has no online CPU"),
            (CpusetSpec::Node(9), "node 9 has no online CPU"),
            (CpusetSpec::Exact([1, 6, 7].into()), "CPUs 6-7 are not among them"),
            (CpusetSpec::Range { start: 0.0, end: 0.2 }, "no whole CPU"),
            (CpusetSpec::Disjoint { index: 0, of: 5 }, "5 parts need as many CPUs"),
            (CpusetSpec::Disjoint { index: 4, of: 5 }, "5 parts need as many CPUs"),
            (CpusetSpec::Overlap { index: 4, of: 5, fraction: 1.0 }, "5 parts need as many CPUs"),
            (CpusetSpec::Disjoint { index: 0, of: 0 }, "part 0 of 0"),
        ] {
            let why = refusal(&spec, "0-3");
            assert!(why.contains("of CPUs 0-3: ") && why.contains(part), "{spec:?}: {why}");
        }
        assert!(refusal(&CpusetSpec::Range { start: 0.0, end: 1.0 }, "").contains("no whole CPU"));
    }

    #[test]
    fn ranges_that_meet_share_nothing_and_leave_nothing_out() {
        let range = |start, end| resolved(&CpusetSpec::Range { start, end }, "1-5,7-10").unwrap();
        assert_eq!(range(0.0, 0.5), "1-4");
        assert_eq!(range(0.5, 1.0), "5,7-10");
        assert_eq!(range(1.0 / 3.0, 2.0 / 3.0), "4-5,7");
        assert_eq!(
            [(0.29, 100), (0.7, 10), (1.0, 7), (0.0, 7)].map(|(f, n)| whole(f, n)),
            [29, 7, 7, 0]
        );
    }

    #[test]
    fn parts_are_equal_and_the_last_gets_the_rest() {
        let parts = |of| {
            let part = |index| resolved(&CpusetSpec::Disjoint { index, of }, "0-4,7-9").unwrap();
            (0..of).map(part).collect::<Vec<_>>()
        };
        assert_eq!(parts(1), ["0-4,7-9"]);
        assert_eq!(parts(3), ["0-1", "2-3", "4,7-9"]);
        assert_eq!(parts(8), ["0", "1", "2", "3", "4", "7", "8", "9"]);
    }

    #[test]
    fn neighbours_share_the_fraction_of_a_part_and_others_nothing() {
        for (count, of, fraction, shared) in [
            (8, 2, 0.5, 2),
            (9, 3, 0.5, 2),
            (9, 3, 1.0, 3),
            (11, 3, 0.1, 1),
            (7, 7, 1.0, 1),
            (9, 2, 0.0, 0),
        ] {
            let pool = (0..count).collect();
            let part = |index| {
                let spec = CpusetSpec::Overlap { index, of, fraction };
                spec.resolve(&pool, &machine()).unwrap()
            };
            let parts: Vec<_> = (0..of).map(part).collect();
            for (index, part) in parts.iter().enumerate() {
                for (other, second) in parts.iter().enumerate().skip(index + 1) {
                    let expected = if other == index + 1 { shared } else { 0 };
                    assert_eq!((part & second).len(), expected, "{fraction}: {parts:?}");
                }
            }
            let all = parts.iter().flatten().copied().collect::<BTreeSet<_>>();
            assert_eq!(all, pool, "{parts:?}");
        }
        let middle = CpusetSpec::Overlap { index: 1, of: 3, fraction: 0.5 };
        assert_eq!(middle.places(12), Ok(3..9), "both sides are widened alike");
    }

    #[test]
    fn what_no_machine_can_give_is_refused_without_one() {
        let (nan, exact) = (f64::NAN, |cpu| CpusetSpec::Exact(BTreeSet::from_iter(cpu)));
        for (spec, part) in [
            (CpusetSpec::Range { start: 0.5, end: 0.5 }, "0.5 to 0.5"),
            (CpusetSpec::Range { start: -0.1, end: 0.5 }, "-0.1"),
            (CpusetSpec::Range { start: 0.0, end: 1.1 }, "1.1"),
            (CpusetSpec::Range { start: nan, end: 1.0 }, "NaN"),
            (CpusetSpec::Disjoint { index: 2, of: 2 }, "part 2 of 2"),
            (CpusetSpec::Overlap { index: 0, of: 0, fraction: 0.1 }, "part 0 of 0"),
            (CpusetSpec::Overlap { index: 0, of: 2, fraction: 1.5 }, "1.5"),
            (CpusetSpec::Overlap { index: 0, of: 2, fraction: nan }, "NaN"),
            (exact(None), "names no CPU"),
            (exact(Some(1024)), "CPU 1024"),
        ] {
            let why = spec.validate().unwrap_err();
            assert!(why.contains(part), "{spec:?}: {why}");
        }
        CpusetSpec::Range { start: 0.0, end: 1.0 }.validate().unwrap();
    }

    #[test]
    fn exact_cpus_are_numbers_or_a_list_as_the_kernel_writes_it() {
        let parsed = |json: &str| serde_json::from_str::<CpusetSpec>(json);
        let expected = CpusetSpec::Exact([0, 1, 8].into());
        assert_eq!(parsed(r#"{"Exact":[8,0,1]}"#).unwrap(), expected);
        assert_eq!(parsed(r#"{"Exact":"0-1,8"}"#).unwrap(), expected);
        assert_eq!(serde_json::to_string(&expected).unwrap(), r#"{"Exact":[0,1,8]}"#);
        let overlap = r#"{"Overlap":{"index":0,"of":2,"fraction":0.5}}"#;
        assert_eq!(serde_json::to_string(&parsed(overlap).unwrap()).unwrap(), overlap);
        for (json, part) in [
            (r#"{"Exact":"0-x"}"#, "`0-x` is no"),
            (r#"{"Exact":3}"#, "CPUs as [0, 1, 8]"),
            (r#"{"Exact":[-1]}"#, "-1"),
            (r#"{"Disjoint":{"index":0,"off":2}}"#, "unknown field `off`"),
            (r#"{"Disjoint":{"index":0}}"#, "missing field `of`"),
            (r#"{"Cache":0}"#, "unknown variant `Cache`"),
        ] {
            let why = parsed(json).unwrap_err().to_string();
            assert!(why.contains(part), "{json}: {why}");
        }
    }
}
