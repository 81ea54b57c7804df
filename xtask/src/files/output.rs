//! Files that the user wants written. What is there already says how: a regular file appears whole or
//! not at all, through a symbolic link too; a pipe, a terminal and `/dev/null` are written to; all else
//! is refused while the command line is read. `cli` makes an [`Output`] of every option that names one.

use super::input::kind_name;
use super::temporary;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use clap::builder::{PathBufValueParser, TypedValueParser};
use rustix::fs::{Mode, OFlags, major, minor};
use std::fs::File;
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

const MOST_LINKS: usize = 40;
/// `/dev/null`, `/dev/zero` and `/dev/full`.
const MEMORY_MAJOR: u32 = 1;
const SINKS: [u32; 3] = [3, 5, 7];
/// Terminals: virtual ones, `/dev/tty` and `/dev/console`, and those of a window.
const TERMINAL_MAJORS: [u32; 2] = [4, 5];
const PSEUDO_TERMINAL_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// A file to be written, which can be.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    path: PathBuf,
}

/// What becomes of the file that is there.
#[derive(Debug, PartialEq)]
enum Place {
    /// It is replaced, or made.
    Whole(PathBuf),
    /// It is written to as it is.
    Through(PathBuf),
}

impl Output {
    /// Refuses what can only fail, or would destroy what is no file.
    pub(crate) fn at(path: PathBuf) -> Result<Self, String> {
        place(&path, MOST_LINKS)?;
        Ok(Self { path })
    }

    /// For options.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        PathBufValueParser::new().try_map(Self::at)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All that is to be in it.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.put(|place| match place {
            Place::Whole(path) => replace(&path, bytes),
            Place::Through(path) => through(&path)?.write_all(bytes),
        })
    }

    /// Behind what is in it.
    pub(crate) fn add(&self, bytes: &[u8]) -> Result<()> {
        self.put(|place| match place {
            Place::Whole(path) => {
                File::options().append(true).create(true).open(path)?.write_all(bytes)
            }
            Place::Through(path) => through(&path)?.write_all(bytes),
        })
    }

    fn put(&self, put: impl FnOnce(Place) -> std::io::Result<()>) -> Result<()> {
        place(&self.path, MOST_LINKS).map_err(Error::other).and_then(put).with_context(|| {
            let message = format!("write(`{}`) failed", self.path.display());
            Refusal::host(message, "free some space, or pass another file")
        })
    }
}

/// A folder to be written into, for options: one that is there, or that can be made.
pub(crate) fn folder_parser() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match (path.metadata(), path.symlink_metadata()) {
        (Ok(meta), _) if !meta.is_dir() => Err(format!("it is {}, not a folder", what(&meta))),
        (Err(_), Ok(_)) => Err("it is a link that leads nowhere".to_owned()),
        _ => Ok(path),
    })
}

fn what(meta: &std::fs::Metadata) -> &'static str {
    if meta.is_file() { "a file" } else { kind_name(meta.file_type()) }
}

fn place(path: &Path, links: usize) -> Result<Place, String> {
    let meta = match path.metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(path, links),
        Err(error) => return Err(error.to_string()),
    };
    let kind = meta.file_type();
    let may_be_written = match () {
        // Replaced, standard output would go on into a file without a name.
        () if kind.is_file() && is_descriptor(path) => true,
        () if kind.is_file() => {
            return path.canonicalize().map(Place::Whole).map_err(|error| error.to_string());
        }
        () if kind.is_char_device() => is_stream(major(meta.rdev()), minor(meta.rdev())),
        () => kind.is_fifo(),
    };
    match may_be_written {
        true => Ok(Place::Through(path.to_owned())),
        false => Err(format!("it is {}, not a file", kind_name(kind))),
    }
}

/// Nothing is there, or a link to nothing.
fn absent(path: &Path, links: usize) -> Result<Place, String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    match path.read_link() {
        Ok(_) if links == 0 => Err("too many links".into()),
        Ok(target) => place(&folder.join(target), links - 1),
        Err(_) if path.file_name().is_none() => Err("it has no name".into()),
        Err(_) if !folder.is_dir() => Err(format!("there is no folder `{}`", folder.display())),
        Err(_) => Ok(Place::Whole(path.to_owned())),
    }
}

/// Whether it names an open file of this process, as `/dev/stdout` does.
fn is_descriptor(path: &Path) -> bool {
    let names = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    names.contains(&path) || path.starts_with("/dev/fd") || path.starts_with("/proc")
}

