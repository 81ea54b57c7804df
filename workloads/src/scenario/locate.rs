//! Where a value stands in a JSON text, for refusals that come after parsing, and which known
//! name an unknown one may have meant.

use crate::suggest::nearest;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Line and column, from 1, of the value at `path` (`composed[0].nice`), or of the innermost
/// value around it that the text has.
pub(super) fn locate(text: &str, path: &str) -> Option<(usize, usize)> {
    let mut here: &RawValue = serde_json::from_str(text).ok()?;
    for step in steps(path) {
        let inner = match step {
            Step::Field(name) => serde_json::from_str::<BTreeMap<String, &RawValue>>(here.get())
                .ok()
                .and_then(|fields| fields.get(name).copied()),
            Step::Index(index) => serde_json::from_str::<Vec<&RawValue>>(here.get())
                .ok()
                .and_then(|items| items.get(index).copied()),
        };
        match inner {
            Some(inner) => here = inner,
            None => break,
        }
    }
    let offset = here.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let before = text.get(..offset)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next()?.chars().count() + 1;
    Some((line, column))
}

enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).map(|part| {
        match part.strip_suffix(']').and_then(|number| number.parse().ok()) {
            Some(index) => Step::Index(index),
            None => Step::Field(part),
        }
    })
}

/// serde lists what it knows in the text of the error and nowhere else: "unknown field `a`,
/// expected one of `b`, `c`".
pub(super) fn nearest_expected(message: &str) -> Option<&str> {
    let mut names = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let given = names.next()?;
    nearest(given, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_found() {
        let text = "{\n \"a\": {\"b\": [1,\n  {\"c\": 5}]}\n}";
        assert_eq!(locate(text, "a.b[1].c"), Some((3, 9)));
        assert_eq!(locate(text, "a.b[1].absent"), Some((3, 3)));
        assert_eq!(locate(text, ""), Some((1, 1)));
    }

    #[test]
    fn the_nearest_expected_name_is_read_from_the_error() {
        let message = "unknown field `nme`, expected one of `name`, `seed`";
        assert_eq!(nearest_expected(message), Some("name"));
        assert_eq!(nearest_expected("invalid type"), None);
    }
}
