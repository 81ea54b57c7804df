//! The test scheduler: attaches its BPF half and waits until it is told to stop, the kernel ejects
//! it, or it has been told to misbehave. VM tests of `xtask` start it in their guests.

mod args;
mod bpf;
mod misbehave;
mod sys;
mod words;

use anyhow::{Context as _, Result};
use args::Args;
use bpf::Scheduler;
use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// How often it looks whether the kernel has ejected it.
const LOOK: Duration = Duration::from_millis(20);
/// Codes beside 0, told to stop, and 1, ejected or never attached.
const ENDED_BY_ITSELF: u8 = 3;
const DIED_AT_ONCE: u8 = 7;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.child {
        true => misbehave::sleep_on(),
        false => run(&args),
    };
    let code = outcome.unwrap_or_else(|error| {
        words::say(&mut std::io::stderr(), &format!("schedlab_test: error: {error:#}"));
        1
    });
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<u8> {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    if args.die {
        words::say(&mut err, "schedlab_test: told to die before attaching");
        return Ok(DIED_AT_ONCE);
    }
    let signals = sys::Signals::block(args.ignore_sigint)?;
    misbehave::children(args.forks)?;
    let mut scheduler = Scheduler::attach(args)?;
    words::say(&mut out, "schedlab_test: attached");
    misbehave::print(&mut out, args.print_mb)?;
    loop {
        let told = signals.wait(LOOK)?;
        let state = scheduler.state()?;
        if told || state.exit_kind != 0 {
            scheduler.detach();
            let state = scheduler.state()?;
            words::last(&mut out, &mut err, &state, &scheduler.last_words()?);
            out.flush().context("write(stdout) failed")?;
            return Ok(u8::from(!state.is_clean()));
        }
        if args.exit_after.is_some_and(|after| state.enqueues >= after) {
            let text =
                format!("schedlab_test: told to end by itself after {} enqueues", state.enqueues);
            words::say(&mut err, &text);
            return Ok(ENDED_BY_ITSELF);
        }
    }
}
