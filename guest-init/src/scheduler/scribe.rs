//! Keeps what schedulers write, with the time of each line. PID 1 does it, because it is never
//! kept from reading: a scheduler that waits for its reader would hold up the whole machine.

use crate::port::Port;
use crate::proto::{Message, OutputLine, SchedulerOutput};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::collections::VecDeque;
use std::io;
use workloads::monotonic_ns;

/// So much of the beginning and of the end is kept.
const KEPT: usize = 256 << 10;
/// A longer line is several.
const LONGEST_LINE: usize = 4096;
/// Lines of one message have so many bytes, or a little more.
const PART: usize = 16 << 10;
/// Room for what a scheduler writes while PID 1 does something else.
const PIPE: usize = 1 << 20;
const CHUNK: usize = 64 << 10;
/// Others want PID 1 too, however fast a scheduler writes.
const CHUNKS_AT_ONCE: usize = 16;

/// Where schedulers write.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Streams {
    /// Both, once more.
    pub(super) fn both(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.stdout.try_clone()?, self.stderr.try_clone()?])
    }
}

/// Everything that was written so far.
#[derive(Debug)]
pub(crate) struct Scribe {
    sources: [Source; 2],
    kept: Kept,
}

#[derive(Debug)]
struct Source {
    name: &'static str,
    pipe: OwnedFd,
    /// Whether nobody can write any more. A pipe at its end is always readable, and a PID 1 that
    /// spins on it keeps the runner, of the same priority, from ever ending on its CPU.
    ended: bool,
    partial: Vec<u8>,
    /// When the beginning of `partial` came.
    at_ns: u64,
}

#[derive(Debug, Default)]
struct Kept {
    head: Vec<OutputLine>,
    head_bytes: usize,
    tail: VecDeque<OutputLine>,
    tail_bytes: usize,
    left_out_bytes: u64,
    total_bytes: u64,
}

impl Scribe {
    /// A scribe and what it reads from.
    pub(crate) fn new() -> Result<(Self, Streams), Errno> {
        let source = |name| -> Result<(Source, OwnedFd), Errno> {
            let (pipe, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
            // A smaller one will do too.
            let _ = fcntl_setpipe_size(&pipe, PIPE);
            Ok((Source { name, pipe, ended: false, partial: Vec::new(), at_ns: 0 }, writer))
        };
        let ((one, stdout), (other, stderr)) = (source("stdout")?, source("stderr")?);
        let scribe = Self { sources: [one, other], kept: Kept::default() };
        Ok((scribe, Streams { stdout, stderr }))
    }

    /// Readable when there is something to take.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().filter(|source| !source.ended).map(|source| source.pipe.as_fd())
    }

    /// Takes what is there, or a good part of it.
    pub(crate) fn take(&mut self) {
        let mut chunk = [0; CHUNK];
        for source in &mut self.sources {
            for _ in 0..CHUNKS_AT_ONCE {
                match rustix::io::read(&source.pipe, &mut chunk) {
                    Ok(length @ 1..) => source.push(&chunk[..length], &mut self.kept),
                    Ok(_) => {
                        source.ended = true;
                        break;
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Sends all that was kept, and forgets it.
    pub(crate) fn send(&mut self, port: &mut Port) {
        self.take();
        for source in &mut self.sources {
            source.end_line(&mut self.kept);
        }
        let kept = std::mem::take(&mut self.kept);
        let (head, tail) = (parts(kept.head), parts(kept.tail.into()));
        let gap = head.len();
        for (at, lines) in head.into_iter().chain(tail).enumerate() {
            let left_out_bytes = if at == gap { kept.left_out_bytes } else { 0 };
            let total_bytes = kept.total_bytes;
            port.send(&Message::SchedulerOutput(SchedulerOutput {
                lines,
                left_out_bytes,
                total_bytes,
            }));
        }
    }
}

/// Lines in parts that messages can take.
fn parts(lines: Vec<OutputLine>) -> Vec<Vec<OutputLine>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        bytes += line.text.len();
        part.push(line);
        if bytes >= PART {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

impl Source {
    fn push(&mut self, bytes: &[u8], kept: &mut Kept) {
        kept.total_bytes += bytes.len() as u64;
        let now_ns = monotonic_ns();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.partial.is_empty() {
                self.at_ns = now_ns;
            }
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LONGEST_LINE {
                self.end_line(kept);
            }
        }
    }

    fn end_line(&mut self, kept: &mut Kept) {
        let line = std::mem::take(&mut self.partial);
        for piece in line.chunks(LONGEST_LINE) {
            let text = String::from_utf8_lossy(piece).trim_end_matches(['\n', '\r']).to_owned();
            kept.add(OutputLine { at_ns: self.at_ns, stream: self.name.into(), text });
        }
    }
}

impl Kept {
    fn add(&mut self, line: OutputLine) {
        let size = |line: &OutputLine| line.text.len() + 1;
        if self.tail.is_empty() && self.head_bytes + size(&line) <= KEPT {
            self.head_bytes += size(&line);
            self.head.push(line);
            return;
        }
        self.tail_bytes += size(&line);
        self.tail.push_back(line);
        while self.tail_bytes > KEPT {
            let Some(first) = self.tail.pop_front() else { return };
            self.tail_bytes -= size(&first);
            self.left_out_bytes += size(&first) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        let (pipe, _) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Source { name: "stderr", pipe, ended: false, partial: Vec::new(), at_ns: 0 }
    }

    #[test]
    fn lines_are_whole_however_they_were_written() {
        let (mut source, mut kept) = (source(), Kept::default());
        for part in ["on", "e\ntw", "o\n", "three"] {
            source.push(part.as_bytes(), &mut kept);
        }
        source.end_line(&mut kept);
        let texts: Vec<_> = kept.head.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!(kept.total_bytes, 13);
    }

    #[test]
    fn of_megabytes_the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
        let (mut source, mut kept) = (source(), Kept::default());
        for number in 0..200_000 {
            source.push(format!("line {number:09}\n").as_bytes(), &mut kept);
        }
        assert_eq!(kept.head[0].text, "line 000000000");
        assert_eq!(kept.tail.back().unwrap().text, "line 000199999");
        assert!(kept.head_bytes <= KEPT && kept.tail_bytes <= KEPT);
        let here = (kept.head_bytes + kept.tail_bytes) as u64;
        assert_eq!(here + kept.left_out_bytes, kept.total_bytes);
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_for_ever() {
        let (mut source, mut kept) = (source(), Kept::default());
        source.push(&vec![b'x'; 3 * LONGEST_LINE], &mut kept);
        assert_eq!(kept.head.len(), 3);
        assert!(source.partial.is_empty());
    }
}
