//! What differs between two sides, how sure that is, and whether it is for the better. Pure; called
//! by `cmd::compare`.

use super::metric::{Better, Key, Metric};
use super::side::Side;
use super::stats::{chances, floor, interval, median};
use serde::Serialize;
use std::collections::BTreeSet;

/// Runs a side, without which chance cannot be told from a difference.
pub(crate) const LEAST_RUNS: usize = 6;
/// A difference in any metric is let pass as real by chance in one comparison of so many.
const CHANCE: f64 = 0.0025;

/// What a comparison rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Basis {
    /// Runs that are determined: every difference is real.
    Exact,
    /// Several runs a side, whose noise is known.
    Statistics,
    /// Too few runs to say anything but what they measured.
    Nothing,
    /// They ran under different accelerators, whose times have little in common.
    Accelerators,
}

/// One metric on both sides.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) key: Key,
    #[serde(skip)]
    pub(crate) metric: &'static Metric,
    /// Medians of the runs.
    pub(crate) a: f64,
    pub(crate) b: f64,
    /// From `a` to `b`, see `Unit::change`.
    pub(crate) change: f64,
    /// Chance that the same runs, dealt at random, differ so in any metric.
    pub(crate) chance: Option<f64>,
    /// 95 % interval of `change`.
    pub(crate) interval: Option<(f64, f64)>,
    /// The greatest change between halves of one side's runs.
    pub(crate) floor: Option<f64>,
    /// Whether it is a difference at all.
    pub(crate) real: bool,
    /// Whether a real difference is for the worse; none if it is neither.
    pub(crate) worse: Option<bool>,
}

/// Every metric that both sides have, the greatest real change first. Of sides under different
/// accelerators nothing is said but the values, unless `across`.
pub(crate) fn compare(a: &Side, b: &Side, across: bool) -> (Basis, Vec<Finding>) {
    let basis = match !across && differ_in_accelerator(a, b) {
        true => Basis::Accelerators,
        false => basis(a, b),
    };
    let everywhere = |key: &&Key| a.runs.iter().chain(&b.runs).all(|run| run.contains_key(*key));
    let keys: Vec<&Key> = match (a.runs.first(), b.runs.first()) {
        (Some(first), Some(_)) => first.keys().filter(everywhere).collect(),
        _ => Vec::new(),
    };
    let of =
        |side: &Side, key: &Key| -> Vec<f64> { side.runs.iter().map(|run| run[key]).collect() };
    let both: Vec<Vec<f64>> = keys.iter().map(|key| [of(a, key), of(b, key)].concat()).collect();
    let chances = match basis {
        Basis::Statistics => chances(&both, a.runs.len()).into_iter().map(Some).collect(),
        _ => vec![None; keys.len()],
    };
    let mut findings: Vec<_> = keys
        .into_iter()
        .zip(chances)
        .filter_map(|(key, chance)| finding(key, &of(a, key), &of(b, key), basis, chance))
        .collect();
    findings.sort_by(|one, other| {
        let size = other.change.abs().total_cmp(&one.change.abs());
        other.real.cmp(&one.real).then(size)
    });
    (basis, findings)
}

/// Names that only one of the sides has.
pub(crate) fn only_on_one(a: &Side, b: &Side) -> BTreeSet<Key> {
    let names = |side: &Side| -> BTreeSet<Key> {
        side.runs.iter().flat_map(|run| run.keys().cloned()).collect()
    };
    names(a).symmetric_difference(&names(b)).cloned().collect()
}

/// One side may have both by itself.
fn differ_in_accelerator(a: &Side, b: &Side) -> bool {
    let (one, other) = (a.accelerators(), b.accelerators());
    let known = !one.is_empty() && !other.is_empty();
    known && (one != other || one.contains(','))
}

fn basis(a: &Side, b: &Side) -> Basis {
    if a.is_exact() && b.is_exact() {
        return Basis::Exact;
    }
    match a.runs.len().min(b.runs.len()) {
        0..LEAST_RUNS => Basis::Nothing,
        _ => Basis::Statistics,
    }
}

