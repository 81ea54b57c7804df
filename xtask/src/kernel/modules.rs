//! Modules for the guest: the wanted ones and what they need, decompressed, in the order in which
//! they load. Packages carry no `modules.dep` (depmod makes it at install), so the `depends=` of
//! each module is followed instead. The image builder calls `module_closure`, `store.rs` the rest.

use super::{Kernel, deb};
use crate::disk;
use crate::error::Refusal;
use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

const INDEX: &str = "modules.index";
const SUFFIXES: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// Modules to load, dependencies before those that need them.
#[derive(Debug, Default)]
pub(crate) struct LoadedModules {
    /// What was asked for.
    pub(crate) wanted: Vec<String>,
    pub(crate) files: Vec<Module>,
    /// Wanted, and part of the image already.
    pub(crate) builtin: Vec<String>,
    /// Wanted or needed, and found nowhere.
    pub(crate) missing: Vec<String>,
    /// Wanted and there, but the kernel would refuse it: what it needs is missing. Each with that.
    pub(crate) left_out: Vec<(String, String)>,
}

impl LoadedModules {
    /// Whether `name` was wanted and cannot be loaded.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.missing.iter().chain(self.left_out.iter().map(|(name, _)| name)).any(|own| own == name)
    }

    /// What is left out, and why.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = String> {
        self.left_out.iter().map(|(name, needs)| {
            format!(
                "module {name} is left out: it needs {needs}, which this kernel has neither built \
                 in nor as a file"
            )
        })
    }
}

/// One module, as `init_module` takes it.
#[derive(Debug)]
pub(crate) struct Module {
    /// As `/proc/modules` writes it.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Kernel {
    /// The modules `wanted` and all that they need. `-` and `_` are the same in a module's name.
    pub(crate) fn module_closure(&self, wanted: &[String]) -> Result<LoadedModules> {
        let mut closure = Closure::open(self.modules.as_deref())?;
        closure.loaded.wanted = wanted.to_vec();
        for name in wanted {
            let name = canonical(name);
            if let Some(missing) = closure.add(&name)?.filter(|missing| *missing != name) {
                closure.loaded.left_out.push((name, missing));
            }
        }
        Ok(closure.loaded)
    }
}

/// Whether a file of this name is a module.
pub(super) fn is_module(path: &Path) -> bool {
    module_name(path).is_some()
}

/// Whether a kernel was configured in this folder.
pub(super) fn is_build_tree(dir: &Path) -> bool {
    dir.join("include/config").is_dir()
}

/// Lists the modules of an unpacked package, so that a warm run need not walk the folders.
pub(super) fn write_index(modules: &Path) -> Result<()> {
    let file = modules.join(INDEX);
    let text: Vec<String> = walk(modules)?.iter().map(|path| path.display().to_string()).collect();
    std::fs::write(&file, text.join("\n")).with_context(|| disk::unwritable(&file))
}

/// Whether the list names every module that is there and no other.
pub(super) fn index_holds(modules: &Path) -> bool {
    let Ok(index) = std::fs::read_to_string(modules.join(INDEX)) else { return false };
    walk(modules)
        .is_ok_and(|found| index.lines().map(Path::new).eq(found.iter().map(PathBuf::as_path)))
}

/// The state of following dependencies.
#[derive(Debug, Default)]
struct Closure {
    loaded: LoadedModules,
    /// Those that were looked at, each with the missing module that keeps it from loading.
    seen: BTreeMap<String, Option<String>>,
    builtin: BTreeSet<String>,
    files: BTreeMap<String, PathBuf>,
}

impl Closure {
    fn open(modules: Option<&Path>) -> Result<Self> {
        let Some(modules) = modules else { return Ok(Self::default()) };
        // A kernel without the list has no built-in modules that anybody knows of.
        let builtin = std::fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
        let listed = match std::fs::read_to_string(modules.join(INDEX)) {
            Ok(index) => index.lines().map(PathBuf::from).collect(),
            Err(_) if is_build_tree(modules) => built(modules)?,
            Err(_) => walk(modules)?,
        };
        let named = |path: &Path| Some((module_name(path)?, modules.join(path)));
        Ok(Self {
            builtin: builtin.lines().filter_map(|line| module_name(Path::new(line))).collect(),
            // Of two modules of one name the first in the sorted list wins, on every host.
            files: listed.iter().rev().filter_map(|path| named(path)).collect(),
            ..Self::default()
        })
    }

