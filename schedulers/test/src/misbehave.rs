//! What goes wrong in user space: much output, and children that stay. `main` calls these.

use crate::sys::Signals;
use anyhow::{Context as _, Result};
use std::io::Write;
use std::process::Command;

/// Of a line, with its end.
const LINE: usize = 128;
const LINES_PER_MIB: u64 = (1 << 20) / LINE as u64;

/// So many MiB of numbered lines.
pub(crate) fn print(out: &mut impl Write, mib: u64) -> Result<()> {
    for line in 0..mib * LINES_PER_MIB {
        let text = format!("schedlab_test: line {line} ");
        writeln!(out, "{text:.<width$}", width = LINE - 1).context("write(stdout) failed")?;
    }
    Ok(())
}

/// Children that have our stdout and stderr and outlive us.
pub(crate) fn children(count: u32) -> Result<()> {
    let start = |_| Command::new("/proc/self/exe").arg("--child").spawn();
    (0..count)
        .map(start)
        .try_for_each(|child| child.map(drop))
        .context("run(`/proc/self/exe`) failed")
}

/// What a child does.
pub(crate) fn sleep_on() -> Result<u8> {
    let _signals = Signals::block(true)?;
    loop {
        std::thread::park();
    }
}
