//! A file of JSON lines that is only ever added to, so that long work goes on where it was ended:
//! the first line says what the others are results of. Called by `hunt::store` and
//! `matrix::results`.

use crate::error::Refusal;
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
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).with_context(|| format!("truncate(`{shown}`) failed"))?;
        file.seek(SeekFrom::End(0)).with_context(|| format!("seek(`{shown}`) failed"))?;
        let mut lines = Self { file };
        let Some((first, rest)) = text[..whole].split_once('\n') else {
            lines.add(header)?;
            return Ok((lines, Vec::new()));
        };
        if serde_json::from_str::<H>(first).ok().as_ref() != Some(header) {
            let message = format!("`{shown}` holds the results of another {another}");
            return Err(Refusal::input(message, FIX).into());
        }
        Ok((lines, read(rest, path)?))
    }

    /// In one call, so that only the last line can be torn.
    pub(crate) fn add(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line).context("serialize(result) failed")? + "\n";
        self.file
            .write_all(line.as_bytes())
            .context(Refusal::host("write(results) failed", "free some space"))
    }
}

fn read<T: DeserializeOwned>(lines: &str, path: &Path) -> Result<Vec<T>> {
    let parse = |(number, line)| {
        serde_json::from_str(line).with_context(|| {
            Refusal::input(format!("line {number} of `{}` is no result", path.display()), FIX)
        })
    };
    (2..).zip(lines.lines()).map(parse).collect()
}
