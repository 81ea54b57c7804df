//! Frames: one line each with magic, sequence number, length, CRC-32 and JSON. Encoded by the
//! guest's port, decoded by the host while the file grows.

use crate::proto::Message;
use std::fmt::Write as _;

const MAGIC: &str = "#SL1";

/// Numbers frames from 0.
#[derive(Debug, Default)]
pub struct Encoder {
    next: u64,
}

impl Encoder {
    /// The next frame around `json`, which must not hold a line break.
    pub fn encode(&mut self, json: &str) -> String {
        debug_assert!(!json.contains('\n'), "a frame is one line");
        let crc = crc32fast::hash(json.as_bytes());
        let mut line = String::with_capacity(json.len() + 48);
        // Writing to a String does not fail.
        let _ = writeln!(line, "{MAGIC} {} {} {crc:08x} {json}", self.next, json.len());
        self.next += 1;
        line
    }
}

/// What is wrong with the stream so far. Any of it makes a run `report-lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Lines that are no frame, or whose length or CRC does not match.
    pub bad_lines: u64,
    /// Frames that should have come before one that did.
    pub missing: u64,
}

impl Damage {
    /// Whether nothing is wrong.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Takes bytes as they come and gives whole messages.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
    next: u64,
    damage: Damage,
}

impl Decoder {
    /// Adds `bytes` and returns the messages that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.partial);
                messages.extend(self.line(&line));
            } else {
                self.partial.push(byte);
            }
        }
        messages
    }

    /// What has gone wrong; an unfinished line counts only once nothing more can come.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Bytes of a frame that was never finished.
    pub fn unfinished(&self) -> usize {
        self.partial.len()
    }

    fn line(&mut self, line: &[u8]) -> Option<Message> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((seq, message)) = parse(line) else {
            self.damage.bad_lines += 1;
            return None;
        };
        let missing = seq.saturating_sub(self.next);
        self.damage.missing = self.damage.missing.saturating_add(missing);
        self.next = seq.saturating_add(1);
        Some(message)
    }
}

fn parse(line: &[u8]) -> Option<(u64, Message)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.splitn(4, ' ');
    let seq: u64 = fields.next()?.parse().ok()?;
    let len: usize = fields.next()?.parse().ok()?;
    let crc = u32::from_str_radix(fields.next()?, 16).ok()?;
    let json = fields.next()?;
    let intact = json.len() == len && crc32fast::hash(json.as_bytes()) == crc;
    if !intact {
        return None;
    }
    serde_json::from_str(json).ok().map(|message| (seq, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(at_ns: u64) -> Message {
        Message::Progress { elapsed_ns: at_ns, iterations: 0, ended: 0 }
    }

    fn stream(count: u64) -> Vec<String> {
        let mut encoder = Encoder::default();
        (0..count).map(|n| encoder.encode(&serde_json::to_string(&beat(n)).unwrap())).collect()
    }

    fn decode(text: &str) -> (Vec<Message>, Damage) {
        let mut decoder = Decoder::default();
        (decoder.push(text.as_bytes()), decoder.damage())
    }

    #[test]
    fn frames_come_back_whole_however_they_are_cut() {
        let text = stream(3).concat();
        for cut in 0..text.len() {
            let mut decoder = Decoder::default();
            let mut got = decoder.push(&text.as_bytes()[..cut]);
            got.extend(decoder.push(&text.as_bytes()[cut..]));
            assert_eq!(got, [beat(0), beat(1), beat(2)]);
            assert!(decoder.damage().is_none() && decoder.unfinished() == 0);
        }
    }

    #[test]
    fn a_lost_frame_is_missed() {
        let lines = stream(4);
        let (got, damage) = decode(&[lines[0].as_str(), &lines[3]].concat());
        assert_eq!(got, [beat(0), beat(3)]);
        assert_eq!(damage, Damage { bad_lines: 0, missing: 2 });
    }

    #[test]
    fn any_sequence_number_is_one() {
        let last = |seq| Encoder { next: seq }.encode(&serde_json::to_string(&beat(0)).unwrap());
        let huge = Encoder { next: u64::MAX - 1 };
        assert_eq!(huge.next, u64::MAX - 1);
        let line = last(u64::MAX - 1);
        let beyond = line.replacen("18446744073709551614", "18446744073709551615", 1);
        let (got, damage) = decode(&[line, beyond.clone(), stream(1).concat(), beyond].concat());
        assert_eq!((got.len(), damage.missing), (4, u64::MAX));
    }

    #[test]
    fn any_flipped_byte_is_noticed() {
        let text = stream(1).concat();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let mut decoder = Decoder::default();
            let got = decoder.push(&bytes);
            assert!(got.is_empty() || !decoder.damage().is_none(), "byte {at}");
        }
    }

    #[test]
    fn noise_between_frames_is_counted_and_costs_no_frame() {
        let lines = stream(2);
        let (got, damage) = decode(&[lines[0].as_str(), "[ 1.0] WARNING\n", &lines[1]].concat());
        assert_eq!(got.len(), 2);
        assert_eq!(damage, Damage { bad_lines: 1, missing: 0 });
    }

    #[test]
    fn a_cut_off_end_is_seen() {
        let text = stream(2).concat();
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(&text.as_bytes()[..text.len() - 5]).len(), 1);
        assert!(decoder.unfinished() > 0);
    }
}
