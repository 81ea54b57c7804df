//! Kernels inside of something else: a unified kernel image, a package of another distribution, a
//! tar archive. They are refused by name, with the command that unpacks them. `image.rs` calls
//! [`refuse`] and, for what such a command leaves, [`unpacked`].

use crate::disk;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The table of sections of a PE file lies in here.
const HEAD: u64 = 4096;
const RPM: &[u8] = b"\xed\xab\xee\xdb";
const COMPRESSED: [&[u8]; 3] = [b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
/// Where packages and `make targz-pkg` put images, below their root.
const IMAGES: [(&str, &str); 3] =
    [("boot", "vmlinuz-"), ("lib/modules", "vmlinuz"), ("usr/lib/modules", "vmlinuz")];

/// Refuses a file that only holds a kernel.
pub(super) fn refuse(file: &Path) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.with_context(|| disk::unreadable(file))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let path = file.display();
    let (what, fix) = if head.starts_with(RPM) {
        (
            "an RPM package",
            format!(
                "unpack it with `mkdir kernel && rpm2cpio '{path}' | cpio -idm -D kernel`, then pass \
                 `./kernel`"
            ),
        )
    } else if has_section(&head, b".linux\0\0") {
        (
            "a unified kernel image",
            format!(
                "take the kernel out of it with `objcopy -O binary --only-section=.linux '{path}' \
                 bzImage`, then pass `./bzImage`"
            ),
        )
    } else if name.contains(".tar") && is_archive(&head) {
        let what = match name.contains(".pkg.tar") {
            true => "a package of Arch Linux",
            false => "a tar archive",
        };
        let fix = "unpack it with `mkdir kernel && tar -xf";
        (what, format!("{fix} '{path}' -C kernel`, then pass `./kernel`"))
    } else {
        return Ok(());
    };
    Err(Refusal::input(format!("kernel `{path}` is {what}, not an image"), fix).into())
}

fn is_archive(head: &[u8]) -> bool {
    COMPRESSED.iter().any(|magic| head.starts_with(magic))
        || head.get(257..262).is_some_and(|magic| magic == b"ustar")
}

/// Whether a PE file has a section of this name.
fn has_section(head: &[u8], name: &[u8; 8]) -> bool {
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(*head.get(at..)?.first_chunk()?)));
    let sections = || {
        head.starts_with(b"MZ").then_some(())?;
        let pe = u16_at(0x3c)?;
        head.get(pe..)?.starts_with(b"PE\0\0").then_some(())?;
        let table = pe + 24 + u16_at(pe + 20)?;
        let count = u16_at(pe + 6)?;
        Some((0..count).map(move |index| table + index * 40))
    };
    sections().into_iter().flatten().any(|at| {
        head.get(at..).and_then(|entry| entry.first_chunk::<8>()).is_some_and(|own| own == name)
    })
}

/// The one image in the root of an unpacked package, if the folder is one.
pub(super) fn unpacked(root: &Path) -> Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for (folder, begins) in IMAGES {
        let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        let images = entries.map(|entry| match folder {
            "boot" => entry.path(),
            _ => entry.path().join("vmlinuz"),
        });
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins))
        };
        found = images.filter(named).filter(|path| path.is_file()).collect();
        found.sort();
        if !found.is_empty() {
            break;
        }
    }
    if let [first, _, ..] = found.as_slice() {
        let message = format!("`{}` holds {} kernels", root.display(), found.len());
        let fix = format!("pass the path of one of them, for example `{}`", first.display());
        return Err(Refusal::input(message, fix).into());
    }
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use std::fs::{create_dir_all, write};

    /// A PE file without code that has these sections.
    fn pe(sections: &[&[u8; 8]]) -> Vec<u8> {
        let mut file = vec![0; 0x40];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x40;
        file.extend(b"PE\0\0\x64\x86");
        file.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
        file.resize(0x40 + 24, 0);
        for name in sections {
            file.extend(*name);
            file.extend([0; 32]);
        }
        file
    }

    #[test]
    fn what_holds_a_kernel_is_named_with_the_command_that_unpacks_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut ustar = vec![0; 512];
        ustar[257..262].copy_from_slice(b"ustar");
        for (name, bytes, what, command) in [
            ("a.efi", pe(&[b".osrel\0\0", b".linux\0\0"]), "unified kernel", "objcopy -O binary"),
            ("kernel.rpm", b"\xed\xab\xee\xdb\x03".to_vec(), "an RPM package", "rpm2cpio"),
            ("l.pkg.tar.zst", b"\x28\xb5\x2f\xfd".to_vec(), "package of Arch Linux", "tar -xf"),
            ("linux-7.3-x86_64.tar.gz", b"\x1f\x8b\x08".to_vec(), "a tar archive", "tar -xf"),
            ("linux.tar", ustar, "a tar archive", "tar -xf"),
        ] {
            let file = dir.path().join(name);
            write(&file, bytes).unwrap();
            let error = refuse(&file).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            let text = render(&error);
            assert!(text.contains(what) && text.contains(command), "{text}");
            assert!(text.contains(&format!("'{}'", file.display())), "{text}");
        }
        for (name, bytes) in [("bzImage", pe(&[b".text\0\0\0"])), ("a.tar", b"MZ".to_vec())] {
            let file = dir.path().join(name);
            write(&file, bytes).unwrap();
            refuse(&file).unwrap();
        }
    }

    #[test]
    fn an_unpacked_package_is_the_one_kernel_in_it() {
        for (folder, image) in [
            ("boot", "vmlinuz-7.3.0"),
            ("lib/modules/7.3.0", "vmlinuz"),
            ("usr/lib/modules/7.3.0", "vmlinuz"),
        ] {
            let root = tempfile::tempdir().unwrap();
            assert_eq!(unpacked(root.path()).unwrap(), None);
            create_dir_all(root.path().join(folder)).unwrap();
            write(root.path().join(folder).join(image), "").unwrap();
            write(root.path().join(folder).join("config-7.3.0"), "").unwrap();
            assert_eq!(unpacked(root.path()).unwrap(), Some(root.path().join(folder).join(image)));
        }
        let root = tempfile::tempdir().unwrap();
        create_dir_all(root.path().join("boot")).unwrap();
        for release in ["6.1.0", "7.3.0"] {
            write(root.path().join("boot").join(format!("vmlinuz-{release}")), "").unwrap();
        }
        let text = render(&unpacked(root.path()).unwrap_err());
        assert!(text.contains("holds 2 kernels") && text.contains("vmlinuz-6.1.0`"), "{text}");
    }
}
