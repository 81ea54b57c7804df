//! Takes what a guest that stands at its stop goes on from: the state comes by a socket, the memory is in files that
//! QEMU shares with us. A snapshot that cannot be kept costs the run nothing. Called by `run::watch`.

use super::{Facts, Key, Rest, STATE, UNFINISHED, WRITTEN, write_facts};
use crate::qemu::{Layout, Memory};
use crate::{disk, files, sealed, sparse};
use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOCKET: &str = "socket";
/// QEMU connects and sends in milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest that boots up to its stop, of which a snapshot may be kept. Nobody else makes the same one while this lives.
#[derive(Debug)]
pub(crate) struct Saving {
    /// What it is of and where it will be, if it is kept.
    goal: Option<(Key, PathBuf)>,
    made: tempfile::TempDir,
    /// That of each node, in files that are gone with whoever has them open.
    memory: Vec<File>,
    listener: UnixListener,
    /// The folder: paths of sockets are short, those of folders are not.
    place: OwnedFd,
    _lock: Option<File>,
}

impl Saving {
    pub(super) fn new(
        layout: &Layout,
        all: &Path,
        folder: PathBuf,
        key: Key,
        lock: File,
    ) -> Result<Self> {
        Self::begin(layout, all, Some((key, folder)), Some(lock))
    }

    /// None is kept, and all that it takes is in the folder of the run.
    pub(super) fn unkept(layout: &Layout, run: &Path) -> Result<Self> {
        Self::begin(layout, run, None, None)
    }

    fn begin(
        layout: &Layout,
        all: &Path,
        goal: Option<(Key, PathBuf)>,
        lock: Option<File>,
    ) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(all);
        let made = made.with_context(|| disk::unwritable(all))?;
        let memory = layout.numa().iter().map(|node| memory_file(node.memory_mib));
        let memory = memory.collect::<io::Result<_>>().context("memfd_create failed")?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = open(made.path(), flags, Mode::empty()).context("open(snapshot) failed")?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", place.as_raw_fd()))
            .context("bind(snapshot) failed")?;
        Ok(Self { goal, made, memory, listener, place, _lock: lock })
    }

    /// What QEMU inherits: files for the guest's memory, and the folder.
    pub(crate) fn inherited(&self) -> Vec<BorrowedFd<'_>> {
        self.memory.iter().map(File::as_fd).chain([self.place.as_fd()]).collect()
    }

    /// Where QEMU finds the files for the guest's memory.
    pub(super) fn memory(&self) -> Memory {
        Memory::Shared(inherited_paths(&self.memory))
    }

    /// Where QEMU finds the socket.
    pub(crate) fn socket(&self) -> String {
        format!("/proc/self/fd/{}/{SOCKET}", self.place.as_raw_fd())
    }

    /// Waits for QEMU, whose end `ended` tells, and takes what it sends to the end.
    pub(crate) fn receive(&self, ended: BorrowedFd<'_>) -> Result<Vec<u8>> {
        let mut fds = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::from_borrowed_fd(ended, PollFlags::IN),
        ];
        let timeout = Timespec::try_from(PATIENCE).ok();
        poll(&mut fds, timeout.as_ref()).context("poll(snapshot) failed")?;
        ensure!(fds[0].revents().contains(PollFlags::IN), "QEMU did not connect");
        let (mut stream, _) = self.listener.accept().context("accept(snapshot) failed")?;
        stream.set_read_timeout(Some(PATIENCE)).context("setsockopt(snapshot) failed")?;
        let mut state = Vec::new();
        stream.read_to_end(&mut state).context("read(snapshot) failed")?;
        Ok(state)
    }

    /// Whether a snapshot is to be kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.goal.is_some()
    }

    /// None is kept after all.
    pub(crate) fn forget(&mut self) {
        self.goal = None;
    }

    /// What the guest goes on from.
    pub(crate) fn rest(self, state: &[u8]) -> Result<Rest> {
        let mut file =
            File::from(memfd_create("state", MemfdFlags::CLOEXEC).context("memfd_create failed")?);
        file.write_all(state).and_then(|()| file.rewind()).context("write(state) failed")?;
        let memory = Memory::Private(inherited_paths(&self.memory));
        Ok(Rest { memory, files: self.memory, state: file })
    }

    /// Gives the identity of the guest, and puts the snapshot where others find it if it is kept; `run` has what the
    /// guest has written so far.
    pub(crate) fn keep(&self, state: &[u8], run: &Path) -> Result<String> {
        let finished = self.made.path().join("finished");
        let unwritable = || disk::unwritable(&finished);
        std::fs::create_dir(&finished).with_context(unwritable)?;
        let mut hash = Sha256::new();
        for (node, from) in self.memory.iter().enumerate() {
            let name = Memory::name(node, self.memory.len());
            hash.update(name.as_bytes());
            let to = self.goal.as_ref().map(|_| finished.join(name));
            sparse::copy(from, to.as_deref(), &mut hash).with_context(unwritable)?;
        }
        hash.update(without_host_clocks(state));
        let identity = files::hex(&hash.finalize());
        let Some((key, folder)) = &self.goal else { return Ok(identity) };
        std::fs::write(finished.join(STATE), state).with_context(unwritable)?;
        for name in WRITTEN {
            std::fs::copy(run.join(name), finished.join(name)).with_context(unwritable)?;
        }
        let facts = Facts { identity, kernel: key.kernel.clone(), qemu: key.qemu.clone() };
        write_facts(&finished, &facts)?;
        // One that was damaged has been removed already.
        sealed::seal_as(&finished, folder)?;
        Ok(facts.identity)
    }
}

/// As a program finds files that it inherits.
fn inherited_paths(files: &[File]) -> Vec<PathBuf> {
    files.iter().map(|file| format!("/proc/self/fd/{}", file.as_raw_fd()).into()).collect()
}

/// As long as it will be: a limit on the size of files, which QEMU may have, is none on memory.
fn memory_file(mib: u64) -> io::Result<File> {
    let file = File::from(memfd_create("memory", MemfdFlags::CLOEXEC)?);
    file.set_len(mib << 20)?;
    Ok(file)
}

/// QEMU's state without the two clocks of the host in its section `timer` (`vmstate_timers`).
fn without_host_clocks(state: &[u8]) -> Vec<u8> {
    const SECTION: &[u8] = b"\x05timer";
    /// Instance and version of the section come before them.
    const HEAD: usize = 8;
    /// `cpu_ticks_offset`, one that is not used, `cpu_clock_offset`.
    const CLOCKS: usize = 24;
    let mut state = state.to_vec();
    if let Some(at) = state.windows(SECTION.len()).position(|bytes| bytes == SECTION) {
        let begin = at + SECTION.len() + HEAD;
        state.iter_mut().skip(begin).take(CLOCKS).for_each(|byte| *byte = 0);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::without_host_clocks;

    #[test]
    fn two_states_that_differ_in_the_hosts_clocks_are_the_same() {
        let state = |clock: u8, more: u8| {
            [b"head\x05timer".as_slice(), &[0; 8], &[clock; 24], &[more]].concat()
        };
        assert_eq!(without_host_clocks(&state(1, 2)), without_host_clocks(&state(9, 2)));
        assert_ne!(without_host_clocks(&state(1, 2)), without_host_clocks(&state(1, 3)));
        assert_eq!(without_host_clocks(b"else"), b"else");
    }
}
