//! Guests of `--deterministic`: their clocks are their own, so those of several tests run side by
//! side without a change in what they measure.

mod bundles;
mod cgroups;
mod expectations;
mod hunts;
mod repeats;
mod scenarios;
mod schedulers;
mod schedules;
mod steps;
