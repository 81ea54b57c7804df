//! What is real, for the worse, and within its limit: of runs that are determined and of runs that
//! vary.

use super::super::side::side_of as side;
use super::*;
use fastrand::Rng;

fn asked(gates: &[Gate]) -> Question<'_> {
    Question { gates, across: false, looks: 1 }
}

fn found<'a>(comparison: &'a Comparison, key: &str) -> &'a Finding {
    comparison.findings.iter().find(|finding| finding.key.to_string() == key).unwrap()
}

fn standing(a: &Side, b: &Side, gate: Gate, key: &str) -> Option<Standing> {
    found(&compare(a, b, asked(&[gate])), key).gate
}

fn worse(text: &str) -> Gate {
    Gate::worse(text).unwrap()
}

fn either_way(text: &str) -> Gate {
    Gate::either_way(text).unwrap()
}

#[test]
fn between_determined_runs_every_difference_is_real_and_the_greatest_comes_first() {
    let a =
        side(true, &[("throughput", &[100.0]), ("wake_p99 of PipeIo", &[1e6]), ("cpu", &[0.5])]);
    let b = side(true, &[("throughput", &[99.0]), ("wake_p99 of PipeIo", &[5e5]), ("cpu", &[0.5])]);
    let all = compare(&a, &b, asked(&[]));
    let first = &all.findings[0];
    assert_eq!((all.basis, first.key.to_string()), (Basis::Exact, "wake_p99 of PipeIo".into()));
    assert_eq!((first.worse, first.change), (Some(false), -0.5));
    assert_eq!(found(&all, "throughput").worse, Some(true));
    assert!(!found(&all, "cpu").real);
}

#[test]
fn limits_reach_metrics_without_a_direction_changes_for_the_better_and_single_sets() {
    let switches = "involuntary_switches";
    let better = "wake_p99 of PipeIo";
    let a = side(true, &[(switches, &[100.0]), (better, &[1e6]), ("wake_p99", &[1e6])]);
    let b = side(true, &[(switches, &[316.0]), (better, &[2e4]), ("wake_p99", &[1e6])]);
    let at = |gate, key| standing(&a, &b, gate, key);
    let (over, within) = (Some(Standing::Exceeded), Some(Standing::Within));
    assert_eq!(at(worse("involuntary_switches=50%"), switches), over);
    assert_eq!(at(worse("involuntary_switches=250%"), switches), within);
    assert_eq!(at(worse("5%"), switches), None, "no direction, and not named");
    assert_eq!(at(worse("wake_p99=10%"), better), within, "it is better");
    assert_eq!(at(either_way("wake_p99=90%"), better), over);
    assert_eq!(at(either_way("wake_p99 of PipeIo=99%"), better), within);
    assert_eq!(at(either_way("wake_p99 of PipeIo=0%"), "wake_p99"), None);
    assert_eq!(at(either_way("0%"), switches), over);
}

#[test]
fn a_few_runs_that_vary_tell_nothing() {
    let a = side(false, &[("throughput", &[100.0; 5])]);
    let b = side(false, &[("throughput", &[50.0; 5])]);
    let all = compare(&a, &b, asked(&[]));
    assert_eq!((all.basis, all.findings[0].real, all.needed), (Basis::Nothing, false, 6));
    let open = Some(Standing::Open);
    assert_eq!(standing(&a, &b, worse("throughput=90%"), "throughput"), open);
}

#[test]
fn without_a_run_nothing_is_exact() {
    let a = side(true, &[("throughput", &[100.0])]);
    let mut b = a.clone();
    b.runs.clear();
    let all = compare(&a, &b, asked(&[]));
    assert_eq!((all.basis, all.findings.len()), (Basis::Nothing, 0));
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
        let all = compare(a, b, asked(&[]));
        let first = &all.findings[0];
        assert_eq!((all.basis, first.real, first.worse), (Basis::Accelerators, false, None));
        assert_eq!(standing(a, b, worse("5%"), "throughput"), Some(Standing::Open));
    }
    // Virtual time is no time, and one that runs four times as fast is another.
    let default = side(false, &[("throughput", &[100.0; 6])]);
    let fast = under("tcg deterministic, icount shift 0", "mode", 100.0);
    for (a, b) in [(&default, &side(true, &[("throughput", &[100.0; 6])])), (&old, &fast)] {
        assert_eq!(compare(a, b, asked(&[])).basis, Basis::Accelerators);
    }
    let all = compare(&kvm, &old, Question { across: true, ..asked(&[]) });
    assert_eq!((all.basis, all.findings[0].worse), (Basis::Exact, Some(true)));
    assert_eq!(compare(&kvm, &kvm, asked(&[])).basis, Basis::Exact);
}

