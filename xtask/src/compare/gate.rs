//! How much a metric may differ before a comparison fails: `5%` for any, `wake_p99=10%` for one,
//! `wake_p99 of PipeIo=10%` for one of one set. Called by `cli`, `finding` and `cmd::compare`.

use super::finding::{Basis, Finding};
use super::metric::{Better, Key, METRICS, Metric, Unit};
use super::rank::chance_of_so_low;
use crate::error::Refusal;
use serde::Serialize;
use std::collections::BTreeSet;

/// A metric that differs by as much as the limit is taken to differ by less at most so often.
const WRONG_PASS: f64 = 0.05;

/// A limit on a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gate {
    /// None is every metric that the gate can mean.
    metric: Option<String>,
    /// None is every set, and all workers together.
    set: Option<String>,
    most: f64,
    /// Whether a change for the better counts too.
    either_way: bool,
}

/// How one metric stands at its gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It is shown not to differ by more.
    Within,
    /// These runs show neither.
    Open,
    /// It really differs, and by more.
    Exceeded,
}

impl Gate {
    /// `--threshold`: a bound on changes for the worse; of a metric that knows no better from worse
    /// on changes either way.
    pub(crate) fn worse(text: &str) -> Result<Self, String> {
        Self::parse(text, false)
    }

    /// `--max-change`: a bound on changes either way.
    pub(crate) fn either_way(text: &str) -> Result<Self, String> {
        Self::parse(text, true)
    }

    fn parse(text: &str, either_way: bool) -> Result<Self, String> {
        // A set may have the character in its name.
        let (name, number) = match text.rsplit_once('=') {
            Some((name, number)) => (Some(Key::from(name.to_owned())), number),
            None => (None, text),
        };
        let metric = name.as_ref().map(known).transpose()?;
        let percent = number.strip_suffix('%').and_then(|digits| digits.parse::<f64>().ok());
        let percent = percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
        let percent = percent.ok_or_else(|| format!("`{number}` is no percentage, as 5%"))?;
        if let Some(why) = metric.and_then(|metric| beyond_reach(metric, percent, either_way)) {
            return Err(why);
        }
        let set = name.as_ref().map(|key| key.set.clone()).filter(|set| !set.is_empty());
        let metric = name.map(|key| key.metric);
        Ok(Self { metric, set, most: percent / 100.0, either_way })
    }

    /// Whether it is a limit on this one.
    pub(crate) fn means(&self, key: &Key) -> bool {
        let Some(metric) = key.metric() else { return false };
        let by_name = match &self.metric {
            Some(name) => *name == metric.name,
            None => self.either_way || metric.better != Better::Neither,
        };
        by_name && self.set.as_ref().is_none_or(|set| *set == key.set)
    }

    pub(crate) fn is_either_way(&self) -> bool {
        self.either_way
    }

    /// Refuses one that means nothing of what `a` has.
    pub(crate) fn check(&self, a: &BTreeSet<Key>) -> Result<(), Refusal> {
        if a.iter().any(|key| self.means(key)) {
            return Ok(());
        }
        let names: Vec<_> = a.iter().map(ToString::to_string).collect();
        let metric = self.metric.as_deref().unwrap_or("any metric with a direction");
        let of = self.set.as_ref().map(|set| format!(" of {set}")).unwrap_or_default();
        let message =
            format!("A has no `{metric}{of}`, so that this limit could never be exceeded");
        Err(Refusal::input(message, format!("name one of: {}", names.join(", "))))
    }

    /// How a metric with these values stands. `can_show` is whether so many runs could show a
    /// difference.
    pub(super) fn standing(
        &self,
        finding: &Finding,
        (a, b): (&[f64], &[f64]),
        basis: Basis,
        looks: u32,
        can_show: bool,
    ) -> Standing {
        // Whether anything changed needs no statistics where each run has its counterpart.
        let at_all = self.either_way && self.most == 0.0 && basis != Basis::Accelerators;
        match finding.same_in_pairs.filter(|_| at_all) {
            Some(true) => return Standing::Within,
            Some(false) => return Standing::Exceeded,
            None => {}
        }
        let counts = match finding.metric.better {
            _ if self.either_way => finding.real,
            Better::Neither => finding.real,
            Better::Lower | Better::Higher => finding.worse == Some(true),
        };
        let is_shown = || match basis {
            Basis::Exact => true,
            Basis::Nothing | Basis::Accelerators => false,
            Basis::Statistics => can_show && self.holds(finding.metric, a, b, looks),
        };
        match counts && finding.change.abs() > self.most {
            true => Standing::Exceeded,
            false if is_shown() => Standing::Within,
            false => Standing::Open,
        }
    }

