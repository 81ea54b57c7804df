//! Packages from the mirror into a folder, by apt's own downloader, which knows the machine's
//! proxies. What an earlier call got of them is kept and gone on with. Called by `debian.rs`.

use super::apt::Apt;
use crate::disk;
use crate::error::Refusal;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Of package `apt`; no command of `apt-get` goes on with half a file.
const HELPER: &str = "/usr/lib/apt/apt-helper";
/// How often the bar moves.
const LOOK: Duration = Duration::from_millis(100);

/// A file of the mirror.
#[derive(Debug, PartialEq)]
struct Archive {
    uri: String,
    file: String,
    bytes: u64,
    /// `SHA256:` and 64 digits.
    hash: String,
}

/// Puts packages, each `NAME=VERSION`, into the folder `into`, and nothing else stays there.
pub(super) fn download(
    apt: &Apt,
    packages: &[String],
    into: &Path,
    progress: &Progress,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(into).with_context(|| disk::unwritable(into))?;
    let archives: Vec<Archive> = apt.uris(packages)?.lines().filter_map(archive).collect();
    if archives.len() != packages.len() {
        let message = format!("apt-get download({}) names no files", packages.join(" "));
        return Err(Refusal::host(message, "the mirror is being updated: try again").into());
    }
    remove_others(&archives, into)?;
    let total: u64 = archives.iter().map(|archive| archive.bytes).sum();
    let here = || archives.iter().map(|archive| length(&into.join(&archive.file))).sum();
    let (megabytes, had): (u64, u64) = (total.div_ceil(1_000_000), here());
    let names = packages.join(" ");
    progress.step(match had {
        0 => format!("downloading {megabytes} MB: {names}"),
        _ => format!("downloading {megabytes} MB, {} of it are here: {names}", had / 1_000_000),
    });
    for archive in archives.iter().filter(|archive| !archive.is_whole(into)) {
        archive.fetch(apt, into, &|| progress.transfer(here(), total))?;
    }
    progress.update("");
    Ok(archives.iter().map(|archive| into.join(&archive.file)).collect())
}

impl Archive {
    fn is_whole(&self, into: &Path) -> bool {
        let path = into.join(&self.file);
        length(&path) == self.bytes
            && disk::sha256(&path).is_ok_and(|hash| self.hash == format!("SHA256:{hash}"))
    }

