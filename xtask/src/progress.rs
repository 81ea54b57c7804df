//! Progress on stderr: one changing line on a terminal, plain lines in a pipe, nothing with
//! `--quiet`. Every long stage takes a [`Progress`]; results never go through it.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Where stages say what they are doing.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
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
        Self { started: Instant::now(), bar }
    }

    /// A stage began or ended: stays on the screen.
    pub(crate) fn step(&self, text: impl AsRef<str>) {
        let line = format!("[{:6.1} s] {}", self.started.elapsed().as_secs_f64(), text.as_ref());
        match &self.bar {
            Some(bar) => bar.println(line),
            // A closed stderr must not end a run.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// How far the stage is: replaces the line on a terminal, silent in a pipe.
    pub(crate) fn update(&self, text: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.as_ref().to_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
