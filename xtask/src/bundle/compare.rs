//! Where two runs begin to differ: the first line of a console, the first value of a report. Pure;
//! called by `outcome`.

use crate::run::{first_value, printk_time};
use serde::Serialize;
use serde_json::Value;

/// The first place where two files differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) file: &'static str,
    /// `line 12`, or the path of a value.
    pub(crate) place: String,
    pub(crate) recorded: String,
    pub(crate) now: String,
    /// The guest's time, if the line has a stamp.
    pub(crate) guest_time: Option<String>,
}

/// What stands for a line or a value that is not there.
const NOTHING: &str = "(nothing)";
const LONGEST: usize = 200;

/// The first line that differs.
pub(super) fn lines(file: &'static str, recorded: &[u8], now: &[u8]) -> Option<Difference> {
    let line = |bytes: Option<&[u8]>| bytes.map_or_else(|| NOTHING.into(), printable);
    let (mut old, mut new) = (recorded.split(is_newline), now.split(is_newline));
    for number in 1_u64.. {
        let (old, new) = (old.next(), new.next());
        if old != new {
            return Some(Difference {
                file,
                place: format!("line {number}"),
                guest_time: new.or(old).and_then(|line| printk_time(str::from_utf8(line).ok()?)),
                recorded: line(old),
                now: line(new),
            });
        }
        old?;
    }
    None
}

/// The first value that differs; the verdict first, then in the order of the names.
pub(super) fn values(file: &'static str, recorded: &Value, now: &Value) -> Option<Difference> {
    let verdict = "/verdict";
    let (old, new) = (recorded.pointer(verdict), now.pointer(verdict));
    let (path, old, new) = match old == new {
        false => ("verdict".into(), old, new),
        true => first_value(recorded, now)?,
    };
    let text = |value: Option<&Value>| {
        value.map_or_else(|| NOTHING.into(), |value| printable(value.to_string().as_bytes()))
    };
    Some(Difference { file, place: path, recorded: text(old), now: text(new), guest_time: None })
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}

/// On one line of a terminal, whatever the guest wrote.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.trim_end_matches('\r').chars().take(LONGEST);
    plain.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_line_that_differs_is_found_with_its_time() {
        let (old, new) = (b"[    0.10] a\r\n[    1.25] b\r\n", b"[    0.10] a\r\n[    1.26] b\r\n");
        assert_eq!(lines("c", old, old), None);
        let found = lines("c", old, new).unwrap();
        assert_eq!((found.place.as_str(), found.recorded.as_str()), ("line 2", "[    1.25] b"));
        assert_eq!(found.guest_time.as_deref(), Some("1.26 s"));
        let short = lines("c", old, &old[..14]).unwrap();
        assert_eq!((short.place.as_str(), short.now.as_str()), ("line 2", ""));
        assert_eq!(lines("c", b"a", b"a\x1b[2J").unwrap().now, "a\u{fffd}[2J");
    }

    #[test]
    fn the_first_value_that_differs_is_named_by_its_path() {
        let old = json!({"verdict": "pass", "a": [{"b": 1}, {"b": 2}], "c": null});
        let at = |new: Value| values("r", &old, &new).map(|found| found.place);
        assert_eq!(at(old.clone()), None);
        assert_eq!(
            at(json!({"verdict": "pass", "a": [{"b": 1}, {"b": 3}], "c": 1})).unwrap(),
            "a[1].b"
        );
        assert_eq!(at(json!({"verdict": "fail", "a": []})).unwrap(), "verdict");
        assert_eq!(at(json!({"verdict": "pass", "a": [{"b": 1}], "c": null})).unwrap(), "a[1]");
    }
}
