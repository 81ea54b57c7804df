//! Reading a `.deb`: an `ar` archive of two compressed tars, one of which describes the package
//! and one of which holds its files. `siblings.rs` asks for the first, `store.rs` for the second.

use super::control::{self, Paragraph};
use crate::disk;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::{Component, Path, PathBuf};

const MAGIC: &[u8; 8] = b"!<arch>\n";
/// `ar` puts this before every member, and pads members to even lengths.
const MEMBER_HEADER: u64 = 60;
/// No file of a kernel package comes near; a forged one must not fill the memory.
const LARGEST_FILE: u64 = 1 << 30;

/// Whether the file is a `.deb`, or says that it is one.
pub(super) fn is_deb(path: &Path) -> bool {
    let is_archive = || {
        let mut magic = [0; MAGIC.len()];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        read.is_ok() && &magic == MAGIC
    };
    path.is_file() && (path.extension().is_some_and(|e| e == "deb") || is_archive())
}

/// What the package says about itself.
pub(super) fn describe(path: &Path) -> Result<Paragraph> {
    let text = with_member(path, "control.tar", &mut |reader| {
        let mut text = String::new();
        for entry in tar::Archive::new(reader).entries()? {
            let entry = entry?;
            if entry.path()?.file_name().is_some_and(|name| name == "control") {
                entry.take(1 << 20).read_to_string(&mut text)?;
            }
        }
        Ok(text)
    })?;
    control::paragraphs(&text).into_iter().next().ok_or_else(|| damaged(path).into())
}

/// Writes those files of the package into `into` for which `place` names a path there.
pub(super) fn unpack(
    path: &Path,
    into: &Path,
    place: &dyn Fn(&Path) -> Option<PathBuf>,
) -> Result<()> {
    with_member(path, "data.tar", &mut |reader| {
        for entry in tar::Archive::new(reader).entries()? {
            let mut entry = entry?;
            let member = inside(&entry.path()?)?;
            if entry.header().entry_type().is_file()
                && let Some(place) = place(&member)
            {
                let bytes = read_bounded(&mut entry)?;
                write_new(&into.join(place), &bytes)?;
            }
        }
        Ok(String::new())
    })
    .map(drop)
}

/// The member's path without its leading `./`.
fn inside(member: &Path) -> Result<PathBuf> {
    let mut inside = PathBuf::new();
    for component in member.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            _ => anyhow::bail!("its member `{}` points outside of it", member.display()),
        }
    }
    Ok(inside)
}

fn read_bounded(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(bytes.len() as u64 <= LARGEST_FILE, "one of its files is over a gigabyte");
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| disk::unwritable(dir))?;
    }
    std::fs::write(path, bytes).with_context(|| disk::unwritable(path))
}

/// Hands the decompressed member whose name begins with `prefix` to `read`, and then reads on to
/// its end, where the checksums are.
fn with_member(
    path: &Path,
    prefix: &str,
    read: &mut dyn FnMut(&mut dyn Read) -> Result<String>,
) -> Result<String> {
    let file = File::open(path).with_context(|| disk::unreadable(path))?;
    let len = file.metadata().with_context(|| disk::unreadable(path))?.len();
    let answer = search(file, len, prefix, read);
    // A full disk or the like has been named already; all else is the fault of the package.
    answer.map_err(|error| match error.downcast_ref::<Refusal>() {
        Some(_) => error,
        None => error.context(damaged(path)),
    })
}

fn search(
    mut file: File,
    len: u64,
    prefix: &str,
    read: &mut dyn FnMut(&mut dyn Read) -> Result<String>,
) -> Result<String> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    anyhow::ensure!(&magic == MAGIC, "it is no Debian package");
    file.rewind()?;
    let mut archive = ar::Archive::new(file);
    let mut end = MAGIC.len() as u64;
    while let Some(member) = archive.next_entry() {
        let member = member?;
        let size = member.header().size();
        end += MEMBER_HEADER + size;
        anyhow::ensure!(end <= len, "it is cut short: {len} bytes of at least {end}");
        end += size % 2;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        if let Some(suffix) = name.strip_prefix(prefix) {
            let mut reader = decompress(suffix.trim_end_matches('/'), member)?;
            let answer = read(&mut reader)?;
            std::io::copy(&mut reader, &mut std::io::sink())?;
            return Ok(answer);
        }
    }
    anyhow::bail!("it has no member `{prefix}`")
}