/// Of a character device.
fn is_stream(major: u32, minor: u32) -> bool {
    let is_sink = major == MEMORY_MAJOR && SINKS.contains(&minor);
    is_sink || TERMINAL_MAJORS.contains(&major) || PSEUDO_TERMINAL_MAJORS.contains(&major)
}

/// Under its name only when it is complete, with the rights of the one before. Where the folder takes
/// no other file, as with one that is mounted alone, it is written where it is.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let renamed = temporary(dir.unwrap_or_else(|| Path::new("."))).and_then(|mut file| {
        file.write_all(bytes)?;
        if let Ok(old) = path.metadata() {
            file.as_file().set_permissions(old.permissions())?;
        }
        file.persist(path).map(drop).map_err(Error::from)
    });
    match renamed {
        Err(error) if is_of_folder(&error) && path.is_file() => {
            File::options().write(true).truncate(true).open(path)?.write_all(bytes)
        }
        renamed => renamed,
    }
}

fn is_of_folder(error: &Error) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    [CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy].contains(&error.kind())
}

/// A pipe that nobody reads is no place to wait at.
fn through(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::empty());
    let fd = opened.map_err(|errno| match errno {
        rustix::io::Errno::NXIO => Error::other("nobody reads from it"),
        errno => errno.into(),
    })?;
    rustix::fs::fcntl_setfl(&fd, flags)?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, makedev, mkfifoat, mknodat};
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn write(path: &Path, text: &str) -> Result<()> {
        Output::at(path.to_owned()).map_err(Error::other)?.write(text.as_bytes())
    }

    #[test]
    fn a_link_stays_a_link_and_its_file_gets_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("sub/file"), "old").unwrap();
        std::fs::set_permissions(at("sub/file"), std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink("sub/file", at("link")).unwrap();
        symlink("sub/none", at("to-none")).unwrap();
        symlink("to-none", at("to-link")).unwrap();
        for (link, file) in [("link", "sub/file"), ("to-link", "sub/none")] {
            write(&at(link), "new").unwrap();
            assert!(at(link).is_symlink(), "{link}");
            assert_eq!(std::fs::read_to_string(at(file)).unwrap(), "new");
        }
        let mode = at("sub/file").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "as before");
        Output::at(at("link")).unwrap().add(b", more").unwrap();
        assert_eq!(std::fs::read_to_string(at("sub/file")).unwrap(), "new, more");
        symlink("loop", at("loop")).unwrap();
        assert!(Output::at(at("loop")).is_err());
    }

    #[test]
    fn a_pipe_is_written_to_if_somebody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, link) = (dir.path().join("pipe"), dir.path().join("link"));
        mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
        symlink(&pipe, &link).unwrap();
        let error = format!("{:#}", write(&link, "x").unwrap_err());
        assert!(error.contains("nobody reads from it"), "{error}");
        let reading = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut reader = File::from(rustix::fs::open(&pipe, reading, Mode::empty()).unwrap());
        write(&link, "text").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert!(pipe.metadata().unwrap().file_type().is_fifo(), "still a pipe");
    }

    #[test]
    fn what_is_no_file_and_no_stream_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: PathBuf, want: &str| {
            let why = Output::at(path).unwrap_err();
            assert!(why.contains(want), "{why}");
        };
        refused(dir.path().to_owned(), "a folder, not a file");
        refused(dir.path().join("none/file"), "there is no folder");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        refused(socket, "a socket, not a file");
        assert!(is_stream(1, 3) && is_stream(136, 0), "/dev/null and a terminal");
        assert!(!is_stream(1, 1) && !is_stream(10, 130), "/dev/mem and /dev/watchdog");
    }

    #[test]
    fn a_device_stays_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let node = |name: &str, kind, numbers: (u32, u32)| {
            let path = dir.path().join(name);
            let made = mknodat(CWD, &path, kind, Mode::RWXU, makedev(numbers.0, numbers.1));
            made.map(|()| path)
        };
        // Only root may make them; what is decided by their numbers is tested above.
        let Ok(null) = node("null", FileType::CharacterDevice, (1, 3)) else { return };
        // Some folders have no devices.
        if write(&null, "x").is_ok() {
            assert!(null.metadata().unwrap().file_type().is_char_device());
        }
        let disk = node("disk", FileType::BlockDevice, (1, 0)).unwrap();
        assert!(Output::at(disk.clone()).unwrap_err().contains("a disk, not a file"));
        assert!(disk.metadata().unwrap().file_type().is_block_device());
    }
}
