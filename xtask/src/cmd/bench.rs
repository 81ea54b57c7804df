//! `xtask bench`: the measurements that the documentation quotes.

use crate::cli::BenchCommand;
use crate::paths::Paths;
use anyhow::Result;

pub(crate) fn run(_command: &BenchCommand, _paths: &Paths) -> Result<u8> {
    anyhow::bail!("not written yet")
}
