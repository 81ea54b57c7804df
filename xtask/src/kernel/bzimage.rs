//! The header of an x86 kernel image, as Documentation/arch/x86/boot.rst lays it out: is this a
//! whole 64-bit bzImage, and which kernel is it? `image.rs` and `store.rs` call [`read`].

use crate::error::Refusal;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

const SETUP_SECTS: usize = 0x1F1;
const SYSSIZE: usize = 0x1F4;
const BOOT_FLAG: usize = 0x1FE;
const MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const KERNEL_VERSION: usize = 0x20E;
const XLOADFLAGS: usize = 0x236;
const SECTOR: usize = 512;

/// The first protocol that says whether the kernel is 64-bit (Linux 3.8).
const OLDEST_PROTOCOL: u16 = 0x020C;
const XLF_KERNEL_64: u16 = 1;
/// `kernel_version` is 16 bits wide and counts from 0x200; the banner itself is short.
const HEAD: u64 = 0x200 + 0xFFFF + 0x400;

const WANTS_BZIMAGE: &str = "pass the `arch/x86/boot/bzImage` of an x86-64 build, or the \
                             `vmlinuz` of an amd64 package";

/// What the header says about the kernel.
#[derive(Debug, PartialEq)]
pub(super) struct Setup {
    pub(super) release: String,
    pub(super) version: String,
}

/// Reads and checks the header of the file at `path`.
pub(super) fn read(path: &Path) -> Result<Setup> {
    let open = || -> std::io::Result<(Vec<u8>, u64)> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut head = Vec::new();
        file.take(HEAD).read_to_end(&mut head)?;
        Ok((head, len))
    };
    let (head, len) = open().with_context(|| {
        let message = format!("read(`{}`) failed", path.display());
        Refusal::input(message, "pass a file that you may read")
    })?;
    parse(&head, len)
        .map_err(|(fault, fix)| Refusal::input(format!("`{}` {fault}", path.display()), fix).into())
}

