//! Makes a scenario smaller while it fails in the same way: parts are taken out, numbers and times
//! halved, one change at a time, the first that still fails is kept. Called by `cmd::hunt`.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use workloads::Scenario;

/// Arrays whose elements can be left out.
const PARTS: [&str; 5] = ["steps", "cgroups", "composed", "works", "ops"];
/// Numbers that can be lower.
const NUMBERS: [&str; 3] = ["num_workers", "cpus", "iterations"];
/// Times that can be shorter, down to [`SHORTEST`] or to nothing.
const TIMES: [&str; 2] = ["duration", "Time"];
const TIMES_TO_NOTHING: [&str; 2] = ["warmup", "stagger"];
const SHORTEST: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Shrunk {
    pub(crate) scenario: Scenario,
    /// Changes that were kept, in words.
    pub(crate) changes: Vec<String>,
    /// How many scenarios were run.
    pub(crate) tries: usize,
}

/// Runs at most `budget` smaller ones of `scenario` by `fails_so`, which says whether one fails as
/// `scenario` does.
pub(crate) fn shrink(
    scenario: Scenario,
    budget: usize,
    fails_so: &mut dyn FnMut(&Scenario) -> Result<bool>,
) -> Result<Shrunk> {
    let mut shrunk = Shrunk { scenario, changes: Vec::new(), tries: 0 };
    let mut seen = BTreeSet::new();
    'smaller: loop {
        let whole = serde_json::to_value(&shrunk.scenario).context("serialize(scenario) failed")?;
        for (change, smaller) in candidates(&whole) {
            let text = smaller.to_string();
            let Ok(scenario) = Scenario::parse(&text) else { continue };
            if !seen.insert(text) || scenario == shrunk.scenario {
                continue;
            }
            if shrunk.tries == budget {
                return Ok(shrunk);
            }
            shrunk.tries += 1;
            if fails_so(&scenario)? {
                shrunk.changes.push(change);
                shrunk.scenario = scenario;
                continue 'smaller;
            }
        }
        return Ok(shrunk);
    }
}

/// Every scenario that is one change smaller: fewer parts, then lower numbers, then shorter times.
/// Some may be no scenarios.
fn candidates(whole: &Value) -> Vec<(String, Value)> {
    let places = places(whole);
    let parts = places.iter().filter(|(path, _)| is_part(path)).map(|(path, _)| {
        let mut smaller = whole.clone();
        remove(&mut smaller, path);
        (described(path, "left out"), smaller)
    });
    let numbers = places.iter().flat_map(|(path, value)| less(path, value));
    let times = places.iter().flat_map(|(path, value)| shorter(path, value));
    let replaced = numbers.chain(times).map(|(path, value)| {
        let mut smaller = whole.clone();
        if let Some(place) = smaller.pointer_mut(path) {
            *place = value.clone();
        }
        (described(path, value.as_str().unwrap_or(&value.to_string())), smaller)
    });
    parts.chain(replaced).collect()
}

fn described(path: &str, change: &str) -> String {
    format!("{}: {change}", path[1..].replace('/', "."))
}

/// Half of a number, two less for types that need pairs, and one less.
fn less<'a>(path: &'a str, value: &Value) -> Vec<(&'a str, Value)> {
    let number = value.as_u64().filter(|_| NUMBERS.contains(&name(path)));
    let Some(number) = number.filter(|number| *number > 1) else { return Vec::new() };
    let less = [number / 2, number.saturating_sub(2), number - 1];
    less.into_iter().filter(|n| *n > 0).map(|n| (path, n.into())).collect()
}

/// As little time as can be, and half of it.
fn shorter<'a>(path: &'a str, value: &Value) -> Vec<(&'a str, Value)> {
    let least = match name(path) {
        name if TIMES.contains(&name) => SHORTEST,
        name if TIMES_TO_NOTHING.contains(&name) => Duration::ZERO,
        _ => return Vec::new(),
    };
    let Some(Ok(time)) = value.as_str().map(humantime::parse_duration) else { return Vec::new() };
    let ends = [least, (time / 2).max(least)].into_iter().filter(|end| *end < time);
    ends.map(|end| (path, humantime::format_duration(end).to_string().into())).collect()
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Every value below `value` with its JSON pointer.
fn places(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), value)];
    while let Some((path, value)) = waiting.pop() {
        match value {
            Value::Object(fields) => {
                waiting.extend(fields.iter().rev().map(|(name, v)| (format!("{path}/{name}"), v)));
            }
            Value::Array(items) => {
                let numbered = items.iter().enumerate().rev();
                waiting.extend(numbered.map(|(at, v)| (format!("{path}/{at}"), v)));
            }
            _ => {}
        }
        found.push((path, value.clone()));
    }
    found
}

