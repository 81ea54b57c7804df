//! Lists of CPUs and nodes as the kernel writes them: `0-2,5`. Used for sysfs, for the CPU sets of
//! a configuration, and in reports.

use std::collections::BTreeSet;

/// More CPUs than a kernel can have, so that a slip of the finger does not cost all memory.
const LIMIT: usize = 1 << 16;

/// The numbers in `text`, which may be empty.
pub fn parse(text: &str) -> Result<BTreeSet<usize>, String> {
    let mut numbers = BTreeSet::new();
    let parts = text.split(',').map(str::trim);
    for part in parts.filter(|part| !part.is_empty() || text.contains(',')) {
        numbers.extend(range(part).ok_or_else(|| {
            format!("`{part}` is no number below {LIMIT} and no range; write a list as 0-3,8")
        })?);
    }
    Ok(numbers)
}

fn range(part: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < LIMIT).then_some(first..=last)
}

/// The list of these numbers, which come in order, as `0-2,5`.
pub fn format(numbers: impl IntoIterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let parts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_ranges_and_may_be_empty() {
        assert_eq!(parse("0-2,5\n"), Ok([0, 1, 2, 5].into()));
        assert_eq!(parse("7, 3-3"), Ok([3, 7].into()));
        assert_eq!(parse("\n"), Ok(BTreeSet::new()));
        assert_eq!(format([]), "");
        assert_eq!(format([0, 2, 3, 4, 1023]), "0,2-4,1023");
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_part_that_is_wrong() {
        let too_many = "0-18446744073709551615";
        for (text, part) in [("0,x", "x"), ("3-1", "3-1"), ("0,,1", ""), (too_many, too_many)] {
            let why = parse(text).unwrap_err();
            assert!(why.starts_with(&format!("`{part}` ")), "{text}: {why}");
        }
    }
}
