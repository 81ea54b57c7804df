//! A running matrix as one sees it: on a terminal a table of letters, a line for each kernel and
//! scheduler; in a pipe a line for each cell. Called by `cmd::matrix`.

use super::times::Times;
use crate::matrix::{Planned, Row, Standing};
use crate::terminal::tame;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const LEGEND: &str = "P pass  F fail  G guest failed  U unrepeatable  ? inconclusive  k known failure  \
     ! unexpected pass  s skipped  * running  . to be run";

#[derive(Debug)]
pub(super) struct Live {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where each cell is: its line, and its place in it.
    places: BTreeMap<String, (usize, usize)>,
    lines: Vec<Line>,
    /// How long each cell that is to be run may take, where anything is known.
    left: BTreeMap<String, Duration>,
    jobs: usize,
    all: usize,
    ended: usize,
    bad: usize,
    bars: Option<MultiProgress>,
    status: Option<ProgressBar>,
}

#[derive(Debug)]
struct Line {
    name: String,
    letters: Vec<char>,
    bar: Option<ProgressBar>,
}

impl Live {
    pub(super) fn new(cells: &[&Planned], times: &Times, jobs: usize) -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let (mut places, mut lines) = (BTreeMap::new(), Vec::<Line>::new());
        for planned in cells {
            let name = tame(&format!("{}/{}", planned.cell.kernel, planned.cell.scheduler));
            let at = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
                lines.push(Line { name, letters: Vec::new(), bar: None });
                lines.len() - 1
            });
            places.insert(planned.name(), (at, lines[at].letters.len()));
            lines[at].letters.push(if planned.excluded.is_some() { 's' } else { '.' });
        }
        let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        if let Some(bars) = &bars {
            bars.add(text_bar(LEGEND));
            for line in &mut lines {
                line.name = format!("{:width$}", line.name);
                line.bar = Some(bars.add(text_bar("")));
                line.draw();
            }
        }
        let status = bars.as_ref().map(|bars| bars.add(text_bar("")));
        let to_run = cells.iter().filter(|planned| planned.excluded.is_none());
        let left = to_run.clone().filter_map(|p| Some((p.name(), times.estimate(p)?))).collect();
        let all = to_run.count();
        let state = State { places, lines, left, jobs, all, ended: 0, bad: 0, bars, status };
        Self { began: Instant::now(), state: Mutex::new(state) }
    }

    pub(super) fn begins(&self, name: &str) {
        self.lock().set(name, '*');
    }

    pub(super) fn ends(&self, row: &Row) {
        let mut state = self.lock();
        state.set(&row.name, letter(row.standing));
        state.left.remove(&row.name);
        state.ended += 1;
        state.bad += usize::from(row.standing.is_bad());
        let left = match state.remaining() {
            Some(left) if state.ended < state.all => format!(", {} left", about(left)),
            _ => String::new(),
        };
        let far = format!("{} of {}, {} bad{left}", state.ended, state.all, state.bad);
        let reason = row.reason.as_ref().filter(|_| row.standing != Standing::Pass);
        let reason = reason.map(|why| format!(": {}", first_line(why))).unwrap_or_default();
        let elapsed = self.began.elapsed().as_secs_f64();
        let line = tame(&format!("{}: {}{reason}", row.name, row.standing.name()));
        match (&state.bars, &state.status) {
            (Some(bars), Some(status)) => {
                status.set_message(format!("[{elapsed:6.1} s] {far}"));
                if row.standing.is_bad() {
                    drop(bars.println(line));
                }
            }
            // A closed stderr must not end a matrix.
            _ => drop(writeln!(std::io::stderr(), "[{elapsed:6.1} s] {line}; {far}")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set(&mut self, name: &str, letter: char) {
        let Some((line, place)) = self.places.get(name).copied() else { return };
        self.lines[line].letters[place] = letter;
        self.lines[line].draw();
    }

    /// As if all jobs had work to the end.
    fn remaining(&self) -> Option<Duration> {
        let jobs = u32::try_from(self.jobs).unwrap_or(1).max(1);
        (!self.left.is_empty()).then(|| self.left.values().sum::<Duration>() / jobs)
    }
}

impl Line {
    fn draw(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}  {}", self.name, self.letters.iter().collect::<String>()));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let state = self.lock();
        if let Some(bars) = &state.bars {
            drop(bars.clear());
        }
    }
}

fn text_bar(text: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let plain = ProgressStyle::with_template("{msg}");
    bar.set_style(plain.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(text.to_owned());
    bar
}

fn letter(standing: Standing) -> char {
    match standing {
        Standing::Pass => 'P',
        Standing::KnownFailure => 'k',
        Standing::UnexpectedPass => '!',
        Standing::Skipped => 's',
        Standing::Inconclusive => '?',
        Standing::Missing => '.',
        Standing::Fail => 'F',
        Standing::GuestFailed => 'G',
        Standing::Unrepeatable => 'U',
    }
}

/// `12 s`, `3 min`, `2.5 h`.
pub(super) fn about(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{}.{} h", seconds / 3600, seconds % 3600 / 360),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_one_says_them() {
        let told = [5, 119, 120, 3599, 7200, 9000].map(|s| about(Duration::from_secs(s)));
        assert_eq!(told, ["5 s", "119 s", "2 min", "59 min", "2.0 h", "2.5 h"]);
    }
}
