//! Guests of `--deterministic`: their clocks are their own, so those of several tests run side by
//! side without a change in what they measure.

mod bundles;
mod cgroups;
mod comparisons;
mod expectations;
mod hunts;
mod repeats;
mod scenarios;
mod schedules;
mod steps;
