//! Whether `cpu.max` was honoured. What the scenario asked for counts, not what the file says
//! afterwards. Called by `judge`.

use super::check::{Reading, float};
use super::part::{Part, Window};
use crate::clock::to_ns;
use crate::scenario::CpuKnobs;
use std::collections::BTreeSet;
use std::fmt;

/// What a cgroup may use.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Quota {
    quota_ns: f64,
    period_ns: f64,
    burst_ns: f64,
}

impl Quota {
    fn of(knobs: &CpuKnobs) -> Option<Self> {
        let max = knobs.max?;
        let burst_ns = float(knobs.burst.map_or(0, to_ns));
        let (quota_ns, period_ns) = (float(to_ns(max.quota?)), float(to_ns(max.period)));
        Some(Self { quota_ns, period_ns, burst_ns })
    }
}

/// For each cgroup with a quota how far it was from it, as a part of what the quota gives.
pub(super) fn deviations(part: &Part<'_>, tolerance: f64) -> Vec<Reading> {
    let mut readings = Vec::new();
    for window in &part.windows {
        let cgroups = window.scenes.iter().flat_map(|scene| &scene.cgroups);
        let limited = cgroups.filter(|(_, cgroup)| Quota::of(&cgroup.cpu).is_some());
        let running = limited.filter(|(_, cgroup)| !cgroup.frozen);
        let paths: BTreeSet<&str> = running.map(|(path, _)| path.as_str()).collect();
        readings.extend(paths.into_iter().map(|path| of_cgroup(part, window, path, tolerance)));
    }
    readings
}

fn of_cgroup(part: &Part<'_>, window: &Window<'_>, path: &str, tolerance: f64) -> Reading {
    let workers = window.workers_in(path).map(|worker| worker.index()).collect();
    let suffix = window.suffix(part);
    match Use::of(part, window, path) {
        Err(why) => Reading { workers, ..Reading::none(format!("{why}{suffix}")) },
        Ok(used) => Reading {
            workers,
            what: format!("`{path}` used {used}{suffix}"),
            value: used
                .deviation(tolerance)
                .map_err(|why| format!("`{path}` used {used}: {why}{suffix}")),
        },
    }
}

/// What a cgroup used and what its quota gave it.
struct Use {
    used_ns: f64,
    given_ns: f64,
    quota: Quota,
    /// How often a later round of a loop wrote it: the kernel gives a quota anew each time
    /// (`__refill_cfs_bandwidth_runtime`).
    refills: f64,
    /// Periods in which it had used its quota up, or why that is not known.
    throttled: Result<f64, String>,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.used_ns / self.given_ns;
        write!(f, "{percent:.1} % of its quota")?;
        match self.throttled {
            Ok(periods) => write!(f, ", throttled in {periods} periods"),
            Err(_) => Ok(()),
        }
    }
}

impl Use {
    fn of(part: &Part<'_>, window: &Window<'_>, path: &str) -> Result<Self, String> {
        let mut quotas = window
            .states()
            .map(|scene| scene.cgroups.get(path).and_then(|cgroup| Quota::of(&cgroup.cpu)));
        let first = quotas.next().flatten();
        let quota = first.filter(|first| quotas.all(|other| other == Some(*first)));
        let quota = quota.ok_or_else(|| format!("the quota of `{path}` changes"))?;
        let used_ns = window.used(path, "usage_ns", |cgroup| cgroup.cpu_time_ns)?;
        let wall_ns = window.used(path, "wall_time_ns", |cgroup| Some(cgroup.wall_time_ns))?;
        let throttled = window.used(path, "nr_throttled", |cgroup| cgroup.throttled_periods);
        let given_ns = wall_ns / quota.period_ns * quota.quota_ns;
        if given_ns <= 0.0 {
            return Err(format!("no time passed for `{path}`"));
        }
        let refills = float(window.later_writes(part, path, "cpu.max"));
        Ok(Self { used_ns, given_ns, quota, refills, throttled })
    }

