//! Wilcoxon's rank sum of two samples, exactly, whatever ties there are: by the distribution that
//! dealing these very values at random to the sides has. Called by `chances` and `gate`.

/// Twice the midrank of each value, so that ties are whole numbers too.
pub(super) fn midranks(values: &[f64]) -> Vec<usize> {
    let below = |value: f64| values.iter().filter(|other| **other < value).count();
    let equal = |value: f64| values.iter().filter(|other| **other == value).count();
    values.iter().map(|value| 2 * below(*value) + equal(*value) + 1).collect()
}

/// The chance that `b`, dealt at random, is as low among `a` and `b` as it is: of a sum of ranks
/// that is no greater.
pub(super) fn chance_of_so_low(a: &[f64], b: &[f64]) -> f64 {
    let ranks = midranks(&[b, a].concat());
    let seen: usize = ranks[..b.len()].iter().sum();
    let ways = ways(&ranks, b.len());
    let all: f64 = ways.iter().sum();
    ways.iter().take(seen + 1).sum::<f64>() / all
}

/// In how many ways `count` of `ranks` have each sum.
fn ways(ranks: &[usize], count: usize) -> Vec<f64> {
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; count + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        // From the largest choices down, so that no rank is chosen twice.
        for chosen in (0..count).rev() {
            for sum in 0..=most - rank {
                let more = ways[chosen][sum];
                ways[chosen + 1][sum + rank] += more;
            }
        }
    }
    ways.swap_remove(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_the_middle_of_their_ranks() {
        assert_eq!(midranks(&[5.0, 1.0, 5.0, 9.0]), [5, 2, 5, 8]);
    }

    #[test]
    fn chances_are_those_of_the_tables() {
        let (a, b) = ([4.0, 5.0, 6.0], [1.0, 2.0, 3.0]);
        assert_eq!(chance_of_so_low(&a, &b), 1.0 / 20.0);
        assert_eq!(chance_of_so_low(&b, &a), 1.0);
        // U = 9 of 5 and 8, one-sided 0.0637 (Lehmann 1975, table B).
        let a = [1.0, 2.0, 3.0, 6.0, 12.0].map(|rank: f64| -rank);
        let b = [4.0, 5.0, 7.0, 8.0, 9.0, 10.0, 11.0, 13.0].map(|rank: f64| -rank);
        let found = chance_of_so_low(&a, &b);
        assert!((found - 82.0 / 1287.0).abs() < 1e-12, "{found} is {} of 1287", found * 1287.0);
    }

    #[test]
    fn a_tie_between_the_sides_makes_an_extreme_more_likely() {
        // Of 20 ways 2 have a sum of 9 in doubled midranks: either of the tied values.
        assert_eq!(chance_of_so_low(&[3.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), 2.0 / 20.0);
        assert_eq!(chance_of_so_low(&[7.0; 4], &[7.0; 4]), 1.0);
    }
}
