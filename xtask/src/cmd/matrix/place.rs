//! The folder of a matrix: a new one, or one to go on in. Called by `cmd::matrix`.

use crate::cli::MatrixArgs;
use crate::error::Refusal;
use crate::matrix::PLAN;
use crate::paths::Paths;
use crate::run::{Folder, file_name};
use anyhow::Result;
use std::path::PathBuf;

/// Those of all matrices that are not told where.
pub(super) fn all(paths: &Paths) -> PathBuf {
    paths.target.join("schedlab/matrices")
}

pub(super) fn choose(args: &MatrixArgs, name: &str, paths: &Paths) -> Result<PathBuf> {
    let shard = args.shard.map(|shard| shard.suffix()).unwrap_or_default();
    let stem = format!("{name}{shard}");
    match (&args.out, args.resume) {
        (Some(out), true) if !out.join(PLAN).is_file() => {
            let message = format!("`{}` holds no matrix to resume", out.display());
            Err(Refusal::input(message, "leave --resume out to begin one there").into())
        }
        (Some(out), true) => Ok(out.clone()),
        (Some(out), false) if out.join(PLAN).is_file() => {
            let message = format!("`{}` holds a matrix already", out.display());
            Err(Refusal::input(message, "pass --resume to go on in it, or another --out").into())
        }
        (None, true) => newest(&stem, paths),
        (out, false) => {
            Ok(Folder::create_in(out.as_deref(), &stem, &all(paths))?.path().to_owned())
        }
    }
}

/// Names end in dates, so that the last one is the newest.
fn newest(stem: &str, paths: &Paths) -> Result<PathBuf> {
    let begin = format!("{}-", file_name(stem));
    let is_date = |rest: &str| rest.len() >= 8 && rest[..8].bytes().all(|b| b.is_ascii_digit());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix(&begin).is_some_and(is_date) && path.join(PLAN).is_file()
    };
    let entries = all(paths).read_dir().into_iter().flatten();
    let newest = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).max();
    newest.ok_or_else(|| {
        let message = format!("there is no matrix `{stem}` to resume");
        Refusal::input(message, "leave --resume out to begin one, or pass its folder as --out")
            .into()
    })
}
