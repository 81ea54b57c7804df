//! A document with one thing wrong: another kind of value, a field too many, a field too few.

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A document that came out of `whole` by one change at `place`.
pub(super) struct Mutant {
    pub(super) place: String,
    /// What was at the place before.
    pub(super) was: Value,
    pub(super) document: Value,
}

/// One change of each kind at each place of `whole`; items of an array are one place.
pub(super) fn mutants(whole: &Value) -> Vec<Mutant> {
    let mut places = Vec::new();
    list(whole, String::new(), &mut places);
    let mut seen = BTreeSet::new();
    let without_indices = |place: &str| {
        let words = place.split('/').filter(|word| word.parse::<usize>().is_err());
        words.collect::<Vec<_>>().join("/")
    };
    places.retain(|place| seen.insert(without_indices(place)));
    places.iter().flat_map(|place| at(&around(whole, place), place)).collect()
}

/// All JSON pointers in `value`.
fn list(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| list(field, format!("{place}/{name}"), places));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| list(item, format!("{place}/{index}"), places));
        }
        _ => {}
    }
    places.push(place);
}

/// `value` with no more than the first item in arrays, except those on the way to `place`.
fn around(value: &Value, place: &str) -> Value {
    let (step, rest) = place
        .strip_prefix('/')
        .map_or(("", ""), |place| place.split_at(place.find('/').unwrap_or(place.len())));
    match value {
        Value::Object(fields) => {
            let on_the_way = |name: &str| if name == step { rest } else { "" };
            let field =
                |(name, field): (&String, &Value)| (name.clone(), around(field, on_the_way(name)));
            fields.iter().map(field).collect()
        }
        Value::Array(items) => {
            let last = step.parse().unwrap_or(0);
            let kept = items.iter().enumerate().filter(|(index, _)| [0, last].contains(index));
            let kept =
                kept.map(|(index, item)| around(item, if index == last { rest } else { "" }));
            kept.collect()
        }
        plain => plain.clone(),
    }
}

/// The changes at `place` of `whole`, whose indices are those before the rest was left out.
fn at(whole: &Value, place: &str) -> Vec<Mutant> {
    let words = place
        .split('/')
        .map(|word| if word.parse().is_ok_and(|n: usize| n > 0) { "1" } else { word });
    let place = words.collect::<Vec<_>>().join("/");
    let Some(was) = whole.pointer(&place) else { return Vec::new() };
    let mutant = |new: Value| {
        let mut document = whole.clone();
        if let Some(value) = document.pointer_mut(&place) {
            *value = new;
        }
        Mutant { place: place.clone(), was: was.clone(), document }
    };
    let kinds = [json!(null), json!(true), json!(-1.5), json!("?"), json!([]), json!({ "?": 0 })];
    let mut all: Vec<Mutant> = kinds.into_iter().map(mutant).collect();
    if let Value::Object(fields) = was {
        let more = fields.iter().map(|(name, value)| (name.clone(), value.clone()));
        all.push(mutant(more.chain([("more".into(), json!(0))]).collect()));
        for gone in fields.keys() {
            let rest = fields.iter().filter(|(name, _)| *name != gone);
            all.push(mutant(rest.map(|(name, value)| (name.clone(), value.clone())).collect()));
        }
    }
    all
}
