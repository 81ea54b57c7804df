//! `xtask check`: what scenario files resolve to, or why they are refused. All files are looked
//! at before the exit code is decided.

use super::input;
use crate::cli::CheckArgs;
use crate::error::{self, exit};
use crate::progress::to_stdout;
use anyhow::Result;
use std::io::Write as _;

pub(crate) fn run(args: &CheckArgs) -> Result<u8> {
    let mut code = exit::PASS;
    for file in &args.files {
        match input::load(file) {
            Ok(scenario) => {
                let resolved = serde_json::to_string_pretty(&scenario)?;
                to_stdout(|out| Ok(writeln!(out, "{}: ok\n{resolved}", file.display())?))?;
            }
            Err(refused) => {
                writeln!(std::io::stderr(), "{}", error::render(&refused))?;
                code = error::exit_code(&refused);
            }
        }
    }
    Ok(code)
}
