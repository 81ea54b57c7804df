//! A kernel image of the user's, used where it lies, with the configuration and the modules that
//! the usual layouts keep beside it: `/boot`, `/lib/modules/RELEASE`, a build tree. `mod.rs` calls
//! [`at`] and [`of_host`].

use super::config::{self, Config};
use super::{Kernel, bzimage, modules, packed, vmlinux};
use crate::disk;
use crate::error::Refusal;
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What a build leaves, in the order in which they are looked for.
const BUILT: [&str; 2] = ["arch/x86/boot/bzImage", "vmlinux"];

/// The kernel in the file at `path`, the one that was built in the tree there, or the one of a
/// package that was unpacked there.
pub(super) fn at(path: &Path, paths: &Paths) -> Result<Kernel> {
    let file = match path.is_dir() {
        true => built_in(path)?,
        false => path.to_path_buf(),
    };
    refuse_what_is_no_file(&file)?;
    packed::refuse(&file)?;
    let setup = if is_elf(&file)? { vmlinux::read(&file)? } else { bzimage::read(&file)? };
    // A link such as `/vmlinuz` tells nothing about what lies beside its target.
    let real = file.canonicalize().unwrap_or_else(|_| file.clone());
    let dir = real.parent().unwrap_or_else(|| Path::new("/"));
    let sha256 = disk::sha256(&file)?;
    let config = match config_near(dir, &setup.release) {
        Some(beside) => Some(Config::read(&beside)?),
        None => config::embedded(&real, &sha256, paths)?,
    };
    Ok(Kernel {
        spec: path.display().to_string(),
        modules: modules_near(dir, &setup.release),
        symbols: symbols_near(dir, &setup.release),
        config,
        sha256,
        image: real,
        release: setup.release,
        version: setup.version,
        package: None,
    })
}

/// The kernel that this machine runs, from where its package or `make install` put it.
pub(super) fn of_host(paths: &Paths) -> Result<Kernel> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    installed(Path::new("/"), &release, paths)
}

fn installed(root: &Path, release: &str, paths: &Paths) -> Result<Kernel> {
    let places = [
        format!("boot/vmlinuz-{release}"),
        format!("lib/modules/{release}/vmlinuz"),
        format!("usr/lib/modules/{release}/vmlinuz"),
    ]
    .map(|place| root.join(place));
    let Some(image) = places.iter().find(|place| place.is_file()) else {
        let places = places.map(|place| format!("`{}`", place.display())).join(", ");
        let message = format!("this machine runs Linux {release}, whose image is not at {places}");
        return Err(Refusal::host(message, "pass the path of its bzImage").into());
    };
    at(image, paths)
}

fn built_in(tree: &Path) -> Result<PathBuf> {
    let built = BUILT.iter().map(|file| tree.join(file)).find(|file| file.is_file());
    let found = built.map_or_else(|| packed::unpacked(tree), |file| Ok(Some(file)))?;
    found.ok_or_else(|| {
        let message = format!("kernel `{}` is a directory without a built kernel", tree.display());
        let fix = "run `make bzImage` in it if it is a kernel tree, or pass the path of a bzImage";
        Refusal::input(message, fix).into()
    })
}

fn refuse_what_is_no_file(path: &Path) -> Result<()> {
    let refuse = |what: &str, fix: &str| {
        Err(Refusal::input(format!("kernel `{}` {what}", path.display()), fix).into())
    };
    match path.metadata() {
        Err(error) => refuse(
            &format!("cannot be opened: {error}"),
            "pass the path of a bzImage, of a build tree or of a .deb, or `debian:SUITE/FLAVOUR`",
        ),
        Ok(meta) if !meta.is_file() => {
            refuse("is not a regular file", "pass the path of a bzImage")
        }
        Ok(_) => Ok(()),
    }
}

fn is_elf(file: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let read = File::open(file).and_then(|file| file.take(4).read_to_end(&mut head));
    read.with_context(|| disk::unreadable(file))?;
    Ok(head == b"\x7fELF")
}

/// The root of the build tree that an image in `dir` belongs to.
fn tree_around(dir: &Path) -> Option<PathBuf> {
    let root = match dir.ends_with("arch/x86/boot") {
        true => dir.ancestors().nth(3)?,
        false => dir,
    };
    modules::is_build_tree(root).then(|| root.to_path_buf())
}

/// Debian's and the kernel's own install layouts, then a build tree.
fn config_near(dir: &Path, release: &str) -> Option<PathBuf> {
    let in_tree = tree_around(dir).map(|tree| tree.join(".config"));
    [dir.join(format!("config-{release}")), dir.join("config")]
        .into_iter()
        .chain(in_tree)
        .find(|config| config.is_file())
}

/// As for the configuration. Debian's packages have a line in its place that says where it is.
fn symbols_near(dir: &Path, release: &str) -> Option<PathBuf> {
    const STUB_BYTES: u64 = 4096;
    let in_tree = tree_around(dir).map(|tree| tree.join("System.map"));
    let whole = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.len() > STUB_BYTES);
    [dir.join(format!("System.map-{release}")), dir.join("System.map")]
        .into_iter()
        .chain(in_tree)
        .find(whole)
}

