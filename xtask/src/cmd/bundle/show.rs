//! `xtask bundle show`: what is in a bundle, of which every hash has been compared; runs nothing.

use crate::bundle::Bundle;
use crate::error::exit;
use crate::progress::{json_to_stdout, to_stdout};
use crate::report::new_table;
use anyhow::Result;
use std::io::Write as _;
use std::path::Path;

pub(super) fn show(file: &Path, json: bool) -> Result<u8> {
    let bundle = Bundle::open(file)?;
    if json {
        json_to_stdout(&bundle.manifest)?;
        return Ok(exit::PASS);
    }
    to_stdout(|out| {
        write!(out, "{}", bundle.readme())?;
        writeln!(out, "\nInside, every hash as recorded:")?;
        let mut table = new_table(&["member", "bytes", "sha256"]);
        for (name, digest) in &bundle.manifest.members {
            table.add_row([name.clone(), digest.bytes.to_string(), digest.sha256.clone()]);
        }
        writeln!(out, "{table}")?;
        if !bundle.manifest.boot.modules.is_empty() {
            writeln!(out, "modules: {}", bundle.manifest.boot.modules.join(", "))?;
        }
        if !bundle.has_known_texts() {
            writeln!(
                out,
                "run.sh or README is not what this schedlab writes: read before you run"
            )?;
        }
        Ok(())
    })?;
    Ok(exit::PASS)
}
