//! An uncompressed kernel, `vmlinux` of a build: which kernel is it, and can QEMU enter it? QEMU
//! boots an ELF file by the PVH protocol (Documentation/virt, `CONFIG_PVH`). `image.rs` and
//! `store.rs` call [`read`], `config.rs` asks for what is built in.

use super::bzimage::Setup;
use crate::disk;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use memchr::memmem;
use object::elf::{EM_X86_64, NoteType};
use object::read::elf::{ElfFile64, FileHeader as _, SectionHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ReadCache, ReadRef};
use std::fs::File;
use std::path::Path;

/// How `linux_banner` begins (init/version.c).
const BANNER: &[u8] = b"Linux version ";
/// `include/xen/interface/elfnote.h`: where a PVH guest is entered.
const XEN_ELFNOTE_PHYS32_ENTRY: NoteType = NoteType(18);

/// Reads and checks the ELF file at `path`.
pub(super) fn read(path: &Path) -> Result<Setup> {
    let file = File::open(path).with_context(|| disk::unreadable(path))?;
    let refuse = |what: &str, fix| Refusal::input(format!("`{}` {what}", path.display()), fix);
    let cache = ReadCache::new(file);
    let elf = ElfFile64::<Endianness, _>::parse(&cache).map_err(|error| {
        anyhow::Error::new(error).context(refuse("is a damaged ELF file", "build or copy it again"))
    })?;
    if elf.elf_header().e_machine(elf.endian()) != EM_X86_64 {
        let fix = "pass the `vmlinux` or the bzImage of an x86-64 build";
        return Err(refuse("is an ELF file for another machine", fix).into());
    }
    let banner = elf.section_by_name(".rodata").and_then(|section| section.data().ok());
    let Some(setup) = banner.and_then(banner_in) else {
        let fix = "pass the `vmlinux` of a build, whole";
        return Err(refuse("is an ELF file, not a kernel", fix).into());
    };
    if !has_pvh_entry(&elf) {
        let fix = "build with CONFIG_PVH=y, or pass the `arch/x86/boot/bzImage` of the same build";
        return Err(refuse("has no entry for QEMU", fix).into());
    }
    Ok(setup)
}

/// `Linux version RELEASE (builder) (compiler) #n date` as the setup header has it: without the
/// compiler.
fn banner_in(rodata: &[u8]) -> Option<Setup> {
    memmem::find_iter(rodata, BANNER).find_map(|at| {
        let text = rodata.get(at + BANNER.len()..)?;
        let text = std::str::from_utf8(text.get(..text.iter().position(|b| *b == 0)?)?).ok()?;
        let (release, rest) = text.trim().split_once(' ')?;
        let builder = rest.split_once(')').map_or("", |(builder, _)| builder);
        let (_, build) = rest.split_once(" #")?;
        Some(Setup { release: release.to_owned(), version: format!("{builder}) #{build}") })
            .filter(|setup| setup.release.starts_with(|c: char| c.is_ascii_digit()))
            .filter(|setup| setup.release.chars().all(|c| c.is_ascii_graphic() && c != '/'))
    })
}

fn has_pvh_entry<'data>(elf: &ElfFile64<'data, Endianness, impl ReadRef<'data>>) -> bool {
    let (endian, data) = (elf.endian(), elf.data());
    elf.elf_section_table().iter().any(|section| {
        let Ok(Some(mut notes)) = section.notes(endian, data) else { return false };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"Xen" && note.n_type(endian) == XEN_ELFNOTE_PHYS32_ENTRY {
                return true;
            }
        }
        false
    })
}

#[cfg(test)]
const RODATA: &[u8] = b"%s version %s\0Linux version \0Linux version 7.3.4-mine \
    (me@here) (gcc 15.1, ld 2.44) #2 SMP PREEMPT Wed Nov 25 2026\n\0more";

/// A kernel with a note of this kind, for the tests of this folder.
#[cfg(test)]
pub(super) fn fake(note: u8) -> Vec<u8> {
    use super::fixture::{SHT_NOTE, SHT_PROGBITS, elf};
    // Owner and description are padded to four bytes.
    let head = [4, 0, 0, 0, 4, 0, 0, 0, note, 0, 0, 0];
    let note = [&head, &b"Xen\0"[..], &[0, 0, 0, 1]].concat();
    elf(&[(".rodata", SHT_PROGBITS, RODATA), (".notes", SHT_NOTE, &note)])
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{SHT_NOTE, SHT_PROGBITS, elf};
    use super::*;
    use crate::error::{exit, exit_code, render};

    fn refusal(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinux");
        std::fs::write(&path, bytes).unwrap();
        match read(&path) {
            Ok(setup) => format!("{setup:?}"),
            Err(error) => {
                assert_eq!(exit_code(&error), exit::BAD_INPUT);
                render(&error)
            }
        }
    }

    #[test]
    fn a_kernel_with_an_entry_says_which_one_it_is() {
        let setup = refusal(&fake(18));
        let want = Setup {
            release: "7.3.4-mine".to_owned(),
            version: "(me@here) #2 SMP PREEMPT Wed Nov 25 2026".to_owned(),
        };
        assert_eq!(setup, format!("{want:?}"));
    }

    #[test]
    fn what_qemu_cannot_enter_is_refused_with_the_option() {
        let torn = elf(&[(".rodata", SHT_PROGBITS, RODATA), (".notes", SHT_NOTE, b"\0")]);
        for kernel in [fake(17), torn] {
            assert!(refusal(&kernel).contains("CONFIG_PVH=y"));
        }
    }

    #[test]
    fn other_elf_files_are_no_kernels() {
        let program = elf(&[(".rodata", SHT_PROGBITS, b"hello\0")]);
        assert!(refusal(&program).contains("is an ELF file, not a kernel"));
        assert!(refusal(&program[..100]).contains("is a damaged ELF file"));
        let mut arm = program;
        arm[18] = 183;
        assert!(refusal(&arm).contains("for another machine"));
    }
}
