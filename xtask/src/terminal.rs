//! Text on its way to a terminal. What others wrote — a scenario, a guest, a kernel, the sender of a
//! bundle, whoever named a file — may hold characters that make a terminal move, hide or forge lines.
//! All that is printed goes through here: [`Terminal`] shows control characters as JSON writes them,
//! [`tame`] keeps a message from looking like a line of ours, and [`from_json`] does both to every text of
//! a document. Called by `progress`, `main`, and whoever prints what it has read.

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;

/// A writer of text whose control characters are shown, less line breaks and tabs.
#[derive(Debug)]
pub(crate) struct Terminal<W: Write> {
    inner: W,
    /// The beginning of a character.
    pending: Vec<u8>,
}

impl<W: Write> Terminal<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, pending: Vec::new() }
    }

    /// Writes what was held back: a character that never came to its end.
    pub(crate) fn finish(mut self) -> std::io::Result<()> {
        if !self.pending.is_empty() {
            self.inner.write_all("\u{fffd}".as_bytes())?;
        }
        self.inner.flush()
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.pending);
        let mut rest = all.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.inner.write_all(shown(text, is_layout).as_bytes())?;
                    return Ok(bytes.len());
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    let text = String::from_utf8_lossy(good);
                    self.inner.write_all(shown(&text, is_layout).as_bytes())?;
                    let Some(length) = error.error_len() else {
                        self.pending = bad.to_vec();
                        return Ok(bytes.len());
                    };
                    self.inner.write_all("\u{fffd}".as_bytes())?;
                    rest = &bad[length..];
                }
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// A message of one or more lines: none but the first begins where lines of ours do.
pub(crate) fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            tamed.push('\n');
        }
        if number > 0 && !line.is_empty() && !line.starts_with(' ') {
            tamed.push_str("    ");
        }
        tamed.push_str(&shown(line, |c| c == '\t'));
    }
    tamed
}

/// A document whose texts are each one line that a terminal shows as it is.
pub(crate) fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    // Most have none, and may be large.
    let is_plain = text.is_ascii() && !text.contains(&b'\\') && !text.contains(&0x7f);
    if is_plain {
        return Ok(serde_json::from_slice(text)?);
    }
    let _: T = serde_json::from_slice(text)?;
    let mut value = serde_json::from_slice(text)?;
    clean(&mut value);
    Ok(serde_json::from_value(value)?)
}

/// The same of a value that is here.
pub(crate) fn cleaned<T: Serialize + DeserializeOwned>(value: &T) -> Result<T> {
    from_json(&serde_json::to_vec(value)?)
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = shown(text, |_| false) {
                *text = shown;
            }
        }
        Value::Array(all) => all.iter_mut().for_each(clean),
        Value::Object(all) => {
            let fields = std::mem::take(all).into_iter().map(|(name, mut value)| {
                clean(&mut value);
                (shown(&name, |_| false).into_owned(), value)
            });
            *all = fields.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Control characters, but those that may stay, as JSON writes them, so that JSON stays what it is.
fn shown(text: &str, may_stay: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_bad = |c: char| is_control(c) && !may_stay(c);
    if !text.chars().any(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_bad(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a String does not fail.
            c => drop(write!(shown, "\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(shown)
}

fn is_layout(c: char) -> bool {
    c == '\n' || c == '\t'
}

/// Those of ASCII and Latin-1, line and paragraph separators, and those that turn the direction of text.
fn is_control(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parts: &[&[u8]]) -> String {
        let mut bytes = Vec::new();
        let mut terminal = Terminal::new(&mut bytes);
        parts.iter().for_each(|part| terminal.write_all(part).unwrap());
        terminal.finish().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_control_character_comes_through() {
        assert_eq!(written(&[b"a\x1b[2J\tb\r\nc\x07"]), "a\\u001b[2J\tb\\r\nc\\u0007");
        assert_eq!(written(&["\u{9b}2J \u{202e}x ä →".as_bytes()]), "\\u009b2J \\u202ex ä →");
        let text = "ä\u{9b}→\u{1b}x".as_bytes();
        for cut in 0..=text.len() {
            assert_eq!(written(&[&text[..cut], &text[cut..]]), "ä\\u009b→\\u001bx", "{cut}");
        }
        assert_eq!(written(&[b"a\xffb\xc3"]), "a\u{fffd}b\u{fffd}");
        for c in (0..=0x2100).filter_map(char::from_u32).filter(|c| c.is_control()) {
            let is_kept = c == '\n' || c == '\t';
            assert_eq!(written(&[c.to_string().as_bytes()]) == c.to_string(), is_kept, "{c:?}");
        }
    }

    #[test]
    fn json_stays_what_it_is() {
        let value = serde_json::json!({"name": "a\u{9b}\u{7f}\n\u{202e}\"\\"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let printed = written(&[text.as_bytes()]);
        assert!(printed.is_ascii(), "{printed}");
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
    }

    #[test]
    fn a_message_cannot_look_like_a_line_of_ours() {
        assert_eq!(tame("no\nPASS: x\n  fix: y\r"), "no\n    PASS: x\n  fix: y\\r");
    }

    #[test]
    fn every_text_of_a_document_is_one_line() {
        type Map = std::collections::BTreeMap<String, Vec<String>>;
        let hostile = Map::from([("a\nb".into(), vec!["x\nPASS: y\u{1b}[31m".into(), "ä".into()])]);
        let tamed =
            Map::from([("a\\nb".into(), vec!["x\\nPASS: y\\u001b[31m".into(), "ä".into()])]);
        assert_eq!(cleaned(&hostile).unwrap(), tamed);
        assert_eq!(cleaned(&tamed).unwrap(), tamed);
        assert_eq!(from_json::<u64>(b" 18446744073709551615").unwrap(), u64::MAX);
        assert!(from_json::<Map>("{\"ä\": 1}".as_bytes()).is_err());
    }
}
