//! Kernels in a cache of their own: whole, damaged, of an older schedlab, and killed half way.

use super::*;
use crate::error::{exit, exit_code};

fn paths(dir: &Path) -> Paths {
    Paths::below(dir)
}

fn packages(dir: &Path, files: &[(&str, &[u8])]) -> Packages {
    let deb = dir.join("a.deb");
    deb::fake(&deb, "Package: linux-image-6.1.0-test\nVersion: 1\n", files);
    super::super::siblings::around(&deb).unwrap()
}

fn entries(paths: &Paths) -> Vec<String> {
    let entries = std::fs::read_dir(paths.cache.join("kernels")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_package_unpacks_once_and_loads_ever_after() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, progress) = (paths(dir.path()), Progress::new());
    let image = bzimage::fake("6.1.0-test (me) #1");
    let packages = packages(
        dir.path(),
        &[
            ("./boot/vmlinuz-6.1.0-test", &image),
            ("./boot/config-6.1.0-test", b"CONFIG_SMP=y\n"),
            ("./lib/modules/6.1.0-test/modules.builtin", b"kernel/fs/b.ko\n"),
            ("./lib/modules/6.1.0-test/kernel/fs/a.ko", b"module"),
            ("./usr/share/doc/x", b"no"),
        ],
    );
    let (key, kernel) = unpacked(&packages, &paths, &progress).unwrap();
    assert_eq!(kernel.release, "6.1.0-test");
    assert_eq!(kernel.package.as_deref(), Some("linux-image-6.1.0-test 1"));
    assert_eq!(kernel.sha256, files::sha256(&image));
    assert!(kernel.has_built_in("CONFIG_SMP"));
    assert!(kernel.modules.unwrap().join("kernel/fs/a.ko").is_file());
    let seen = std::fs::metadata(&kernel.image).unwrap().modified().unwrap();
    assert_eq!(unpacked(&packages, &paths, &progress).unwrap().0, key);
    let again = load(&key, &paths, &progress).unwrap().image;
    assert_eq!(std::fs::metadata(again).unwrap().modified().unwrap(), seen);
}

#[test]
fn the_image_is_the_unpacked_kernel_where_qemu_can_enter_that() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, progress) = (paths(dir.path()), Progress::new());
    for (folder, note, used) in [("pvh", 18, UNPACKED), ("none", 17, PACKED)] {
        let folder = dir.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        let image = payload::fake(&vmlinux::fake(note));
        let packages = packages(&folder, &[("./boot/vmlinuz-6.1.0-test", &image)]);
        let (_, kernel) = unpacked(&packages, &paths, &progress).unwrap();
        assert!(kernel.image.ends_with(used), "{}", kernel.image.display());
        assert_eq!(kernel.sha256, disk::sha256(&kernel.image).unwrap());
        assert_eq!(kernel.release, "6.1.0-test");
    }
}

#[test]
fn a_failed_or_killed_unpack_leaves_no_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, progress) = (paths(dir.path()), Progress::new());
    std::fs::create_dir_all(paths.cache.join("kernels/unpacking-killed")).unwrap();
    for files in [&[("./boot/vmlinuz-x", &b"no kernel"[..])][..], &[("./usr/bin/x", b"")]] {
        let error = unpacked(&packages(dir.path(), files), &paths, &progress).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        assert_eq!(entries(&paths), ["lock"]);
    }
}

#[test]
fn a_kernel_that_lost_its_image_is_unpacked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, progress) = (paths(dir.path()), Progress::new());
    let image = bzimage::fake("6.1.0-test (me) #1");
    let packages = packages(dir.path(), &[("./boot/vmlinuz-6.1.0-test", &image)]);
    let (key, kernel) = unpacked(&packages, &paths, &progress).unwrap();
    std::fs::remove_file(&kernel.image).unwrap();
    assert!(load(&key, &paths, &progress).is_none());
    unpacked(&packages, &paths, &progress).unwrap();
    assert!(load(&key, &paths, &progress).is_some());
}

