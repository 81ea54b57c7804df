//! A file of JSON lines that is only ever added to, so that long work goes on where it was ended:
//! the first line says what the others are results of. Called by `hunt::store` and
//! `matrix::results`.

use crate::error::Refusal;
use crate::files::Kind;
use crate::terminal::from_json;
use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

const FIX: &str = "pass another folder as --out, or remove this one";

/// An open file, ours alone.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
}

impl Lines {
    /// Opens the file at `path`, or makes it, and gives the lines after the first. Results of
    /// `another` kind are those whose first line is not `header`. A last line that was not written
    /// to its end is dropped.
    pub(crate) fn open<H, T>(path: &Path, header: &H, another: &str) -> Result<(Self, Vec<T>)>
    where
        H: Serialize + DeserializeOwned + PartialEq,
        T: DeserializeOwned,
    {
        let shown = path.display();
        if path.exists() {
            Kind::RESULTS.open(path)?;
        }
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| {
                Refusal::host(format!("open(`{shown}`) failed"), "pass another folder as --out")
            })?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).with_context(|| {
            let fix = "wait for it, or pass another folder as --out";
            Refusal::host(format!("another one writes `{shown}`"), fix)
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("read(`{shown}`) failed"))?;
        let whole = whole_lines(&text);
        file.set_len(whole.len() as u64).with_context(|| format!("truncate(`{shown}`) failed"))?;
        file.seek(SeekFrom::End(0)).with_context(|| format!("seek(`{shown}`) failed"))?;
        let mut lines = Self { file };
        if whole.is_empty() {
            lines.add(header)?;
        }
        let kept = parse(whole, path, header, another)?;
        Ok((lines, kept))
    }

    /// The lines after the first, from a file that may be another's, or be written just now.
    pub(crate) fn read<H, T>(path: &Path, header: &H, another: &str) -> Result<Vec<T>>
    where
        H: DeserializeOwned + PartialEq,
        T: DeserializeOwned,
    {
        let text = Kind::RESULTS.read_text(path)?;
        parse(whole_lines(&text), path, header, another)
    }

    /// In one call, so that only the last line can be torn.
    pub(crate) fn add(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line).context("serialize(result) failed")? + "\n";
        self.file
            .write_all(line.as_bytes())
            .context(Refusal::host("write(results) failed", "free some space"))
    }
}

/// Less a last one that was not written to its end.
fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn parse<H, T>(lines: &str, path: &Path, header: &H, another: &str) -> Result<Vec<T>>
where
    H: DeserializeOwned + PartialEq,
    T: DeserializeOwned,
{
    let shown = path.display();
    let Some((first, rest)) = lines.split_once('\n') else { return Ok(Vec::new()) };
    if serde_json::from_str::<H>(first).ok().as_ref() != Some(header) {
        let message = format!("`{shown}` holds the results of another {another}");
        return Err(Refusal::input(message, FIX).into());
    }
    let parse = |(number, line): (usize, &str)| {
        from_json(line.as_bytes()).with_context(|| {
            Refusal::input(format!("line {number} of `{shown}` is no result"), FIX)
        })
    };
    (2..).zip(rest.lines()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_what_is_whole_beside_a_writer_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let (mut writer, kept) =
            Lines::open::<_, u32>(&path, &"a plan".to_owned(), "plan").unwrap();
        assert!(kept.is_empty());
        writer.add(&7).unwrap();
        writer.file.write_all(b"1").unwrap();
        let before = std::fs::read(&path).unwrap();
        let read = |plan: &str| Lines::read::<String, u32>(&path, &plan.to_owned(), "plan");
        assert_eq!(read("a plan").unwrap(), [7]);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(read("b plan").unwrap_err().to_string().contains("another plan"));
    }
}