fn finding(key: &Key, a: &[f64], b: &[f64], basis: Basis, chance: Option<f64>) -> Option<Finding> {
    let metric = key.metric()?;
    let measure = |a, b| metric.unit.change(a, b);
    let (one, other) = (median(a), median(b));
    let change = measure(one, other);
    let noisy = basis == Basis::Statistics;
    let interval = noisy.then(|| interval(a, b, &measure));
    let floor = noisy.then(|| floor(a, &measure).max(floor(b, &measure)));
    let real = match basis {
        Basis::Exact => one != other,
        Basis::Nothing | Basis::Accelerators => false,
        Basis::Statistics => {
            chance.is_some_and(|chance| chance <= CHANCE)
                && interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
                && floor.is_some_and(|floor| change.abs() > floor)
        }
    };
    let worse = match metric.better {
        _ if !real => None,
        Better::Neither => None,
        Better::Lower => Some(change > 0.0),
        Better::Higher => Some(change < 0.0),
    };
    Some(Finding {
        key: key.clone(),
        metric,
        a: one,
        b: other,
        change,
        chance,
        interval,
        floor,
        real,
        worse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use serde_json::json;

    /// A side whose runs have these values, in the order of the columns.
    fn side(deterministic: bool, columns: &[(&str, &[f64])]) -> Side {
        let run = |index: usize| {
            let values = columns.iter().map(|(name, values)| (*name, json!(values[index])));
            json!(values.collect::<std::collections::BTreeMap<_, _>>())
        };
        let runs: Vec<_> = (0..columns[0].1.len()).map(run).collect();
        let all = json!({"baseline": 1, "facts": {}, "deterministic": deterministic,
            "verdicts": {"pass": runs.len()}, "runs": runs});
        serde_json::from_value(all).unwrap()
    }

    fn found<'a>(findings: &'a [Finding], key: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.key.to_string() == key).unwrap()
    }

    #[test]
    fn between_determined_runs_every_difference_is_real_and_the_greatest_comes_first() {
        let a = side(
            true,
            &[("throughput", &[100.0]), ("wake_p99 of PipeIo", &[1e6]), ("cpu", &[0.5])],
        );
        let b =
            side(true, &[("throughput", &[99.0]), ("wake_p99 of PipeIo", &[5e5]), ("cpu", &[0.5])]);
        let (basis, findings) = compare(&a, &b, false);
        assert_eq!(
            (basis, findings[0].key.to_string()),
            (Basis::Exact, "wake_p99 of PipeIo".into())
        );
        assert_eq!((findings[0].worse, findings[0].change), (Some(false), -0.5));
        assert_eq!(found(&findings, "throughput").worse, Some(true));
        assert!(!found(&findings, "cpu").real);
    }

    #[test]
    fn a_few_runs_that_vary_tell_nothing() {
        let a = side(false, &[("throughput", &[100.0; 5])]);
        let b = side(false, &[("throughput", &[50.0; 5])]);
        let (basis, findings) = compare(&a, &b, false);
        assert_eq!((basis, findings[0].real), (Basis::Nothing, false));
    }

    #[test]
    fn between_accelerators_nothing_is_said_unless_it_is_asked_for() {
        let under = |accel: &str, fact: &str, value: f64| {
            let mut side = side(true, &[("throughput", &[value])]);
            side.facts.insert(fact.into(), accel.into());
            side
        };
        let kvm = under("kvm", "accelerator", 100.0);
        // A baseline of an older version, and a side of which a part ran elsewhere.
        let old = under("tcg deterministic, icount shift 2", "mode", 50.0);
        let mixed = under("kvm, tcg", "accelerator", 100.0);
        for (a, b) in [(&kvm, &old), (&mixed, &mixed)] {
            let (basis, findings) = compare(a, b, false);
            assert_eq!(
                (basis, findings[0].real, findings[0].worse),
                (Basis::Accelerators, false, None)
            );
        }
        let (basis, findings) = compare(&kvm, &old, true);
        assert_eq!((basis, findings[0].worse), (Basis::Exact, Some(true)));
        assert_eq!(compare(&kvm, &kvm, false).0, Basis::Exact);
    }

    #[test]
    fn twice_the_work_is_found_in_the_noise_and_gates() {
        let a = [100., 103., 98., 101., 95., 102.];
        let b = a.map(|value| value / 2.0);
        let steady = [7., 9., 8., 7.5, 8.5, 8.];
        let a = side(false, &[("throughput", &a), ("wake_p50", &steady)]);
        let b = side(false, &[("throughput", &b), ("wake_p50", &steady)]);
        let (basis, findings) = compare(&a, &b, false);
        let throughput = found(&findings, "throughput");
        assert_eq!((basis, throughput.worse), (Basis::Statistics, Some(true)));
        assert!(!found(&findings, "wake_p50").real);
        let exceeds =
            |text: &str| text.parse::<super::super::Threshold>().unwrap().is_exceeded(throughput);
        assert!(exceeds("20%") && exceeds("throughput=49%"));
        assert!(!exceeds("60%") && !exceeds("wake_p50=1%"));
    }

    #[test]
    fn a_side_against_itself_is_a_difference_no_oftener_than_promised() {
        let (mut rng, mut false_alarms) = (Rng::with_seed(3), 0);
        let names = ["throughput", "wake_p50", "wake_p99", "run_delay", "max_gap", "cpu"];
        for _ in 0..60 {
            // Now and then a run in which the host stood still.
            let mut draw = || 100.0 + rng.f64() * 10.0 + if rng.u8(..) < 20 { 500.0 } else { 0.0 };
            let mut columns =
                || names.map(|name| (name, std::array::from_fn::<f64, 6, _>(|_| draw())));
            let (a, b) = (columns(), columns());
            let of = |columns: &[(&'static str, [f64; 6])]| {
                let columns: Vec<(&str, &[f64])> =
                    columns.iter().map(|(n, v)| (*n, &v[..])).collect();
                side(false, &columns)
            };
            let (_, findings) = compare(&of(&a), &of(&b), false);
            false_alarms += u32::from(findings.iter().any(|finding| finding.real));
        }
        assert!(false_alarms <= 1, "{false_alarms} of 60");
    }

    #[test]
    fn a_metric_that_one_run_lacks_is_named_and_not_compared() {
        let a = side(true, &[("throughput", &[1.0]), ("io_p99", &[5.0])]);
        let b = side(true, &[("throughput", &[1.0])]);
        assert_eq!(compare(&a, &b, false).1.len(), 1);
        let alone: Vec<_> = only_on_one(&a, &b).iter().map(ToString::to_string).collect();
        assert_eq!(alone, ["io_p99"]);
    }
}
