//! What `bench latency` sets side by side, as data, and how far two distributions may be apart. Called
//! by `latency`.

use super::compare::Verdict;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What may lie between the two in each column, in parts of theirs.
const BOUND: f64 = 0.05;
/// So many of our samples may be above the greatest of all others, and so many of one side below the
/// least of the other. If both do the same, each more has half the chance: 11 have 1 of 2,000.
const MOST_BEYOND: u64 = 10;
/// (2.58 * 1,000,000)^2 * 2 * 0.001 * 0.999.
const NEAR_SQUARED: u64 = 13_299_487_200;
/// Buckets of a doubling in our histograms.
const BUCKETS: f64 = 128.0;
/// Samples of a sleep or a wake-up every millisecond, and of one after the other. Those that meet a
/// tick of the kernel are 1 of 1,000 or so, and those are what p99.9 is about.
const SPACED: u64 = 20_000;
const CLOSE: u64 = 200_000;
/// That many come first and count for nothing.
pub(super) const WARMUP: u64 = 100;
/// Samples of a sleeper before all others, which are thrown away: what the kernel still does after its
/// boot takes up to 160 us, and must not meet whoever happens to be first.
pub(super) const SETTLE: u64 = 5_000;

/// A workload of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours {
    pub(super) name: &'static str,
    /// As a scenario has it.
    pub(super) workload: &'static str,
    /// The kind of its samples.
    pub(super) kind: &'static str,
    /// The loop of `bench/loops/latency.c` that does the same.
    pub(super) theirs: &'static str,
    /// Of theirs, without those of the warm-up.
    pub(super) samples: u64,
    /// In which we have as many, about.
    pub(super) duration_ms: u64,
}

pub(super) const SLEEPER: Ours = Ours {
    name: "Bursty",
    workload: r#"{"num_workers":1,"work_type":{"Bursty":{"burst_duration":"50us",
        "sleep_duration":"1ms"}},"sched_policy":{"Fifo":80},"affinity":{"Exact":[1]}}"#,
    kind: "timer",
    theirs: "timer",
    samples: SPACED,
    duration_ms: SPACED + SPACED / 16,
};

/// One message thread and one worker.
pub(super) const HERD: Ours = Ours {
    name: "ThunderingHerd",
    workload: r#"{"num_workers":2,"work_type":{"ThunderingHerd":{"waiters":1,
        "inter_batch_ms":1}},"sched_policy":{"Fifo":80},"affinity":{"Exact":[1]}}"#,
    kind: "wake",
    theirs: "futex",
    samples: SPACED,
    duration_ms: SPACED,
};

pub(super) const OURS: [Ours; 3] = [
    SLEEPER,
    HERD,
    Ours {
        name: "PipeIo",
        workload: r#"{"num_workers":2,"work_type":{"PipeIo":{"burst_iters":0}},
            "sched_policy":{"Fifo":80},"affinity":{"Exact":[1]}}"#,
        kind: "wake",
        theirs: "pipe",
        samples: CLOSE,
        duration_ms: CLOSE / 80,
    },
];

impl Ours {
    /// How far the rank of p99.9 may be off between two runs that do the same, in millionths: 99 %
    /// of the differences of two binomial counts, 2.58 * sqrt(2 * 0.001 * 0.999 / samples).
    pub(super) fn near(&self) -> u64 {
        (NEAR_SQUARED / self.samples).isqrt()
    }
}

/// Nanoseconds of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub(super) struct Figures {
    pub(super) min: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
    /// The least sample but 10.
    pub(super) min_high: u64,
    /// What p99.9 is if a few more or fewer samples meet a tick.
    pub(super) p999_low: u64,
    pub(super) p999_high: u64,
}

impl Figures {
    /// Of values with how often each was there; none without any.
    pub(super) fn of(values: &BTreeMap<u64, u64>, near: u64) -> Option<Self> {
        let count: u64 = values.values().sum();
        let ranked = |rank: u64| {
            let mut passed = 0;
            let reached = |(_, count): &(&u64, &u64)| {
                passed += **count;
                passed >= rank
            };
            values.iter().find(reached).map(|(value, _)| *value)
        };
        let at = |per_million: u64| ranked((count * per_million).div_ceil(1_000_000).max(1));
        Some(Self {
            min: at(0)?,
            p50: at(500_000)?,
            p99: at(990_000)?,
            p999: at(999_000)?,
            max: at(1_000_000)?,
            min_high: ranked(count.min(MOST_BEYOND + 1))?,
            p999_low: at(999_000 - near)?,
            p999_high: at(999_000 + near)?,
        })
    }

    /// The columns.
    pub(super) fn all(self) -> [u64; 5] {
        [self.min, self.p50, self.p99, self.p999, self.max]
    }
}

