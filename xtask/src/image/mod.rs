//! The initramfs: guest-init, modules, sched_ext schedulers, and the scenario if it travels this
//! way. Same inputs, same bytes; kept in the cache under the hash of those. Called by `cmd::vm`.

mod cpio;
mod extra;
mod guest;

pub(crate) use extra::{Extra, Programs};
pub(crate) use guest::{fingerprint, guest_init, static_program, user_init};

use crate::error::Refusal;
use crate::files::{self, Kind};
use crate::kernel::{Kernel, LoadedModules, Module};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::run::{ConfigVia, resolved};
use crate::sealed::{self, Kept};
use anyhow::{Context as _, Result};
use cpio::Archive;
use guest_init::proto::initramfs;
use serde::Deserialize;
use std::io::Read as _;
use std::path::PathBuf;
use workloads::Scenario;

const RECIPE: &str = "images/minimal.toml";
/// Higher ones take seconds and save a tenth.
const ZSTD_LEVEL: i32 = 9;
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Unpacked; one that is larger ends early and is refused.
const LARGEST_IMAGE: u64 = 1 << 30;

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
    let text = Kind::TABLE.read_text(&path)?;
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

/// What an image is made of.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// PID 1.
    pub(crate) init: &'a [u8],
    pub(crate) modules: LoadedModules,
    pub(crate) extra: Extra,
    /// Its text, if it travels so.
    pub(crate) scenario: Option<String>,
}

/// Builds the image of these parts, or finds it in the cache. Two writers write the same bytes.
pub(crate) fn build(
    parts: Parts<'_>,
    packing: Packing,
    paths: &Paths,
    progress: &Progress,
) -> Result<Image> {
    let bytes = assemble(&parts)?;
    let modules = parts.modules;
    // Named after what is in it, so that nothing is packed twice.
    let name = files::sha256(&bytes);
    let path = paths.cache_dir("images")?.join(match packing {
        Packing::Zstd => format!("{name}.cpio.zst"),
        Packing::Plain => format!("{name}.cpio"),
    });
    let found = sealed::kept(&path);
    if found == Kept::Damaged {
        progress
            .step(format!("image `{}` in the cache is damaged: it is made again", path.display()));
    }
    let sha256 = match found {
        Kept::Whole { sha256, .. } => sha256,
        Kept::Absent | Kept::Damaged => sealed::keep(&path, &packing.pack(bytes)?)?,
    };
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
    let mut init = None;
    each_file(image, |name, _, bytes| {
        if name == "init" {
            init = Some(bytes);
        }
    })?;
    init.context("the image has no `init`")
}

/// What an image that [`build`] made has beside PID 1, what its kernel needs, and the scenario.
pub(crate) fn extra_of(image: &[u8]) -> Result<Extra> {
    let others = ["init", &initramfs::SCENARIO[1..]];
    let of_kernel = |name: &str| name.starts_with("boot/") || name.starts_with("modules/");
    let mut extra = Extra::default();
    each_file(image, |name, permissions, bytes| {
        if !others.contains(&name) && !of_kernel(name) {
            extra.add(name, bytes, permissions);
        }
    })?;
    Ok(extra)
}

/// An image that [`build`] made, with another scenario in it. Of its modules nothing is known but
/// their names.
pub(crate) fn with_scenario(image: &[u8], scenario: String, paths: &Paths) -> Result<Image> {
    let packing = if image.starts_with(ZSTD_MAGIC) { Packing::Zstd } else { Packing::Plain };
    let (modules, extra) = beside_init(image)?;
    let init = init_of(image)?;
    let parts = Parts { init: &init, modules, extra, scenario: Some(scenario) };
    // The runs that it is for say nothing either.
    build(parts, packing, paths, &Progress::silent())
}

