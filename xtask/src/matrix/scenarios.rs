//! Which scenario files a matrix has. Called by `plan`.

use super::rule::Pattern;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

const FIX: &str = "write scenarios = [\"scenarios/*.json\"], from the folder of the file on";

/// Each with the name of its file, without the ending; those of a pattern in the order of their
/// names.
pub(super) fn find(patterns: Option<&[String]>, matrix: &Path) -> Result<Vec<(String, PathBuf)>> {
    let Some(patterns) = patterns else {
        let message = format!("`{}` has no `scenarios` under [axes]", matrix.display());
        return Err(Refusal::input(message, FIX).into());
    };
    let below = matrix.parent().unwrap_or_else(|| Path::new(""));
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for pattern in patterns {
        let files = files(&below.join(pattern))?;
        if files.is_empty() {
            let message = format!("`{}`: no scenario is called `{pattern}`", matrix.display());
            return Err(Refusal::input(message, FIX).into());
        }
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match found.iter().find(|(other, _)| *other == name) {
                None => found.push((name, file)),
                Some((_, other)) if *other == file => {}
                Some((_, other)) => {
                    let (one, other) = (other.display(), file.display());
                    let message = format!("`{one}` and `{other}` have one name");
                    return Err(Refusal::input(message, "rename one of the files").into());
                }
            }
        }
    }
    Ok(found)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains('*') {
        return Ok(if path.is_file() { vec![path.to_owned()] } else { Vec::new() });
    }
    let pattern = Pattern::from(name);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let entries = std::fs::read_dir(folder)
        .with_context(|| Refusal::input(format!("read_dir(`{}`) failed", folder.display()), FIX))?;
    let fits = |path: &PathBuf| {
        path.is_file() && path.file_name().is_some_and(|file| pattern.has(&file.to_string_lossy()))
    };
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(fits).collect();
    files.sort();
    Ok(files)
}
