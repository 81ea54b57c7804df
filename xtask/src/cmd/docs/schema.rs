//! The JSON Schemas in `docs/schema/`: of scenario files and of `report.json`. Called by `docs`.

use crate::report::RunReport;
use anyhow::Result;
use schemars::Schema;
use workloads::schema;

/// What a scenario file may hold.
pub(super) fn scenario() -> Result<String> {
    text(&schema::scenario())
}

/// What a report holds. Its scenario is that of the other file.
pub(super) fn report() -> Result<String> {
    let settings = schema::settings().for_serialize();
    text(&settings.into_generator().into_root_schema_for::<RunReport>())
}

fn text(schema: &Schema) -> Result<String> {
    Ok(serde_json::to_string_pretty(schema)? + "\n")
}

#[cfg(test)]
mod mutants;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