    fn fetch(&self, apt: &Apt, into: &Path, look: &dyn Fn()) -> Result<()> {
        // A pipe that nobody reads could fill up.
        let said = into.join("apt.log");
        let log = File::create(&said).with_context(|| disk::unwritable(&said))?;
        let arguments = ["download-file", &self.uri, &self.file, &self.hash];
        let mut command = apt.command(HELPER, into, &arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let status = wait(child.map_err(|error| super::apt::no_program(HELPER, error))?, look)?;
        let text = std::fs::read(&said).unwrap_or_default();
        drop(std::fs::remove_file(&said));
        if status && self.is_whole(into) {
            return Ok(());
        }
        let message = format!("download({}) failed: {}", self.file, super::apt::last_error(&text));
        let fix = "free some space or mend the network, and do it again: it goes on from there; or \
                   pass the path of a bzImage or of a .deb";
        Err(Refusal::host(message, fix).into())
    }
}

/// Whether it ended well.
fn wait(mut child: Child, look: &dyn Fn()) -> Result<bool> {
    loop {
        look();
        match child.try_wait().context("wait(apt-helper) failed")? {
            Some(status) => return Ok(status.success()),
            None => std::thread::sleep(LOOK),
        }
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

/// `'URI' FILE BYTES SHA256:DIGITS`, as `apt-get --print-uris` prints it.
fn archive(line: &str) -> Option<Archive> {
    let mut words = line.split_whitespace();
    let uri = words.next()?.strip_prefix('\'')?.strip_suffix('\'')?.to_owned();
    let file = words.next().filter(|file| !file.contains('/'))?.to_owned();
    let bytes = words.next()?.parse().ok()?;
    let hash = words.next().filter(|hash| hash.starts_with("SHA256:"))?.to_owned();
    Some(Archive { uri, file, bytes, hash })
}

/// Removes what is no part of these, such as half of what was the newest last week.
fn remove_others(archives: &[Archive], into: &Path) -> Result<()> {
    for entry in std::fs::read_dir(into).with_context(|| disk::unreadable(into))?.flatten() {
        let is_part = archives.iter().any(|archive| entry.file_name() == archive.file.as_str());
        if !is_part {
            std::fs::remove_file(entry.path()).with_context(|| disk::unwritable(&entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use crate::files;
    use crate::kernel::sources::Mirror;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    const BODY_BYTES: usize = 400_000;

    fn body() -> Vec<u8> {
        (0..BODY_BYTES).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    /// Where the request says that the client is, if it says so.
    fn asked_from(stream: &TcpStream) -> Option<usize> {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let range = head.iter().find_map(|line| line.strip_prefix("Range: bytes="));
        range.and_then(|range| range.trim_end_matches('-').parse().ok())
    }

    /// Answers once; at most `limit` bytes of the body, then the connection is gone.
    fn answer(mut stream: TcpStream, limit: usize) -> usize {
        let from = asked_from(&stream);
        let (status, start) = match from {
            Some(from) => ("206 Partial Content", from),
            None => ("200 OK", 0),
        };
        let rest = &body()[start..];
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{BODY_BYTES}\r\n\
             Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n",
            rest.len(),
            BODY_BYTES - 1
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The client may have hung up already.
        drop(stream.write_all(&rest[..limit.min(rest.len())]));
        drop(stream.shutdown(std::net::Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
        start
    }

    /// A mirror that gives `limits` bytes, connection by connection; tells where each began.
    fn mirror(limits: Vec<usize>) -> (String, mpsc::Receiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/x.deb", listener.local_addr().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for limit in limits {
                let (stream, _) = listener.accept().unwrap();
                let begun = answer(stream, limit);
                // A test that has failed listens no more.
                let _ = sender.send(begun);
            }
        });
        (uri, receiver)
    }

    fn apt(dir: &Path) -> Apt {
        let mirror = Mirror { uri: "http://mirror.invalid/debian".to_owned(), signed_by: None };
        let apt = Apt::open(dir, "sid", &mirror).unwrap();
        // One connection a call, and none by the machine's proxy.
        let config = dir.join("apt.conf");
        let text = std::fs::read_to_string(&config).unwrap();
        let more = "Acquire::Retries \"0\";\nAcquire::http::Proxy \"DIRECT\";\n\
                    Acquire::http::Pipeline-Depth \"0\";\n";
        std::fs::write(&config, text + more).unwrap();
        apt
    }

    #[test]
    fn a_mirror_that_is_gone_in_mid_download_is_said_and_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("into");
        std::fs::create_dir(&into).unwrap();
        let (uri, begun) = mirror(vec![150_000, BODY_BYTES]);
        let hash = format!("SHA256:{}", files::sha256(&body()));
        let bytes = u64::try_from(BODY_BYTES).unwrap();
        let archive = Archive { uri, file: "x.deb".into(), bytes, hash };
        let apt = apt(dir.path());
        let error = archive.fetch(&apt, &into, &|| ()).unwrap_err();
        assert_eq!(exit_code(&error), exit::HOST);
        assert!(render(&error).contains("download(x.deb) failed: "), "{}", render(&error));
        assert!(!archive.is_whole(&into));
        assert_eq!(begun.recv().unwrap(), 0);
        archive.fetch(&apt, &into, &|| ()).unwrap();
        assert!(archive.is_whole(&into));
        assert_eq!(begun.recv().unwrap(), 150_000, "what was here was not asked for again");
    }

    #[test]
    fn another_file_than_the_mirror_promised_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (uri, _begun) = mirror(vec![BODY_BYTES]);
        let hash = format!("SHA256:{}", files::sha256(b"something else"));
        let bytes = u64::try_from(BODY_BYTES).unwrap();
        let archive = Archive { uri, file: "x.deb".into(), bytes, hash };
        let error = archive.fetch(&apt(dir.path()), dir.path(), &|| ()).unwrap_err();
        assert_eq!(exit_code(&error), exit::HOST);
    }

    #[test]
    fn what_apt_prints_is_read() {
        let line = "'http://mirror.invalid/a_1%2b1.deb' a_1+1.deb 1234 SHA256:00ff";
        let want = Archive {
            uri: "http://mirror.invalid/a_1%2b1.deb".into(),
            file: "a_1+1.deb".into(),
            bytes: 1234,
            hash: "SHA256:00ff".into(),
        };
        assert_eq!(archive(line), Some(want));
        for other in ["", "Reading lists", "'u' ../f 1 SHA256:0", "'u' f 1 MD5Sum:0"] {
            assert_eq!(archive(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_part_is_removed_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["new.deb", "old.deb"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let archives = [archive("'u' new.deb 1 SHA256:0").unwrap()];
        remove_others(&archives, dir.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].file_name(), "new.deb");
    }
}
