//! Two workers that hand a token to and fro, so that exactly one of them is runnable. Position 0
//! serves first; an iteration is one hand-over and one receipt for each.

use super::catalogue::params::{FutexPingPong, PipeIo};
use super::reference::{Documented, Facts};
use super::wait::{futex_wait, futex_wake, read_byte, write_byte};
use super::{Finish, Needs, Work};
use crate::report::Latency;
use crate::worker::Worker;
use rustix::io::Errno;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The word of a line whose owner waits for the token in its pipe. The value says whether it did
/// when the token was sent.
const ASKED: u32 = 1;

/// Line and pipe `p` of the group carry the token to position `p`.
const fn pair(pipes: usize) -> Needs {
    Needs {
        group_size: 2,
        lines: 2,
        pipes,
        role: |position| ["server", "returner"][position % 2],
        ..Needs::PLAIN
    }
}

/// Two workers with a pipe each way, for [`pipe_exchange`].
pub(super) const fn pipe_pair() -> Needs {
    pair(2)
}

/// The loop of a pair that does `work` before it passes the token on through a pipe.
pub(super) fn pipe_exchange(w: &mut Worker<'_>, work: impl FnMut(&mut Worker<'_>)) -> Finish {
    alternate(w, work, write_token, read_token)
}

impl Documented for PipeIo {
    const FACTS: Facts =
        Facts { group: "2", latency: &[(Latency::Wake, "both workers")], ..Facts::PLAIN };
}

impl Work for PipeIo {
    fn needs(&self) -> Needs {
        pipe_pair()
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        pipe_exchange(w, |w| w.spin(self.burst_iters))
    }
}

impl Documented for FutexPingPong {
    const FACTS: Facts =
        Facts { group: "2", latency: &[(Latency::Wake, "both workers")], ..Facts::PLAIN };
}

impl Work for FutexPingPong {
    fn needs(&self) -> Needs {
        pair(0)
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        alternate(w, |w| w.spin(self.spin_iters), wake_partner, wait_for_partner)
    }
}

#[inline]
fn alternate(
    w: &mut Worker<'_>,
    mut work: impl FnMut(&mut Worker<'_>),
    give: impl Fn(&mut Worker<'_>) -> Result<(), Errno>,
    take: impl Fn(&mut Worker<'_>) -> Result<(), Errno>,
) -> Finish {
    let serves = w.position() == 0;
    let mut work_and_give = |w: &mut Worker<'_>| {
        work(w);
        give(w)
    };
    while w.next() {
        let handed = if serves {
            work_and_give(w).and_then(|()| take(w))
        } else {
            take(w).and_then(|()| work_and_give(w))
        };
        match handed {
            Ok(()) => w.add_work(1),
            Err(Errno::CANCELED) => {
                w.close();
                break;
            }
            Err(errno) => return Finish::Failed(format!("token exchange failed: {errno}")),
        }
    }
    Finish::Done
}

fn partner(w: &Worker<'_>) -> usize {
    1 - w.position()
}

fn write_token(w: &mut Worker<'_>) -> Result<(), Errno> {
    write_to(w, partner(w))
}

/// Gives the token to position `to` through its pipe.
#[inline]
pub(super) fn write_to(w: &mut Worker<'_>, to: usize) -> Result<(), Errno> {
    let line = w.line(to);
    // A token that is there before it is asked for wakes nobody. Asked before the clock is: what
    // passes between the two, as a turn of the other, is no time in which that waits for a CPU.
    let asked = line.word.load(Acquire) == ASKED;
    let stamp_ns = w.recent();
    line.value.store(u64::from(asked), Relaxed);
    line.stamp_ns.store(stamp_ns, Relaxed);
    write_byte(w, to)
}

/// Waits for the token in the worker's own pipe.
#[inline]
pub(super) fn read_token(w: &mut Worker<'_>) -> Result<(), Errno> {
    w.checkpoint();
    let me = w.position();
    let line = w.line(me);
    line.word.store(ASKED, Release);
    read_byte(w, me)?;
    let late_ns = w.resume_after(line.stamp_ns.load(Relaxed));
    line.word.store(0, Relaxed);
    if line.value.load(Relaxed) != 0 {
        w.record(Latency::Wake, late_ns);
    }
    Ok(())
}

fn wake_partner(w: &mut Worker<'_>) -> Result<(), Errno> {
    wake(w, partner(w))
}

/// Gives the token to position `to`, which alone sleeps on its line.
#[inline]
pub(super) fn wake(w: &mut Worker<'_>, to: usize) -> Result<(), Errno> {
    let stamp_ns = w.recent();
    let line = w.line(to);
    line.stamp_ns.store(stamp_ns, Relaxed);
    line.word.store(1, Release);
    futex_wake(w, &line.word, 1)
}

/// Waits for the token on the worker's own line.
#[inline]
pub(super) fn wait_for_partner(w: &mut Worker<'_>) -> Result<(), Errno> {
    w.checkpoint();
    let line = w.line(w.position());
    let mut slept = false;
    while line.word.load(Acquire) == 0 {
        slept |= futex_wait(w, &line.word, 0)?;
    }
    line.word.store(0, Relaxed);
    let late_ns = w.resume_after(line.stamp_ns.load(Relaxed));
    if slept {
        w.record(Latency::Wake, late_ns);
    }
    Ok(())
}