/// All that an image has beside PID 1 and the scenario.
fn beside_init(image: &[u8]) -> Result<(LoadedModules, Extra)> {
    let others = ["init", &initramfs::SCENARIO[1..]];
    let folder = format!("{}/", &initramfs::MODULES[1..]);
    let (mut modules, mut extra) = (LoadedModules::default(), Extra::default());
    each_file(image, |name, permissions, bytes| {
        // `modules/03-virtio.ko`
        let module = name.strip_prefix(&folder).and_then(|name| name.strip_suffix(".ko"));
        match module.and_then(|name| name.split_once('-')) {
            Some((_, name)) => modules.files.push(Module { name: name.to_owned(), bytes }),
            None if others.contains(&name) => {}
            None => extra.add(name, bytes, permissions),
        }
    })?;
    Ok((modules, extra))
}

/// Calls `take` with name, permissions and content of each file in an image.
fn each_file(image: &[u8], mut take: impl FnMut(&str, u32, Vec<u8>)) -> Result<()> {
    const TYPE: u32 = 0o170_000;
    const REGULAR: u32 = 0o100_000;
    let mut unpacked = Vec::new();
    let mut rest = match image.starts_with(ZSTD_MAGIC) {
        false => image,
        true => {
            // An image of a stranger's may unpack to anything.
            let decoder = zstd::Decoder::new(image).context("zstd(image) failed")?;
            let read = decoder.take(LARGEST_IMAGE).read_to_end(&mut unpacked);
            read.context("zstd(image) failed")?;
            unpacked.as_slice()
        }
    };
    loop {
        let mut reader = ::cpio::NewcReader::new(rest).context("cpio(image) failed")?;
        if reader.entry().is_trailer() {
            return Ok(());
        }
        let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
        if mode & TYPE == REGULAR {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).context("cpio(image) failed")?;
            take(&name, mode & !TYPE, bytes);
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

fn assemble(parts: &Parts<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.folder("dev")?;
    // The kernel opens it for PID 1 before devtmpfs is mounted.
    archive.character_device("dev/console", 5, 1)?;
    archive.file("init", parts.init, 0o755)?;
    archive.folder(initramfs::MODULES.trim_start_matches('/'))?;
    for (index, module) in parts.modules.files.iter().enumerate() {
        let name = format!("{}/{index:02}-{}.ko", &initramfs::MODULES[1..], module.name);
        archive.file(&name, &module.bytes, 0o644)?;
    }
    parts.extra.write(&mut archive)?;
    if let Some(text) = &parts.scenario {
        archive.file(initramfs::SCENARIO.trim_start_matches('/'), text.as_bytes(), 0o644)?;
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::modules as of_recipe;
    use super::*;
    use crate::kernel::fixture;
    use crate::keys::walk;

    fn modules() -> LoadedModules {
        let module = |name: &str| Module { name: name.into(), bytes: vec![1, 2, 3] };
        LoadedModules {
            files: vec![module("virtio"), module("virtio_blk")],
            ..LoadedModules::default()
        }
    }

    fn parts(scenario: Option<&str>) -> Parts<'static> {
        let mut extra = Extra::default();
        if scenario.is_some() {
            extra.add("/schedulers/a/scheduler", b"elf too".to_vec(), 0o755);
            extra.add("/lib64/libc.so", b"so".to_vec(), 0o755);
            extra.add("/boot/config-6.1", b"CONFIG_X=y".to_vec(), 0o644);
            extra.add("/schedulers.json", b"[]".to_vec(), 0o644);
        }
        Parts { init: b"elf", modules: modules(), extra, scenario: scenario.map(str::to_owned) }
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
        let bytes = assemble(&parts(Some("{}"))).unwrap();
        insta::assert_snapshot!(names(&bytes).join("\n"), @r"
        40755 dev
        20600 dev/console
        100755 init
        40755 modules
        100644 modules/00-virtio.ko
        100644 modules/01-virtio_blk.ko
        40755 boot
        100644 boot/config-6.1
        40755 lib64
        100755 lib64/libc.so
        100644 schedulers.json
        40755 schedulers
        40755 schedulers/a
        100755 schedulers/a/scheduler
        100644 scenario.json
        ");
    }

    #[test]
    fn no_key_of_the_recipe_is_without_effect() {
        let effect = |text: &str| -> Result<String> {
            let dir = tempfile::tempdir()?;
            std::fs::create_dir(dir.path().join("images"))?;
            std::fs::write(dir.path().join(RECIPE), text)?;
            let (kernel, paths) = (fixture::kernel("6.1.0", None), Paths::below(dir.path()));
            let wanted = |deterministic| Ok(of_recipe(&kernel, deterministic, &paths)?.wanted);
            wanted(false).and_then(|usual| Ok(format!("{usual:?} {:?}", wanted(true)?)))
        };
        let changes =
            [("modules", "[\"a\"]", "[\"c\"]"), ("deterministic_modules", "[\"b\"]", "[\"c\"]")];
        walk("modules = [\"a\"]\ndeterministic_modules = [\"b\"]\n", "", &changes, effect);
    }

    #[test]
    fn pid_1_comes_out_of_the_image_as_it_went_in() {
        let bytes = assemble(&parts(None)).unwrap();
        for packing in [Packing::Plain, Packing::Zstd] {
            assert_eq!(init_of(&packing.pack(bytes.clone()).unwrap()).unwrap(), b"elf");
        }
        assert!(init_of(&bytes[..300]).is_err());
    }

    #[test]
    fn an_image_taken_apart_for_another_scenario_is_otherwise_the_same() {
        let whole = assemble(&parts(Some("{}"))).unwrap();
        let (modules, extra) = beside_init(&whole).unwrap();
        let again = |text: &str| {
            let (modules, extra) = (
                LoadedModules { files: modules_of(&modules), ..LoadedModules::default() },
                extra.clone(),
            );
            assemble(&Parts {
                init: &init_of(&whole).unwrap(),
                modules,
                extra,
                scenario: Some(text.into()),
            })
            .unwrap()
        };
        assert_eq!(again("{}"), whole);
        assert_ne!(again("{ }"), whole);
    }

    fn modules_of(all: &LoadedModules) -> Vec<Module> {
        let copy =
            |module: &Module| Module { name: module.name.clone(), bytes: module.bytes.clone() };
        all.files.iter().map(copy).collect()
    }

    #[test]
    fn a_damaged_image_is_made_again_with_the_bytes_that_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, progress) = (Paths::below(dir.path()), Progress::silent());
        let image = || build(parts(None), Packing::Zstd, &paths, &progress).unwrap();
        let (first, whole) = (image(), std::fs::read(image().path).unwrap());
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for bytes in [&flipped[..], &whole[..whole.len() / 2], b""] {
            std::fs::write(&first.path, bytes).unwrap();
            let again = image();
            assert_eq!(std::fs::read(&again.path).unwrap(), whole);
            assert_eq!(again.sha256, files::sha256(&whole));
        }
    }

    #[test]
    fn the_same_inputs_are_the_same_bytes() {
        let build = || assemble(&parts(None)).unwrap();
        assert_eq!(build(), build());
        assert_ne!(build(), assemble(&parts(Some("{}"))).unwrap());
    }

    #[test]
    fn schedulers_come_out_of_the_image_without_what_was_its_kernels() {
        let whole = parts(Some("{}"));
        let packed = Packing::Zstd.pack(assemble(&whole).unwrap()).unwrap();
        let mut extra = extra_of(&packed).unwrap();
        assert_ne!(extra, whole.extra);
        extra.add("boot/config-6.1", b"CONFIG_X=y".to_vec(), 0o644);
        assert_eq!(extra, whole.extra);
        assert_eq!(extra_of(&assemble(&parts(None)).unwrap()).unwrap(), Extra::default());
    }
}