type Fault = (String, &'static str);

/// `head` is how the file begins, `len` how long all of it is.
fn parse(head: &[u8], len: u64) -> Result<Setup, Fault> {
    let is_x86 = u16_at(head, BOOT_FLAG) == Some(0xAA55) && bytes_at(head, MAGIC) == Some(b"HdrS");
    if !is_x86 {
        let (what, fix) = recognise(head);
        return Err((format!("is {what}, not an x86 kernel image"), fix));
    }
    let is_64bit = u16_at(head, PROTOCOL) >= Some(OLDEST_PROTOCOL)
        && u16_at(head, XLOADFLAGS).is_some_and(|flags| flags & XLF_KERNEL_64 != 0);
    if !is_64bit {
        return Err(("is not a 64-bit kernel".to_owned(), WANTS_BZIMAGE));
    }
    let expected = image_len(head);
    if len < expected {
        let fault =
            format!("is cut short: {len} bytes of the {expected} that its header announces");
        return Err((fault, "copy or download it again"));
    }
    banner(head).ok_or_else(|| ("has no readable version in its header".to_owned(), WANTS_BZIMAGE))
}

/// The loader and the 16-byte units of the kernel proper.
fn image_len(head: &[u8]) -> u64 {
    let units = bytes_at(head, SYSSIZE).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    protected_mode_at(head) as u64 + u64::from(units) * 16
}

/// Where the kernel proper begins: after the boot sector and the setup sectors.
pub(super) fn protected_mode_at(head: &[u8]) -> usize {
    let sectors = match head.get(SETUP_SECTS) {
        Some(0) | None => 4,
        Some(&n) => usize::from(n),
    };
    (sectors + 1) * SECTOR
}

/// `RELEASE (builder) #n date`, ended by a NUL byte.
fn banner(head: &[u8]) -> Option<Setup> {
    let pointer = u16_at(head, KERNEL_VERSION).filter(|pointer| *pointer != 0)?;
    let text = head.get(usize::from(pointer) + SECTOR..)?;
    let text = text.get(..text.iter().position(|byte| *byte == 0)?)?;
    let text = std::str::from_utf8(text).ok()?.trim();
    let (release, version) = text.split_once(' ').unwrap_or((text, ""));
    // The release names a folder of modules.
    let usable = release.starts_with(|c: char| c.is_ascii_digit())
        && release.chars().all(|c| c.is_ascii_graphic() && c != '/');
    usable.then(|| Setup { release: release.to_owned(), version: version.to_owned() })
}

/// What the file is instead: the fix depends on it.
fn recognise(head: &[u8]) -> (&'static str, &'static str) {
    const EM_X86_64: u16 = 62;
    let text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    if head.is_empty() {
        ("an empty file", "copy or download it again")
    } else if head.starts_with(b"\x7fELF") && u16_at(head, 18) == Some(EM_X86_64) {
        ("an uncompressed kernel", "pass the `arch/x86/boot/bzImage` of the same build")
    } else if head.starts_with(b"\x7fELF") {
        ("an ELF file for another machine", WANTS_BZIMAGE)
    } else if bytes_at(head, 56) == Some(b"ARM\x64") {
        ("an arm64 kernel image", WANTS_BZIMAGE)
    } else if bytes_at(head, 4) == Some(b"zimg") || head.starts_with(b"\x1f\x8b") {
        ("a compressed file, perhaps the kernel of another machine", WANTS_BZIMAGE)
    } else if head.iter().all(text) {
        ("a text file", WANTS_BZIMAGE)
    } else if head.len() < XLOADFLAGS {
        ("too short for a boot header", "copy or download it again")
    } else {
        ("something without a boot header", WANTS_BZIMAGE)
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<&[u8; N]> {
    bytes.get(offset..)?.first_chunk()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(|bytes| u16::from_le_bytes(*bytes))
}

/// An image with nothing in it but a header, for the tests of this folder.
#[cfg(test)]
pub(super) fn fake(banner: &str) -> Vec<u8> {
    let mut image = vec![0; 3 * SECTOR];
    image[SETUP_SECTS] = 1;
    image[SYSSIZE] = 32;
    image[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xAA]);
    image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
    image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x020Fu16.to_le_bytes());
    image[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0x0100u16.to_le_bytes());
    image[XLOADFLAGS] = 1;
    image[0x300..0x300 + banner.len()].copy_from_slice(banner.as_bytes());
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANNER: &str = "6.1.0-50-cloud-amd64 (someone@example.org) #1 SMP 2026-07-02";

    fn check(bytes: &[u8]) -> Result<Setup, String> {
        parse(bytes, u64::try_from(bytes.len()).unwrap()).map_err(|(fault, _)| fault)
    }

    #[test]
    fn the_banner_splits_into_release_and_version() {
        let setup = check(&fake(BANNER)).unwrap();
        assert_eq!(setup.release, "6.1.0-50-cloud-amd64");
        assert_eq!(setup.version, "(someone@example.org) #1 SMP 2026-07-02");
    }

    #[test]
    fn an_image_one_byte_short_is_cut_short() {
        let image = fake(BANNER);
        let fault = check(&image[..image.len() - 1]).unwrap_err();
        assert_eq!(fault, "is cut short: 1535 bytes of the 1536 that its header announces");
        assert!(check(&image[..0x236]).is_err() && check(&image[..0x1FF]).is_err());
    }

    #[test]
    fn a_banner_outside_the_file_or_without_an_end_is_refused() {
        let mut far = fake(BANNER);
        far[KERNEL_VERSION + 1] = 0xFF;
        assert_eq!(check(&far).unwrap_err(), "has no readable version in its header");
        let mut endless = fake(BANNER);
        endless[0x300..].fill(b'6');
        assert!(check(&endless).is_err());
        for bad in ["", "../../etc", "6/1", "6.1\u{e9}"] {
            assert!(check(&fake(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_files_are_called_what_they_are() {
        let mut arm_elf = vec![0; 4096];
        arm_elf[..4].copy_from_slice(b"\x7fELF");
        arm_elf[18] = 183;
        let mut vmlinux = arm_elf.clone();
        vmlinux[18] = 62;
        let mut arm_image = vec![0; 4096];
        arm_image[56..60].copy_from_slice(b"ARM\x64");
        for (bytes, want) in [
            (&b""[..], "is an empty file, not an x86 kernel image"),
            (b"hello\n", "is a text file, not an x86 kernel image"),
            (b"\0\x01", "is too short for a boot header, not an x86 kernel image"),
            (&arm_elf, "is an ELF file for another machine, not an x86 kernel image"),
            (&vmlinux, "is an uncompressed kernel, not an x86 kernel image"),
            (&arm_image, "is an arm64 kernel image, not an x86 kernel image"),
            (&[0; 4096], "is something without a boot header, not an x86 kernel image"),
        ] {
            assert_eq!(check(bytes).unwrap_err(), want);
        }
    }

    #[test]
    fn a_32_bit_kernel_is_refused() {
        let mut image = fake(BANNER);
        image[XLOADFLAGS] = 0;
        assert_eq!(check(&image).unwrap_err(), "is not a 64-bit kernel");
    }
}
