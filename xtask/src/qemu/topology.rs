//! How the CPUs of a guest form threads, cores, last-level caches (LLCs), dies and sockets: as
//! users write it and as QEMU takes it. Called by `machine` and `layout`.

use std::fmt;
use std::str::FromStr;

/// The letters of a topology, from the outermost level to the innermost. Of these a guest shows
/// what QEMU can make: an LLC is a die there, see [`Topology::smp`].
const LETTERS: [char; 5] = ['s', 'd', 'l', 'c', 't'];
const ORDER: &str =
    "give sockets, dies, LLCs, cores and threads in this order, as 2s4c2t or 1s2l4c";
const MAX_CPUS: usize = 255;
/// APIC ID 255 means every CPU.
const MAX_APIC_ID: usize = 254;

/// Sockets, dies in each, last-level caches in each of these, cores, and threads in each core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(super) sockets: usize,
    dies: usize,
    llcs: usize,
    pub(super) cores: usize,
    pub(super) threads: usize,
}

impl Topology {
    /// Refuses what has too many CPUs, too wide APIC IDs, or caches that QEMU does not make.
    fn new([sockets, dies, llcs, cores, threads]: [usize; 5]) -> Result<Self, String> {
        let topology = Self { sockets, dies, llcs, cores, threads };
        let counts = topology.counts();
        match counts.iter().try_fold(1, |all: usize, count| all.checked_mul(*count)) {
            Some(1..=MAX_CPUS) => {}
            _ => return Err(format!("{topology} does not have 1 to {MAX_CPUS} CPUs")),
        }
        if dies > 1 && llcs > 1 {
            let all = dies * llcs;
            return Err(format!(
                "in QEMU the cores of a die share its last-level cache, so that a die has one; \
                 give {all}l or {all}d"
            ));
        }
        // Each level has bits of its own in the APIC ID.
        let last = counts.iter().fold(0, |id, n| id * n.next_power_of_two() + n - 1);
        if last > MAX_APIC_ID {
            return Err(format!(
                "{topology} would have APIC IDs up to {last}, {MAX_APIC_ID} is the highest; \
                 make dies, LLCs, cores and threads powers of two"
            ));
        }
        Ok(topology)
    }

    /// `sockets` sockets of `cores` cores with one thread each.
    pub(super) fn of_cores(sockets: usize, cores: usize) -> Result<Self, String> {
        Self::new([sockets, 1, 1, cores, 1])
    }

    fn counts(self) -> [usize; 5] {
        [self.sockets, self.dies, self.llcs, self.cores, self.threads]
    }

    pub(crate) fn cpus(self) -> usize {
        self.counts().iter().product()
    }

    pub(super) fn cpus_in_socket(self) -> usize {
        self.cpus() / self.sockets
    }

    /// A die has one last-level cache.
    pub(super) fn cpus_in_llc(self) -> usize {
        self.cores * self.threads
    }

    /// Last-level caches in a socket, each of them a die of the guest's.
    pub(super) fn llcs_in_socket(self) -> usize {
        self.dies * self.llcs
    }

    /// Whether LLCs were asked for, whatever dies there are.
    pub(super) fn names_llcs(self) -> bool {
        self.llcs > 1
    }

    /// The value of `-smp`, with nothing left to a default that differs between QEMU's versions.
    /// All of them share a last-level cache by die.
    pub(super) fn smp(self) -> String {
        format!("cpus={}{}", self.cpus(), self.levels())
    }

    /// The same sockets once more.
    pub(super) fn doubled(self) -> Result<Self, String> {
        Self::new([self.sockets * 2, self.dies, self.llcs, self.cores, self.threads])
    }

    /// `,sockets=1,dies=1,cores=2,threads=1`
    pub(super) fn levels(self) -> String {
        let Self { sockets, cores, threads, .. } = self;
        let dies = self.llcs_in_socket();
        format!(",sockets={sockets},dies={dies},cores={cores},threads={threads}")
    }

    /// Where CPU `index` is, by QEMU's names; a socket that does not exist is beyond the last.
    pub(super) fn place(self, index: usize) -> String {
        let mut rest = index;
        let mut parts: Vec<String> = Vec::new();
        for (name, count) in [
            ("thread", self.threads),
            ("core", self.cores),
            ("die", self.llcs_in_socket()),
            ("socket", MAX_CPUS),
        ] {
            parts.push(format!("{name}-id={}", rest % count));
            rest /= count;
        }
        parts.reverse();
        parts.join(",")
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut counts = [1; 5];
        let (mut rest, mut allowed) = (text, 0);
        while !rest.is_empty() {
            let (level, count, after) =
                first_part(rest).filter(|(level, ..)| *level >= allowed).ok_or(ORDER)?;
            counts[level] = count;
            (rest, allowed) = (after, level + 1);
        }
        if allowed == 0 { Err("give at least one part, as 4c".into()) } else { Self::new(counts) }
    }
}

/// Level and count of the part that `text` begins with, and what follows it.
fn first_part(text: &str) -> Option<(usize, usize, &str)> {
    let (digits, tail) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let level = LETTERS.iter().position(|letter| tail.starts_with(*letter))?;
    Some((level, digits.parse().ok()?, &tail[1..]))
}

impl fmt::Display for Topology {
    /// As users write it, `1s2c1t`; dies and LLCs are shown where there are several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, count) in LETTERS.iter().zip(self.counts()) {
            if !matches!(letter, 'd' | 'l') || count != 1 {
                write!(f, "{count}{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<[usize; 5], String> {
        text.parse().map(Topology::counts)
    }

    #[test]
    fn a_part_that_is_missing_is_one() {
        assert_eq!(parsed("2s4c2t"), Ok([2, 1, 1, 4, 2]));
        assert_eq!(parsed("2s1d2c1t"), Ok([2, 1, 1, 2, 1]));
        assert_eq!(parsed("3d"), Ok([1, 3, 1, 1, 1]));
        assert_eq!(parsed("2t"), Ok([1, 1, 1, 1, 2]));
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
    fn each_llc_is_a_die_of_the_guest() {
        let smp = |text: &str| text.parse::<Topology>().map(Topology::smp);
        assert_eq!(smp("2s4l2c2t").unwrap(), "cpus=32,sockets=2,dies=4,cores=2,threads=2");
        assert_eq!(smp("2s4l2c2t"), smp("2s4d2c2t"));
        assert_eq!(smp("1s2d1l4c"), smp("1s1d2l4c"));
        let why = smp("1s2d2l4c").unwrap_err();
        assert!(why.contains("give 4l or 4d"), "{why}");
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
    fn dies_and_llcs_are_shown_where_there_are_several() {
        for (text, shown) in
            [("2s4c2t", "2s4c2t"), ("3c", "1s3c1t"), ("2d", "1s2d1c1t"), ("2l4c", "1s2l4c1t")]
        {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), shown);
        }
    }
}