/// A kernel whose image is unpacked, with a configuration and a module.
fn whole(dir: &Path) -> (Packages, Vec<u8>) {
    let image = vmlinux::fake(18);
    let packed = payload::fake(&image);
    let files: [(&str, &[u8]); 3] = [
        ("./boot/vmlinuz-6.1.0-test", &packed),
        ("./boot/config-6.1.0-test", b"CONFIG_SMP=y\n"),
        ("./lib/modules/6.1.0-test/kernel/fs/a.ko", b"module"),
    ];
    (packages(dir, &files), image)
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn empty(path: &Path) {
    std::fs::write(path, "").unwrap();
}

fn remove_file(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

const FAULTS: [fn(&Path); 4] = [flip, cut, empty, remove_file];

#[test]
fn a_damaged_kernel_is_never_loaded_and_is_made_again() {
    let files = ["vmlinux", "vmlinuz", "config", "modules/modules.index", "kernel.json"];
    for file in files.into_iter().chain(["modules/kernel/fs/a.ko", "files.sealed"]) {
        for damage in FAULTS {
            let dir = tempfile::tempdir().unwrap();
            let (paths, progress) = (paths(dir.path()), Progress::silent());
            let (packages, image) = whole(dir.path());
            let (key, first) = unpacked(&packages, &paths, &progress).unwrap();
            let folder = first.image.parent().unwrap();
            damage(&folder.join(file));
            if let Some(kernel) = load(&key, &paths, &progress) {
                assert!(["vmlinux", "files.sealed"].contains(&file), "{file}");
                assert_eq!(std::fs::read(&kernel.image).unwrap(), image);
            }
            let (again, kernel) = unpacked(&packages, &paths, &progress).unwrap();
            assert_eq!((again, &kernel.sha256), (key, &files::sha256(&image)), "{file}");
            assert_eq!(std::fs::read(&kernel.image).unwrap(), image, "{file}");
            assert!(kernel.has_built_in("CONFIG_SMP"), "{file}");
            let module = kernel.modules.unwrap().join("kernel/fs/a.ko");
            assert_eq!(std::fs::read(module).unwrap(), b"module", "{file}");
        }
    }
}

#[test]
fn a_damaged_image_is_unpacked_again_where_the_packed_one_is_whole() {
    for damage in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let (paths, progress) = (paths(dir.path()), Progress::silent());
        let (packages, image) = whole(dir.path());
        let (key, first) = unpacked(&packages, &paths, &progress).unwrap();
        damage(&first.image);
        let kernel = load(&key, &paths, &progress).expect("no package is needed");
        assert_eq!(std::fs::read(&kernel.image).unwrap(), image);
        damage(&first.image);
        flip(&first.image.with_file_name(PACKED));
        assert!(load(&key, &paths, &progress).is_none(), "that one is damaged too");
    }
}

#[test]
fn a_kernel_of_an_older_schedlab_is_sealed_only_if_it_is_whole() {
    let older = |damaged: &str, damage: fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        let (paths, progress) = (paths(dir.path()), Progress::silent());
        let (key, first) = unpacked(&whole(dir.path()).0, &paths, &progress).unwrap();
        let folder = first.image.parent().unwrap();
        std::fs::remove_file(folder.join("files.sealed")).unwrap();
        damage(&folder.join(damaged));
        let loaded = load(&key, &paths, &progress);
        let is_whole = loaded.is_some_and(|it| disk::sha256(&it.image).unwrap() == first.sha256);
        (is_whole, folder.join("files.sealed").exists())
    };
    assert_eq!(older("vmlinuz", |_| ()), (true, true));
    for damage in FAULTS {
        assert_ne!(older("vmlinux", damage), (false, true));
    }
    for (file, damage) in [
        ("config", FAULTS[2]),
        ("modules/modules.index", FAULTS[2]),
        ("modules/modules.index", FAULTS[3]),
        ("modules/kernel/fs/a.ko", FAULTS[3]),
    ] {
        assert_eq!(older(file, damage), (false, false), "{file}");
    }
}

#[test]
fn a_removed_kernel_is_gone_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, progress) = (paths(dir.path()), Progress::new());
    for (folder, release) in [("a", "6.1.0-test"), ("b", "6.2.0-test")] {
        let folder = dir.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        let image = bzimage::fake(&format!("{release} (me) #1"));
        unpacked(
            &packages(&folder, &[("./boot/vmlinuz", &b""[..]), ("./boot/vmlinuz-x", &image)]),
            &paths,
            &progress,
        )
        .unwrap();
    }
    let both = cached(&paths).unwrap();
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|cached| cached.bytes > 1536), "{both:?}");
    remove(&[&both[0].key], &paths, &progress).unwrap();
    let left = cached(&paths).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].kernel.release, both[1].kernel.release);
}

#[test]
fn both_layouts_land_in_one() {
    let place = |member: &str| place(Path::new(member)).map(|p| p.display().to_string());
    assert_eq!(place("boot/vmlinuz-6.1").as_deref(), Some("vmlinuz"));
    assert_eq!(place("usr/lib/modules/7.3/vmlinuz").as_deref(), Some("vmlinuz"));
    assert_eq!(place("usr/lib/modules/7.3/config").as_deref(), Some("config"));
    assert_eq!(
        place("lib/modules/7.3/kernel/a/b.ko.xz").as_deref(),
        Some("modules/kernel/a/b.ko.xz")
    );
    assert_eq!(place("lib/modules/7.3/modules.order"), None);
    assert_eq!(place("boot/System.map-6.1"), None);
}
