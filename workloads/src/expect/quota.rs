//! Whether `cpu.max` was honoured. What the scenario asked for counts, not what the file says
//! afterwards. Called by `judge`.

use super::check::{Reading, float};
use super::part::{Account, Part, Window, place};
use super::share::check_runnable;
use crate::clock::to_ns;
use crate::plan::above;
use crate::scenario::CpuKnobs;
use std::collections::BTreeMap;
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

    /// CPUs that it gives.
    fn rate(&self) -> f64 {
        self.quota_ns / self.period_ns
    }
}

/// For each cgroup with a quota how far it was from it, as a part of what the quota gives.
pub(super) fn deviations(part: &Part<'_>, tolerance: f64) -> Vec<Reading> {
    let of_window = |window| Tree::of(part, window, tolerance).readings(part);
    part.windows.iter().flat_map(of_window).collect()
}

/// The cgroups with quotas that were not frozen in a window.
struct Tree<'a> {
    window: &'a Window<'a>,
    tolerance: f64,
    uses: BTreeMap<&'a str, Result<Use, String>>,
}

impl<'a> Tree<'a> {
    fn of(part: &Part<'_>, window: &'a Window<'a>, tolerance: f64) -> Self {
        let cgroups = window.scenes.iter().flat_map(|scene| &scene.cgroups);
        let limited = cgroups.filter(|(_, cgroup)| Quota::of(&cgroup.cpu).is_some());
        let running = limited.filter(|(_, cgroup)| !cgroup.frozen);
        let uses = running.map(|(path, _)| (path.as_str(), Use::of(part, window, path))).collect();
        Self { window, tolerance, uses }
    }

    fn readings(&self, part: &Part<'_>) -> Vec<Reading> {
        let suffix = self.window.suffix(part);
        let of_cgroup = |(path, used): (&&str, &Result<Use, String>)| {
            let workers = self.window.workers_in(path).map(|worker| worker.index()).collect();
            match used {
                Err(why) => Reading { workers, ..Reading::none(format!("{why}{suffix}")) },
                Ok(used) => Reading {
                    workers,
                    what: format!("`{path}` used {used}{suffix}"),
                    value: used
                        .deviation(self.tolerance, || self.bound_elsewhere(path, used))
                        .map_err(|why| format!("`{path}` used {used}: {why}{suffix}")),
                },
            }
        };
        self.uses.iter().map(of_cgroup).collect()
    }

    /// Whether the quotas of others kept a cgroup from its own: one above it, or those of all who
    /// run in it. They are judged by themselves.
    fn bound_elsewhere(&self, path: &str, used: &Use) -> bool {
        let above = above(path).any(|up| {
            let larger = |of: &Use| used.quota.rate() >= of.quota.rate();
            self.binds(up).is_some_and(|of| larger(of) || self.wants_more(path))
        });
        above || self.all_below_are_bound(path)
    }

    fn binds(&self, path: &str) -> Option<&Use> {
        self.uses.get(path)?.as_ref().ok().filter(|used| used.binds(self.tolerance))
    }

