//! Programs in a deterministic guest: what each printed there. An instruction takes 1 ns of such a
//! guest's time, so that clocks there count instructions. Called by the commands of `bench` that
//! measure what this machine's load must not change.

use crate::cli::VmArgs;
use crate::cmd::vm;
use crate::error::Refusal;
use crate::image::{Programs, static_program};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::run::Verdict;
use anyhow::{Context as _, Result, bail};
use guest_init::proto::programs::MARK;
use std::ffi::OsString;
use std::path::Path;

/// A word of a command that stands for the disk of the guest.
pub(super) const DISK: &str = guest_init::proto::programs::DISK;

/// The one worker runs the programs and ends with the last of them. PID 1 is silent for as long as the
/// scenario may last.
const SCENARIO: &str = r#"{"name":"programs","iterations":1,"duration":"10m",
    "workload":{"num_workers":1,"work_type":{"Custom":{"name":"programs"}}}}"#;

/// The guest to run them in.
#[derive(Debug)]
pub(super) struct Guest<'a> {
    pub(super) kernel: Option<&'a str>,
    pub(super) cpus: usize,
}

/// The lines that each command of `programs` printed.
pub(super) fn outputs(
    programs: Programs,
    guest: &Guest<'_>,
    paths: &Paths,
    progress: &Progress,
) -> Result<Vec<Vec<String>>> {
    let count = programs.commands.len();
    let dir = tempfile::tempdir().context("mkdtemp failed")?;
    let mut args = arguments(guest, dir.path(), paths)?;
    args.programs = programs;
    let (report, folder) = vm::run_once(&args, paths, progress)?;
    if report.verdict != Verdict::Pass {
        let why = report.workers.first().and_then(|worker| worker.failed.clone());
        let why = why.or(report.advice).unwrap_or_default();
        folder.keep(&paths.runs)?;
        let message = format!("the guest ended with {}: {why}", report.verdict.name());
        bail!(Refusal::guest(message, "its run folder is the newest below target/schedlab/runs"));
    }
    let console = std::fs::read(folder.console()).context("read(console.log) failed")?;
    let outputs = parse(&String::from_utf8_lossy(&console), count);
    match outputs.iter().position(Vec::is_empty) {
        None => Ok(outputs),
        Some(silent) => bail!("command {silent} of {count} printed nothing"),
    }
}

fn arguments(guest: &Guest<'_>, dir: &Path, paths: &Paths) -> Result<VmArgs> {
    let init = static_program(&paths.repo.join("guest-init"), &["--example", "programs"], paths)
        .context(Refusal::host("building `programs` failed", "the compiler's message is above"))?;
    let config = dir.join("programs.json");
    std::fs::write(&config, SCENARIO)
        .with_context(|| format!("write(`{}`) failed", config.display()))?;
    let out = dir.join("run");
    let mut words: Vec<OsString> =
        ["--deterministic", "--icount-shift", "0", "--timeout", "20m", "--cpus"]
            .map(Into::into)
            .into();
    words.push(guest.cpus.to_string().into());
    let mut named = |option: &str, value: OsString| words.extend([option.into(), value]);
    named("--config", config.into());
    named("--out", out.into());
    named("--init", init.into());
    if let Some(kernel) = guest.kernel {
        named("--kernel", kernel.into());
    }
    VmArgs::of(words.iter().map(OsString::as_os_str))
}

/// The marked lines of a console, by command.
fn parse(console: &str, count: usize) -> Vec<Vec<String>> {
    let mut outputs = vec![Vec::new(); count];
    for line in console.lines() {
        let marked = line.trim_end().strip_prefix(MARK).and_then(|rest| rest.split_once(' '));
        let Some((index, text)) = marked else { continue };
        if let Some(output) = index.parse().ok().and_then(|index: usize| outputs.get_mut(index)) {
            output.push(text.to_owned());
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_own_lines_and_the_kernels_are_nobodys() {
        let console = "[    0.1] Linux\nschedlab.program=1 {\"a\": 1}\r\nschedlab.program=0 x y\n\
                       schedlab.program=1 z\nschedlab.program=7 beyond\nschedlab.program=\n";
        assert_eq!(parse(console, 2), [vec!["x y"], vec!["{\"a\": 1}", "z"]]);
    }
}
