//! What can be said of two samples that vary by themselves, without knowing how. Seeded: the same samples give the same answer.
//! Called by `finding`.

use crate::units::float;
use fastrand::Rng;

/// Orders of the runs that are tried: all of them if there are no more.
const ORDERS: usize = 20_000;
const RESAMPLES: usize = 2_000;
const SEED: u64 = 1;

/// Between the middle two of an even number; of none there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// For each metric the chance that labels `a` and `b` dealt at random set the runs as far apart in
/// any of the metrics (Westfall and Young 1993, by Student's t): among many metrics one that looks
/// unlikely is likely. A metric is the values of `a` and then those of `b`.
pub(super) fn chances(metrics: &[Vec<f64>], of_a: usize) -> Vec<f64> {
    let runs = metrics.first().map_or(0, Vec::len);
    let first: Vec<usize> = (0..of_a).collect();
    let seen: Vec<f64> = metrics.iter().map(|values| apart(values, &first)).collect();
    let mut reached = vec![0_u64; metrics.len()];
    let orders = orders(runs, of_a);
    for order in &orders {
        let most = metrics.iter().map(|values| apart(values, order)).fold(0.0, f64::max);
        for (count, seen) in reached.iter_mut().zip(&seen) {
            // Sums of the same values in another order may differ in their last bits.
            *count += u64::from(most >= seen * (1.0 - 1e-9));
        }
    }
    reached.iter().map(|count| float(*count) / float(orders.len().max(1) as u64)).collect()
}

/// How far `members` are from the rest, in what each part varies by itself.
fn apart(values: &[f64], members: &[usize]) -> f64 {
    let (mut counts, mut sums) = ([0.0; 2], [0.0; 2]);
    let mut side = vec![1; values.len()];
    members.iter().for_each(|run| side[*run] = 0);
    for (value, side) in values.iter().zip(&side) {
        counts[*side] += 1.0;
        sums[*side] += value;
    }
    let means = [sums[0] / counts[0], sums[1] / counts[1]];
    let squares: f64 =
        values.iter().zip(&side).map(|(value, side)| (value - means[*side]).powi(2)).sum();
    let between = (means[0] - means[1]).abs();
    match between > 0.0 {
        true => between / squares.sqrt(),
        false => 0.0,
    }
}

/// Every way to choose `of_a` of `runs`, or so many at random, the one that was among them.
fn orders(runs: usize, of_a: usize) -> Vec<Vec<usize>> {
    let mut chosen: Vec<usize> = (0..of_a).collect();
    let mut all = vec![chosen.clone()];
    while all.len() <= ORDERS {
        match next_choice(&mut chosen, runs) {
            true => all.push(chosen.clone()),
            false => return all,
        }
    }
    let mut rng = Rng::with_seed(SEED);
    let random = (1..ORDERS).map(|_| {
        let mut dealt: Vec<usize> = (0..runs).collect();
        rng.shuffle(&mut dealt);
        dealt.truncate(of_a);
        dealt
    });
    std::iter::once((0..of_a).collect()).chain(random).collect()
}

/// The next choice in lexical order; false after the last.
fn next_choice(chosen: &mut [usize], runs: usize) -> bool {
    let count = chosen.len();
    let Some(at) = (0..count).rev().find(|at| chosen[*at] < runs - count + at) else {
        return false;
    };
    let first = chosen[at] + 1;
    for (step, place) in chosen[at..].iter_mut().enumerate() {
        *place = first + step;
    }
    true
}

/// 95 % of what `change` between the medians of `a` and `b` could as well have been (bootstrap).
pub(super) fn interval(a: &[f64], b: &[f64], change: &dyn Fn(f64, f64) -> f64) -> (f64, f64) {
    let mut rng = Rng::with_seed(SEED);
    let mut resampled = |of: &[f64]| {
        let drawn: Vec<_> = (0..of.len()).map(|_| of[rng.usize(..of.len())]).collect();
        median(&drawn)
    };
    let mut changes: Vec<_> = (0..RESAMPLES).map(|_| change(resampled(a), resampled(b))).collect();
    changes.sort_by(f64::total_cmp);
    (changes[RESAMPLES / 40], changes[RESAMPLES - 1 - RESAMPLES / 40])
}

/// The noise floor: the greatest `change` between two halves of the same side's runs, over all
/// ways to halve them.
pub(super) fn floor(side: &[f64], change: &dyn Fn(f64, f64) -> f64) -> f64 {
    let halves = orders(side.len(), side.len() / 2);
    let between = |half: &Vec<usize>| {
        let of = |inside: bool| -> Vec<f64> {
            let runs = (0..side.len()).filter(|run| half.contains(run) == inside);
            runs.map(|run| side[run]).collect()
        };
        change(median(&of(true)), median(&of(false))).abs()
    };
    halves.iter().map(between).filter(|change| change.is_finite()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(a: f64, b: f64) -> f64 {
        (b - a) / a
    }

    #[test]
    fn two_samples_far_apart_are_as_unlikely_as_their_number_allows() {
        let apart = vec![1., 2., 3., 4., 5., 6., 31., 32., 33., 34., 35., 36.];
        let mixed = vec![1., 12., 3., 14., 5., 16., 11., 2., 13., 4., 15., 6.];
        let same = vec![7.; 12];
        let found = chances(&[apart, mixed, same], 6);
        // 924 ways to choose 6 of 12; both extremes.
        assert_eq!(found[0], 2.0 / 924.0);
        assert!(found[1] > 0.5, "{found:?}");
        assert_eq!(found[2], 1.0, "{found:?}");
    }

    #[test]
    fn of_many_metrics_one_that_is_unlikely_by_itself_is_not_so() {
        let mut rng = Rng::with_seed(7);
        let metrics: Vec<Vec<f64>> =
            (0..40).map(|_| (0..16).map(|_| rng.f64()).collect()).collect();
        let alone = metrics.iter().map(|one| chances(std::slice::from_ref(one), 8)[0]);
        assert!(alone.fold(1.0, f64::min) < 0.05);
        assert!(chances(&metrics, 8).into_iter().fold(1.0, f64::min) > 0.05);
    }

    #[test]
    fn more_orders_than_can_be_tried_are_drawn() {
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let found = chances(&[values], 15);
        assert!(found[0] > 0.0 && found[0] < 1e-3, "{found:?}");
    }

    #[test]
    fn interval_and_floor_are_about_the_change_of_medians() {
        let a = [100., 101., 99., 100., 102., 98.];
        let b = a.map(|value| value * 1.5);
        let (low, high) = interval(&a, &b, &relative);
        assert!(low > 0.44 && high < 0.56 && low < 0.5 && high > 0.5, "{low} {high}");
        let floor = floor(&a, &relative);
        assert!((0.01..0.04).contains(&floor), "{floor}");
        assert_eq!(super::floor(&[5.0; 6], &relative), 0.0);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 3.0]), 3.0);
    }
}
