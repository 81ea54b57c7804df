//! Chances against counts by hand, and how often they are small where there is no difference.

use super::super::power::{CHANCE, Looks, runs_needed};
use super::*;
use fastrand::Rng;

fn column(a: &[f64], b: &[f64]) -> Column {
    a.iter().chain(b).copied().map(Some).collect()
}

#[test]
fn two_sides_far_apart_are_as_unlikely_as_their_number_allows() {
    let apart = column(&[1., 2., 3., 4., 5., 6.], &[31., 32., 33., 34., 35., 36.]);
    let mixed = column(&[1., 12., 3., 14., 5., 16.], &[11., 2., 13., 4., 15., 6.]);
    let same = column(&[7.; 6], &[7.; 6]);
    let alone = chances(&[apart.clone(), same], 6);
    // 924 ways to choose 6 of 12; both extremes.
    assert_eq!(alone, [2.0 / 924.0, 1.0]);
    // The other metric has two extremes of its own.
    let both = chances(&[apart, mixed], 6);
    assert_eq!(both[0], 4.0 / 924.0);
    assert!(both[1] > 0.5, "{both:?}");
}

#[test]
fn metrics_that_go_together_cost_no_more_than_one() {
    let a = [1., 2., 3., 4., 5., 6.];
    let one = column(&a, &a.map(|value| value + 10.0));
    let other = column(&a.map(|v| -v * v), &a.map(|v| -(v + 10.0) * (v + 10.0)));
    assert_eq!(chances(&[one, other], 6), [2.0 / 924.0; 2]);
}

#[test]
fn one_tie_between_the_sides_takes_more_runs_and_they_find_it() {
    let tied = |runs: usize| {
        let (a, mut b) = (vec![1.0; runs], vec![85.0; runs]);
        b[0] = 1.0;
        chances(&[column(&a, &b)], runs)[0]
    };
    assert_eq!(tied(6), 14.0 / 924.0, "seven runs might have been the tied ones");
    assert!(tied(6) > CHANCE && tied(8) <= CHANCE, "{}", tied(8));
}

#[test]
fn a_run_that_lacks_a_metric_speaks_for_neither_side() {
    let mut metric = column(&[1., 2., 3., 4., 5., 6.], &[31., 32., 33., 34., 35., 36.]);
    metric[0] = None;
    let found = chances(&[metric], 6)[0];
    assert!(found > 2.0 / 924.0 && found < 0.05, "{found}");
}

/// A metric that is smooth, one that goes with it but for a run in ten in which the host stood
/// still, and one of few values; B's of them greater by `shift`.
fn drawn(rng: &mut Rng, runs: usize, shift: f64) -> Vec<[Vec<f64>; 2]> {
    let mut metrics = vec![[Vec::new(), Vec::new()], [Vec::new(), Vec::new()], Default::default()];
    for side in [0, 1] {
        for _ in 0..runs {
            let value = rng.f64() + if side == 1 { shift } else { 0.0 };
            let stall = if rng.u8(..) < 26 { 50.0 } else { 0.0 };
            metrics[0][side].push(value);
            metrics[1][side].push(value * 3.0 + rng.f64() + stall);
            metrics[2][side].push(f64::from(rng.u8(..4)) + shift.floor());
        }
    }
    metrics
}

/// The chance that each look at a comparison without a difference gives.
fn looked_at(rng: &mut Rng, looks: &[usize]) -> Vec<f64> {
    let metrics = drawn(rng, looks[looks.len() - 1], 0.0);
    let chance = |runs: &usize| {
        let columns: Vec<_> =
            metrics.iter().map(|[a, b]| column(&a[..*runs], &b[..*runs])).collect();
        chances(&columns, *runs).into_iter().fold(1.0, f64::min)
    };
    looks.iter().map(chance).collect()
}

#[test]
fn without_a_difference_no_way_of_looking_alarms_oftener_than_promised() {
    let (trials, level) = (400, 0.1);
    let mut rng = Rng::with_seed(11);
    let all: Vec<_> = (0..trials).map(|_| looked_at(&mut rng, &[4, 5, 6])).collect();
    let rate = |is_alarm: &dyn Fn(&[f64]) -> bool| {
        all.iter().filter(|chances| is_alarm(chances)).count() as f64 / f64::from(trials)
    };
    let once = rate(&|chances| chances[1] <= level);
    let parted = rate(&|chances| chances.iter().any(|chance| *chance <= level / 3.0));
    let whole = rate(&|chances| chances.iter().any(|chance| *chance <= level));
    // Three standard deviations of so many trials.
    let most = level + 3.0 * (level * (1.0 - level) / f64::from(trials)).sqrt();
    assert!(once <= most && once > 0.02, "{once}");
    assert!(parted <= most && parted > 0.02, "{parted}");
    assert!(whole > most, "{whole}: this test would not see a chance that is spent thrice");
}

#[test]
fn a_difference_that_is_in_all_runs_is_found_by_the_runs_that_are_said_to_be_needed() {
    let mut rng = Rng::with_seed(12);
    for looks in [Looks::once(runs_needed(3, 1)), Looks::early(3)] {
        let runs = (1..=looks.most()).find(|runs| looks.contain(*runs)).unwrap();
        for _ in 0..3 {
            let metrics = drawn(&mut rng, runs, 1.0);
            let columns: Vec<_> = metrics.iter().map(|[a, b]| column(a, b)).collect();
            let found = chances(&columns, runs)[0] * f64::from(looks.count());
            assert!(found <= CHANCE, "{found} with {runs} runs");
        }
    }
}