    /// Depth first; `seen` also ends a circle of modules that need each other. Says which missing
    /// module keeps it from loading, if one does.
    fn add(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(lacks) = self.seen.get(name) {
            return Ok(lacks.clone());
        }
        self.seen.insert(name.to_owned(), None);
        if self.builtin.contains(name) {
            self.loaded.builtin.push(name.to_owned());
            return Ok(None);
        }
        let Some(file) = self.files.get(name) else {
            self.loaded.missing.push(name.to_owned());
            return Ok(self.lacking(name, name));
        };
        let bytes = read(file)?;
        let needed = depends(&bytes).with_context(|| damaged(file))?;
        let mut lacks = None;
        for needed in needed {
            lacks = self.add(&needed)?.or(lacks);
        }
        match lacks {
            Some(missing) => Ok(self.lacking(name, &missing)),
            None => {
                self.loaded.files.push(Module { name: name.to_owned(), bytes });
                Ok(None)
            }
        }
    }

    fn lacking(&mut self, name: &str, missing: &str) -> Option<String> {
        let missing = Some(missing.to_owned());
        self.seen.insert(name.to_owned(), missing.clone());
        missing
    }
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn module_name(path: &Path) -> Option<String> {
    let (stem, suffix) = path.file_name()?.to_str()?.split_once(".ko")?;
    SUFFIXES.contains(&suffix).then(|| canonical(stem))
}

/// The modules of a build tree, relative to it, as `modules.order` lists them: since Linux 6.3 by
/// their `.o`, before it below `kernel/`.
fn built(tree: &Path) -> Result<Vec<PathBuf>> {
    let order = tree.join("modules.order");
    let text = std::fs::read_to_string(&order).with_context(|| disk::unreadable(&order))?;
    let place = |line: &str| {
        let module = PathBuf::from(line).with_extension("ko");
        let stripped = module.strip_prefix("kernel").ok().map(Path::to_path_buf);
        [Some(module), stripped].into_iter().flatten().find(|path| tree.join(path).is_file())
    };
    let mut found: Vec<_> = text.lines().filter_map(place).collect();
    found.sort();
    Ok(found)
}

/// Every module below `modules`, relative to it and sorted.
fn walk(modules: &Path) -> Result<Vec<PathBuf>> {
    let files = disk::files_below(modules)?.into_iter().filter(|file| is_module(file));
    let relative = |file: PathBuf| Some(file.strip_prefix(modules).ok()?.to_path_buf());
    let mut found: Vec<_> = files.filter_map(relative).collect();
    found.sort();
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let raw = std::fs::read(file).with_context(|| disk::unreadable(file))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let suffix = name.split_once(".ko").map_or("", |(_, suffix)| suffix);
    let mut bytes = Vec::new();
    deb::decompress(suffix, raw.as_slice())
        .and_then(|mut reader| Ok(reader.read_to_end(&mut bytes)?))
        .with_context(|| damaged(file))?;
    Ok(bytes)
}

/// What `.modinfo`, a row of NUL-ended `key=value` strings, says under `depends`.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let elf = object::File::parse(module)?;
    let info = elf.section_by_name(".modinfo").context("it has no section `.modinfo`")?;
    let text = String::from_utf8_lossy(info.data()?);
    let lists = text.split('\0').filter_map(|line| line.strip_prefix("depends="));
    let names = lists.flat_map(|list| list.split(',')).filter(|name| !name.is_empty());
    Ok(names.map(canonical).collect())
}

