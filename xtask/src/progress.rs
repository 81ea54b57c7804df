//! What the user sees. Progress on stderr: one changing line on a terminal, plain lines in a pipe. Every long stage
//! takes a [`Progress`]. Results go to stdout, through [`to_stdout`].

use crate::terminal::{Terminal, tame};
use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal as _, StdoutLock, Write as _};
use std::time::{Duration, Instant};

/// Where stages say what they are doing.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    silent: bool,
}

impl Progress {
    /// A spinner if stderr is a terminal, plain lines otherwise.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { started: Instant::now(), bar, silent: false }
    }

    /// Says nothing: for a stage whose caller reports on it.
    pub(crate) fn silent() -> Self {
        Self { started: Instant::now(), bar: None, silent: true }
    }

    /// A stage began or ended: stays on the screen.
    pub(crate) fn step(&self, text: impl AsRef<str>) {
        self.line(&format!("[{:6.1} s] {}", self.started.elapsed().as_secs_f64(), text.as_ref()));
    }

    /// A line of somebody else's, as it is.
    pub(crate) fn line(&self, line: &str) {
        let line = tame(line);
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.silent => {}
            // A closed stderr must not end a run.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// How far the stage is: replaces the line on a terminal, silent in a pipe.
    pub(crate) fn update(&self, text: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.set_message(tame(text.as_ref()));
        }
    }

    /// How much of a download has come, as [`Self::update`].
    pub(crate) fn transfer(&self, bytes: u64, total: u64) {
        const CELLS: u64 = 30;
        let full = (bytes.min(total) * CELLS).checked_div(total).unwrap_or(CELLS);
        let cells: String = (0..CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect();
        let megabytes = |bytes: u64| bytes / 1_000_000;
        self.update(format!("[{cells}] {} of {} MB", megabytes(bytes), megabytes(total)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a result. A reader that has seen enough and closed the pipe is no failure.
pub(crate) fn to_stdout(
    print: impl FnOnce(&mut Terminal<StdoutLock<'static>>) -> Result<()>,
) -> Result<()> {
    let mut out = Terminal::new(std::io::stdout().lock());
    let outcome = print(&mut out).and_then(|()| Ok(out.finish()?));
    match outcome {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        outcome => outcome,
    }
}

/// Writes a result as indented JSON.
pub(crate) fn json_to_stdout(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("serialize(result) failed")?;
    to_stdout(|out| Ok(writeln!(out, "{text}")?))
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}
