//! `xtask docs`: files of the repository that are made from the code: the pages on work types and
//! on complaints of kernels, and the JSON Schemas. A test here fails when one of them is another.

mod complaints;
mod schema;
mod work_types;

use crate::cli::DocsArgs;
use crate::error::{Refusal, exit};
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use std::path::Path;

type Maker = fn() -> Result<String>;

/// Paths in the repository, and who makes what is there.
const FILES: [(&str, Maker); 4] = [
    ("docs/complaints.md", complaints::page),
    ("docs/work-types.md", work_types::page),
    ("docs/schema/scenario.schema.json", schema::scenario),
    ("docs/schema/report.schema.json", schema::report),
];

pub(crate) fn run(args: &DocsArgs, paths: &Paths) -> Result<u8> {
    if args.check {
        check(&paths.repo)?;
        return Ok(exit::PASS);
    }
    for (path, make) in FILES {
        let (text, file) = (make()?, paths.repo.join(path));
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.and_then(|()| std::fs::write(&file, text)).with_context(|| {
            Refusal::host(format!("write(`{}`) failed", file.display()), "make it writable")
        })?;
    }
    Ok(exit::PASS)
}

/// Refuses a file that is not what would be written.
fn check(repo: &Path) -> Result<()> {
    for (path, make) in FILES {
        let is = std::fs::read_to_string(repo.join(path)).unwrap_or_default();
        if is != make()? {
            let fix = "make it anew with `cargo xtask docs`";
            return Err(Refusal::input(format!("{path} is stale"), fix).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_in_the_repository_is_stale() {
        let repo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        if let Err(error) = check(repo) {
            panic!("{}", crate::error::render(&error));
        }
    }

    #[test]
    fn a_missing_file_is_stale_and_the_fix_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        for (path, _) in FILES {
            run(&DocsArgs { check: false }, &paths).unwrap();
            run(&DocsArgs { check: true }, &paths).unwrap();
            std::fs::remove_file(dir.path().join(path)).unwrap();
            let error = run(&DocsArgs { check: true }, &paths).unwrap_err();
            let text = crate::error::render(&error);
            assert!(text.contains(path) && text.contains("cargo xtask docs"), "{text}");
        }
    }
}
