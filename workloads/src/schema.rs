//! JSON Schema of scenario files and of reports, for editors and for validators that are not ours.
//! Derived from the types that serde reads and writes; where serde is told by hand, the schema
//! stands beside it. Only with the feature `schema`; called by whoever publishes the files.

use crate::config::WorkloadConfig;
use crate::scenario::Scenario;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// Name of the file with the schema of scenarios; that of reports lies beside it.
pub const SCENARIO_FILE: &str = "scenario.schema.json";

/// The schema of scenario files.
pub fn scenario() -> Schema {
    settings().into_generator().into_root_schema_for::<ScenarioFile>()
}

/// The resolved scenario in a document beside [`SCENARIO_FILE`], for `#[schemars(schema_with)]`.
pub fn scenario_elsewhere(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "$ref": format!("{SCENARIO_FILE}#/$defs/{}", Scenario::schema_name()) })
}

/// How all schemas here are made: what serde reads, in draft 2020-12.
pub fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with_transform(tidy)
}

/// A whole scenario, or its workload alone.
struct ScenarioFile;

impl JsonSchema for ScenarioFile {
    fn schema_name() -> Cow<'static, str> {
        "schedlab scenario".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scenario = generator.subschema_for::<Scenario>();
        let mut workload = WorkloadConfig::json_schema(generator);
        allow_schema_key(&mut workload);
        json_schema!({
            "description": "A scenario, or its `workload` alone. Unknown fields, unknown names, \
                            wrong types and numbers out of bounds are refused here. Rules between \
                            fields, and what a machine must have, are for `cargo xtask check FILE`.",
            "anyOf": [scenario, workload],
        })
    }
}

/// Makes a list of names of choices that have a schema each: only such can be the keys of a map.
pub(crate) fn as_names(schema: &mut Schema) {
    if let Some(Value::Array(choices)) = schema.remove("oneOf") {
        let names: Vec<Value> = choices.iter().map(|choice| choice["const"].clone()).collect();
        schema.insert("type".into(), "string".into());
        schema.insert("enum".into(), names.into());
    }
}

/// Lets the outermost object of a file say where its schema is.
pub(crate) fn allow_schema_key(schema: &mut Schema) {
    let key = serde_json::json!({
        "description": "Where this schema is, for editors; otherwise ignored.",
        "type": "string",
    });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("$schema".into(), key);
    }
}

/// Bounds in place of formats that validators do not know, running text in place of lines, and
/// duplicates in a set, of which serde makes one.
fn tidy(schema: &mut Schema) {
    let bounds: &[(&str, i64)] = match schema.remove("format").as_ref().and_then(Value::as_str) {
        Some("int32") => &[("minimum", i32::MIN as i64), ("maximum", i32::MAX as i64)],
        Some("uint32") => &[("maximum", u32::MAX as i64)],
        // JSON numbers are not exact at the ends of the others.
        _ => &[],
    };
    for (key, bound) in bounds {
        if schema.get(*key).is_none() {
            schema.insert((*key).into(), (*bound).into());
        }
    }
    schema.remove("uniqueItems");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|lines| lines.replace('\n', " "));
        // Links are for rustdoc.
        *text = paragraphs.collect::<Vec<_>>().join("\n\n").replace("[`", "`").replace("`]", "`");
    }
    transform_subschemas(&mut tidy, schema);
}
