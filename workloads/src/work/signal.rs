//! Two workers that interrupt each other with signals. Line `p` counts what position `p` has
//! received and holds its thread id, line `2 + p` says how far it has come and, at the end, how
//! many it has sent.

use super::catalogue::params::SignalStorm;
use super::reference::{Documented, Facts};
use super::wait::{futex_wait, futex_wake};
use super::{Finish, Needs, Work};
use crate::sys::process::{counting_interrupts, interrupt_thread};
use crate::worker::Worker;
use rustix::io::Errno;
use rustix::thread::sched_yield;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Stages of a worker: it may be sent signals from HERE on, and sends none after DONE.
const HERE: u32 = 1;
const DONE: u32 = 2;
/// Interruptions by the stop, one each 10 ms, that the wait for the last signal outlasts.
const PATIENCE: usize = 10;

impl Documented for SignalStorm {
    const FACTS: Facts = Facts { group: "2", ..Facts::PLAIN };
}

impl Work for SignalStorm {
    fn needs(&self) -> Needs {
        Needs { group_size: 2, lines: 4, role: |_| "partner", ..Needs::default() }
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let received = &w.line(w.position()).word;
        match counting_interrupts(received, w.futex_flags(), || self.exchange(w)) {
            Ok(()) | Err(Errno::CANCELED) => Finish::Done,
            Err(errno) => Finish::Failed(format!("signal exchange failed: {errno}")),
        }
    }
}

impl SignalStorm {
    fn exchange(&self, w: &mut Worker<'_>) -> Result<(), Errno> {
        let me = w.line(w.position());
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        me.value.store(u64::from(tid.unsigned_abs()), Relaxed);
        reach(w, HERE)?;
        await_partner(w, HERE)?;
        let (mut sent, mut noted) = (0u32, 0u32);
        match self.storm(w, &mut sent, &mut noted) {
            Ok(()) | Err(Errno::CANCELED) => {}
            Err(errno) => return Err(errno),
        }
        w.line(2 + w.position()).value.store(u64::from(sent), Relaxed);
        reach(w, DONE)?;
        let outcome = await_last_signal(w);
        // What is still pending is delivered at the end of a system call.
        sched_yield();
        note_received(w, &mut noted);
        if outcome.is_ok() {
            note_merged(w, noted);
        }
        outcome
    }

    /// Iterations until the worker has to go.
    fn storm(&self, w: &mut Worker<'_>, sent: &mut u32, noted: &mut u32) -> Result<(), Errno> {
        while w.next() {
            for _ in 0..self.signals_per_iter {
                send_one(w, sent)?;
            }
            w.spin(self.work_iters);
            note_received(w, noted);
        }
        Ok(())
    }
}

/// Sends one signal and sleeps until its handler has run: standard signals do not queue, and a
/// second one would merge with the first.
fn send_one(w: &mut Worker<'_>, sent: &mut u32) -> Result<(), Errno> {
    if w.stopping() {
        return Err(Errno::CANCELED);
    }
    let partner = w.line(1 - w.position());
    let tid = i32::try_from(partner.value.load(Relaxed)).map_err(|_| Errno::SRCH)?;
    w.checkpoint();
    match interrupt_thread(tid) {
        // It has seen the stop already, which came since we looked.
        Err(Errno::SRCH) if w.stopping() => return Err(Errno::CANCELED),
        outcome => outcome?,
    }
    *sent = sent.wrapping_add(1);
    w.tally("signals_sent", 1);
    w.add_work(1);
    loop {
        let received = partner.word.load(Acquire);
        if received == *sent {
            break;
        }
        futex_wait(w, &partner.word, received)?;
    }
    w.resume();
    Ok(())
}

/// Adds what the handler has counted since `noted`.
fn note_received(w: &mut Worker<'_>, noted: &mut u32) {
    let received = w.line(w.position()).word.load(Acquire);
    w.tally("signals_received", u64::from(received.wrapping_sub(*noted)));
    *noted = received;
}

/// Threads share a queue for these signals with the parent's stop, in which two become one.
fn note_merged(w: &mut Worker<'_>, received: u32) {
    let sent = w.line(3 - w.position()).value.load(Relaxed);
    let merged = sent.saturating_sub(u64::from(received));
    if merged > 0 {
        w.tally("signals_merged", merged);
    }
}

/// The partner may still send and needs us to receive, so the interruptions of the stop do not end
/// this wait; only so many of them do, because the partner may be dead.
fn await_last_signal(w: &mut Worker<'_>) -> Result<(), Errno> {
    let mut waits = (0..PATIENCE).map(|_| await_partner(w, DONE));
    waits.find(|wait| *wait != Err(Errno::CANCELED)).unwrap_or(Err(Errno::CANCELED))
}

fn reach(w: &Worker<'_>, stage: u32) -> Result<(), Errno> {
    let word = &w.line(2 + w.position()).word;
    word.store(stage, Release);
    futex_wake(w, word, 1)
}

fn await_partner(w: &mut Worker<'_>, stage: u32) -> Result<(), Errno> {
    w.checkpoint();
    let word = &w.line(3 - w.position()).word;
    loop {
        let at = word.load(Acquire);
        if at >= stage {
            break;
        }
        futex_wait(w, word, at)?;
    }
    w.resume();
    Ok(())
}
