//! Kernels, schedulers and scenarios, each with each: the file that says which, the plan, results
//! and the table of them. Boots nothing; that is `cmd::matrix`.

mod cell;
mod summary;
mod table;
#[expect(unused_imports, reason = "its command follows")]
pub(crate) mod views;