    /// As a part of what was given, how much more or less it is than could be. A window may begin
    /// within a period and so see one quota more or less; unused quota from before may burst.
    fn deviation(&self, tolerance: f64) -> Result<f64, String> {
        let Self { used_ns, given_ns, quota, refills, throttled } = self;
        let over_ns = used_ns - given_ns - (1.0 + refills) * (quota.quota_ns + quota.burst_ns);
        if over_ns > 0.0 {
            return Ok(over_ns / given_ns);
        }
        match throttled {
            // Who was throttled had used the quota of that period.
            Ok(periods) if *periods > 0.0 => {
                let due_ns = (periods - 1.0) * quota.quota_ns;
                Ok((due_ns - used_ns).max(0.0) / given_ns)
            }
            _ if *used_ns >= given_ns * (1.0 - tolerance) => Ok(0.0),
            Ok(_) => Err("it did not ask for its quota".into()),
            Err(why) => Err(why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Case, MS};
    use super::super::{Check, Outcome};
    use crate::run::CgroupUse;

    /// 20 ms of each 100 ms, so 200 ms in a second.
    fn case() -> Case {
        Case::new(
            r#"{"cgroups":[{"name":"a","cpu":{"max":{"quota":"20ms"}},"works":[{},{}]}],
                "expect":{"quota_tolerance":0.1}}"#,
        )
    }

    fn judged(used_ms: u64, throttled: u64) -> Check {
        let used = |cgroup: &mut CgroupUse| {
            (cgroup.cpu_time_ns, cgroup.throttled_periods) = (Some(used_ms * MS), Some(throttled));
        };
        case().using("a", used).check("quota_tolerance")
    }

    #[test]
    fn a_quota_that_is_used_up_is_honoured() {
        let check = judged(198, 10);
        assert_eq!((check.outcome, check.measured), (Outcome::Pass, Some(0.0)));
        assert!(
            check.detail.ends_with("`a` used 99.0 % of its quota, throttled in 10 periods"),
            "{}",
            check.detail
        );
        // One period more than fits, and the tolerance.
        assert_eq!(judged(240, 10).outcome, Outcome::Pass);
    }

    #[test]
    fn more_than_the_quota_fails_whatever_the_file_says() {
        let lifted = |cgroup: &mut CgroupUse| {
            (cgroup.cpu_time_ns, cgroup.cpu_max) = (Some(1000 * MS), Some("max 100000".into()));
        };
        let check = case().using("a", lifted).check("quota_tolerance");
        assert_eq!((check.outcome, check.workers), (Outcome::Fail, vec![0, 1]));
        assert_eq!(judged(241, 0).outcome, Outcome::Fail);
    }

    #[test]
    fn throttled_before_the_quota_was_used_up_fails() {
        assert_eq!(judged(100, 10).outcome, Outcome::Fail);
        // It wanted its quota in two of ten periods, and had it.
        assert_eq!(judged(50, 2).outcome, Outcome::Pass);
    }

    #[test]
    fn who_does_not_ask_for_its_quota_shows_nothing() {
        let check = judged(100, 0);
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.ends_with("did not ask for its quota"), "{}", check.detail);
        assert_eq!(judged(185, 0).outcome, Outcome::Pass);
    }

    #[test]
    fn unused_quota_may_burst() {
        let burst = |used_ms: u64| {
            let json = r#"{"cgroups":[{"name":"a","cpu":{"max":{"quota":"20ms"},"burst":"20ms"},
                "works":[{}]}],"expect":{"quota_tolerance":0.1}}"#;
            let case = Case::new(json).using("a", |cgroup| cgroup.cpu_time_ns = Some(used_ms * MS));
            case.outcome("quota_tolerance")
        };
        assert_eq!((burst(260), burst(261)), (Outcome::Pass, Outcome::Fail));
    }

    #[test]
    fn what_was_not_read_is_inconclusive_with_the_reason() {
        let unread = |cgroup: &mut CgroupUse| {
            cgroup.cpu_time_ns = None;
            cgroup.unavailable.insert("usage_ns".into(), "ENOENT".into());
        };
        let check = case().using("a", unread).check("quota_tolerance");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.ends_with("`a` has no usage_ns: ENOENT"), "{}", check.detail);
        let mut gone = case();
        gone.record.cgroups.clear();
        assert_eq!(gone.outcome("quota_tolerance"), Outcome::Inconclusive);
        let none = Case::new(r#"{"workload":{},"expect":{"quota_tolerance":0.1}}"#);
        assert_eq!(none.outcome("quota_tolerance"), Outcome::Inconclusive);
    }

    #[test]
    fn a_quota_that_a_round_writes_again_is_given_again() {
        let looped = |used_ms: u64, knobs: &str| {
            let json = format!(
                r#"{{"cgroups":[{{"name":"a","cpu":{{"max":{{"quota":"20ms"}}}},"works":[{{}}]}}],
                    "steps":[{{"name":"s","ops":[{{"SetCpu":{{"cgroup":"a","cpu":{knobs}}}}}],
                    "expect":{{"quota_tolerance":0.1}},
                    "hold":{{"Loop":{{"interval":"200ms","time":"1s"}}}}}}]}}"#
            );
            let case = Case::new(&json).using("a", |used| used.cpu_time_ns = Some(used_ms * MS));
            case.outcome("step s: quota_tolerance")
        };
        // 200 ms, one period more, four more quotas, and the tolerance.
        let same = r#"{"max":{"quota":"20ms"}}"#;
        assert_eq!((looped(320, same), looped(321, same)), (Outcome::Pass, Outcome::Fail));
        let weight = r#"{"weight":50}"#;
        assert_eq!((looped(240, weight), looped(241, weight)), (Outcome::Pass, Outcome::Fail));
    }

    #[test]
    fn every_step_has_the_quota_of_its_own_time() {
        let json = r#"{"cgroups":[{"name":"a","works":[{}]}],"expect":{"quota_tolerance":0.1},
            "steps":[{"name":"free","hold":{"Time":"1s"}},{"name":"held","hold":{"Time":"1s"},
            "ops":[{"SetCpu":{"cgroup":"a","cpu":{"max":{"quota":"20ms"}}}}]}]}"#;
        let used =
            |ms: u64| Case::new(json).using("a", |cgroup| cgroup.cpu_time_ns = Some(ms * MS));
        assert_eq!(used(200).outcome("quota_tolerance"), Outcome::Pass);
        let check = used(900).check("quota_tolerance");
        assert_eq!(check.outcome, Outcome::Fail);
        assert!(check.detail.ends_with("in step held"), "{}", check.detail);
    }
}