/// Runs around 100 and 8, with noise of a few percent; `part` is what B has of A's throughput.
fn noisy(part: f64) -> (Side, Side) {
    let a = [100., 103., 98., 101., 95., 102.];
    let b = a.map(|value| (value + 0.5) * part);
    let steady = [7., 9., 8., 7.5, 8.5, 8.];
    let of = |values: &[f64]| side(false, &[("throughput", values), ("wake_p50", &steady)]);
    (of(&a), of(&b))
}

#[test]
fn twice_the_work_is_found_in_the_noise_and_gates() {
    let (a, b) = noisy(0.5);
    let all = compare(&a, &b, asked(&[]));
    assert_eq!(all.basis, Basis::Statistics);
    assert_eq!(found(&all, "throughput").worse, Some(true));
    assert!(!found(&all, "wake_p50").real);
    let at = |text: &str| standing(&a, &b, worse(text), "throughput").unwrap();
    assert_eq!([at("20%"), at("throughput=49%")], [Standing::Exceeded; 2]);
    assert_eq!(at("throughput=60%"), Standing::Within);
    // Among two metrics so few runs could show nothing: none of them passes.
    assert_eq!(at("60%"), Standing::Open);
}

#[test]
fn a_limit_passes_only_where_the_noise_would_have_shown_more() {
    let (a, b) = noisy(1.0);
    let at = |gate| standing(&a, &b, gate, "throughput").unwrap();
    assert_eq!(at(worse("throughput=20%")), Standing::Within);
    assert_eq!(at(either_way("throughput=20%")), Standing::Within);
    for too_fine in [worse("throughput=1%"), either_way("throughput=0%")] {
        assert_eq!(at(too_fine), Standing::Open);
    }
    let (a, b) = noisy(0.9);
    assert_eq!(standing(&a, &b, worse("throughput=2%"), "throughput"), Some(Standing::Exceeded));
    // For the better it is within at once.
    assert_eq!(standing(&b, &a, worse("throughput=0%"), "throughput"), Some(Standing::Within));
}

#[test]
fn what_varies_in_no_run_is_within_any_limit() {
    let same = side(false, &[("fairness", &[1.0; 6])]);
    assert_eq!(standing(&same, &same, either_way("0%"), "fairness"), Some(Standing::Within));
}

#[test]
fn a_change_as_great_as_the_limit_seldom_passes_and_a_small_one_mostly_does() {
    let mut rng = Rng::with_seed(5);
    let mut passes = |part: f64| {
        let trials = 80_u32;
        let passed = (0..trials).filter(|_| {
            let mut draw =
                |part: f64| std::array::from_fn::<f64, 7, _>(|_| part * (95.0 + 10.0 * rng.f64()));
            let (a, b) = (draw(1.0), draw(part));
            let of = |values: &[f64]| side(false, &[("wake_p50", values)]);
            standing(&of(&a), &of(&b), worse("wake_p50=10%"), "wake_p50") == Some(Standing::Within)
        });
        passed.count() as f64 / f64::from(trials)
    };
    let (at_the_limit, small) = (passes(1.1), passes(1.02));
    // 5 % are promised; the rest is three standard deviations of so many trials.
    assert!(at_the_limit <= 0.05 + 0.074, "{at_the_limit}");
    assert!(small > 0.8, "{small}");
}

#[test]
fn one_look_of_three_has_a_third_of_the_chance() {
    let sides = |runs: u32| {
        let a: Vec<_> = (0..runs).map(|run| 100.0 + f64::from(run)).collect();
        let b: Vec<_> = a.iter().map(|value| value / 2.0).collect();
        [a, b].map(|values| side(false, &[("throughput", &values)]))
    };
    let real = |runs: u32, looks: u32| {
        let [a, b] = sides(runs);
        compare(&a, &b, Question { looks, ..asked(&[]) }).findings[0].real
    };
    assert!(real(6, 1) && !real(6, 3) && real(7, 3));
}

#[test]
fn whether_anything_changed_is_told_by_pairs_of_one_seed() {
    let of = |seeds: &str, values: &[f64]| {
        let mut side = side(true, &[("throughput", values)]);
        side.facts.insert("seeds".into(), seeds.into());
        side
    };
    let one = of("1, 2", &[100.0, 90.0]);
    let at = |other: &Side, gate| standing(&one, other, gate, "throughput").unwrap();
    assert_eq!(at(&one, either_way("0%")), Standing::Within);
    let swapped = of("1, 2", &[90.0, 100.0]);
    assert_eq!(at(&swapped, either_way("0%")), Standing::Exceeded);
    let other_seeds = of("3, 4", &[100.0, 90.0]);
    for (other, gate) in [(&other_seeds, "0%"), (&one, "1%")] {
        assert_eq!(at(other, either_way(gate)), Standing::Open, "{gate}");
    }
}
