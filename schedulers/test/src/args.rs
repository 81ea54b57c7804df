//! The command line. `main` parses it, `bpf` gives the kernel's half its part.

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

/// A sched_ext scheduler for tests: a FIFO that does one thing wrong when told to.
#[derive(Debug, Parser)]
#[command(name = "schedlab_test", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// What the kernel's half does wrong.
    #[arg(long, value_enum, default_value_t = Fault::None)]
    pub(crate) fault: Fault,
    /// The fault begins after so many enqueues.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) after: u64,
    /// Never run tasks of this name; the watchdog's time is 30 s then.
    #[arg(long, value_name = "COMM", value_parser = comm)]
    pub(crate) starve: Option<Comm>,
    /// The watchdog's time in ms [default: 5000; 30000 with --starve].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) timeout_ms: Option<u32>,
    /// Take only tasks under SCHED_EXT.
    #[arg(long)]
    pub(crate) partial: bool,
    /// End without being told, with code 3, after so many enqueues.
    #[arg(long, value_name = "N")]
    pub(crate) exit_after: Option<u64>,
    /// Print so many MiB once attached.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) print_mb: u64,
    /// Start so many children that sleep on, whatever signal asks them to end.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) forks: u32,
    /// Do not end at SIGINT; SIGTERM works.
    #[arg(long)]
    pub(crate) ignore_sigint: bool,
    /// End before attaching, with code 7.
    #[arg(long)]
    pub(crate) die: bool,
    /// Be one of the children of --forks.
    #[arg(long, hide = true)]
    pub(crate) child: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 told to stop; 1 ejected, or not attached; 3 --exit-after; 7 --die.";

/// What goes wrong. The order is that of `enum fault` in test.bpf.c.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One task of user space is never put on a queue again: a stall.
    LoseTask,
    /// A task is put on the queue of a CPU on which it may not run.
    WrongCpu,
    /// A task is put on a queue that does not exist.
    UnknownDsq,
    /// The scheduler calls scx_bpf_error().
    Error,
    /// Nothing is taken from the queue any more: a stall.
    StopDispatching,
    /// The scheduler calls scx_bpf_exit() with code 42.
    ExitBpf,
}

impl Args {
    pub(crate) fn watchdog_ms(&self) -> u32 {
        const DEFAULT: u32 = 5_000;
        /// The most that the kernel takes.
        const LONGEST: u32 = 30_000;
        match (self.timeout_ms, self.starve) {
            (Some(ms), _) => ms,
            (None, Some(_)) => LONGEST,
            (None, None) => DEFAULT,
        }
    }
}

/// A task's name as the kernel has it.
pub(crate) type Comm = [u8; 16];

fn comm(text: &str) -> Result<Comm> {
    let mut comm = Comm::default();
    match comm.get_mut(..text.len()) {
        Some(bytes) if !text.is_empty() && text.len() < size_of::<Comm>() => {
            bytes.copy_from_slice(text.as_bytes());
            Ok(comm)
        }
        _ => bail!("a task's name has 1 to 15 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_padded_with_zeroes_and_has_to_fit() {
        assert_eq!(comm("sl-spin").unwrap(), *b"sl-spin\0\0\0\0\0\0\0\0\0");
        assert_eq!(comm("123456789012345").unwrap()[15], 0);
        assert!(comm("").is_err() && comm("1234567890123456").is_err());
    }

    #[test]
    fn who_starves_somebody_has_the_longest_watchdog_unless_told() {
        let ms = |words: &[&str]| Args::parse_from([&["x"], words].concat()).watchdog_ms();
        assert_eq!(ms(&[]), 5_000);
        assert_eq!(ms(&["--starve", "a"]), 30_000);
        assert_eq!(ms(&["--starve", "a", "--timeout-ms", "700"]), 700);
    }
}
