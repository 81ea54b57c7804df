//! Amounts of memory in scenarios: `64M` or a number of bytes. Used by cgroups.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

/// Bytes; in JSON a number, or text with K, M or G (powers of 1024) at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((letter, unit)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or text such as \"64M\"")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        let of = |(letter, unit): &(char, u64)| Some((text.strip_suffix(*letter)?, *unit));
        let (number, unit) = UNITS.iter().find_map(of).unwrap_or((text, 1));
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
        bytes.map(Size).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of bytes, or text with K, M or G (powers of 1024) at its end.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+[KMG]?$", "examples": ["64M"] },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        let size = |json: &str| serde_json::from_str::<Size>(json);
        assert_eq!(size("\"64M\"").unwrap(), Size(64 << 20));
        assert_eq!(size("4096").unwrap(), Size(4096));
        assert_eq!(serde_json::to_string(&Size(3 << 30)).unwrap(), "\"3G\"");
        assert_eq!(Size(1025).to_string(), "1025");
        for text in ["\"64MB\"", "\"-1\"", "\"\"", "-1", "\"99999999999999G\"", "1.5"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
