//! Types that keep the execution units of a CPU busy, or let them wait for memory.

use super::catalogue::params::{AluHot, IpcVariance, SmtSiblingSpin};
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Rules, Work};
use crate::sys::simd::{Kernel, Lanes};
use crate::worker::Worker;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// Steps of one iteration of the types that do not choose it.
const STEPS: u64 = 1024;
/// Steps between two looks at the stop flag.
const UNCHECKED: u64 = 4096;
/// Words that the cold phase of `IpcVariance` touches: 512 KiB, more than an L1 cache.
const COLD_WORDS: usize = 512 * 1024 / size_of::<usize>();

/// The registers that `AluHot` multiplies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AluWidth {
    /// 64-bit general registers.
    #[default]
    Scalar,
    /// SSE2.
    Vec128,
    /// AVX2.
    Vec256,
    /// AVX-512F.
    Vec512,
    /// Matrix tiles. They have no chain of products to offer: the widest vector stands in.
    Amx,
    /// The widest vector that the CPU has.
    Widest,
}

impl AluWidth {
    fn limit(self) -> Lanes {
        match self {
            Self::Scalar => Lanes::Scalar,
            Self::Vec128 => Lanes::Vec128,
            Self::Vec256 => Lanes::Vec256,
            Self::Vec512 | Self::Amx | Self::Widest => Lanes::Vec512,
        }
    }

    /// What the report says when `used` ran for this width.
    fn outcome(self, used: Lanes) -> String {
        let used_name = name_of(used);
        match self {
            Self::Widest => used_name.into(),
            Self::Amx => format!("{used_name} instead of amx"),
            _ if used == self.limit() => used_name.into(),
            _ => format!("{used_name} instead of {}", name_of(self.limit())),
        }
    }
}

const fn name_of(lanes: Lanes) -> &'static str {
    match lanes {
        Lanes::Scalar => "scalar",
        Lanes::Vec128 => "vec128",
        Lanes::Vec256 => "vec256",
        Lanes::Vec512 => "vec512",
    }
}

impl Documented for AluHot {}

impl Work for AluHot {
    fn needs(&self) -> Needs {
        Needs { system_calls: false, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let kernel = Kernel::widest_up_to(self.width.limit());
        w.set_alu_width(self.width.outcome(kernel.lanes()));
        let mut seed = 0;
        while w.next() {
            seed = multiply(w, kernel, STEPS, seed);
        }
        Finish::Done
    }
}

impl Documented for SmtSiblingSpin {
    const FACTS: Facts = Facts { group: "2", ..Facts::PLAIN };
}

impl Work for SmtSiblingSpin {
    fn needs(&self) -> Needs {
        Needs { group_size: 2, role: |_| "sibling", system_calls: false, ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            w.spin(STEPS);
        }
        Finish::Done
    }
}

impl Documented for IpcVariance {}

impl Work for IpcVariance {
    fn needs(&self) -> Needs {
        Needs { system_calls: false, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        rules.not_zero("hot_iters", &self.hot_iters, "multiplies for its hot phase");
        rules.not_zero("cold_iters", &self.cold_iters, "touches for its cold phase");
        rules.not_zero("period_iters", &self.period_iters, "phases to alternate");
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let kernel = Kernel::widest_up_to(Lanes::Scalar);
        let mut words = vec![1; COLD_WORDS];
        let mut seed = 0;
        while w.next() {
            for _ in 0..self.period_iters {
                seed = multiply(w, kernel, self.hot_iters, seed);
                touch_at_random(w, &mut words, self.cold_iters);
                // An iteration is long; without a checkpoint it would itself be a gap.
                w.stamp();
                if w.stopping() {
                    return Finish::Done;
                }
            }
        }
        Finish::Done
    }
}

/// `steps` multiplies in each chain, a unit of work each; fewer if the stop comes in between.
fn multiply(w: &mut Worker<'_>, kernel: Kernel, steps: u64, mut seed: u64) -> u64 {
    let mut left = steps;
    while left > 0 {
        let chunk = left.min(UNCHECKED);
        seed = black_box(kernel.run(chunk, black_box(seed)));
        w.add_work(chunk);
        left -= chunk;
        if left > 0 && w.stopping() {
            break;
        }
    }
    seed
}

/// `count` read-modify-writes, a unit of work each, at random; fewer if the stop comes in
/// between. Where the next one goes depends on what was read, so that each waits for the last.
fn touch_at_random(w: &mut Worker<'_>, words: &mut [usize], count: u64) {
    let mut seen = 0;
    for step in 0..count {
        if step % UNCHECKED == UNCHECKED - 1 && w.stopping() {
            return;
        }
        let at = w.rng().below(COLD_WORDS).wrapping_add(seen) % COLD_WORDS;
        words[at] = words[at].wrapping_add(1);
        seen = black_box(words[at]);
        w.add_work(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::WorkType;

    #[test]
    fn a_width_that_is_not_there_is_said() {
        assert_eq!(AluWidth::Vec512.outcome(Lanes::Vec256), "vec256 instead of vec512");
        assert_eq!(AluWidth::Amx.outcome(Lanes::Vec512), "vec512 instead of amx");
        assert_eq!(AluWidth::Widest.outcome(Lanes::Vec128), "vec128");
        assert_eq!(AluWidth::Vec128.outcome(Lanes::Vec128), "vec128");
        assert_eq!(AluWidth::Scalar.outcome(Lanes::Scalar), "scalar");
    }

    #[test]
    fn the_type_takes_the_widest_and_the_width_is_scalar_by_default() {
        let by_name = WorkType::from_name("AluHot").unwrap();
        assert_eq!(by_name, WorkType::alu_hot(AluWidth::Widest));
        assert_eq!(AluWidth::default(), AluWidth::Scalar);
        let json = r#"{"AluHot":{"width":"vec256"}}"#;
        let parsed: WorkType = serde_json::from_str(json).unwrap();
        assert_eq!(parsed, WorkType::alu_hot(AluWidth::Vec256));
        assert!(serde_json::from_str::<WorkType>(r#"{"AluHot":{"width":"vec64"}}"#).is_err());
    }

    #[test]
    fn a_phase_of_no_length_is_refused_by_name() {
        for (params, field) in
            [((0, 1, 1), "hot_iters"), ((1, 0, 1), "cold_iters"), ((1, 1, 0), "period_iters")]
        {
            let (hot, cold, period) = params;
            let error = WorkType::ipc_variance(hot, cold, period).validate(0, 1).unwrap_err();
            assert_eq!(error.path, format!("work_type.IpcVariance.{field}"), "{error}");
        }
    }
}
