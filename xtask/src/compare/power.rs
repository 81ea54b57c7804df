//! How many runs it takes to show anything among so many metrics, and after which of them it may
//! be looked. Called by `finding`, `cmd::compare` and its `again`.

use crate::units::float;

/// A difference in any metric is let pass as real by chance in one comparison of so many.
pub(crate) const CHANCE: f64 = 0.0025;
/// How often `--repeat auto` looks at the runs so far, at most.
const LOOKS: u32 = 3;
/// More runs a side are never asked for.
const MOST_RUNS: usize = 1000;

/// The smallest chance that the rank test can give: every value of one side above every one of the
/// other, either way round, no ties between them.
pub(crate) fn smallest_chance(of_a: usize, of_b: usize) -> f64 {
    // The number of ways to deal the runs, as a product of fractions.
    let ways =
        (1..=of_a as u64).fold(1.0, |ways, n| ways * (float(of_b as u64) + float(n)) / float(n));
    (2.0 / ways).min(1.0)
}

/// Runs a side with which a difference in one of `metrics` can be told from chance, whatever the
/// others do (Bonferroni), if it is looked at `looks` times. Ties between the sides take more.
pub(crate) fn runs_needed(metrics: usize, looks: u32) -> usize {
    let tests = float(metrics.max(1) as u64) * f64::from(looks);
    let enough = |runs: &usize| tests * smallest_chance(*runs, *runs) <= CHANCE;
    (1..MOST_RUNS).find(enough).unwrap_or(MOST_RUNS)
}

/// After how many runs a side it is looked whether the comparison is decided. Each look has an equal
/// part of the chance of a false alarm, so that all of them together have no more than one would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looks(Vec<usize>);

impl Looks {
    /// Once, at the end.
    pub(crate) fn once(runs: usize) -> Self {
        Self(vec![runs])
    }

    /// As soon as anything can be shown among `metrics`, and then until there are twice as many.
    pub(crate) fn early(metrics: usize) -> Self {
        let first = runs_needed(metrics, LOOKS);
        Self(vec![first, first + first.div_ceil(2), 2 * first])
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn most(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }

    /// Whether it is looked after so many runs.
    pub(crate) fn contain(&self, runs: usize) -> bool {
        self.0.contains(&runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_chance_is_two_of_all_ways() {
        assert_eq!(smallest_chance(1, 1), 1.0);
        assert!((smallest_chance(6, 6) - 2.0 / 924.0).abs() < 1e-15);
        assert!((smallest_chance(9, 9) - 2.0 / 48_620.0).abs() < 1e-15);
        assert!((smallest_chance(3, 5) - 2.0 / 56.0).abs() < 1e-15);
    }

    #[test]
    fn more_metrics_and_more_looks_need_more_runs() {
        assert_eq!([1, 2, 15, 17, 60, 61].map(|m| runs_needed(m, 1)), [6, 7, 8, 9, 9, 10]);
        assert_eq!([1, 17, 34].map(|m| runs_needed(m, 3)), [7, 9, 10]);
        assert_eq!(Looks::early(1), Looks(vec![7, 11, 14]));
        assert_eq!((Looks::early(17).most(), Looks::once(5).count()), (18, 1));
    }
}
