//! What differs between two sides, how sure that is, and whether it is for the better. Pure; called
//! by `cmd::compare`.

use super::chances::{Column, chances};
use super::gate::{Gate, Standing};
use super::metric::{Better, Key, Metric};
use super::power::{CHANCE, runs_needed, smallest_chance};
use super::side::Side;
use super::stats::{floor, interval, median};
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// They ran under different accelerators or in different modes, whose times have little in
    /// common.
    Accelerators,
}

/// What is asked of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) gates: &'a [Gate],
    /// Judge runs of different accelerators and modes too.
    pub(crate) across: bool,
    /// How often these runs are looked at, this time included.
    pub(crate) looks: u32,
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
    /// Chance that the same runs, dealt at random, differ so in any metric that is judged.
    pub(crate) chance: Option<f64>,
    /// 95 % interval of `change`.
    pub(crate) interval: Option<(f64, f64)>,
    /// The greatest change between halves of one side's runs.
    pub(crate) floor: Option<f64>,
    /// Of determined runs, each with one of the same seed on the other side: whether it is the same
    /// in all pairs.
    pub(crate) same_in_pairs: Option<bool>,
    /// Whether it is a difference at all.
    pub(crate) real: bool,
    /// Whether a real difference is for the worse; none if it is neither.
    pub(crate) worse: Option<bool>,
    /// How it stands at its gates, the worst of them; none without one.
    pub(crate) gate: Option<Standing>,
}

/// Everything that is said of the metrics that both sides have.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) basis: Basis,
    /// The greatest real change first.
    pub(crate) findings: Vec<Finding>,
    /// How many metrics are judged together: those with a gate, or all if there is no gate.
    pub(crate) judged: usize,
    /// Runs a side that surely tell a difference in one of them from chance.
    pub(crate) needed: usize,
    /// The smallest chance that these runs could give for all of them.
    pub(crate) smallest: f64,
}

impl Comparison {
    /// Whether these runs could show a difference in each metric that is judged.
    pub(crate) fn can_show(&self) -> bool {
        match self.basis {
            Basis::Exact => true,
            Basis::Statistics => self.smallest <= CHANCE,
            Basis::Nothing | Basis::Accelerators => false,
        }
    }

    pub(crate) fn at(&self, standing: Standing) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.gate == Some(standing))
    }
}

/// Keys that both sides have, in any run.
fn common(a: &Side, b: &Side) -> Vec<Key> {
    let theirs = b.keys();
    a.keys().into_iter().filter(|key| key.metric().is_some() && theirs.contains(key)).collect()
}

/// How many metrics of two sides are judged together.
pub(crate) fn judged(a: &Side, b: &Side, gates: &[Gate]) -> usize {
    common(a, b).iter().filter(|key| is_judged(key, gates)).count()
}

fn is_judged(key: &Key, gates: &[Gate]) -> bool {
    gates.is_empty() || gates.iter().any(|gate| gate.means(key))
}

/// Every metric that both sides have. Of sides that ran otherwise nothing is said but the
/// values, unless it is asked for.
pub(crate) fn compare(a: &Side, b: &Side, question: Question<'_>) -> Comparison {
    let keys = common(a, b);
    let judged = judged(a, b, question.gates);
    let tests = f64::from(question.looks) * judged.max(1) as f64;
    let basis = match !question.across && ran_otherwise(a, b) {
        true => Basis::Accelerators,
        false => basis(a, b, question.looks),
    };
    let mut comparison = Comparison {
        basis,
        findings: Vec::new(),
        judged,
        needed: runs_needed(judged, question.looks),
        smallest: tests * smallest_chance(a.runs.len(), b.runs.len()),
    };
    let chances = match basis {
        Basis::Statistics => chance_of(&keys, a, b, question.gates),
        _ => BTreeMap::new(),
    };
    let mut findings: Vec<_> = keys
        .iter()
        .filter_map(|key| finding(key, (a, b), chances.get(key).copied(), &comparison, question))
        .collect();
    findings.sort_by(|one, other| {
        let size = other.change.abs().total_cmp(&one.change.abs());
        other.real.cmp(&one.real).then(size)
    });
    comparison.findings = findings;
    comparison
}

/// Of those with a gate among themselves, which the user chose before; of others among all.
fn chance_of<'a>(keys: &'a [Key], a: &Side, b: &Side, gates: &[Gate]) -> BTreeMap<&'a Key, f64> {
    let of = |some: Vec<&'a Key>| {
        let column = |key: &&Key| -> Column { [a.column(key), b.column(key)].concat() };
        let columns: Vec<Column> = some.iter().map(column).collect();
        let found = chances(&columns, a.runs.len());
        some.into_iter().zip(found).collect::<Vec<_>>()
    };
    let mut found: BTreeMap<_, _> = of(keys.iter().collect()).into_iter().collect();
    if !gates.is_empty() {
        found.extend(of(keys.iter().filter(|key| is_judged(key, gates)).collect()));
    }
    found
}

/// One side may have both accelerators by itself. Times of deterministic runs are counts.
fn ran_otherwise(a: &Side, b: &Side) -> bool {
    let (one, other) = (a.accelerators(), b.accelerators());
    let known = !one.is_empty() && !other.is_empty();
    let accelerators = known && (one != other || one.contains(','));
    let modes = a.mode().zip(b.mode()).is_some_and(|(one, other)| one != other);
    accelerators || modes || a.deterministic != b.deterministic
}

fn basis(a: &Side, b: &Side, looks: u32) -> Basis {
    if a.is_exact() && b.is_exact() {
        return Basis::Exact;
    }
    match f64::from(looks) * smallest_chance(a.runs.len(), b.runs.len()) <= CHANCE {
        true => Basis::Statistics,
        false => Basis::Nothing,
    }
}

fn finding(
    key: &Key,
    sides: (&Side, &Side),
    chance: Option<f64>,
    comparison: &Comparison,
    Question { gates, looks, .. }: Question<'_>,
) -> Option<Finding> {
    let (metric, basis) = (key.metric()?, comparison.basis);
    let (a, b) = (&*sides.0.values(key), &*sides.1.values(key));
    let pairs = sides.0.is_paired_with(sides.1);
    let same_in_pairs = pairs.then(|| sides.0.column(key) == sides.1.column(key));
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
            chance.is_some_and(|chance| chance * f64::from(looks) <= CHANCE)
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
    let (key, gate) = (key.clone(), None);
    let mut finding = Finding {
        key,
        metric,
        a: one,
        b: other,
        change,
        chance,
        interval,
        floor,
        same_in_pairs,
        real,
        worse,
        gate,
    };
    let able = comparison.can_show();
    let gates = gates.iter().filter(|gate| gate.means(&finding.key));
    finding.gate = gates.map(|gate| gate.standing(&finding, (a, b), basis, looks, able)).max();
    Some(finding)
}

#[cfg(test)]
mod tests;
