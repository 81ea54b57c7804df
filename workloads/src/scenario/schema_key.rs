//! `"$schema"`, by which a file tells editors where its schema is: no field of a scenario, and
//! out of the way before one is read. Called by `Scenario::parse`. It looks at the text and not at
//! parsed JSON, which would be 10 KB of PID 1.

use std::borrow::Cow;
use std::ops::Range;

const KEY: &str = "\"$schema\"";

/// `text` with this key of its object and its value blanked out; all else keeps its place.
pub(super) fn blanked(text: &str) -> Cow<'_, str> {
    let Some(Range { start, end }) = place(text) else { return text.into() };
    let blank = text[start..end].chars().map(|c| if c == '\n' { c } else { ' ' });
    text[..start].chars().chain(blank).chain(text[end..].chars()).collect()
}

/// Where it stands, with the comma that goes with it.
fn place(text: &str) -> Option<Range<usize>> {
    let (mut depth, mut at) = (0, 0);
    while let Some(byte) = text.as_bytes().get(at) {
        let mut end = at + 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                end = end_of_text(text, at)?;
                if depth == 1 && &text[at..end] == KEY && text[end..].trim_start().starts_with(':')
                {
                    return member(text, at..end);
                }
            }
            _ => {}
        }
        at = end;
    }
    None
}

/// The member with this key and its comma; none if its value is no text, or if its comma is one
/// too many, so that it is refused as what it is.
fn member(text: &str, key: Range<usize>) -> Option<Range<usize>> {
    let begins = text[key.end..].find(|c: char| c != ':' && !c.is_whitespace())? + key.end;
    let end = text[begins..].starts_with('"').then(|| end_of_text(text, begins))??;
    match text[end..].trim_start().strip_prefix(',').map(str::trim_start) {
        Some(next) if next.starts_with('"') => Some(key.start..text.len() - next.len()),
        Some(_) => None,
        None => {
            let before = text[..key.start].trim_end();
            Some(before.strip_suffix(',').unwrap_or(before).len()..end)
        }
    }
}

/// The end of the JSON text that begins with a quote at `start`.
fn end_of_text(text: &str, start: usize) -> Option<usize> {
    let mut escaped = false;
    let closes = |c: char| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    };
    Some(start + 1 + text[start + 1..].find(closes)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_and_the_rest_stays_where_it_was() {
        for (text, left) in [
            ("{\n \"$schema\": \"a\",\n \"seed\": 1}", "\"seed\": 1}"),
            ("{\"seed\":1,\"$schema\" :\n \"\u{e9}\" }", "}"),
            ("{\"$schema\":\"a \\\" \\\\\"}", "}"),
        ] {
            let all = blanked(text);
            serde_json::from_str::<std::collections::BTreeMap<String, u64>>(&all).unwrap();
            assert!(!all.contains('$') && all.ends_with(left), "{all}");
            let lines = |text: &str| text.lines().map(|l| l.chars().count()).collect::<Vec<_>>();
            assert_eq!(lines(&all), lines(text), "{all}");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_it() {
        for text in [
            r#"{"$schema":5}"#,
            r#"{"workload":{"$schema":"x"}}"#,
            r#"{"name":"\"$schema\":\"x\""}"#,
            r#"{"$schema":"x",}"#,
            r#"{"$schema":"x","#,
            r#"{"name":"$schema"}"#,
            r#"["$schema"]"#,
        ] {
            assert!(matches!(blanked(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
