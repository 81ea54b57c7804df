//! The archive of a bundle: a tar in zstd. The same members always make the same bytes; what comes
//! from strangers is read into memory, in bounds, and never unpacked. Called by `pack` and `open`.

use super::member::{LARGEST_BUNDLE, MEMBERS, Member, Members};
use super::{damaged, foreign, shown};
use anyhow::{Context as _, Result};
use std::io::{Read, Write as _};
use tar::EntryType;

/// A higher one takes several times as long and wins little: an initramfs is compressed already, and a
/// kernel may be.
const LEVEL: i32 = 9;
/// A window of 32 MiB, several times that of [`LEVEL`]: what a decoder may ask of the memory.
const LARGEST_WINDOW_LOG: u32 = 25;
/// Headers and padding of so few members.
const OVERHEAD: u64 = 1 << 20;

pub(super) fn write(members: &Members) -> Result<Vec<u8>> {
    tar_of(members).and_then(|bytes| compress(&bytes)).context("write(archive) failed")
}

/// Nothing of it says when, where and by whom it was made.
pub(super) fn tar_of(members: &Members) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in MEMBERS {
        let Some(bytes) = members.get(member.name) else { continue };
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(member.mode);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, member.name, bytes.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Refuses all that [`write()`] would not have made, before it costs more than its bounds.
pub(super) fn read(source: impl Read) -> Result<Members> {
    let mut decoder = zstd::Decoder::new(source).context("zstd(bundle) failed")?;
    decoder.window_log_max(LARGEST_WINDOW_LOG).context("zstd(bundle) failed")?;
    let mut bounded = Bounded { inner: decoder, left: LARGEST_BUNDLE + OVERHEAD };
    let mut members = Members::new();
    let mut archive = tar::Archive::new(&mut bounded);
    // Raw: no long names and other extensions, which are members of their own then, and refused.
    for entry in archive.entries().with_context(|| damaged("it is no archive"))?.raw(true) {
        let mut entry =
            entry.with_context(|| damaged("its archive ends early or is no archive"))?;
        let member = admit(&entry, &members)?;
        let bytes = content(&mut entry, member)?;
        members.insert(member.name, bytes);
    }
    refuse_more(bounded)?;
    Ok(members)
}

/// The member that an entry may be.
fn admit<R: Read>(entry: &tar::Entry<'_, R>, members: &Members) -> Result<&'static Member> {
    let path = entry.path_bytes();
    let name = std::str::from_utf8(&path).map_err(|_| {
        foreign(format!("the name of its member `{}` is no UTF-8", String::from_utf8_lossy(&path)))
    })?;
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(foreign(format!("its member `{}` points outside of it", shown(name))).into());
    }
    let kind = entry.header().entry_type();
    if kind != EntryType::Regular || name.ends_with('/') {
        let what = kind_name(kind);
        return Err(foreign(format!("its member `{}` is {what}, not a file", shown(name))).into());
    }
    let Some(member) = MEMBERS.iter().find(|member| member.name == name) else {
        return Err(foreign(format!("no bundle has a member `{}`", shown(name))).into());
    };
    if members.contains_key(member.name) {
        return Err(foreign(format!("it has two members `{name}`")).into());
    }
    let size = entry.header().size().with_context(|| damaged("a size in it is no number"))?;
    if size > member.largest {
        let most = member.largest;
        let why = format!("its member `{name}` has {size} bytes; {most} are the most");
        return Err(foreign(why).into());
    }
    Ok(member)
}

fn kind_name(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link | EntryType::Symlink => "a link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::Directory | EntryType::Regular => "a folder",
        _ => "of a kind that no bundle has",
    }
}

fn content<R: Read>(entry: &mut tar::Entry<'_, R>, member: &Member) -> Result<Vec<u8>> {
    let (name, size) = (member.name, entry.size());
    let mut bytes = Vec::new();
    entry
        .read_to_end(&mut bytes)
        .with_context(|| damaged(format!("its member `{name}` cannot be read")))?;
    if bytes.len() as u64 != size {
        let why = format!("its member `{name}` ends after {} of {size} bytes", bytes.len());
        return Err(damaged(why).into());
    }
    if member.is_text && std::str::from_utf8(&bytes).is_err() {
        return Err(foreign(format!("its member `{name}` is no UTF-8 text")).into());
    }
    Ok(bytes)
}

/// Behind the last member are zeros alone; the checksum is at their end.
fn refuse_more(mut rest: impl Read) -> Result<()> {
    const CHUNK: usize = 1 << 16;
    let (mut chunk, zeros) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        match rest.read(&mut chunk).with_context(|| damaged("its end cannot be read"))? {
            0 => return Ok(()),
            n if chunk[..n] == zeros[..n] => {}
            _ => return Err(foreign("something follows its last member").into()),
        }
    }
}

/// Ends a stream that has no end.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            std::io::Error::other(format!("it unpacks to more than {LARGEST_BUNDLE} bytes"))
        })?;
        Ok(n)
    }
}
