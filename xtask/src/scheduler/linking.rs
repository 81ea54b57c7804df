//! Whether a scheduler becomes a static program here. It does where libelf can be linked
//! statically; else it uses shared libraries, which images carry along. Called by `cargo`.

use crate::disk;
use anyhow::{Context as _, Result};
use std::fs;
use std::process::{Command, Stdio};

/// One file that runs on any host and in any guest.
const STATIC: &str = "-C target-feature=+crt-static";
/// What libbpf begins with.
const CALLS_LIBELF: &str = "unsigned elf_version(unsigned); void *elf_begin(int, int, void *);
int main(void) { return elf_version(1) == 0 || elf_begin(-1, 0, 0) != 0; }\n";

/// For the environment of cargo; empty where programs use shared libraries.
pub(super) fn rust_flags() -> Result<String> {
    let libraries = libraries_of_libelf();
    if !links_statically(&libraries, &[])? {
        return Ok(String::new());
    }
    // The ones that every program has need no word of ours.
    let known = ["-lelf", "-lz", "-lpthread"];
    let others = libraries.iter().filter(|library| !known.contains(&library.as_str()));
    Ok(others.fold(STATIC.to_owned(), |flags, library| format!("{flags} -C link-arg={library}")))
}

/// libelf of later Debians needs libraries of its own, of which the linker is not told.
fn libraries_of_libelf() -> Vec<String> {
    let asked = Command::new("pkg-config").args(["--static", "--libs-only-l", "libelf"]).output();
    let said = asked.map(|output| output.stdout).unwrap_or_default();
    let said: Vec<_> =
        String::from_utf8_lossy(&said).split_whitespace().map(str::to_owned).collect();
    if said.is_empty() { ["-lelf", "-lz"].map(str::to_owned).into() } else { said }
}

/// Asked of the linker itself: `libelf.a` of Debian 13 (0.192-4) calls `eu_search_tree_init`, which
/// is in no library of that Debian.
fn links_statically(libraries: &[String], options: &[&str]) -> Result<bool> {
    let dir = tempfile::tempdir().context("create(temporary folder) failed")?;
    let source = dir.path().join("main.c");
    fs::write(&source, CALLS_LIBELF).with_context(|| disk::unwritable(&source))?;
    let mut gcc = Command::new("gcc");
    gcc.arg("-static").arg(&source).arg("-o").arg(dir.path().join("main"));
    gcc.args(options).args(libraries).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(gcc.status().context("run(`gcc`) failed")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A `libelf.a` made of this, in `dir`.
    fn archive(dir: &Path, source: &str) {
        let file = dir.join("elf.c");
        fs::write(&file, source).unwrap();
        let object = dir.join("elf.o");
        let gcc = Command::new("gcc").arg("-c").arg(&file).arg("-o").arg(&object).status();
        assert!(gcc.unwrap().success());
        let ar =
            Command::new("ar").arg("rc").arg(dir.join("libelf.a")).arg(&object).status().unwrap();
        assert!(ar.success());
    }

    fn links(source: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        archive(dir.path(), source);
        let folder = format!("-L{}", dir.path().display());
        links_statically(&["-lelf".to_owned()], &[&folder]).unwrap()
    }

    #[test]
    fn a_libelf_that_lacks_what_it_calls_makes_no_static_program() {
        let version = "unsigned elf_version(unsigned v) { return v; }";
        let begin = "void *elf_begin(int f, int c, void *r) { return r; }";
        assert!(links(&format!("{version} {begin}")));
        let begin = "void init(void); void *elf_begin(int f, int c, void *r) { init(); return r; }";
        assert!(!links(&format!("{version} {begin}")));
    }
}