/// A reader of what `reader` holds compressed, chosen by the end of its name.
pub(super) fn decompress<'a>(suffix: &str, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    Ok(match suffix {
        "" => Box::new(reader),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(reader)),
        ".gz" => Box::new(flate2::read::GzDecoder::new(reader)),
        ".zst" => Box::new(zstd::Decoder::new(reader)?),
        other => anyhow::bail!("its compression `{other}` is not known"),
    })
}

fn damaged(path: &Path) -> Refusal {
    let message = format!("package `{}` is damaged", path.display());
    Refusal::input(message, "download it again, or pass `debian:SUITE/FLAVOUR` to fetch one")
}

/// A package with these control lines and files, for the tests of this folder.
#[cfg(test)]
pub(super) fn fake(path: &Path, control: &str, files: &[(&str, &[u8])]) {
    let data = tests::xz(&tests::tar(files));
    tests::archive(path, &tests::xz(&tests::tar(&[("./control", control.as_bytes())])), &data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code};

    pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            // Past the checks of the crate: some of these names are hostile.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        liblzma::read::XzEncoder::new(bytes, 0).read_to_end(&mut out).unwrap();
        out
    }

    pub(super) fn archive(path: &Path, control: &[u8], data: &[u8]) {
        let mut builder = ar::Builder::new(File::create(path).unwrap());
        let members =
            [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", control), ("data.tar.xz", data)];
        for (name, bytes) in members {
            let header = ar::Header::new(name.into(), bytes.len() as u64);
            builder.append(&header, bytes).unwrap();
        }
    }

    fn unpack_all(deb: &Path, into: &Path) -> Result<()> {
        unpack(deb, into, &|member| Some(member.to_path_buf()))
    }

    #[test]
    fn control_and_files_come_out_as_they_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("a.deb");
        fake(&deb, "Package: a\nVersion: 1\n", &[("./boot/x", b"kernel"), ("./skip", b"")]);
        assert!(is_deb(&deb));
        assert_eq!(describe(&deb).unwrap().get("Version"), Some("1"));
        let place = |member: &Path| member.starts_with("boot").then(|| "y/z".into());
        unpack(&deb, dir.path(), &place).unwrap();
        assert_eq!(std::fs::read(dir.path().join("y/z")).unwrap(), b"kernel");
        assert!(!dir.path().join("skip").exists());
    }

    #[test]
    fn a_package_cut_anywhere_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("a.deb");
        fake(&deb, "Package: a\n", &[("./x", &[7; 2000])]);
        let whole = std::fs::read(&deb).unwrap();
        for len in [0, 7, 8, 30, 70, whole.len() / 2, whole.len() - 8] {
            std::fs::write(&deb, &whole[..len]).unwrap();
            let error = unpack_all(&deb, dir.path()).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT, "{len}: {error:#}");
        }
    }

    #[test]
    fn a_flipped_bit_in_the_files_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("a.deb");
        let noise: Vec<u8> = (0..4000u32).map(|i| (i * i / 7).to_le_bytes()[0]).collect();
        fake(&deb, "Package: a\n", &[("./x", &noise)]);
        let mut bytes = std::fs::read(&deb).unwrap();
        let middle = bytes.len() - 900;
        bytes[middle] ^= 4;
        std::fs::write(&deb, bytes).unwrap();
        assert!(unpack_all(&deb, dir.path()).is_err());
    }

    #[test]
    fn a_member_that_points_outside_is_refused() {
        for name in ["../evil", "./a/../../evil", "/evil"] {
            let dir = tempfile::tempdir().unwrap();
            let deb = dir.path().join("a.deb");
            fake(&deb, "Package: a\n", &[(name, b"x")]);
            let into = dir.path().join("into");
            let error = unpack_all(&deb, &into).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            assert!(format!("{error:#}").contains("points outside"), "{error:#}");
            assert!(!dir.path().join("evil").exists());
        }
    }

    #[test]
    fn what_only_claims_to_be_a_package_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("a.deb");
        std::fs::write(&deb, "not at all a package").unwrap();
        let error = describe(&deb).unwrap_err();
        assert!(is_deb(&deb));
        assert!(format!("{error:#}").ends_with("is damaged: it is no Debian package"), "{error:#}");
        archive(&deb, b"neither", b"nor");
        assert_eq!(exit_code(&describe(&deb).unwrap_err()), exit::BAD_INPUT);
    }
}
