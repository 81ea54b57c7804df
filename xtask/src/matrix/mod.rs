//! Kernels, schedulers and scenarios, each with each: the file that says which, the plan, results
//! and the table of them. Boots nothing; that is `cmd::matrix`.

mod accelerators;
mod cell;
mod file;
mod judge;
mod plan;
mod results;
mod rule;
mod scenarios;
mod summary;
mod table;

pub(crate) mod views;

pub(crate) use accelerators::mixed_accelerators;
pub(crate) use cell::{Cell, OWN};
pub(crate) use judge::{judge, row};
#[cfg(test)]
pub(crate) use plan::Recipe;
pub(crate) use plan::{Plan, Planned};
pub(crate) use results::{CellResult, PLAN, Results, kept_plan, kept_results};
pub(crate) use summary::RunSummary;
pub(crate) use table::{Row, Standing, Table};
#[cfg(test)]
pub(crate) use views::fixture::a_run;
