//! Where the scenario comes from: the first that is there of the kernel command line, a virtio
//! disk, a file in the initramfs, a file on the workload's disk. A guest that stops first has it by
//! `order`. Called by `supervise`.

use crate::proto::{args, initramfs, serial};
use crate::storage::{Disk, argument, by_serial};
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The text of the scenario and the name of its source.
pub(crate) fn find(cmdline: &str, disk: Option<&Disk>) -> Result<(String, &'static str)> {
    if let Some(encoded) = argument(cmdline, args::SCENARIO) {
        let bytes = STANDARD_NO_PAD.decode(encoded).context("base64 of the scenario")?;
        return Ok((String::from_utf8(bytes).context("scenario text")?, "cmdline"));
    }
    if let Some(name) = by_serial(serial::SCENARIO) {
        let path = format!("/dev/{name}");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read({path})"))?;
        return Ok((text.trim_end_matches('\0').to_owned(), "disk"));
    }
    if let Ok(text) = std::fs::read_to_string(initramfs::SCENARIO) {
        return Ok((text, "initramfs"));
    }
    let on_disk = disk.and_then(Disk::scenario_file);
    if let Some(text) = on_disk.and_then(|path| std::fs::read_to_string(path).ok()) {
        return Ok((text, "file system"));
    }
    bail!("no scenario on the command line, on a disk or in the initramfs")
}