fn damaged(file: &Path) -> Refusal {
    let message = format!("module `{}` is damaged", file.display());
    Refusal::input(message, "install the modules again; in the cache, delete the kernel's folder")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SHT_PROGBITS, elf};
    use super::*;
    use crate::error::{exit, exit_code};
    use std::fs::{create_dir_all, write};

    fn module(modinfo: &str) -> Vec<u8> {
        elf(&[(".modinfo", SHT_PROGBITS, modinfo.as_bytes())])
    }

    fn kernel(modules: Option<&Path>) -> Kernel {
        Kernel { modules: modules.map(Path::to_path_buf), ..fixture::kernel("6.1.0", None) }
    }

    fn place(modules: &Path, path: &str, bytes: &[u8]) {
        let path = modules.join("kernel").join(path);
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, bytes).unwrap();
    }

    fn names(modules: &Path, wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let loaded = kernel(Some(modules)).module_closure(&wanted).unwrap();
        let files = loaded.files.iter().map(|module| module.name.clone());
        let builtin = loaded.builtin.iter().map(|name| format!("{name} builtin"));
        let missing = loaded.missing.iter().map(|name| format!("{name} missing"));
        let left_out = loaded.left_out.iter().map(|(name, needs)| format!("{name} lacks {needs}"));
        files.chain(builtin).chain(missing).chain(left_out).collect()
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut xz = Vec::new();
        let ring = module("name=virtio_ring\0depends=\0");
        liblzma::read::XzEncoder::new(ring.as_slice(), 0).read_to_end(&mut xz).unwrap();
        place(dir.path(), "a/virtio-ring.ko.xz", &xz);
        place(dir.path(), "a/virtio.ko", &module("depends=virtio-ring\0"));
        place(dir.path(), "b/virtio_pci.ko", &module("x=y\0depends=virtio,virtio_ring\0"));
        write(dir.path().join("modules.builtin"), "kernel/fs/config-fs.ko\n").unwrap();
        let want = ["virtio_ring", "virtio", "virtio_pci", "config_fs builtin"];
        let wanted = ["virtio-pci", "config_fs", "virtio"];
        assert_eq!(names(dir.path(), &wanted), want);
        write_index(dir.path()).unwrap();
        assert_eq!(names(dir.path(), &wanted), want, "with an index");
    }

    #[test]
    fn a_module_whose_dependency_is_missing_is_left_out_and_both_are_named() {
        let dir = tempfile::tempdir().unwrap();
        place(dir.path(), "ring.ko", &module("depends=\0"));
        place(dir.path(), "disk.ko", &module("depends=ring,bus\0"));
        place(dir.path(), "bus.ko", &module("depends=gone\0"));
        let want = ["ring", "gone missing", "away missing", "disk lacks gone", "bus lacks gone"];
        assert_eq!(names(dir.path(), &["disk", "bus", "away"]), want);
        let loaded = kernel(Some(dir.path())).module_closure(&["disk".to_owned()]).unwrap();
        assert!(loaded.lacks("disk") && loaded.lacks("gone") && !loaded.lacks("ring"));
        let remark = loaded.remarks().next().unwrap();
        assert!(remark.starts_with("module disk is left out: it needs gone,"), "{remark}");
    }

    #[test]
    fn a_build_tree_has_the_modules_of_its_list_where_they_were_built() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["include/config", "fs", "kernel/kernel"] {
            create_dir_all(dir.path().join(folder)).unwrap();
        }
        place(dir.path(), "own.ko", &module("depends=\0"));
        write(dir.path().join("fs/old.ko"), module("depends=own\0")).unwrap();
        write(dir.path().join("fs/stale.ko"), module("depends=\0")).unwrap();
        for order in ["kernel/own.o\nfs/old.o\nfs/clean.o\n", "kernel/own.ko\nkernel/fs/old.ko\n"] {
            write(dir.path().join("modules.order"), order).unwrap();
            let want = ["own", "old", "stale missing", "clean missing"];
            assert_eq!(names(dir.path(), &["old", "stale", "clean"]), want, "{order}");
        }
    }

    #[test]
    fn modules_that_need_each_other_end() {
        let dir = tempfile::tempdir().unwrap();
        place(dir.path(), "a.ko", &module("depends=b\0"));
        place(dir.path(), "b.ko", &module("depends=a\0"));
        assert_eq!(names(dir.path(), &["a"]), ["b", "a"]);
    }

    #[test]
    fn without_a_folder_every_module_is_missing() {
        let loaded = kernel(None).module_closure(&["null_blk".to_owned()]).unwrap();
        assert_eq!(loaded.missing, ["null_blk"]);
    }

    #[test]
    fn a_damaged_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (file, bytes) in [("a.ko", &b"no elf"[..]), ("a.ko.xz", b"no xz")] {
            create_dir_all(dir.path().join("kernel")).unwrap();
            place(dir.path(), file, bytes);
            let error = kernel(Some(dir.path())).module_closure(&["a".to_owned()]).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            assert!(format!("{error:#}").contains("is damaged"), "{error:#}");
        }
    }
}
