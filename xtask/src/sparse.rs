//! Large files that are mostly zeros, as those with a guest's memory: copied and hashed without these. Called
//! by `snapshot` and `sealed`.

use crate::files::hex;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

const PAGE: usize = 4096;
const CHUNK: usize = 256 * PAGE;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// Takes each page of `from` that is not zero into `hash` with its place. Copies the file to `to`, a new one, if
/// that is given.
pub(crate) fn copy(from: &File, to: Option<&Path>, hash: &mut Sha256) -> io::Result<()> {
    let to = to.map(File::create_new).transpose()?;
    let length = from.metadata()?.len();
    to.iter().try_for_each(|to| to.set_len(length))?;
    each_page(from, |place, page| {
        take(hash, place, page);
        to.iter().try_for_each(|to| to.write_all_at(page, place))
    })
}

/// The same hash of one file.
pub(crate) fn hash(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    copy(&File::open(path)?, None, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// Whether the disk has not all of a file.
pub(crate) fn is_sparse(meta: &Metadata) -> bool {
    const BLOCK: u64 = 512;
    meta.blocks() * BLOCK < meta.len()
}

fn take(hash: &mut Sha256, place: u64, page: &[u8]) {
    hash.update(place.to_le_bytes());
    hash.update(page);
}

fn each_page(from: &File, mut found: impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let length = from.metadata()?.len();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while let Some((begin, end)) = next_data(from, at, length)? {
        let mut place = begin;
        while place < end {
            let bytes = &mut chunk[..usize::try_from(end - place).unwrap_or(CHUNK).min(CHUNK)];
            from.read_exact_at(bytes, place)?;
            for (index, page) in bytes.chunks(PAGE).enumerate() {
                if *page != ZEROS[..page.len()] {
                    found(place + (index * PAGE) as u64, page)?;
                }
            }
            place += bytes.len() as u64;
        }
        at = end;
    }
    Ok(())
}

/// The next part of the file that is on the disk.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(at)) {
        Ok(begin) => {
            Ok(Some((begin / PAGE as u64 * PAGE as u64, seek(file, SeekFrom::Hole(begin))?)))
        }
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(pages: &[(u64, u8)], dir: &Path) -> String {
        let (from, to) = (dir.join("from"), dir.join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        for (page, byte) in pages {
            file.write_all_at(&[*byte; PAGE], page * PAGE as u64).unwrap();
        }
        let _ = std::fs::remove_file(&to);
        let mut hash = Sha256::new();
        copy(&File::open(&from).unwrap(), Some(&to), &mut hash).unwrap();
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
        assert!(to.metadata().unwrap().blocks() < 4096, "zeros were written");
        let both = hex(&hash.finalize());
        assert_eq!(super::hash(&to).unwrap(), both);
        both
    }

    #[test]
    fn a_copy_has_the_same_bytes_and_a_hash_of_those_that_are_not_zero() {
        let dir = tempfile::tempdir().unwrap();
        let one = hash_of(&[(1, 7), (9000, 8)], dir.path());
        assert_eq!(hash_of(&[(1, 7), (2, 0), (9000, 8)], dir.path()), one);
        assert_ne!(hash_of(&[(1, 7), (9001, 8)], dir.path()), one);
        assert_ne!(hash_of(&[(1, 7)], dir.path()), one);
    }
}
