//! What an ELF program needs to run: the closure of its shared libraries, read from their dynamic
//! sections, and its interpreter. Called by [`super::resolve`]. What a program opens by
//! `dlopen` cannot be seen here.

use super::Library;
use super::search::Folders;
use crate::error::Refusal;
use crate::files::Kind;
use anyhow::Result;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, EM_X86_64, ET_DYN, ET_EXEC, PT_INTERP};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, ReadCache};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders of libraries as a guest's loader knows them: this host's own, so that the loader that is
/// carried along finds them.
const MULTIARCH: &str = "/lib/x86_64-linux-gnu";
const LIB64: &str = "/lib64";
const FIX: &str = "pass a program for x86-64 Linux, at best a static one";

/// Of one ELF file.
#[derive(Debug, Default, PartialEq)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
    /// `DT_RUNPATH` for its own libraries only, else `DT_RPATH`, as it is written.
    run_path: Option<String>,
    rpath: Option<String>,
}

/// Everything that the guest must have beside the program itself, by path.
pub(super) fn libraries(program: &Path) -> Result<Vec<Library>> {
    libraries_with(program, &Folders::of_host())
}

/// With libraries from these folders.
pub(super) fn libraries_with(program: &Path, folders: &Folders) -> Result<Vec<Library>> {
    let needs = read(program, true)?;
    let Some(interpreter) = &needs.interpreter else {
        return is_static(program, &needs).map(|()| Vec::new());
    };
    if needs.libraries.is_empty() {
        let message =
            format!("`{}` has an interpreter and no list of libraries", program.display());
        return Err(Refusal::input(message, FIX).into());
    }
    let mut found = BTreeSet::new();
    found.insert(Library {
        guest_path: interpreter.clone(),
        file: present(PathBuf::from(interpreter), program)?,
    });
    // The loader knows itself by its name already.
    let mut names: BTreeSet<String> = BTreeSet::new();
    names.extend(interpreter.rsplit('/').next().map(str::to_owned));
    let mut open = vec![(program.to_path_buf(), needs, Vec::new())];
    while let Some((file, needs, mut inherited)) = open.pop() {
        let origin = file.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
        let expand = |path: &Option<String>| search_path(path.as_deref(), &origin);
        if needs.run_path.is_none() {
            inherited.splice(0..0, expand(&needs.rpath));
        }
        let own = match &needs.run_path {
            Some(_) => expand(&needs.run_path),
            None => inherited.clone(),
        };
        for name in needs.libraries {
            if !names.insert(name.clone()) {
                continue;
            }
            let library = find(&name, &own, folders, &file)?;
            let needs = read(&library, false)?;
            found.insert(Library { guest_path: guest_path(&name), file: library.clone() });
            open.push((library, needs, inherited.clone()));
        }
    }
    Ok(found.into_iter().collect())
}

/// A linker that was given a shared library for a static program makes one that dies at its start.
fn is_static(program: &Path, needs: &Needs) -> Result<()> {
    let Some(library) = needs.libraries.first() else { return Ok(()) };
    let message =
        format!("`{}` needs `{library}` and has no interpreter to load it", program.display());
    Err(Refusal::input(message, "link that library statically, or the program dynamically").into())
}

fn guest_path(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false if Path::new(MULTIARCH).is_dir() => format!("{MULTIARCH}/{name}"),
        false => format!("{LIB64}/{name}"),
    }
}

/// In the folders of the file that needs it, else in those of the system. A file for another
/// machine is passed over, as the loader does it.
fn find(name: &str, own: &[PathBuf], folders: &Folders, needed_by: &Path) -> Result<PathBuf> {
    if name.contains('/') {
        return present(PathBuf::from(name), needed_by);
    }
    let candidates = own.iter().chain(folders.iter()).map(|folder| folder.join(name));
    let mut candidates = candidates.filter(|file| file.is_file());
    candidates.find(|file| read(file, false).is_ok()).ok_or_else(|| {
        let message = format!("shared library `{name}` of `{}` is not found", needed_by.display());
        Refusal::input(message, "install it here, or pass a static program").into()
    })
}

fn present(file: PathBuf, needed_by: &Path) -> Result<PathBuf> {
    if file.is_file() {
        return Ok(file);
    }
    let message = format!("`{}` of `{}` is not found", file.display(), needed_by.display());
    Err(Refusal::input(message, "install it here, or pass a static program").into())
}

/// `$ORIGIN` is the folder of the file itself.
fn search_path(path: Option<&str>, origin: &Path) -> Vec<PathBuf> {
    let origin = origin.to_string_lossy();
    let folders = path.into_iter().flat_map(|path| path.split(':')).filter(|dir| !dir.is_empty());
    folders
        .map(|dir| dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin).into())
        .collect()
}

