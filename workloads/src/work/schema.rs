//! The JSON Schema of a work type: its bare name, where it has defaults, or its name with parameters.

use super::WorkType;
use super::catalogue::CustomName;
use super::sequence::Sequence;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

impl JsonSchema for WorkType {
    fn schema_name() -> Cow<'static, str> {
        "WorkType".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let lines = Self::lines().into_iter();
        let summaries: BTreeMap<_, _> = lines.map(|line| (line.name, line.texts().0)).collect();
        let with_defaults = Self::schemas(generator);
        let own = [
            ("Sequence", generator.subschema_for::<Sequence>()),
            ("Custom", generator.subschema_for::<CustomName>()),
        ];
        let bare = with_defaults.iter().map(|(name, _)| bare(name, &summaries[name]));
        let bare: Vec<Value> = bare.collect();
        let named = with_defaults.iter().chain(&own);
        let named = named.map(|(name, parameters)| named_with(name, &summaries[name], parameters));
        json_schema!({
            "description": "What one worker does: the name of a type with default parameters, or \
                            one name with its parameters, of which each may be left out.",
            "oneOf": bare.into_iter().chain(named).collect::<Vec<_>>(),
        })
    }
}

fn bare(name: &str, summary: &str) -> Value {
    serde_json::json!({ "description": summary, "const": name })
}

fn named_with(name: &str, summary: &str, parameters: &Schema) -> Value {
    serde_json::json!({
        "description": summary,
        "type": "object",
        "properties": { name: parameters },
        "required": [name],
        "additionalProperties": false,
    })
}
