//! Durations in JSON: text with units, as `1s 500ms`. Named by `#[serde(with = "..")]` wherever a
//! scenario has one; types and not a module of functions, so that they can have a schema too.

use serde::{Deserializer, Serializer};
use std::time::Duration;

/// How a `Duration` is written.
pub(crate) enum HumanTime {}

impl HumanTime {
    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        humantime_serde::serialize(time, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        humantime_serde::deserialize(from)
    }
}

/// How an `Option<Duration>` is written; `null` is none.
pub(crate) enum OptionalTime {}

impl OptionalTime {
    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        humantime_serde::serialize(time, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        humantime_serde::deserialize(from)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::{HumanTime, OptionalTime};
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use std::borrow::Cow;

    /// Numbers with the units that `humantime::parse_duration` knows.
    const PATTERN: &str = r"^\s*([0-9]+(\.[0-9]+)?\s*(ns|nsec|nanos|us|usec|µs|ms|msec|millis|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days|w|wk|wks|week|weeks|M|month|months|y|yr|yrs|year|years)\s*)+$";

    impl JsonSchema for HumanTime {
        fn schema_name() -> Cow<'static, str> {
            "Duration".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "Numbers with units, as `50ms` or `1s 500ms`.",
                "type": "string",
                "pattern": PATTERN,
                "examples": ["50ms", "1s 500ms"],
            })
        }
    }

    impl JsonSchema for OptionalTime {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "OptionalDuration".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let time = generator.subschema_for::<HumanTime>();
            json_schema!({ "anyOf": [time, { "type": "null" }] })
        }
    }
}
