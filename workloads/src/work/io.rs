//! Types that do block I/O: raw on the workload's disk inside a guest, on a temporary file of
//! their own anywhere else.

use super::catalogue::params::{IoConvoy, IoRandRead, IoSyncWrite};
use super::reference::{Documented, Facts};
use super::{Finish, Work};
use crate::handle::IoPlace;
use crate::report::Latency;
use crate::rng::Rng;
use crate::worker::Worker;
use rustix::fs::{
    Mode, OFlags, fcntl_getfl, fcntl_setfl, fdatasync, ftruncate, ioctl_blksszget, open,
};
use rustix::io::{Errno, pread, pwrite};
use std::os::fd::OwnedFd;
use std::path::Path;

const BLOCK: usize = 4096;
const WRITES: u64 = 16;
/// What one iteration writes; the smallest stripe.
const EXTENT: u64 = WRITES * BLOCK as u64;
/// Workers up to this many write to places of their own, so that no flush serves two.
const STRIPES: u64 = 64;
const FILE_SIZE: u64 = 16 << 20;
/// A file to read from holds data in every block, so it is smaller.
const READ_FILE_SIZE: u64 = 1 << 20;
/// Iterations of [`IoConvoy`] between two flushes.
const FLUSH_EVERY: u64 = 16;

/// Outside a guest the types write to a file of their own.
const DISK: Facts = Facts {
    privilege: Some(
        "in a guest with a disk the right to open it, which root has; without, it fails",
    ),
    ..Facts::PLAIN
};

impl Documented for IoSyncWrite {
    const FACTS: Facts = Facts { latency: &[(Latency::Io, "each write and each flush")], ..DISK };
}

impl Work for IoSyncWrite {
    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let target = match Target::open(w, OFlags::SYNC) {
            Ok(target) => target,
            Err(why) => return Finish::Failed(why),
        };
        let block = [0xA5; BLOCK];
        let (start, _) = target.stripe(w.index());
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

impl Documented for IoRandRead {
    const FACTS: Facts = Facts { latency: &[(Latency::Io, "each read")], ..DISK };
}

impl Work for IoRandRead {
    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let target = match Target::direct(w) {
            Ok(target) => target,
            Err(why) => return Finish::Failed(why),
        };
        let mut buffer = Buffer::new();
        while w.next() {
            target.read_somewhere(w, &mut buffer);
        }
        Finish::Done
    }
}

impl Documented for IoConvoy {
    const FACTS: Facts = Facts { latency: &[(Latency::Io, "each write, read and flush")], ..DISK };
}

impl Work for IoConvoy {
    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let target = match Target::direct(w) {
            Ok(target) => target,
            Err(why) => return Finish::Failed(why),
        };
        let mut buffer = Buffer::new();
        let (start, size) = target.stripe(w.index());
        let mut cursor = 0;
        for round in 1_u64.. {
            if !w.next() {
                break;
            }
            let write = || pwrite(&target.fd, &buffer.0, start + cursor);
            match w.timed_blocking(Latency::Io, write) {
                Ok(_) => w.add_work(1),
                Err(Errno::INTR) => {}
                Err(errno) => w.error("pwrite", errno),
            }
            cursor = (cursor + BLOCK as u64) % size;
            target.read_somewhere(w, &mut buffer);
            if round.is_multiple_of(FLUSH_EVERY)
                && let Err(errno) = w.timed_blocking(Latency::Io, || fdatasync(&target.fd))
            {
                w.error("fdatasync", errno);
            }
        }
        Finish::Done
    }
}

/// A block of memory where O_DIRECT wants it.
#[repr(C, align(4096))]
struct Buffer([u8; BLOCK]);

impl Buffer {
    fn new() -> Box<Self> {
        Box::new(Self([0xA5; BLOCK]))
    }
}

/// Where the I/O goes. A temporary file has no name from the moment it is open.
struct Target {
    fd: OwnedFd,
    capacity: u64,
    /// What offsets are multiples of.
    sector: u64,
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

    /// A target past the page cache, with data to read. A file system without O_DIRECT is used
    /// without it, and `io_target` says so.
    fn direct(w: &mut Worker<'_>) -> Result<Self, String> {
        let target = Self::open(w, OFlags::empty())?;
        let target = match w.io_place() {
            IoPlace::Device(_) => target,
            IoPlace::Dir(_) => w.blocked(|| target.filled())?,
        };
        // Not at open(2): a file system that refuses it there may have made the file.
        let set = fcntl_getfl(&target.fd)
            .and_then(|flags| fcntl_setfl(&target.fd, flags | OFlags::DIRECT));
        match (set, w.io_place()) {
            (Ok(()), _) => Ok(target),
            (Err(Errno::INVAL), IoPlace::Dir(dir)) => {
                w.set_io_target(format!("file in {}, without O_DIRECT", dir.display()));
                Ok(target)
            }
            (Err(errno), _) => Err(format!("fcntl(F_SETFL, O_DIRECT) failed: {errno}")),
        }
    }