    /// Whether everyone in a cgroup wanted a CPU all the time.
    fn wants_more(&self, path: &str) -> bool {
        let mut workers = self.window.workers_in(path).peekable();
        let wants = |worker: &Account<'_>| {
            let used = worker.known("cpu_time_ns", worker.cpu_time_ns);
            used.is_ok_and(|cpu_ns| check_runnable(worker, cpu_ns).is_ok())
        };
        workers.peek().is_some() && workers.all(wants)
    }

    fn all_below_are_bound(&self, path: &str) -> bool {
        let mut workers = self.window.workers_in(path).peekable();
        let is_bound = |worker: &Account<'_>| {
            self.window.scenes.iter().filter_map(|scene| place(scene, worker.crew)).all(|at| {
                let mut between = std::iter::once(at).chain(above(at)).take_while(|up| *up != path);
                between.any(|up| self.binds(up).is_some())
            })
        };
        workers.peek().is_some() && workers.all(is_bound)
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

    /// Whether the quota is what held the cgroup back.
    fn binds(&self, tolerance: f64) -> bool {
        matches!(self.throttled, Ok(periods) if periods > 0.0)
            || self.used_ns >= self.given_ns * (1.0 - tolerance)
    }

    /// As a part of what was given, how much more or less it is than could be. A window may begin
    /// within a period and so see one quota more or less; unused quota from before may burst.
    fn deviation(&self, tolerance: f64, bound_elsewhere: impl Fn() -> bool) -> Result<f64, String> {
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
            _ if self.binds(tolerance) || bound_elsewhere() => Ok(0.0),
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

    /// `a` may use `of_a`, `a/b` and `a/c` what they are given, of 1000 ms each.
    fn nested(of_a: &str, of_b: &str, used: [(&str, u64, u64); 3]) -> Check {
        let json = format!(
            r#"{{"cgroups":[{{"name":"a","cpu":{{"max":{{"quota":"{of_a}"}}}}}},
                {{"name":"a/b","cpu":{{"max":{{"quota":"{of_b}"}}}},"works":[{{}}]}},
                {{"name":"a/c","works":[{{}}]}}],"expect":{{"quota_tolerance":0.1}}}}"#
        );
        let case = Case::new(&json).cpu_ms(&[used[1].1, used[2].1]);
        let case = used.into_iter().fold(case, |case, (path, ms, throttled)| {
            case.using(path, |cgroup| {
                (cgroup.cpu_time_ns, cgroup.throttled_periods) = (Some(ms * MS), Some(throttled));
            })
        });
        case.check("quota_tolerance")
    }

    #[test]
    fn of_nested_quotas_the_one_that_binds_is_judged() {
        // That of `a` binds: `a/b` cannot reach its own.
        let above = |of_a, throttled, ms_b, ms_c| {
            let used = [("a", of_a, throttled), ("a/b", ms_b, 0), ("a/c", ms_c, 0)];
            nested("20ms", "40ms", used)
        };
        assert_eq!(above(200, 10, 100, 100).outcome, Outcome::Pass);
        let check = above(100, 10, 50, 50);
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Fail, &[0, 1][..]));
        assert!(check.detail.contains("`a` used 50.0 % of its quota"), "{check:?}");
        // Nobody's binds: nothing is shown, as without nesting.
        assert_eq!(above(100, 0, 50, 50).outcome, Outcome::Inconclusive);
        // One that does not bind is still not exceeded.
        let used = [("a", 800, 0), ("a/b", 600, 10), ("a/c", 200, 0)];
        let check = nested("90ms", "40ms", used);
        assert_eq!((check.outcome, &check.workers[..]), (Outcome::Fail, &[0][..]));
    }

    #[test]
    fn a_smaller_quota_below_one_that_binds_must_have_been_asked_for() {
        let used = [("a", 400, 10), ("a/b", 200, 0), ("a/c", 200, 0)];
        // It wanted more all the time: what it lacked is what `a` lacked.
        assert_eq!(nested("40ms", "30ms", used).outcome, Outcome::Pass);
        let slept = Case::new(
            r#"{"cgroups":[{"name":"a","cpu":{"max":{"quota":"40ms"}}},
                {"name":"a/b","cpu":{"max":{"quota":"30ms"}},"works":[{}]},
                {"name":"a/c","works":[{}]}],
                "expect":{"quota_tolerance":0.1}}"#,
        );
        let slept = slept.cpu_ms(&[100, 300]).with(0, |report| {
            (report.voluntary_switches, report.run_delay_ns) = (Some(9), Some(0));
        });
        let slept = slept.using("a", |cgroup| cgroup.throttled_periods = Some(10));
        let check = slept.check("quota_tolerance");
        assert_eq!(check.outcome, Outcome::Inconclusive);
        assert!(check.detail.contains("`a/b` used 33.3 % of its quota"), "{check:?}");
    }

    #[test]
    fn a_quota_that_those_below_cannot_reach_is_not_asked_for() {
        let json = |of_c: &str| {
            format!(
                r#"{{"cgroups":[{{"name":"a","cpu":{{"max":{{"quota":"90ms"}}}}}},
                {{"name":"a/b","cpu":{{"max":{{"quota":"20ms"}}}},"works":[{{}}]}},
                {{"name":"a/c"{of_c},"works":[{{}}]}}],"expect":{{"quota_tolerance":0.1}}}}"#
            )
        };
        let judged = |of_c: &str| {
            let case = Case::new(&json(of_c)).cpu_ms(&[200, 300]);
            case.using("a/b", |cgroup| cgroup.throttled_periods = Some(10)).check("quota_tolerance")
        };
        let both = judged(r#","cpu":{"max":{"quota":"30ms"}}"#);
        assert_eq!(both.outcome, Outcome::Pass, "{both:?}");
        // `a/c` could have used what is left of `a`.
        let free = judged("");
        assert_eq!(free.outcome, Outcome::Inconclusive);
        assert!(free.detail.contains("`a` used 55.6 % of its quota"), "{free:?}");
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
