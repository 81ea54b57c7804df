//! Types that do block I/O: raw on the workload's disk inside a guest, on a temporary file of
//! their own anywhere else.

use super::catalogue::params::IoSyncWrite;
use super::{Finish, Work};
use crate::handle::IoPlace;
use crate::report::Latency;
use crate::worker::Worker;
use rustix::fs::{Mode, OFlags, fdatasync, ftruncate, open};
use rustix::io::{Errno, pwrite};
use std::os::fd::OwnedFd;
use std::path::Path;

const BLOCK: usize = 4096;
const WRITES: u64 = 16;
/// What one iteration writes; the smallest stripe.
const EXTENT: u64 = WRITES * BLOCK as u64;
/// Workers up to this many write to places of their own, so that no flush serves two.
const STRIPES: u64 = 64;
const FILE_SIZE: u64 = 16 << 20;

impl Work for IoSyncWrite {
    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let target = match Target::open(w, OFlags::SYNC) {
            Ok(target) => target,
            Err(why) => return Finish::Failed(why),
        };
        let block = [0xA5; BLOCK];
        let start = target.stripe(w.index());
        while w.next() {
            for write in 0..WRITES {
                let at = start + write * BLOCK as u64;
                match w.timed_blocking(Latency::Io, || pwrite(&target.fd, &block, at)) {
                    Ok(_) => w.add_work(1),
                    Err(Errno::INTR) => {}
                    Err(errno) => w.error("pwrite", errno),
                }
            }
            if let Err(errno) = w.timed_blocking(Latency::Io, || fdatasync(&target.fd)) {
                w.error("fdatasync", errno);
            }
        }
        Finish::Done
    }
}

/// Where the I/O goes. A temporary file has no name from the moment it is open.
struct Target {
    fd: OwnedFd,
    capacity: u64,
}

impl Target {
    fn open(w: &mut Worker<'_>, flags: OFlags) -> Result<Self, String> {
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC;
        match w.io_place() {
            IoPlace::Device(path) => {
                w.set_io_target(path.display().to_string());
                Self::device(path, flags)
            }
            IoPlace::Dir(dir) => {
                w.set_io_target(format!("file in {}", dir.display()));
                Self::file(dir, flags)
            }
        }
    }

    fn device(path: &Path, flags: OFlags) -> Result<Self, String> {
        let fd = open(path, flags, Mode::empty())
            .map_err(|e| format!("open({}) failed: {e}", path.display()))?;
        let capacity = rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0))
            .map_err(|e| format!("lseek({}, end) failed: {e}", path.display()))?;
        match capacity {
            ..EXTENT => {
                Err(format!("{} holds {capacity} bytes, {EXTENT} are needed", path.display()))
            }
            _ => Ok(Self { fd, capacity }),
        }
    }

    fn file(dir: &Path, flags: OFlags) -> Result<Self, String> {
        let path = dir.join(format!("schedlab-io-{}", rustix::thread::gettid()));
        let fd = open(&path, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)
            .map_err(|e| format!("open({}) failed: {e}", path.display()))?;
        rustix::fs::unlink(&path).map_err(|e| format!("unlink({}) failed: {e}", path.display()))?;
        // Sparse: a thousand workers on a tmpfs take what they write and no more.
        ftruncate(&fd, FILE_SIZE)
            .map_err(|e| format!("ftruncate({}, {FILE_SIZE}) failed: {e}", path.display()))?;
        Ok(Self { fd, capacity: FILE_SIZE })
    }

    /// Where worker `index` writes: stripes of at least one extent, block-aligned.
    fn stripe(&self, index: usize) -> u64 {
        let count = (self.capacity / EXTENT).min(STRIPES);
        let size = self.capacity / count / BLOCK as u64 * BLOCK as u64;
        index as u64 % count * size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_apart_and_inside() {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let target = Target { fd, capacity: FILE_SIZE + 1000 };
        let starts: Vec<u64> = (0..64).map(|index| target.stripe(index)).collect();
        assert!(starts.windows(2).all(|pair| pair[0] + EXTENT <= pair[1]));
        assert!(starts[63] + EXTENT <= FILE_SIZE);
        assert_eq!(target.stripe(64), target.stripe(0));
    }
}
