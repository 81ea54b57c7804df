//! Two runs, or two sets of runs, side by side: what is measured, which differences are real, and
//! which way is better. Boots nothing. Called by `cmd::compare`.

mod chances;
mod finding;
mod gate;
mod metric;
mod outcome;
mod power;
mod rank;
mod side;
mod stats;

pub(crate) use finding::{Basis, Comparison, Finding, Question, compare, judged};
pub(crate) use gate::{Gate, Standing};
pub(crate) use metric::{Better, Key, METRICS, Unit, values};
pub(crate) use outcome::Outcome;
pub(crate) use power::Looks;
pub(crate) use side::{Side, folders};
pub(crate) use stats::median;
