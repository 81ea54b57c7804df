//! A bare kernel image, used where it lies, with the configuration and the modules that the
//! usual layouts keep beside it. `mod.rs` calls [`beside`].

use super::{Kernel, bzimage, disk};
use crate::error::Refusal;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The kernel in the file at `path`.
pub(super) fn beside(path: &Path) -> Result<Kernel> {
    refuse_what_is_no_file(path)?;
    let setup = bzimage::read(path)?;
    // A link such as `/vmlinuz` tells nothing about what lies beside its target.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let dir = real.parent().unwrap_or_else(|| Path::new("/"));
    Ok(Kernel {
        spec: path.display().to_string(),
        modules: modules_near(dir, &setup.release),
        config: config_near(dir, &setup.release),
        sha256: disk::sha256(path)?,
        image: real,
        release: setup.release,
        version: setup.version,
        package: None,
    })
}

fn refuse_what_is_no_file(path: &Path) -> Result<()> {
    let refuse = |what: &str, fix: String| {
        Err(Refusal::input(format!("kernel `{}` {what}", path.display()), fix).into())
    };
    let built = path.join("arch/x86/boot/bzImage");
    match path.metadata() {
        Err(error) => refuse(
            &format!("cannot be opened: {error}"),
            "pass the path of a bzImage or of a .deb, or `debian:SUITE/FLAVOUR`".to_owned(),
        ),
        Ok(meta) if meta.is_dir() && built.is_file() => {
            refuse("is a build tree", format!("pass `{}`", built.display()))
        }
        Ok(meta) if meta.is_dir() => refuse("is a directory", "pass the bzImage in it".to_owned()),
        Ok(meta) if !meta.is_file() => {
            refuse("is not a regular file", "pass the path of a bzImage".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

/// Debian's and the kernel's own install layouts, then a build tree.
fn config_near(dir: &Path, release: &str) -> Option<PathBuf> {
    let in_tree = dir.ends_with("arch/x86/boot").then(|| dir.join("../../../.config"));
    [dir.join(format!("config-{release}")), dir.join("config")]
        .into_iter()
        .chain(in_tree)
        .find(|config| config.is_file())
}

/// Only modules of the very same release: others would not load.
fn modules_near(dir: &Path, release: &str) -> Option<PathBuf> {
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

    #[test]
    fn a_lone_image_has_neither_config_nor_modules() {
        let root = tempfile::tempdir().unwrap();
        let kernel = beside(&place(root.path(), "bzImage")).unwrap();
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
            create_dir_all(root.path().join(lib).join("6.2.0-other/kernel")).unwrap();
            assert_eq!(beside(&image).unwrap().modules, None, "those of another release");
            create_dir_all(root.path().join(lib).join(RELEASE).join("kernel")).unwrap();
            let kernel = beside(&image).unwrap();
            assert!(kernel.modules.unwrap().ends_with(format!("{lib}/{RELEASE}")));
            assert!(kernel.config.unwrap().ends_with("boot/config-6.1.0-test"));
        }
    }

    #[test]
    fn an_image_among_its_modules_finds_them() {
        let root = tempfile::tempdir().unwrap();
        let image = place(root.path(), "usr/lib/modules/6.1.0-test/vmlinuz");
        write(image.with_file_name("modules.builtin"), "").unwrap();
        write(image.with_file_name("config"), "").unwrap();
        let kernel = beside(&image).unwrap();
        assert!(kernel.modules.unwrap().ends_with("modules/6.1.0-test"));
        assert!(kernel.config.unwrap().ends_with("config"));
    }

    #[test]
    fn what_is_no_file_is_refused_with_a_fix() {
        let root = tempfile::tempdir().unwrap();
        place(root.path(), "linux/arch/x86/boot/bzImage");
        for (path, want) in [
            ("gone", "cannot be opened"),
            ("linux/arch", "is a directory"),
            ("linux", "is a build tree\n  fix: pass `"),
        ] {
            let error = beside(&root.path().join(path)).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            assert!(render(&error).contains(want), "{}", render(&error));
        }
        assert!(beside(Path::new("/dev/null")).is_err());
    }
}
