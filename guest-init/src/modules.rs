//! Loads the kernel modules that the image carries. The host has ordered them by dependency and
//! decompressed them. Called once by `supervise`.

use crate::proto::initramfs;
use rustix::io::Errno;
use rustix::system::finit_module;
use std::ffi::CStr;
use std::path::Path;

/// What a module is told.
const PARAMETERS: &[(&str, &CStr)] = &[
    // No device of its own making: the one that is wanted is made when its size is known.
    ("null_blk", c"nr_devices=0"),
];

/// What became of the modules.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) names: Vec<String>,
    /// One sentence for each that the kernel refused.
    pub(crate) refused: Vec<String>,
}

/// Loads every file of the modules folder in the order of their names.
pub(crate) fn load_all() -> Loaded {
    let mut loaded = Loaded::default();
    let Ok(entries) = std::fs::read_dir(initramfs::MODULES) else { return loaded };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for path in files {
        let name = module_name(&path);
        let parameters = PARAMETERS.iter().find(|(module, _)| *module == name);
        match load(&path, parameters.map_or(c"", |(_, text)| text)) {
            Ok(()) => loaded.names.push(name),
            Err(why) => loaded.refused.push(format!("module {name}: {why}")),
        }
    }
    loaded
}

fn load(path: &Path, parameters: &CStr) -> Result<(), String> {
    let file = std::fs::File::open(path).map_err(|e| format!("open failed: {e}"))?;
    match finit_module(&file, parameters, 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(format!("finit_module failed: {errno}")),
    }
}

/// `/modules/03-virtio_blk.ko` is `virtio_blk`.
fn module_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match stem.split_once('-') {
        Some((_, name)) => name.to_owned(),
        None => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_prefix_is_not_part_of_the_name() {
        assert_eq!(module_name(Path::new("/modules/03-virtio_blk.ko")), "virtio_blk");
        assert_eq!(module_name(Path::new("/modules/odd.ko")), "odd");
    }
}