fn is_part(path: &str) -> bool {
    let mut names = path.rsplit('/');
    let at = names.next().is_some_and(|at| at.parse::<usize>().is_ok());
    at && names.next().is_some_and(|array| PARTS.contains(&array))
}

fn remove(whole: &mut Value, path: &str) -> Option<()> {
    let (array, at) = path.rsplit_once('/')?;
    whole.pointer_mut(array)?.as_array_mut()?.remove(at.parse().ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"name":"x","duration":"2s","warmup":"1s","seed":5,"stagger":"5ms",
        "machine":{"cpus":4},"workload":{"num_workers":6,"work_type":"PipeIo",
        "composed":[{"num_workers":3,"work_type":"YieldHeavy"},{"num_workers":1}]},
        "expect":{"max_gap":"1ms"}}"#;

    /// Shrinks `WHOLE` with a scenario that fails where `fails` says so.
    fn shrunk(budget: usize, fails: fn(&Value) -> bool) -> Shrunk {
        let whole = Scenario::parse(WHOLE).unwrap();
        shrink(whole, budget, &mut |scenario| {
            let value = serde_json::to_value(scenario).unwrap();
            Ok(fails(&value))
        })
        .unwrap()
    }

    #[test]
    fn what_fails_whatever_it_is_becomes_as_small_as_a_scenario_can_be() {
        let Shrunk { scenario, .. } = shrunk(1000, |_| true);
        let workload = scenario.workload.unwrap();
        assert_eq!((scenario.machine.cpus, scenario.seed), (Some(1), 5));
        assert!(workload.composed.is_empty());
        // Pipes need two.
        assert_eq!(serde_json::to_value(&workload).unwrap()["num_workers"], 2);
        assert_eq!((scenario.warmup, scenario.stagger), (Duration::ZERO, Duration::ZERO));
        assert!(scenario.duration.unwrap() <= SHORTEST * 2, "{:?}", scenario.duration);
    }

    #[test]
    fn what_the_failure_needs_stays() {
        let result = shrunk(1000, |value| {
            let works = value["workload"]["composed"].as_array();
            let yields = works.is_some_and(|w| w.iter().any(|w| w["work_type"] == "YieldHeavy"));
            yields && value["machine"]["cpus"].as_u64() >= Some(2)
        });
        assert_eq!(result.scenario.machine.cpus, Some(2));
        let composed = &result.scenario.workload.unwrap().composed;
        assert_eq!(composed.len(), 1);
        assert!(
            result.changes.iter().any(|c| c == "workload.composed.1: left out"),
            "{:?}",
            result.changes
        );
    }

    #[test]
    fn nothing_is_kept_that_fails_otherwise_and_the_budget_holds() {
        let result = shrunk(1000, |_| false);
        assert_eq!(result.scenario, Scenario::parse(WHOLE).unwrap());
        assert!(result.changes.is_empty() && result.tries > 5, "{}", result.tries);
        assert_eq!(shrunk(3, |_| false).tries, 3);
        assert_eq!(shrunk(0, |_| true).tries, 0);
    }

    #[test]
    fn steps_and_operations_are_left_out_one_by_one() {
        let text = r#"{"steps":[{"ops":[{"Spawn":{"work":{}}},{"Stop":"/"}],"hold":{"Time":"1s"}},
            {"hold":{"Time":"80ms"}}]}"#;
        let whole = serde_json::to_value(Scenario::parse(text).unwrap()).unwrap();
        let found = candidates(&whole);
        let has = |change: &str| found.iter().any(|(said, _)| said == change);
        for change in ["steps.0: left out", "steps.0.ops.1: left out", "steps.1.hold.Time: 40ms"] {
            assert!(
                has(change),
                "{change} in {:?}",
                found.iter().map(|f| &f.0).collect::<Vec<_>>()
            );
        }
    }
}