/// Only modules of the very same release: others would not load.
fn modules_near(dir: &Path, release: &str) -> Option<PathBuf> {
    if let Some(tree) = tree_around(dir) {
        return Some(tree).filter(|tree| tree.join("modules.order").is_file());
    }
    let own = dir.ends_with(format!("lib/modules/{release}")).then(|| dir.to_path_buf());
    let root = dir.parent().filter(|_| dir.ends_with("boot"));
    let installed = root.into_iter().flat_map(|root| {
        ["lib/modules", "usr/lib/modules"].map(|modules| root.join(modules).join(release))
    });
    own.into_iter().chain(installed).find(|modules| {
        modules.join("kernel").is_dir() || modules.join("modules.builtin").is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use std::fs::{create_dir_all, write};

    const RELEASE: &str = "6.1.0-test";

    fn place(root: &Path, image: &str) -> PathBuf {
        let image = root.join(image);
        create_dir_all(image.parent().unwrap()).unwrap();
        write(&image, bzimage::fake("6.1.0-test (me) #1")).unwrap();
        image
    }

    fn kernel_at(path: &Path) -> Result<Kernel> {
        let cache = tempfile::tempdir().unwrap();
        at(path, &Paths::below(cache.path()))
    }

    fn origin(kernel: &Kernel) -> &Path {
        Path::new(&kernel.config.as_ref().unwrap().origin)
    }

    #[test]
    fn a_lone_image_has_neither_config_nor_modules() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel_at(&place(root.path(), "bzImage")).unwrap();
        assert_eq!((kernel.release.as_str(), kernel.version.as_str()), (RELEASE, "(me) #1"));
        assert_eq!(kernel.sha256.len(), 64);
        assert_eq!((kernel.modules, kernel.config, kernel.package), (None, None, None));
    }

    #[test]
    fn boot_finds_the_modules_of_its_own_root() {
        for lib in ["lib/modules", "usr/lib/modules"] {
            let root = tempfile::tempdir().unwrap();
            let image = place(root.path(), "boot/vmlinuz-6.1.0-test");
            write(root.path().join("boot/config-6.1.0-test"), "CONFIG_SMP=y\n").unwrap();
            write(root.path().join("boot/System.map-6.1.0-test"), "ffffffffffffffff B Debian\n")
                .unwrap();
            create_dir_all(root.path().join(lib).join("6.2.0-other/kernel")).unwrap();
            assert_eq!(kernel_at(&image).unwrap().modules, None, "those of another release");
            create_dir_all(root.path().join(lib).join(RELEASE).join("kernel")).unwrap();
            let kernel = kernel_at(&image).unwrap();
            assert!(kernel.has_built_in("CONFIG_SMP") && kernel.lacks("CONFIG_RD_ZSTD"));
            assert!(origin(&kernel).ends_with("boot/config-6.1.0-test"));
            assert_eq!(kernel.symbols, None, "a line that says where it is");
            assert!(kernel.modules.unwrap().ends_with(format!("{lib}/{RELEASE}")));
        }
    }

    #[test]
    fn an_unpacked_package_is_a_kernel_with_its_modules() {
        let root = tempfile::tempdir().unwrap();
        let image = place(root.path(), "boot/vmlinuz-6.1.0-test");
        write(root.path().join("boot/config-6.1.0-test"), "CONFIG_SMP=y\n").unwrap();
        create_dir_all(root.path().join("lib/modules/6.1.0-test/kernel")).unwrap();
        let kernel = kernel_at(root.path()).unwrap();
        assert_eq!(kernel.image, image.canonicalize().unwrap());
        assert!(kernel.has_built_in("CONFIG_SMP"));
        assert!(kernel.modules.unwrap().ends_with("lib/modules/6.1.0-test"));
    }

    #[test]
    fn an_image_among_its_modules_finds_them() {
        let root = tempfile::tempdir().unwrap();
        let image = place(root.path(), "usr/lib/modules/6.1.0-test/vmlinuz");
        write(image.with_file_name("modules.builtin"), "").unwrap();
        write(image.with_file_name("config"), "").unwrap();
        let kernel = kernel_at(&image).unwrap();
        assert!(origin(&kernel).ends_with("6.1.0-test/config"));
        assert!(kernel.modules.unwrap().ends_with("modules/6.1.0-test"));
    }

    #[test]
    fn a_build_tree_and_the_image_in_it_are_the_same_kernel() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("linux");
        create_dir_all(tree.join("include/config")).unwrap();
        write(tree.join(".config"), "CONFIG_SMP=y\n").unwrap();
        write(tree.join("modules.order"), "").unwrap();
        write(tree.join("System.map"), "ffffffff81000000 T _text\n".repeat(200)).unwrap();
        let image = place(&tree, BUILT[0]);
        for spec in [&tree, &image] {
            let kernel = kernel_at(spec).unwrap();
            assert_eq!(kernel.release, RELEASE);
            assert_eq!(kernel.image, image.canonicalize().unwrap());
            assert!(kernel.has_built_in("CONFIG_SMP"));
            assert!(kernel.modules.unwrap().ends_with("linux"));
            assert!(kernel.symbols.unwrap().ends_with("linux/System.map"));
        }
    }

    #[test]
    fn the_running_kernel_is_looked_for_where_packages_put_it() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let error = installed(root.path(), RELEASE, &paths).unwrap_err();
        assert_eq!(exit_code(&error), exit::HOST);
        assert!(render(&error).contains("boot/vmlinuz-6.1.0-test"), "{}", render(&error));
        for path in ["lib/modules/6.1.0-test/vmlinuz", "boot/vmlinuz-6.1.0-test"] {
            let image = place(root.path(), path);
            let kernel = installed(root.path(), RELEASE, &paths).unwrap();
            assert_eq!(kernel.image, image.canonicalize().unwrap());
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused_with_a_fix() {
        let root = tempfile::tempdir().unwrap();
        create_dir_all(root.path().join("linux/arch")).unwrap();
        for (path, want) in [
            ("gone", "cannot be opened"),
            ("linux", "is a directory without a built kernel\n  fix: run `make bzImage`"),
        ] {
            let error = kernel_at(&root.path().join(path)).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            assert!(render(&error).contains(want), "{}", render(&error));
        }
        assert!(kernel_at(Path::new("/dev/null")).is_err());
    }
}
