//! How likely chance alone makes a difference as great in any of many metrics: rank sums, which no
//! single run can spoil, and all metrics dealt together (Westfall and Young 1993, the least chance
//! of all). Exact: the only assumption is that without a difference any dealing of the runs to the
//! sides were as likely. Called by `finding`.

use super::rank::midranks;
use super::stats::orders;
use crate::units::float;

/// The values of one metric in the runs of both sides; none where a run lacks it.
pub(super) type Column = Vec<Option<f64>>;

/// For each metric, of which the first `of_a` values are those of `a`: the chance that runs dealt
/// at random to the sides differ in any of the metrics as much as these do in this one.
pub(super) fn chances(metrics: &[Column], of_a: usize) -> Vec<f64> {
    let Some(runs) = metrics.first().map(Vec::len) else { return Vec::new() };
    let orders = orders(runs, of_a);
    // The least chance of all metrics, by order; the first order is the one that was seen.
    let mut least = vec![u32::MAX; orders.len()];
    let mut seen = Vec::new();
    for metric in metrics {
        let rarity = rarity(metric, &orders);
        seen.push(rarity.first().copied().unwrap_or(u32::MAX));
        for (least, rarity) in least.iter_mut().zip(rarity) {
            *least = rarity.min(*least);
        }
    }
    least.sort_unstable();
    let reached = |seen: &u32| least.partition_point(|least| least <= seen) as u64;
    seen.iter().map(|seen| float(reached(seen)) / float(orders.len() as u64)).collect()
}

/// For each order how many orders set the sides as far apart in this metric.
fn rarity(metric: &Column, orders: &[Vec<usize>]) -> Vec<u32> {
    let there: Vec<f64> = metric.iter().copied().flatten().collect();
    let mut ranks = midranks(&there).into_iter();
    // A run that lacks it is in the middle: of no weight for either side.
    let middle = there.len() + 1;
    let ranks: Vec<usize> =
        metric.iter().map(|value| value.and_then(|_| ranks.next()).unwrap_or(middle)).collect();
    let mean = |count: usize| count * middle;
    let apart = |order: &Vec<usize>| -> usize {
        order.iter().map(|run| ranks[*run]).sum::<usize>().abs_diff(mean(order.len()))
    };
    let apart: Vec<usize> = orders.iter().map(apart).collect();
    let mut sorted = apart.clone();
    sorted.sort_unstable();
    let as_far = |apart: &usize| sorted.len() - sorted.partition_point(|other| other < apart);
    apart.iter().map(|apart| u32::try_from(as_far(apart)).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests;