    /// Whether `b` is shown to be on the near side of `a` moved by the limit, by the rank test.
    fn holds(&self, metric: &Metric, a: &[f64], b: &[f64], looks: u32) -> bool {
        if a.iter().chain(b).all(|value| *value == a[0]) {
            return true;
        }
        let moved = |by: f64| -> Vec<f64> {
            let to = |value: &f64| match metric.unit {
                Unit::Ns | Unit::PerSecond => value * (1.0 + by),
                Unit::Share | Unit::Plain => value + by,
            };
            a.iter().map(to).collect()
        };
        let mirrored = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| -value).collect() };
        let enough = |chance: f64| chance <= WRONG_PASS / f64::from(looks);
        let not_above = || enough(chance_of_so_low(&moved(self.most), b));
        let not_below = || enough(chance_of_so_low(&mirrored(&moved(-self.most)), &mirrored(b)));
        match metric.better {
            Better::Lower if !self.either_way => not_above(),
            Better::Higher if !self.either_way => not_below(),
            _ => not_above() && not_below(),
        }
    }
}

fn known(key: &Key) -> Result<&'static Metric, String> {
    key.metric().ok_or_else(|| {
        let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        format!("`{}` is no metric; they are {}", key.metric, names.join(", "))
    })
}

/// Why no value could ever exceed a limit.
fn beyond_reach(metric: &Metric, percent: f64, either_way: bool) -> Option<String> {
    if percent < 100.0 {
        return None;
    }
    let name = metric.name;
    match (metric.unit, metric.better) {
        (Unit::Share | Unit::Plain, _) => Some(format!(
            "`{name}` is between 0 and 1, and a limit is points of a hundred: less than 100%"
        )),
        (_, Better::Higher) if !either_way => {
            Some(format!("`{name}` cannot fall by more than 100%: give less than that"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from(text.to_owned())
    }

    #[test]
    fn a_limit_is_for_any_metric_one_or_one_of_a_set() {
        let any = Gate::worse("5%").unwrap();
        assert!(any.means(&key("wake_p99")) && any.means(&key("wake_p99 of PipeIo")));
        assert!(!any.means(&key("cpu")), "it knows no better from worse");
        assert!(Gate::either_way("5%").unwrap().means(&key("cpu")));
        let one = Gate::worse("wake_p99=10%").unwrap();
        assert!(one.means(&key("wake_p99 of PipeIo")) && !one.means(&key("wake_p50")));
        let of_set = Gate::worse("wake_p99 of PipeIo in /a=b=10%").unwrap();
        assert!(of_set.means(&key("wake_p99 of PipeIo in /a=b")));
        assert!(!of_set.means(&key("wake_p99")) && !of_set.means(&key("wake_p99 of PipeIo")));
    }

    #[test]
    fn what_is_no_limit_or_could_never_be_exceeded_is_refused() {
        let refused = |text: &str, why: &str| {
            let error = Gate::worse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        };
        refused("5", "no percentage");
        refused("-1%", "no percentage");
        refused("wake_p98=5%", "they are throughput, wake_p50");
        refused("throughput=100%", "cannot fall by more than 100%");
        refused("fairness=100%", "points of a hundred");
        refused("run_delay of SpinWait=200%", "points of a hundred");
        assert!(Gate::worse("wake_p99=200%").is_ok() && Gate::worse("throughput=99%").is_ok());
        assert!(Gate::either_way("throughput=200%").is_ok());
        assert!(Gate::either_way("cpu=100%").is_err());
    }

    #[test]
    fn a_limit_on_what_no_run_has_is_refused_with_the_names_that_there_are() {
        let a = BTreeSet::from([key("throughput"), key("wake_p99 of PipeIo")]);
        assert!(Gate::worse("wake_p99=5%").unwrap().check(&a).is_ok());
        for text in ["lock_p99=5%", "throughput of PipeIo=5%"] {
            let refusal = Gate::worse(text).unwrap().check(&a).unwrap_err();
            assert!(refusal.to_string().contains("could never be exceeded"), "{refusal}");
        }
        let only_cpu = BTreeSet::from([key("cpu")]);
        assert!(Gate::worse("5%").unwrap().check(&only_cpu).is_err());
    }
}
