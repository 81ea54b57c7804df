//! What the kernel has logged by the end of a run, so that the host knows what its console must show.

use serde::{Deserialize, Serialize};

/// Checksums of the lines that the console must have, and whether the kernel found itself at fault.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Printed {
    /// [`line_sum`] of each line, in the order of the log.
    pub lines: Vec<u32>,
    /// Whether lines have a time stamp.
    pub stamped: bool,
    /// Records that the log has lost to newer ones by now.
    pub overwritten: u64,
    /// /proc/sys/kernel/tainted, a flag a bit.
    pub tainted: Option<u64>,
    /// Why the log could not be read, if it could not; there are no lines then.
    pub error: Option<String>,
}

/// The checksum of a line of the kernel's log: of its text, without spaces at the end, and of its
/// time stamp in microseconds where lines have one.
pub fn line_sum(stamp_us: Option<u64>, text: &str) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if let Some(stamp_us) = stamp_us {
        crc.update(&stamp_us.to_le_bytes());
    }
    crc.update(text.trim_end().as_bytes());
    crc.finalize()
}