fn read(path: &Path, is_program: bool) -> Result<Needs> {
    let file = Kind::PROGRAM.open(path)?;
    let refuse = |what: &str| Refusal::input(format!("`{}` {what}", path.display()), FIX);
    let cache = ReadCache::new(file);
    let damaged = |error: object::Error| {
        anyhow::Error::new(error).context(refuse("is not an ELF file that can be read"))
    };
    let elf = ElfFile64::<Endianness, _>::parse(&cache).map_err(damaged)?;
    let (endian, header) = (elf.endian(), elf.elf_header());
    if header.e_machine(endian) != EM_X86_64 {
        return Err(refuse("is an ELF file for another machine").into());
    }
    // A shared library has no entry; a static program that can be loaded anywhere is ET_DYN too.
    let kind = header.e_type(endian);
    let runs = kind == ET_EXEC || kind == ET_DYN && header.e_entry(endian) != 0;
    if is_program && !runs {
        return Err(refuse("is an ELF file, not a program").into());
    }
    let mut needs = Needs::default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for segment in elf.elf_program_headers().iter().filter(|it| it.p_type(endian) == PT_INTERP) {
        needs.interpreter = segment.interpreter(endian, elf.data()).map_err(damaged)?.map(text);
    }
    let table = elf.elf_dynamic_table().map_err(damaged)?;
    for entry in table.iter() {
        let value = || table.string(entry).map(text).map_err(damaged);
        match entry.tag {
            DT_NEEDED => needs.libraries.push(value()?),
            DT_RPATH => needs.rpath = Some(value()?),
            DT_RUNPATH => needs.run_path = Some(value()?),
            _ => {}
        }
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use std::process::Command;

    const CALLS: &str = "int inner(void); int outer(void) { return inner(); }";
    const MAIN: &str = "int outer(void); int main(void) { return outer(); }";

    /// Compiles `source` to `to` in `dir`.
    fn gcc(dir: &Path, source: &str, to: &str, options: &[&str]) -> PathBuf {
        let (file, to) = (dir.join("source.c"), dir.join(to));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(&file, source).unwrap();
        let mut gcc = Command::new("gcc");
        gcc.current_dir(dir).arg(&file).arg("-o").arg(&to).args(options);
        assert!(gcc.status().unwrap().success());
        to
    }

    fn names(libraries: &[Library]) -> BTreeSet<&str> {
        libraries.iter().filter_map(|library| library.guest_path.rsplit('/').next()).collect()
    }

    fn refused(path: &Path) -> String {
        let error = libraries(path).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        render(&error)
    }

    /// Two libraries, of which the first has the second in a folder below its own.
    fn chain(dir: &Path, path_option: &str) -> PathBuf {
        gcc(dir, "int inner(void) { return 7; }", "lib/sub/libinner.so", &["-shared", "-fPIC"]);
        let sub = format!("{path_option},-rpath,$ORIGIN/sub");
        let inner = ["-shared", "-fPIC", "-Llib/sub", "-linner", &sub];
        gcc(dir, CALLS, "lib/libouter.so", &inner);
        let lib = format!("{path_option},-rpath,${{ORIGIN}}/lib");
        gcc(dir, MAIN, "main", &["-Llib", "-louter", "-Wl,--allow-shlib-undefined", &lib])
    }

    #[test]
    fn the_closure_is_what_the_loader_itself_says() {
        let program = std::env::current_exe().unwrap();
        let found = libraries(&program).unwrap();
        let ldd = Command::new("ldd").arg(&program).output().unwrap().stdout;
        let ldd = String::from_utf8(ldd).unwrap();
        let words = ldd.lines().filter(|line| !line.contains("vdso"));
        let words = words.filter_map(|line| line.split_whitespace().next()?.rsplit('/').next());
        assert_eq!(names(&found), words.collect());
        assert!(found.iter().any(|it| it.guest_path == "/lib64/ld-linux-x86-64.so.2"), "{found:?}");
        for Library { guest_path, file } in &found {
            assert!(guest_path.starts_with("/lib") && file.is_file(), "{found:?}");
        }
    }

    #[test]
    fn a_static_program_needs_nothing_wherever_it_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["-static", "-static-pie"] {
            let program = gcc(dir.path(), "int main(void) { return 0; }", "main", &[kind]);
            assert_eq!(libraries(&program).unwrap(), []);
        }
    }

    #[test]
    fn libraries_beside_the_program_and_beside_each_other_are_found() {
        for path_option in ["-Wl,--enable-new-dtags", "-Wl,--disable-new-dtags"] {
            let dir = tempfile::tempdir().unwrap();
            let found = libraries(&chain(dir.path(), path_option)).unwrap();
            let want = ["ld-linux-x86-64.so.2", "libc.so.6", "libinner.so", "libouter.so"];
            assert_eq!(names(&found), want.into(), "{path_option}");
            let inner = found.iter().find(|it| it.guest_path.ends_with("/libinner.so")).unwrap();
            assert!(inner.file.ends_with("lib/sub/libinner.so"), "{inner:?}");
        }
    }

    #[test]
    fn a_library_that_is_missing_is_named_with_who_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let program = chain(dir.path(), "-Wl,--enable-new-dtags");
        std::fs::remove_file(dir.path().join("lib/sub/libinner.so")).unwrap();
        let text = refused(&program);
        assert!(text.contains("`libinner.so` of `") && text.contains("libouter.so`"), "{text}");
    }

    #[test]
    fn a_static_program_with_a_shared_library_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        gcc(dir.path(), "int outer(void) { return 7; }", "libouter.so", &["-shared", "-fPIC"]);
        let mixed = ["-L.", "-louter", "-Wl,--no-dynamic-linker"];
        let text = refused(&gcc(dir.path(), MAIN, "main", &mixed));
        assert!(text.contains("needs `libouter.so` and has no interpreter"), "{text}");
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let library = gcc(dir.path(), "int x;", "libx.so", &["-shared", "-fPIC", "-nostdlib"]);
        assert!(refused(&library).contains("is an ELF file, not a program"));
        let mut bytes = std::fs::read(&library).unwrap();
        bytes[18] = 183;
        std::fs::write(&library, &bytes).unwrap();
        assert!(refused(&library).contains("for another machine"));
        std::fs::write(&library, &bytes[..60]).unwrap();
        assert!(refused(&library).contains("is not an ELF file that can be read"));
    }
}
