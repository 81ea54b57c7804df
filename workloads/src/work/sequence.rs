//! A compound type: phases of the user's, one after the other.

use super::io::unnamed_file;
use super::reference::{Documented, Facts};
use super::{Finish, Needs, Rules, Work, WorkType, Yields};
use crate::clock;
use crate::handle::IoPlace;
use crate::human::HumanTime;
use crate::report::Latency;
use crate::worker::Worker;
use rustix::fs::OFlags;
use rustix::io::{Errno, pwrite};
use rustix::thread::sched_yield;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What an I/O phase writes at a time, and how long it sleeps after that.
const WRITE: usize = 64 << 10;
const PAUSE: Duration = Duration::from_micros(100);

/// A stretch of a [`WorkType::Sequence`], for this long in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Phase {
    /// Spins.
    Spin(#[serde(with = "HumanTime")] Duration),
    /// Sleeps, once.
    Sleep(#[serde(with = "HumanTime")] Duration),
    /// Calls sched_yield(2) again and again.
    Yield(#[serde(with = "HumanTime")] Duration),
    /// Writes 64 KiB to a temporary file and sleeps 100 us, again and again.
    Io(#[serde(with = "HumanTime")] Duration),
}

/// The parameters of [`WorkType::Sequence`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Sequence {
    /// The first phase: a sequence is never empty.
    pub(super) first: Phase,
    /// The phases after it, an empty list if there are none.
    pub(super) rest: Vec<Phase>,
}

impl From<Sequence> for WorkType {
    fn from(sequence: Sequence) -> Self {
        Self::Sequence { first: sequence.first, rest: sequence.rest }
    }
}

impl WorkType {
    /// [`WorkType::Sequence`] of these phases.
    pub fn sequence(first: Phase, rest: Vec<Phase>) -> Self {
        Self::Sequence { first, rest }
    }
}

impl Documented for Sequence {
    const FACTS: Facts = Facts {
        latency: &[
            (Latency::Timer, "each sleep of a `Sleep` or `Io` phase"),
            (Latency::Yield, "each call of a `Yield` phase"),
            (Latency::Io, "each write of an `Io` phase"),
        ],
        example: r#"{"Sequence":{"first":{"Spin":"100ms"},"rest":[{"Sleep":"50ms"},{"Io":"20ms"}]}}"#,
        ..Facts::PLAIN
    };
}

impl Work for Sequence {
    fn needs(&self) -> Needs {
        let is_yield = |phase: &Phase| matches!(phase, Phase::Yield(_));
        let (some, all) =
            (self.phases().any(|p| is_yield(&p)), self.phases().all(|p| is_yield(&p)));
        let yields = match (some, all) {
            (_, true) => Yields::Always,
            (true, _) => Yields::AtTimes,
            _ => Yields::Never,
        };
        Needs { yields, ..Needs::default() }
    }

    fn check(&self, rules: &mut Rules<'_>) {
        const RULE: &str = "phases that take some time";
        rules.not_zero("first", &self.first.duration(), RULE);
        for phase in &self.rest {
            rules.not_zero("rest", &phase.duration(), RULE);
        }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let scratch = match self.phases().any(|phase| matches!(phase, Phase::Io(_))) {
            true => match scratch(w) {
                Ok(scratch) => Some(scratch),
                Err(why) => return Finish::Failed(why),
            },
            false => None,
        };
        while w.next() {
            if !self.phases().all(|phase| phase.run(w, scratch.as_ref())) {
                break;
            }
        }
        Finish::Done
    }
}

impl Sequence {
    fn phases(&self) -> impl Iterator<Item = Phase> {
        std::iter::once(self.first).chain(self.rest.iter().copied())
    }
}

impl Phase {
    fn duration(self) -> Duration {
        let (Self::Spin(time) | Self::Sleep(time) | Self::Yield(time) | Self::Io(time)) = self;
        time
    }

    /// The phase from start to end; false if the stop came first.
    fn run(self, w: &mut Worker<'_>, scratch: Option<&Scratch>) -> bool {
        match (self, scratch) {
            (Self::Spin(time), _) => w.spin_for(time),
            (Self::Sleep(time), _) => w.sleep_for(time),
            (Self::Yield(time), _) => until(w, time, |w| {
                w.timed(Latency::Yield, sched_yield);
                w.add_work(1);
                true
            }),
            (Self::Io(time), Some(to)) => until(w, time, |w| write_and_pause(w, to)),
            (Self::Io(_), None) => true,
        }
    }
}

/// Repeats `step` for `time`; false if the stop came first.
fn until<'a>(
    w: &mut Worker<'a>,
    time: Duration,
    mut step: impl FnMut(&mut Worker<'a>) -> bool,
) -> bool {
    let end_ns = w.stamp().saturating_add(clock::to_ns(time));
    while !w.stopping() {
        if !step(w) {
            return false;
        }
        if w.stamp() >= end_ns {
            return true;
        }
    }
    // It may have been kept from seeing the stop.
    w.stamp();
    false
}

fn write_and_pause(w: &mut Worker<'_>, to: &Scratch) -> bool {
    match w.timed_blocking(Latency::Io, || pwrite(&to.file, &to.data, 0)) {
        Ok(_) => w.add_work(1),
        Err(Errno::INTR) => {}
        Err(errno) => w.error("pwrite", errno),
    }
    w.sleep_for(PAUSE)
}

/// What the I/O phases write, and where to.
struct Scratch {
    file: OwnedFd,
    data: Vec<u8>,
}

/// A file even where the workload has a disk: the phase is about the page cache.
fn scratch(w: &mut Worker<'_>) -> Result<Scratch, String> {
    let dir = match w.io_place() {
        IoPlace::Dir(dir) => dir.clone(),
        IoPlace::Device(_) => std::env::temp_dir(),
    };
    w.set_io_target(format!("file in {}", dir.display()));
    let file = unnamed_file(&dir, OFlags::RDWR | OFlags::CLOEXEC)?;
    Ok(Scratch { file, data: vec![0xA5; WRITE] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn json_has_durations_as_text_and_refuses_what_it_does_not_know() {
        let sequence = WorkType::sequence(Phase::Spin(MS), vec![Phase::Io(2 * MS)]);
        let json = r#"{"Sequence":{"first":{"Spin":"1ms"},"rest":[{"Io":"2ms"}]}}"#;
        assert_eq!(serde_json::to_string(&sequence).unwrap(), json);
        assert_eq!(serde_json::from_str::<WorkType>(json).unwrap(), sequence);
        let unknown = json.replace("\"rest\"", "\"more\":1,\"rest\"");
        let error = serde_json::from_str::<WorkType>(&unknown).unwrap_err().to_string();
        assert!(error.contains("more"), "{error}");
        let bare = serde_json::from_str::<WorkType>("\"Sequence\"").unwrap_err().to_string();
        assert!(bare.contains("first"), "{bare}");
    }

    #[test]
    fn a_sequence_yields_in_its_yield_phases() {
        let of = |first, rest| Sequence { first, rest }.needs().yields;
        assert_eq!(of(Phase::Spin(MS), vec![Phase::Io(MS)]), Yields::Never);
        assert_eq!(of(Phase::Spin(MS), vec![Phase::Yield(MS)]), Yields::AtTimes);
        assert_eq!(of(Phase::Yield(MS), vec![Phase::Yield(MS)]), Yields::Always);
    }

    #[test]
    fn every_phase_takes_time() {
        WorkType::sequence(Phase::Spin(MS), vec![]).validate(0, 1).unwrap();
        let zero = Phase::Sleep(Duration::ZERO);
        let error = WorkType::sequence(zero, vec![]).validate(0, 1).unwrap_err();
        assert!(error.path.ends_with("Sequence.first"), "{error}");
        let error = WorkType::sequence(Phase::Spin(MS), vec![zero]).validate(0, 1).unwrap_err();
        assert!(error.path.ends_with("Sequence.rest"), "{error}");
    }
}
