//! Programs and headers that a build on this host needs, and the Debian packages that have them.
//! `kernel build` and `scheduler build` ask before they begin.

use crate::error::Refusal;
use std::path::{Path, PathBuf};

/// What is looked for and the package that has it: a program in `PATH`, or a file.
pub(crate) type Need = (&'static str, &'static str);

/// Refuses with everything that is missing at once.
pub(crate) fn require(task: &str, needs: impl IntoIterator<Item = Need>) -> Result<(), Refusal> {
    let missing: Vec<Need> = needs.into_iter().filter(|(what, _)| !is_there(what)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let packages = missing.iter().map(|(_, package)| *package).collect::<Vec<_>>().join(" ");
    let fix = format!("run `apt-get install --no-install-recommends {packages}`");
    Err(Refusal::host(format!("{task} needs {names}"), fix))
}

/// The program of this name that `PATH` leads to.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn is_there(what: &str) -> bool {
    match what.starts_with('/') {
        true => Path::new(what).is_file(),
        false => on_path(what).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_its_packages() {
        require("it", [("sh", "dash"), ("/bin/sh", "dash")]).unwrap();
        let refusal = require("it", [("sh", "dash"), ("no-such", "a"), ("/no/such", "b")]);
        let text = render(&refusal.unwrap_err().into());
        assert!(text.contains("it needs `no-such`, `/no/such`"), "{text}");
        assert!(text.contains("--no-install-recommends a b`"), "{text}");
    }
}
