//! Two runs, or two sets of runs, side by side: what is measured, which differences are real, and
//! which way is better. Boots nothing. Called by `cmd::compare`.

mod finding;
mod metric;
mod side;
mod stats;
mod threshold;

pub(crate) use finding::{Basis, Finding, LEAST_RUNS, compare, only_on_one};
pub(crate) use metric::{Better, Key, METRICS, Unit, values};
pub(crate) use side::{Side, folders};
pub(crate) use stats::median;
pub(crate) use threshold::Threshold;
