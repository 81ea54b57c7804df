//! Sizes and times as people write and read them. Called by `cli` and `report::table`.

use crate::run::Disk;
use std::io::Read as _;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;
/// Of a guest, and of each of its NUMA nodes.
pub(crate) const MIN_MEMORY_MIB: u64 = 64;

/// `512M` or `2G` in MiB.
pub(crate) fn parse_mib(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text).ok_or("give a size such as 512M or 2G")?;
    match bytes / MIB {
        mib if mib < MIN_MEMORY_MIB => Err(format!("{MIN_MEMORY_MIB}M is the least")),
        mib => Ok(mib),
    }
}

/// `none`, a size, or the path of an existing image.
pub(crate) fn parse_disk(text: &str) -> Result<Disk, String> {
    if text == "none" {
        return Ok(Disk::None);
    }
    match parse_bytes(text) {
        Some(bytes) if bytes >= MIB && !PathBuf::from(text).exists() => Ok(Disk::Scratch { bytes }),
        Some(_) if !PathBuf::from(text).exists() => Err("a scratch disk has at least 1M".into()),
        _ if PathBuf::from(text).is_file() => parse_image(text),
        _ => Err(format!("`{text}` is no size, no image file and not `none`")),
    }
}

fn parse_image(path: &str) -> Result<Disk, String> {
    const QCOW: &[u8] = b"QFI\xfb";
    let mut magic = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| format!("open failed: {e}"))?;
    file.take(4).read_to_end(&mut magic).map_err(|e| format!("read failed: {e}"))?;
    if magic == QCOW {
        return Err(format!("`{path}` is a qcow2 image; qemu-img convert -O raw makes a raw one"));
    }
    Ok(Disk::Image { path: path.into() })
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => MIB,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(scale)
}

/// Of counters. What does not fit is the most there is: reports with such sums are refused as damaged.
pub(crate) fn sum_of(counters: impl IntoIterator<Item = u64>) -> u64 {
    counters.into_iter().fold(0, u64::saturating_add)
}

/// The same; none if one of them is not known.
pub(crate) fn sum_of_known(counters: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    counters.into_iter().try_fold(0_u64, |sum, counter| Some(sum.saturating_add(counter?)))
}

/// Counts and times: up to 2^53 they are exact.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits, or compared")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// Whole MiB, rounded up.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Nanoseconds with three significant digits and a unit.
pub(crate) fn show_ns(ns: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
    let (scale, unit) = UNITS.into_iter().find(|(scale, _)| ns >= *scale).unwrap_or((1.0, "ns"));
    let value = ns / scale;
    let digits = if value >= 100.0 || unit == "ns" {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit_and_a_minimum() {
        assert_eq!(parse_mib("1G"), Ok(1024));
        assert_eq!(parse_mib("512M"), Ok(512));
        assert!(parse_mib("512").is_err());
        assert!(parse_mib("1M").unwrap_err().contains("64M"));
        assert!(parse_mib("99999999999G").is_err());
    }

    #[test]
    fn a_disk_is_a_size_an_image_or_none() {
        assert_eq!(parse_disk("none"), Ok(Disk::None));
        assert_eq!(parse_disk("64M"), Ok(Disk::Scratch { bytes: 64 << 20 }));
        assert!(parse_disk("/no/such/image").unwrap_err().contains("no image file"));
        assert!(parse_disk("1K").is_err());
        let qcow = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&qcow, b"QFI\xfb and more").unwrap();
        assert!(parse_disk(qcow.path().to_str().unwrap()).unwrap_err().contains("qcow2"));
    }

    #[test]
    fn times_keep_three_digits() {
        assert_eq!(show_ns(12.0), "12 ns");
        assert_eq!(show_ns(1_234.0), "1.23 us");
        assert_eq!(show_ns(45_600_000.0), "45.6 ms");
        assert_eq!(show_ns(7_890_000_000.0), "7.89 s");
    }
}