    /// The file cut to [`READ_FILE_SIZE`], with data in every block.
    fn filled(self) -> Result<Self, String> {
        let block = [0xA5; BLOCK];
        ftruncate(&self.fd, READ_FILE_SIZE)
            .map_err(|e| format!("ftruncate({READ_FILE_SIZE}) failed: {e}"))?;
        for at in (0..READ_FILE_SIZE).step_by(BLOCK) {
            pwrite(&self.fd, &block, at).map_err(|e| format!("pwrite at {at} failed: {e}"))?;
        }
        fdatasync(&self.fd).map_err(|e| format!("fdatasync failed: {e}"))?;
        Ok(Self { capacity: READ_FILE_SIZE, ..self })
    }

    /// One block from a random sector.
    fn read_somewhere(&self, w: &mut Worker<'_>, buffer: &mut Buffer) {
        let at = self.offset(w.rng());
        match w.timed_blocking(Latency::Io, || pread(&self.fd, &mut buffer.0[..], at)) {
            Ok(BLOCK) => w.add_work(1),
            Ok(_) => w.error("pread ended early", Errno::IO),
            Err(Errno::INTR) => {}
            Err(errno) => w.error("pread", errno),
        }
    }

    /// A random multiple of the sector size from which a block can be read.
    fn offset(&self, rng: &mut Rng) -> u64 {
        let places = self.capacity.saturating_sub(BLOCK as u64) / self.sector + 1;
        rng.below(usize::try_from(places).unwrap_or(usize::MAX)) as u64 * self.sector
    }

    fn device(path: &Path, flags: OFlags) -> Result<Self, String> {
        let fd = open(path, flags, Mode::empty())
            .map_err(|e| format!("open({}) failed: {e}", path.display()))?;
        let capacity = rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0))
            .map_err(|e| format!("lseek({}, end) failed: {e}", path.display()))?;
        let sector = ioctl_blksszget(&fd)
            .map_err(|e| format!("ioctl({}, BLKSSZGET) failed: {e}", path.display()))?;
        match capacity {
            ..EXTENT => {
                Err(format!("{} holds {capacity} bytes, {EXTENT} are needed", path.display()))
            }
            _ => Ok(Self { fd, capacity, sector: u64::from(sector.max(1)) }),
        }
    }

    fn file(dir: &Path, flags: OFlags) -> Result<Self, String> {
        let fd = unnamed_file(dir, flags)?;
        // Sparse: a thousand workers on a tmpfs take what they write and no more.
        ftruncate(&fd, FILE_SIZE)
            .map_err(|e| format!("ftruncate({}, {FILE_SIZE}) failed: {e}", dir.display()))?;
        Ok(Self { fd, capacity: FILE_SIZE, sector: BLOCK as u64 })
    }

    /// Where worker `index` writes and how much room there is: stripes of at least one extent,
    /// block-aligned.
    fn stripe(&self, index: usize) -> (u64, u64) {
        let count = (self.capacity / EXTENT).min(STRIPES);
        let size = self.capacity / count / BLOCK as u64 * BLOCK as u64;
        (index as u64 % count * size, size)
    }
}

/// A file of this worker alone, without a name.
pub(super) fn unnamed_file(dir: &Path, flags: OFlags) -> Result<OwnedFd, String> {
    let path = dir.join(format!("schedlab-io-{}", rustix::thread::gettid()));
    let fd = open(&path, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)
        .map_err(|e| format!("open({}) failed: {e}", path.display()))?;
    rustix::fs::unlink(&path).map_err(|e| format!("unlink({}) failed: {e}", path.display()))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_apart_and_inside() {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let target = Target { fd, capacity: FILE_SIZE + 1000, sector: 512 };
        let starts: Vec<u64> = (0..64).map(|index| target.stripe(index).0).collect();
        assert!(starts.windows(2).all(|pair| pair[0] + EXTENT <= pair[1]));
        assert!(starts[63] + EXTENT <= FILE_SIZE);
        assert_eq!(target.stripe(64), target.stripe(0));
    }

    #[test]
    fn random_reads_are_aligned_and_inside() {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let target = Target { fd, capacity: 8192, sector: 512 };
        let mut rng = Rng::for_worker(1, 0);
        let offsets: std::collections::BTreeSet<u64> =
            (0..1000).map(|_| target.offset(&mut rng)).collect();
        assert_eq!(offsets, (0..=4096).step_by(512).collect());
        let buffer = Buffer::new();
        assert!((&raw const *buffer).addr().is_multiple_of(BLOCK));
    }
}
