//! Latency histograms: bounded memory, mergeable across workers and runs. Filled by `Worker`,
//! merged by `expect` and the host's views.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Values are kept to within 1 % of themselves.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Longer samples count as this.
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// Values below this have a bucket each; from there on each doubling has half as many.
const FINEST: u64 = 2 * ROW as u64;
const FINEST_BITS: u32 = FINEST.ilog2();
/// Buckets of a doubling, and how many times so many there are.
const ROW: usize = 128;
const ROWS: usize = (HIGHEST_NS.ilog2() + 1 - FINEST_BITS) as usize + 2;

/// Samples of one meaning in one worker while it runs, in the buckets of an HDR histogram of these
/// digits. That itself keeps more books: a sample costs it five times as many instructions. Memory
/// comes a doubling at a time, because the first sample is taken in the measured time: to clear all
/// of it there took a worker up to 400 us.
#[derive(Debug)]
pub(crate) struct Samples {
    rows: [Option<Box<[u64; ROW]>>; ROWS],
    max_ns: u64,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self { rows: [const { None }; ROWS], max_ns: 0 }
    }

    #[inline]
    pub(crate) fn record(&mut self, value_ns: u64) {
        let bucket = bucket(value_ns.min(HIGHEST_NS));
        if let Some(row) = self.rows.get_mut(bucket / ROW) {
            row.get_or_insert_with(|| Box::new([0; ROW]))[bucket % ROW] += 1;
        }
        self.max_ns = self.max_ns.max(value_ns);
    }

    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        let mut buckets = empty();
        for (row, counts) in self.rows.iter().enumerate() {
            let counted = counts.iter().flat_map(|counts| counts.iter().enumerate());
            for (column, count) in counted.filter(|(_, count)| **count > 0) {
                buckets.saturating_record_n(lowest(row * ROW + column), *count);
            }
        }
        LatencySummary::of(&buckets, self.max_ns)
    }
}

/// The bucket of a value.
#[inline]
fn bucket(value_ns: u64) -> usize {
    let doublings = (value_ns | (FINEST - 1)).ilog2() + 1 - FINEST_BITS;
    let bucket = u64::from(doublings) * (FINEST / 2) + (value_ns >> doublings);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The least value of a bucket.
fn lowest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let doublings = (bucket / (FINEST / 2)).saturating_sub(1);
    (bucket - doublings * (FINEST / 2)) << doublings
}

/// A distribution as the report holds it: the usual percentiles and the buckets behind them.
/// A percentile is the upper edge of its bucket; `max_ns` is exact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LatencySummary {
    /// Number of samples.
    pub count: u64,
    /// Half of the samples are at most this.
    pub p50_ns: u64,
    /// 90 % of the samples are at most this.
    pub p90_ns: u64,
    /// 99 % of the samples are at most this.
    pub p99_ns: u64,
    /// 99.9 % of the samples are at most this.
    pub p999_ns: u64,
    /// The largest sample, exact.
    pub max_ns: u64,
    /// Pairs of a bucket's upper edge in ns and its count, ascending, empty buckets left out.
    /// Edges are those of an HDR histogram with two significant digits.
    pub histogram: Vec<(u64, u64)>,
}

impl LatencySummary {
    /// The distribution of all samples of several workers; `None` without samples.
    pub fn merged<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let (mut all, mut max_ns) = (empty(), 0);
        for part in parts {
            max_ns = max_ns.max(part.max_ns);
            for (value_ns, count) in &part.histogram {
                all.saturating_record_n(*value_ns, *count);
            }
        }
        Self::of(&all, max_ns)
    }

    fn of(buckets: &Histogram<u64>, max_ns: u64) -> Option<Self> {
        if buckets.is_empty() {
            return None;
        }
        let at = |quantile| buckets.value_at_quantile(quantile).min(max_ns);
        let pair = |value: hdrhistogram::iterators::IterationValue<u64>| {
            (value.value_iterated_to(), value.count_at_value())
        };
        Some(Self {
            count: buckets.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns,
            histogram: buckets.iter_recorded().map(pair).collect(),
        })
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, SIGNIFICANT_DIGITS)
        .unwrap_or_else(|_| unreachable!("constant bounds are valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> LatencySummary {
        let mut samples = Samples::new();
        values.into_iter().for_each(|value| samples.record(value));
        samples.summary().unwrap()
    }

    #[test]
    fn percentiles_are_within_one_percent_and_the_maximum_is_exact() {
        let summary = of(1..=100_000);
        assert_eq!((summary.count, summary.max_ns), (100_000, 100_000));
        for (got, want) in [(summary.p50_ns, 50_000), (summary.p99_ns, 99_000)] {
            assert!(got >= want && got - want <= want / 100, "{got} against {want}");
        }
    }

    #[test]
    fn merging_is_the_same_as_recording_together() {
        let parts = [of(1..=1000), of(5_000..=9_000)];
        assert_eq!(LatencySummary::merged(&parts).unwrap(), of((1..=1000).chain(5_000..=9_000)));
    }

    #[test]
    fn our_buckets_are_those_of_the_hdr_histogram() {
        let near = |power: u32| [0, 1, 2, 3].map(|step| (1_u64 << power) + step - 2);
        let values = (0..3000).chain((9..42).flat_map(near)).chain([HIGHEST_NS, u64::MAX]);
        let values: Vec<u64> = values.collect();
        let mut hdr = empty();
        values.iter().for_each(|value| hdr.saturating_record(*value));
        assert_eq!(of(values), LatencySummary::of(&hdr, u64::MAX).unwrap());
    }

    #[test]
    fn nothing_recorded_is_no_summary() {
        assert_eq!(Samples::new().summary(), None);
        assert_eq!(LatencySummary::merged([]), None);
    }
}
