//! Which seeds a hunt runs, and which of them are this shard's. Called by `cli` and `cmd::hunt`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// More than anybody waits for.
const MOST: u64 = 1_000_000;

/// Seeds in order, each once: `1..200`, both ends included, `7`, or several of these with commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds(BTreeSet<u64>);

/// The part `index` of `of`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    index: u64,
    of: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut seeds = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            let number = |text: &str| text.parse::<u64>().ok();
            let range = number(first).zip(number(last)).filter(|(first, last)| first <= last);
            let (first, last) =
                range.ok_or_else(|| format!("`{part}` is no seed and no range, as 1..200"))?;
            if last - first >= MOST {
                return Err(format!("`{part}` is more than {MOST} seeds"));
            }
            seeds.extend(first..=last);
        }
        Ok(Self(seeds))
    }
}

impl Seeds {
    /// Those of `shard`. A seed stays in its shard whatever other seeds there are.
    pub(crate) fn of(&self, shard: Option<Shard>) -> Vec<u64> {
        self.0.iter().copied().filter(|seed| shard.is_none_or(|shard| shard.has(*seed))).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').map(|(index, of)| (index.parse(), of.parse()));
        match parts {
            Some((Ok(index), Ok(of))) if 1 <= index && index <= of => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is no shard; write 1/4 to 4/4")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Shard {
    /// Whether `seed`, or another number, is of this part.
    pub(crate) fn has(self, seed: u64) -> bool {
        seed % self.of == self.index % self.of
    }

    /// For the name of a folder.
    pub(crate) fn suffix(self) -> String {
        format!("-{}-of-{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(text: &str) -> Vec<u64> {
        text.parse::<Seeds>().unwrap().of(None)
    }

    #[test]
    fn a_range_has_both_ends_and_a_list_each_seed_once() {
        assert_eq!(seeds("1..3"), [1, 2, 3]);
        assert_eq!(seeds("7"), [7]);
        assert_eq!(seeds("9,1..3,2..4"), [1, 2, 3, 4, 9]);
        for bad in ["", "3..1", "1..", "a", "1..2..3", "1;2", "0..1000000000"] {
            assert!(bad.parse::<Seeds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shards_share_all_seeds_and_keep_theirs_when_the_range_grows() {
        let of = |text: &str, shard: &str| {
            text.parse::<Seeds>().unwrap().of(Some(shard.parse().unwrap()))
        };
        let parts: Vec<_> = (1..=3).map(|index| of("1..10", &format!("{index}/3"))).collect();
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, seeds("1..10"));
        for (index, part) in parts.iter().enumerate() {
            let more = of("0..20", &format!("{}/3", index + 1));
            assert!(part.iter().all(|seed| more.contains(seed)));
        }
        for bad in ["0/3", "4/3", "1", "1/0", "a/b"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
