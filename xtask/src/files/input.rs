//! Files from outside: what a user names, what a stranger sent, what an earlier run left. Each kind has
//! a size that no sound one exceeds. All commands read such files by [`Kind`] and in no other way, so
//! that a pipe, a device or a file without an end is refused before it is read.

use crate::error::Refusal;
use anyhow::{Context as _, Result};
use std::fs::{File, FileType, Metadata};
use std::io::{Error, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const OF_RUN: &str = "pass the folder of a finished run; `vm` prints it at its end";
const OF_COMPARE: &str =
    "pass the folder of a finished run or of `vm --repeat`, or a file of `compare --save`";
const OF_CHECKOUT: &str = "run it from a complete checkout";

/// What a file is read as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// In bytes.
    largest: u64,
    /// What to do if it cannot be read.
    fix: &'static str,
    /// Whether it is a part of schedlab, so that its absence is no mistake of the user's.
    is_ours: bool,
}

impl Kind {
    pub(crate) const SCENARIO: Self =
        Self::of(4 * MIB, "pass a scenario file as --config; scenarios/ has ready ones");
    pub(crate) const MATRIX: Self =
        Self::of(4 * MIB, "pass a matrix file; matrix.toml and matrix-quick.toml are ready ones");
    pub(crate) const NOTE: Self = Self::of(64 * KIB, "pass a text file as --note");
    pub(crate) const BUNDLE: Self =
        Self::of(1024 * MIB, "pass a file that `cargo xtask bundle pack` made");
    pub(crate) const BASELINE: Self = Self::of(64 * MIB, OF_COMPARE);
    /// The largest are those of 100,000 workers.
    pub(crate) const REPORT: Self = Self::of(256 * MIB, OF_RUN);
    pub(crate) const FRAMES: Self = Self::of(256 * MIB, OF_RUN);
    pub(crate) const CONSOLE: Self = Self::of(64 * MIB, OF_RUN);
    /// `boot.json`, `host.json`, `scenario.json` and the disk of the scenario.
    pub(crate) const OF_RUN: Self = Self::of(4 * MIB, OF_RUN);
    pub(crate) const RESULTS: Self =
        Self::of(1024 * MIB, "pass a folder that a run was given as --out");
    pub(crate) const PLAN: Self = Self::of(64 * MIB, "pass the folder of a matrix");
    pub(crate) const PROGRAM: Self = Self::of(256 * MIB, "pass the path of a program");
    /// An initramfs or a kernel that a run was booted with.
    pub(crate) const IMAGE: Self = Self::of(1024 * MIB, OF_RUN);
    pub(crate) const KERNEL_CONFIG: Self = Self::of(16 * MIB, "pass a file that you may read");
    pub(crate) const TABLE: Self = Self { is_ours: true, ..Self::of(MIB, OF_CHECKOUT) };

    const fn of(largest: u64, fix: &'static str) -> Self {
        Self { largest, fix, is_ours: false }
    }

    /// Opens a regular file that is not too large.
    pub(crate) fn open(self, path: &Path) -> Result<File> {
        self.opened(path).with_context(|| self.refusal("read", path))
    }

    /// All of it.
    pub(crate) fn read(self, path: &Path) -> Result<Vec<u8>> {
        let bytes = self.opened(path).and_then(|file| {
            let mut bytes = Vec::new();
            // It may have become longer, or say of itself that it is empty, as files in /proc do.
            file.take(self.largest + 1).read_to_end(&mut bytes)?;
            self.refuse_larger(bytes.len() as u64)?;
            Ok(bytes)
        });
        bytes.with_context(|| self.refusal("read", path))
    }

    /// The same as text.
    pub(crate) fn read_text(self, path: &Path) -> Result<String> {
        let text = String::from_utf8(self.read(path)?);
        text.map_err(|_| Error::other("it is no UTF-8 text"))
            .with_context(|| self.refusal("read", path))
    }

    fn opened(self, path: &Path) -> std::io::Result<File> {
        if path.as_os_str() == "-" {
            let why = "nothing is read from standard input; `./-` is a file of that name";
            return Err(Error::other(why));
        }
        // To open a device may be enough to set it going.
        self.admit(&path.metadata()?)?;
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
        let flags = i32::try_from(nonblocking).map_err(Error::other)?;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        self.admit(&file.metadata()?)?;
        Ok(file)
    }

    fn admit(self, meta: &Metadata) -> std::io::Result<()> {
        if !meta.is_file() {
            return Err(Error::other(format!("it is {}, not a file", kind_name(meta.file_type()))));
        }
        self.refuse_larger(meta.len())
    }

    fn refuse_larger(self, bytes: u64) -> std::io::Result<()> {
        let largest = self.largest;
        match bytes > largest {
            true => Err(Error::other(format!("it has more than {largest} bytes"))),
            false => Ok(()),
        }
    }

    /// Why `path` cannot be used, after `what` was tried.
    pub(crate) fn refusal(self, what: &str, path: &Path) -> Refusal {
        let message = format!("{what}(`{}`) failed", path.display());
        match self.is_ours {
            true => Refusal::host(message, self.fix),
            false => Refusal::input(message, self.fix),
        }
    }
}

/// Of what is no regular file.
pub(super) fn kind_name(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_block_device() => "a disk",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        std::os::unix::fs::symlink(at("pipe"), at("link")).unwrap();
        std::fs::write(at("binary"), b"\xff\xfe").unwrap();
        for (path, want) in [
            (at("pipe"), "it is a pipe, not a file"),
            (at("link"), "it is a pipe, not a file"),
            (at("socket"), "it is a socket, not a file"),
            (dir.path().to_owned(), "it is a folder, not a file"),
            ("/dev/zero".into(), "it is a device, not a file"),
            ("-".into(), "nothing is read from standard input"),
            (at("gone"), "No such file"),
            (at("binary"), "it is no UTF-8 text"),
        ] {
            let error = Kind::SCENARIO.read_text(&path).unwrap_err();
            let text = render(&error);
            assert!(text.contains(want) && text.contains("fix: pass a scenario"), "{text}");
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
        }
    }

    #[test]
    fn a_file_is_read_up_to_the_size_of_its_kind() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sized = |bytes: u64| {
            file.as_file().set_len(bytes).unwrap();
            Kind::NOTE.read(file.path())
        };
        assert_eq!(sized(64 * KIB).unwrap().len() as u64, 64 * KIB);
        let error = render(&sized(64 * KIB + 1).unwrap_err());
        assert!(error.contains("it has more than 65536 bytes"), "{error}");
        // It says that it has none.
        assert!(!Kind::NOTE.read(Path::new("/proc/self/status")).unwrap().is_empty());
    }
}
