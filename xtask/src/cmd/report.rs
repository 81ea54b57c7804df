//! `xtask report`: a finished run once more, from its folder.

use crate::cli::ReportArgs;
use crate::error::Refusal;
use crate::progress::to_stdout;
use crate::report::{RunReport, print_run};
use crate::run::kernel_image;
use anyhow::{Context as _, Result};
use std::io::Write as _;

pub(crate) fn run(args: &ReportArgs) -> Result<u8> {
    let path = args.run.join("report.json");
    let refusal = |what: &str| {
        Refusal::input(
            format!("{what}(`{}`) failed", path.display()),
            "pass the folder of a finished run; `vm` prints it at its end",
        )
    };
    let text = std::fs::read_to_string(&path).with_context(|| refusal("read"))?;
    let report: RunReport = serde_json::from_str(&text).with_context(|| refusal("parse"))?;
    to_stdout(|out| match args.json {
        true => Ok(out.write_all(text.as_bytes())?),
        false => print_run(&report, kernel_image(&args.run).as_deref(), out),
    })?;
    Ok(report.verdict.exit_code())
}
