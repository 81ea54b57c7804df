//! `xtask report`: a finished run once more, from its folder.

use crate::cli::ReportArgs;
use crate::progress::to_stdout;
use crate::report::{RunReport, print_run};
use crate::run::kernel_image;
use anyhow::Result;
use std::io::Write as _;

pub(crate) fn run(args: &ReportArgs) -> Result<u8> {
    let (report, text) = RunReport::load(&args.run)?;
    to_stdout(|out| match args.json {
        true => Ok(out.write_all(text.as_bytes())?),
        false => print_run(&report, kernel_image(&args.run).as_deref(), out),
    })?;
    Ok(report.verdict.exit_code())
}
