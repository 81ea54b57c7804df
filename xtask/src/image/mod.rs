//! The initramfs: guest-init, modules, and the scenario if it travels this way. Same inputs,
//! same bytes; kept in the cache under the hash of those. Called by `cmd::vm`.

mod cpio;
mod guest;

pub(crate) use guest::{fingerprint, guest_init, static_program, user_init};

use crate::error::Refusal;
use crate::files;
use crate::kernel::{Kernel, LoadedModules};
use crate::paths::Paths;
use crate::run::{ConfigVia, resolved};
use anyhow::{Context as _, Result};
use cpio::Archive;
use guest_init::proto::initramfs;
use serde::Deserialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use workloads::Scenario;

const RECIPE: &str = "images/minimal.toml";
/// Higher ones take seconds and save a tenth.
const ZSTD_LEVEL: i32 = 9;
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// `images/*.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    modules: Vec<String>,
    deterministic_modules: Vec<String>,
}

/// An initramfs on disk and what a run must know of it.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    /// Modules of the recipe.
    pub(crate) wanted_modules: Vec<String>,
    /// Those that it carries, in load order.
    pub(crate) modules: Vec<String>,
    /// Modules of the recipe that this kernel neither has built in nor as a file.
    pub(crate) missing_modules: Vec<String>,
}

/// The modules of the recipe, in load order.
pub(crate) fn modules(
    kernel: &Kernel,
    deterministic: bool,
    paths: &Paths,
) -> Result<LoadedModules> {
    let path = paths.repo.join(RECIPE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("read(`{}`) failed", path.display()))?;
    let recipe: Recipe = toml::from_str(&text).with_context(|| {
        Refusal::input(format!("parse(`{}`) failed", path.display()), "mend the image recipe")
    })?;
    kernel.module_closure(if deterministic {
        &recipe.deterministic_modules
    } else {
        &recipe.modules
    })
}

/// The text that the image carries, if the scenario travels in it.
pub(crate) fn scenario_text(via: ConfigVia, scenario: &Scenario) -> Result<Option<String>> {
    (via == ConfigVia::Initramfs).then(|| resolved(scenario)).transpose()
}

/// Builds the image around the PID 1 `init`, or finds it in the cache.
pub(crate) fn build(
    init: &[u8],
    modules: LoadedModules,
    scenario: Option<&str>,
    packing: Packing,
    paths: &Paths,
) -> Result<Image> {
    let bytes = assemble(init, &modules, scenario)?;
    // Named after what is in it, so that nothing is packed twice.
    let name = files::sha256(&bytes);
    let path = paths.cache_dir("images")?.join(match packing {
        Packing::Zstd => format!("{name}.cpio.zst"),
        Packing::Plain => format!("{name}.cpio"),
    });
    if !path.is_file() {
        write_whole(&path, &packing.pack(bytes)?)?;
    }
    let packed =
        std::fs::read(&path).with_context(|| format!("read(`{}`) failed", path.display()))?;
    let sha256 = files::sha256(&packed);
    Ok(Image {
        path,
        sha256,
        wanted_modules: modules.wanted,
        modules: modules.files.into_iter().map(|module| module.name).collect(),
        missing_modules: modules.missing,
    })
}

/// PID 1 out of an image that [`build`] made.
pub(crate) fn init_of(image: &[u8]) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    let mut rest = match image.starts_with(ZSTD_MAGIC) {
        false => image,
        true => {
            zstd::stream::copy_decode(image, &mut unpacked).context("zstd(image) failed")?;
            unpacked.as_slice()
        }
    };
    loop {
        let mut reader = ::cpio::NewcReader::new(rest).context("cpio(image) failed")?;
        anyhow::ensure!(!reader.entry().is_trailer(), "the image has no `init`");
        if reader.entry().name() == "init" {
            let mut init = Vec::new();
            reader.read_to_end(&mut init).context("cpio(image) failed")?;
            return Ok(init);
        }
        rest = reader.finish().context("cpio(image) failed")?;
    }
}

/// How the archive is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Zstd,
}

impl Packing {
    /// Kernels have every decompressor unless their configuration leaves it out.
    pub(crate) fn of(kernel: &Kernel) -> Self {
        match kernel.lacks("CONFIG_RD_ZSTD") {
            true => Self::Plain,
            false => Self::Zstd,
        }
    }

    fn pack(self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(bytes),
            Self::Zstd => zstd::bulk::compress(&bytes, ZSTD_LEVEL).context("zstd(image) failed"),
        }
    }
}

fn assemble(init: &[u8], modules: &LoadedModules, scenario: Option<&str>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.folder("dev")?;
    // The kernel opens it for PID 1 before devtmpfs is mounted.
    archive.character_device("dev/console", 5, 1)?;
    archive.file("init", init, 0o755)?;
    archive.folder(initramfs::MODULES.trim_start_matches('/'))?;
    for (index, module) in modules.files.iter().enumerate() {
        let name = format!("{}/{index:02}-{}.ko", &initramfs::MODULES[1..], module.name);
        archive.file(&name, &module.bytes, 0o644)?;
    }
    if let Some(text) = scenario {
        archive.file(initramfs::SCENARIO.trim_start_matches('/'), text.as_bytes(), 0o644)?;
    }
    archive.finish()
}

/// Two writers write the same bytes.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write_whole(path, bytes).with_context(|| {
        Refusal::host(
            format!("write(`{}`) failed", path.display()),
            "free some space, or set SCHEDLAB_CACHE to another folder",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Module;

    fn modules() -> LoadedModules {
        let module = |name: &str| Module { name: name.into(), bytes: vec![1, 2, 3] };
        LoadedModules {
            wanted: Vec::new(),
            files: vec![module("virtio"), module("virtio_blk")],
            builtin: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = bytes;
        loop {
            let reader = ::cpio::NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                return names;
            }
            names.push(format!("{:o} {}", reader.entry().mode(), reader.entry().name()));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn the_listing_is_what_the_guest_expects() {
        let bytes = assemble(b"elf", &modules(), Some("{}")).unwrap();
        insta::assert_snapshot!(names(&bytes).join("\n"), @r"
        40755 dev
        20600 dev/console
        100755 init
        40755 modules
        100644 modules/00-virtio.ko
        100644 modules/01-virtio_blk.ko
        100644 scenario.json
        ");
    }

    #[test]
    fn pid_1_comes_out_of_the_image_as_it_went_in() {
        let bytes = assemble(b"elf", &modules(), None).unwrap();
        for packing in [Packing::Plain, Packing::Zstd] {
            assert_eq!(init_of(&packing.pack(bytes.clone()).unwrap()).unwrap(), b"elf");
        }
        assert!(init_of(&bytes[..300]).is_err());
    }

    #[test]
    fn the_same_inputs_are_the_same_bytes() {
        let build = || assemble(b"elf", &modules(), None).unwrap();
        assert_eq!(build(), build());
        assert_ne!(build(), assemble(b"elf", &modules(), Some("{}")).unwrap());
    }
}
