//! What a comparison says: medians of rounds, ratios within a round, a verdict against a bound.
//! Pure; called by `bench` and `work_types`.

use crate::compare::median;
use crate::error::exit;

/// Values of several rounds. Of none it is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Self {
        let least = values.iter().copied().min_by(f64::total_cmp);
        let most = values.iter().copied().max_by(f64::total_cmp);
        let Some((least, most)) = least.zip(most) else { return Self::default() };
        Self { median: median(values), least, most }
    }
}

/// Ours beside theirs, measured one after the other in every round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Comparison {
    pub(super) ours: Spread,
    pub(super) theirs: Spread,
    /// Ours in theirs, taken round by round: what disturbs both cancels out.
    pub(super) ratio: Spread,
}

impl Comparison {
    pub(super) fn of(rounds: &[(f64, f64)]) -> Self {
        let (ours, theirs): (Vec<f64>, Vec<f64>) = rounds.iter().copied().unzip();
        let ratios: Vec<f64> = rounds.iter().map(|(ours, theirs)| ours / theirs).collect();
        Self { ours: Spread::of(&ours), theirs: Spread::of(&theirs), ratio: Spread::of(&ratios) }
    }
}

/// What a line of the table comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// The bound is missed.
    Short,
    /// There is no bound.
    Shown,
    /// For this reason.
    NotMeasured(String),
}

impl Verdict {
    /// A figure that does not compare, as that of a rate of 0, holds no bound.
    pub(super) fn at_least(measured: f64, bound: f64) -> Self {
        if measured >= bound { Self::Ok } else { Self::Short }
    }

    pub(super) fn at_most(measured: f64, bound: f64) -> Self {
        if measured <= bound { Self::Ok } else { Self::Short }
    }

    pub(super) fn show(&self) -> String {
        match self {
            Self::Ok => "ok".into(),
            Self::Short => "SHORT".into(),
            Self::Shown => "-".into(),
            Self::NotMeasured(why) => format!("not measured: {why}"),
        }
    }
}

/// A missed bound counts before what could not be measured, which is never a pass.
pub(super) fn exit_code<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> u8 {
    let mut code = exit::PASS;
    for verdict in verdicts {
        match verdict {
            Verdict::Ok | Verdict::Shown => {}
            Verdict::Short => return exit::FAIL,
            Verdict::NotMeasured(_) => code = exit::HOST,
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_half_way_between_two() {
        let of = |values: &[f64]| Spread::of(values);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(of(&[]), Spread::default());
    }

    #[test]
    fn a_disturbed_round_changes_neither_ratio_nor_median() {
        let quiet = [(96.0, 100.0), (96.0, 100.0), (96.0, 100.0)];
        let noisy = [(96.0, 100.0), (9.6, 10.0), (96.0, 100.0)];
        assert_eq!(Comparison::of(&noisy).ratio, Comparison::of(&quiet).ratio);
        // The ratio of the medians would not tell these from equals.
        let crossed = Comparison::of(&[(90.0, 100.0), (100.0, 110.0), (110.0, 90.0)]);
        assert_eq!(crossed.ours.median, crossed.theirs.median);
        assert!(crossed.ratio.median < 0.91);
    }

    #[test]
    fn a_bound_holds_when_it_is_just_met_and_never_without_a_number() {
        assert_eq!(Verdict::at_least(0.95, 0.95), Verdict::Ok);
        assert_eq!(Verdict::at_least(0.9499, 0.95), Verdict::Short);
        assert_eq!(Verdict::at_most(1.0, 1.0), Verdict::Ok);
        assert_eq!(Verdict::at_most(1.001, 1.0), Verdict::Short);
        for verdict in [Verdict::at_least(f64::NAN, 0.95), Verdict::at_most(f64::NAN, 1.0)] {
            assert_eq!(verdict, Verdict::Short);
        }
    }

    #[test]
    fn what_is_not_measured_is_no_pass_and_hides_no_missed_bound() {
        let missing = Verdict::NotMeasured("no perf".into());
        assert_eq!(exit_code([&Verdict::Ok, &Verdict::Ok]), exit::PASS);
        assert_eq!(exit_code([&Verdict::Ok, &missing]), exit::HOST);
        assert_eq!(exit_code([&missing, &Verdict::Short, &missing]), exit::FAIL);
    }
}
