//! ELF files and kernels for the tests of this folder.

use super::Kernel;
use super::config::Config;
use std::path::PathBuf;

/// A kernel of this release with this configuration, if any, and nothing on disk.
pub(crate) fn kernel(release: &str, config: Option<&str>) -> Kernel {
    Kernel {
        spec: String::new(),
        image: PathBuf::new(),
        release: release.to_owned(),
        version: String::new(),
        sha256: String::new(),
        package: None,
        modules: None,
        symbols: None,
        config: config.map(|text| Config::parse(text, String::new())),
    }
}

pub(super) const SHT_PROGBITS: u32 = 1;
pub(super) const SHT_NOTE: u32 = 7;
const SHT_STRTAB: u32 = 3;

/// An x86-64 ELF file with these sections: name, type, bytes.
pub(super) fn elf(sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut headers = vec![0; 64];
    let mut elf = vec![0; 64];
    let mut add = |name: &str, kind: u32, bytes: Option<&[u8]>| {
        // Notes are read by words.
        elf.resize(elf.len().next_multiple_of(4), 0);
        let name_at = u32::try_from(names.len()).unwrap();
        names.extend(name.as_bytes());
        names.push(0);
        let bytes = bytes.unwrap_or(&names);
        headers.extend([name_at.to_le_bytes(), kind.to_le_bytes()].concat());
        headers.extend([0; 16]);
        headers.extend(u64_of(elf.len()));
        headers.extend(u64_of(bytes.len()));
        headers.extend([0; 8]);
        headers.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        headers.extend([0; 8]);
        elf.extend(bytes);
    };
    for (name, kind, bytes) in sections {
        add(name, *kind, Some(bytes));
    }
    add(".shstrtab", SHT_STRTAB, None);
    let count = u16::try_from(sections.len() + 2).unwrap();
    let head = [
        &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"[..],
        &[1, 0, 62, 0, 1, 0, 0, 0],
        &[0; 16],
        &u64_of(elf.len()),
        &[0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0],
        &count.to_le_bytes(),
        &(count - 1).to_le_bytes(),
    ]
    .concat();
    elf[..64].copy_from_slice(&head);
    elf.extend(headers);
    elf
}

fn u64_of(n: usize) -> [u8; 8] {
    u64::try_from(n).unwrap().to_le_bytes()
}