/// Whether ours lies between two of theirs, or beside them by 5 % or a bucket of our histograms.
fn agree(ours: u64, low: u64, high: u64) -> bool {
    let beside = |theirs: f64| {
        let bucket = (2_f64.powf(theirs.max(1.0).log2().floor()) / BUCKETS).max(1.0);
        (theirs * BOUND).max(bucket)
    };
    let (ours, low, high) = (ours as f64, low as f64, high as f64);
    ours >= low - beside(low) && ours <= high + beside(high)
}

/// Of a line of the table: all columns but the last.
pub(super) fn verdict(ours: Figures, theirs: Figures) -> Verdict {
    let is_same = agree(ours.min, 0, theirs.min_high)
        && agree(ours.min_high, theirs.min, u64::MAX)
        && agree(ours.p50, theirs.p50, theirs.p50)
        && agree(ours.p99, theirs.p99, theirs.p99)
        && agree(ours.p999, theirs.p999_low, theirs.p999_high);
    if is_same { Verdict::Ok } else { Verdict::Short }
}

/// Of the last column: by how many of our samples, in `counts`, are above the greatest of all others.
pub(super) fn max_verdict(
    counts: &BTreeMap<u64, u64>,
    theirs: impl Iterator<Item = Figures>,
) -> Verdict {
    let greatest = theirs.map(|figures| figures.max).max().unwrap_or(0);
    let above = |(edge, _): &(&u64, &u64)| **edge as f64 > greatest as f64 * (1.0 + BOUND);
    let above: u64 = counts.iter().filter(above).map(|(_, count)| count).sum();
    if above <= MOST_BEYOND { Verdict::Ok } else { Verdict::Short }
}

#[cfg(test)]
mod tests {
    use super::*;
    use workloads::Scenario;

    #[test]
    fn every_workload_of_the_table_is_one_that_the_library_takes() {
        for ours in OURS {
            let text = format!("{{\"workload\":{}}}", ours.workload);
            Scenario::parse(&text).unwrap();
        }
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values = (1..=1000).map(|value| (value, 1)).collect();
        let figures = Figures::of(&values, 900).unwrap();
        assert_eq!(figures.all(), [1, 500, 990, 999, 1000]);
        assert_eq!((figures.p999_low, figures.p999_high), (999, 1000));
        assert_eq!(Figures::of(&BTreeMap::new(), 0), None);
        assert_eq!(Figures::of(&[(7, 3)].into(), 0).unwrap().all(), [7; 5]);
    }

    #[test]
    fn a_rank_may_be_off_by_what_chance_does() {
        // 20 samples are above p99.9 of 20,000, and 4 to 36 may be.
        assert_eq!(OURS[0].near(), 815);
        assert_eq!(OURS[2].near(), 257);
    }

    #[test]
    fn a_part_or_a_bucket_is_no_difference() {
        let one = |ours, theirs| agree(ours, theirs, theirs);
        assert!(one(1050, 1000) && !one(1051, 1000) && !one(949, 1000));
        assert!(one(11, 10) && !one(12, 10));
        assert!(agree(700, 600, 1000) && agree(1050, 600, 1000) && !agree(560, 600, 1000));
    }

    #[test]
    fn each_column_has_a_bound() {
        let [min, p50, p99, p999, max] = [1000; 5];
        let [min_high, p999_low, p999_high] = [1000, 1000, 2000];
        let theirs = Figures { min, p50, p99, p999, max, min_high, p999_low, p999_high };
        assert_eq!(verdict(theirs, theirs), Verdict::Ok);
        assert_eq!(verdict(Figures { p999: 2090, max: 9000, ..theirs }, theirs), Verdict::Ok);
        assert_eq!(verdict(Figures { p999: 2110, ..theirs }, theirs), Verdict::Short);
        assert_eq!(verdict(Figures { p99: 1090, ..theirs }, theirs), Verdict::Short);
        let few = Figures { min: 900, ..theirs };
        assert_eq!([verdict(few, theirs), verdict(theirs, few)], [Verdict::Ok, Verdict::Ok]);
        let many = Figures { min: 900, min_high: 940, ..theirs };
        assert_eq!(
            [verdict(many, theirs), verdict(theirs, many)],
            [Verdict::Short, Verdict::Short]
        );
    }

    #[test]
    fn few_of_ours_are_above_the_greatest_of_the_others() {
        let others = [Figures { max: 800, ..Figures::default() }, Figures::default()];
        let of = |count| max_verdict(&[(100, 5), (850, count)].into(), others.into_iter());
        assert_eq!([of(0), of(10), of(11)], [Verdict::Ok, Verdict::Ok, Verdict::Short]);
        let counts = [(840, 99)].into();
        assert_eq!(max_verdict(&counts, others.into_iter()), Verdict::Ok, "within 5 %");
    }
}
