//! Documents that a schema allows, made from the schema itself, so that a new field is tried
//! without a new test.

use serde_json::{Map, Value, json};

/// Values for `schema`, a part of `root`: the first has every property and every kind of item, the
/// others show the rest of what is allowed.
pub(super) fn samples(root: &Value, schema: &Value) -> Vec<Value> {
    if let Some(pointer) = schema["$ref"].as_str() {
        // What is elsewhere is not for this schema to say.
        let there = pointer.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return there.map_or_else(|| vec![json!({})], |there| samples(root, there));
    }
    if let Some(options) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        return options.iter().flat_map(|option| samples(root, option)).collect();
    }
    if let Some(value) = schema.get("const") {
        return vec![value.clone()];
    }
    if let Some(values) = schema["enum"].as_array().or_else(|| schema["examples"].as_array()) {
        return values.clone();
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    types.iter().flat_map(|kind| of_type(root, schema, kind.as_str().unwrap_or_default())).collect()
}

fn of_type(root: &Value, schema: &Value, kind: &str) -> Vec<Value> {
    let bounds = || ["maximum", "minimum"].iter().filter_map(|key| schema.get(*key).cloned());
    match kind {
        "object" => objects(root, schema),
        "array" => match schema["prefixItems"].as_array() {
            Some(items) => vec![items.iter().map(|item| first(root, item)).collect()],
            None => match schema["minItems"].as_u64() {
                Some(least) => vec![(0..least).map(|_| first(root, &schema["items"])).collect()],
                None => vec![Value::Array(samples(root, &schema["items"])), json!([])],
            },
        },
        "integer" => bounds().chain([json!(1)]).collect(),
        "number" => bounds().chain([json!(0.5)]).collect(),
        "string" => vec![json!("text")],
        "boolean" => vec![json!(true), json!(false)],
        _ => vec![Value::Null],
    }
}

fn first(root: &Value, schema: &Value) -> Value {
    samples(root, schema).into_iter().next().unwrap_or_default()
}

/// An object with all properties, and small ones that each have another value of one of them.
fn objects(root: &Value, schema: &Value) -> Vec<Value> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let mut full = Map::new();
    let mut others = Vec::new();
    for (name, property) in properties {
        let values = samples(root, property).into_iter().enumerate();
        for (at, value) in values.map(|(at, value)| (at, (name.clone(), value))) {
            // All of a large value once more would double the whole at each level.
            if at > 0 || !(value.1.is_object() || value.1.is_array()) {
                others.push(value.clone());
            }
            full.extend((at == 0).then_some(value));
        }
    }
    if let Some(any) = schema.get("additionalProperties").filter(|any| any.is_object()) {
        full.insert("any".into(), first(root, any));
    }
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let required = required.iter().filter_map(Value::as_str);
    let least: Map<String, Value> =
        required.filter_map(|name| Some((name.to_owned(), full.get(name)?.clone()))).collect();
    let small = others
        .into_iter()
        .map(|other| Value::Object(least.clone().into_iter().chain([other]).collect()));
    let small: Vec<Value> = small.chain([Value::Object(least.clone())]).collect();
    std::iter::once(Value::Object(full)).chain(small).collect()
}
