//! Guests of `--deterministic`: their clocks are their own, so those of several tests run side by
//! side without a change in what they measure.

mod accounts;
mod affinity;
mod behaviour;
mod bundles;
mod cgroups;
mod comparisons;
mod complaints;
mod expectations;
mod gaps;
mod hunts;
mod kernel_facts;
mod matrices;
mod observed;
mod quiet;
mod repeats;
mod schedulers;
mod schedules;
mod steps;
mod types_cache;
mod types_churn;
mod types_numa;
mod types_sync;
mod types_wake;
mod warm;
