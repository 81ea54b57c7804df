//! What can be said of two samples that vary by themselves, without knowing how. Seeded: the same samples give the same answer.
//! Called by `finding`.

use fastrand::Rng;

/// Orders of the runs that are tried: all of them if there are no more, as of 9 runs a side.
const ORDERS: usize = 50_000;
/// Ways to halve the runs of a side that are tried: all of them up to 13 runs.
const HALVES: usize = 2_000;
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

/// Every way to choose `of_a` of `runs`, or so many at random; the one that was is the first.
pub(super) fn orders(runs: usize, of_a: usize) -> Vec<Vec<usize>> {
    at_most(ORDERS, runs, of_a)
}

fn at_most(limit: usize, runs: usize, of_a: usize) -> Vec<Vec<usize>> {
    let mut chosen: Vec<usize> = (0..of_a).collect();
    let mut all = vec![chosen.clone()];
    while all.len() <= limit {
        match next_choice(&mut chosen, runs) {
            true => all.push(chosen.clone()),
            false => return all,
        }
    }
    let mut rng = Rng::with_seed(SEED);
    let random = (1..limit).map(|_| {
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
/// ways to halve them, or many at random.
pub(super) fn floor(side: &[f64], change: &dyn Fn(f64, f64) -> f64) -> f64 {
    let halves = at_most(HALVES, side.len(), side.len() / 2);
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
    fn more_orders_than_can_be_tried_are_drawn_and_the_one_that_was_is_the_first() {
        assert_eq!(orders(12, 6).len(), 924);
        assert_eq!(orders(18, 9).len(), 48_620);
        let drawn = orders(30, 15);
        assert_eq!((drawn.len(), &drawn[0]), (ORDERS, &(0..15).collect()));
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
