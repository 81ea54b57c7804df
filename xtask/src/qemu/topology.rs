//! How the CPUs of a guest form threads, cores, dies and sockets: as users write it and as QEMU
//! takes it. Called by `cli` and `layout`.

use std::fmt;
use std::str::FromStr;

/// The letters of a topology with QEMU's names, from the outermost level to the innermost.
const LEVELS: [(char, &str); 4] =
    [('s', "sockets"), ('d', "dies"), ('c', "cores"), ('t', "threads")];
const MAX_CPUS: usize = 255;
/// APIC ID 255 means every CPU.
const MAX_APIC_ID: usize = 254;

/// Sockets, dies in each, cores in each of these, threads in each core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(super) sockets: usize,
    pub(super) dies: usize,
    pub(super) cores: usize,
    pub(super) threads: usize,
}

impl Topology {
    /// Refuses what has too many CPUs, or too wide APIC IDs.
    pub(super) fn new([sockets, dies, cores, threads]: [usize; 4]) -> Result<Self, String> {
        let topology = Self { sockets, dies, cores, threads };
        let counts = topology.counts();
        match counts.iter().try_fold(1, |all: usize, count| all.checked_mul(*count)) {
            Some(1..=MAX_CPUS) => {}
            _ => return Err(format!("{topology} does not have 1 to {MAX_CPUS} CPUs")),
        }
        // Each level has bits of its own in the APIC ID.
        let last = counts.iter().fold(0, |id, n| id * n.next_power_of_two() + n - 1);
        if last > MAX_APIC_ID {
            return Err(format!(
                "{topology} would have APIC IDs up to {last}, {MAX_APIC_ID} is the highest; \
                 make dies, cores and threads powers of two"
            ));
        }
        Ok(topology)
    }

    fn counts(self) -> [usize; 4] {
        [self.sockets, self.dies, self.cores, self.threads]
    }

    pub(crate) fn cpus(self) -> usize {
        self.counts().iter().product()
    }

    pub(super) fn cpus_in_socket(self) -> usize {
        self.dies * self.cpus_in_die()
    }

    pub(super) fn cpus_in_die(self) -> usize {
        self.cores * self.threads
    }

    /// The value of `-smp`, with nothing left to a default that differs between QEMU's versions.
    pub(super) fn smp(self) -> String {
        let levels = LEVELS.iter().zip(self.counts()).map(|((_, name), n)| format!(",{name}={n}"));
        format!("cpus={}{}", self.cpus(), levels.collect::<String>())
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut counts = [1; 4];
        let (mut rest, mut allowed) = (text, 0);
        while !rest.is_empty() {
            let (level, count, after) = first_part(rest)
                .filter(|(level, ..)| *level >= allowed)
                .ok_or("give sockets, dies, cores and threads in this order, as 2s4c2t")?;
            counts[level] = count;
            (rest, allowed) = (after, level + 1);
        }
        if allowed == 0 { Err("give at least one part, as 4c".into()) } else { Self::new(counts) }
    }
}

/// Level and count of the part that `text` begins with, and what follows it.
fn first_part(text: &str) -> Option<(usize, usize, &str)> {
    let (digits, tail) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let level = LEVELS.iter().position(|(letter, _)| tail.starts_with(*letter))?;
    Some((level, digits.parse().ok()?, &tail[1..]))
}

impl fmt::Display for Topology {
    /// As users write it, `1s2c1t`; dies are shown where a socket has several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((letter, _), count) in LEVELS.iter().zip(self.counts()) {
            if *letter != 'd' || count != 1 {
                write!(f, "{count}{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<[usize; 4], String> {
        text.parse().map(Topology::counts)
    }

    #[test]
    fn a_part_that_is_missing_is_one() {
        assert_eq!(parsed("2s4c2t"), Ok([2, 1, 4, 2]));
        assert_eq!(parsed("2s1d2c1t"), Ok([2, 1, 2, 1]));
        assert_eq!(parsed("3d"), Ok([1, 3, 1, 1]));
        assert_eq!(parsed("2t"), Ok([1, 1, 1, 2]));
        assert_eq!("2s4c2t".parse::<Topology>().unwrap().cpus(), 16);
    }

    #[test]
    fn parts_out_of_order_or_without_number_or_letter_are_refused() {
        for text in ["4c2s", "2s2s", "2", "s", "2s4", "2sc", "-1s", "2x", "2s 4c", "2s\u{e9}"] {
            let why = parsed(text).unwrap_err();
            assert!(why.contains("as 2s4c2t"), "{text}: {why}");
        }
        assert!(parsed("").unwrap_err().contains("at least one part"));
    }

    #[test]
    fn a_guest_has_1_to_255_cpus() {
        assert!(parsed("255c").is_ok());
        for text in ["0s", "2s0c", "256c", "16s4d4c", "9223372036854775807s4c"] {
            let why = parsed(text).unwrap_err();
            assert!(why.contains("1 to 255 CPUs"), "{text}: {why}");
        }
    }

    #[test]
    fn cpus_whose_apic_ids_do_not_fit_are_refused() {
        // 33 sockets and 3 bits for the cores.
        let why = parsed("33s5c").unwrap_err();
        assert!(why.contains("APIC IDs up to 260") && why.contains("powers of two"), "{why}");
        assert!(parsed("32s5c").is_ok());
    }

    #[test]
    fn dies_are_shown_where_a_socket_has_several() {
        for (text, shown) in [("2s4c2t", "2s4c2t"), ("3c", "1s3c1t"), ("2d", "1s2d1c1t")] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), shown);
        }
    }
}
