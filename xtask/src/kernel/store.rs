//! The kernels in the cache: `cache/kernels/KEY` with the image, `config`, `modules/` and
//! `kernel.json`, where KEY is the hash of the packages. `mod.rs` and `debian.rs` call these.
//! A folder is sealed when it is made, and used only while it is as it was then.
//!
//! The image is the `vmlinux` out of the package's `vmlinuz`, if QEMU can enter that: under TCG a
//! kernel that unpacks itself takes a quarter of a short run.

use super::cache::Cached;
use super::config::Config;
use super::siblings::Packages;
use super::{Kernel, bzimage, deb, modules, payload, vmlinux};
use crate::disk;
use crate::error::Refusal;
use crate::files;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::sealed::{self, Fault};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

/// Part of every key: a cache that another layout wrote is not read by mistake.
const LAYOUT: &str = "schedlab kernel 1";
const RECORD: &str = "kernel.json";
const TEMPORARY: &str = "unpacking-";
const SYMBOLS: &str = "System.map";
const PACKED: &str = "vmlinuz";
const UNPACKED: &str = "vmlinux";

/// `kernel.json`: what need not be worked out again.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The file that is booted.
    image: String,
    release: String,
    version: String,
    sha256: String,
    package: String,
}

/// The kernel with this key, if it is in the cache whole. Says so if it is there and is not.
pub(super) fn load(key: &str, paths: &Paths, progress: &Progress) -> Option<Kernel> {
    let dir = paths.cache.join("kernels").join(key);
    let why = match load_from(&dir) {
        Ok(kernel) => return Some(kernel),
        Err(_) if !dir.join(RECORD).exists() => return None,
        Err(fault) => fault.text(&format!("kernel `{}` in the cache", dir.display())),
    };
    if mend(&dir).is_ok_and(|is_mended| is_mended) {
        progress.step(format!("{why}: its image is unpacked again"));
        return load_from(&dir).ok();
    }
    progress.step(format!("{why}: it is not used"));
    // From here on it is no kernel to anybody.
    drop(std::fs::remove_file(dir.join(RECORD)));
    None
}

fn load_from(dir: &Path) -> Result<Kernel, Fault> {
    let record = record(dir).ok_or_else(|| Fault::Damaged(vec![RECORD.to_owned()]))?;
    match sealed::check(dir) {
        Err(Fault::Unsealed) => adopt(dir, &record)?,
        sealed => sealed?,
    }
    Ok(kernel(dir, record))
}

fn record(dir: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(dir.join(RECORD)).ok()?).ok()
}

/// Seals a folder that an older schedlab made, as far as that one left something to compare with.
fn adopt(dir: &Path, record: &Record) -> Result<(), Fault> {
    let damaged = |name: &str| Fault::Damaged(vec![name.to_owned()]);
    if disk::sha256(&dir.join(&record.image)).ok().as_ref() != Some(&record.sha256) {
        return Err(damaged(&record.image));
    }
    let config = dir.join("config");
    if config.exists() && !Config::read(&config).is_ok_and(|config| !config.is_empty()) {
        return Err(damaged("config"));
    }
    let modules = dir.join("modules");
    if modules.is_dir() && !modules::index_holds(&modules) {
        return Err(damaged("modules"));
    }
    // What cannot be written is compared again the next time.
    drop(sealed::seal(dir));
    Ok(())
}

/// Makes a damaged image anew of the packed one beside it, if nothing else is damaged. Whether it did.
fn mend(dir: &Path) -> Result<bool> {
    let record = record(dir).context("there is no record")?;
    let is_all = matches!(load_from(dir), Err(Fault::Damaged(files)) if files == [UNPACKED]);
    if !is_all || record.image != UNPACKED {
        return Ok(false);
    }
    let packed = dir.join(PACKED);
    let image = std::fs::read(&packed).with_context(|| disk::unreadable(&packed))?;
    let image = payload::unpack(image)?;
    if files::sha256(&image) != record.sha256 {
        return Ok(false);
    }
    disk::write_whole(&dir.join(UNPACKED), &image)?;
    Ok(load_from(dir).is_ok())
}

fn kernel(dir: &Path, record: Record) -> Kernel {
    Kernel {
        spec: String::new(),
        release: record.release,
        version: record.version,
        sha256: record.sha256,
        package: Some(record.package),
        modules: Some(dir.join("modules")).filter(|modules| modules.is_dir()),
        symbols: Some(dir.join(SYMBOLS)).filter(|symbols| symbols.is_file()),
        config: Config::read(&dir.join("config")).ok(),
        image: dir.join(record.image),
    }
}

/// The kernel in these packages and its key, unpacked now unless it is in the cache already.
pub(super) fn unpacked(
    packages: &Packages,
    paths: &Paths,
    progress: &Progress,
) -> Result<(String, Kernel)> {
    let key = key_of(&packages.files)?;
    let fill = |into: &Path| -> Result<()> {
        progress.step(format!("unpacking {}", packages.name));
        fill(into, packages)
    };
    install(key, &fill, paths, progress)
}

/// The kernel with this key, which `fill` puts into a folder unless it is in the cache already.
fn install(
    key: String,
    fill: &dyn Fn(&Path) -> Result<()>,
    paths: &Paths,
    progress: &Progress,
) -> Result<(String, Kernel)> {
    let kernels = paths.cache_dir("kernels")?;
    let dir = kernels.join(&key);
    if let Some(kernel) = load(&key, paths, progress) {
        return Ok((key, kernel));
    }
    let _lock = disk::lock(&kernels.join("lock"), progress)?;
    // Whoever held the lock may have made this very kernel.
    if let Ok(kernel) = load_from(&dir) {
        return Ok((key, kernel));
    }
    remove_leftovers(&kernels);
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(&kernels)
        .with_context(|| disk::unwritable(&kernels))?;
    fill(temporary.path())?;
    // There only if it is damaged: it did not load.
    drop(std::fs::remove_dir_all(&dir));
    sealed::seal_as(temporary.path(), &dir)?;
    drop(temporary.keep());
    load_from(&dir).map(|kernel| (key, kernel)).map_err(|fault| {
        anyhow::anyhow!(fault.text("what was just written")).context(disk::unwritable(&dir))
    })
}

/// Every kernel that is in the cache whole, by its key.
pub(super) fn cached(paths: &Paths) -> Result<Vec<Cached>> {
    let entries = std::fs::read_dir(paths.cache.join("kernels")).into_iter().flatten().flatten();
    let mut cached = Vec::new();
    for entry in entries {
        if let Ok(kernel) = load_from(&entry.path()) {
            let key = entry.file_name().to_string_lossy().into_owned();
            cached.push(Cached { key, kernel, bytes: disk::bytes_below(&entry.path())? });
        }
    }
    cached.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(cached)
}

/// Removes these kernels, and what killed runs left.
pub(super) fn remove(keys: &[&str], paths: &Paths, progress: &Progress) -> Result<()> {
    let kernels = paths.cache_dir("kernels")?;
    let _lock = disk::lock(&kernels.join("lock"), progress)?;
    remove_leftovers(&kernels);
    for key in keys {
        let dir = kernels.join(key);
        // First the file without which nobody takes it for whole.
        let removed = std::fs::remove_file(dir.join(RECORD));
        removed
            .and_then(|()| std::fs::remove_dir_all(&dir))
            .with_context(|| disk::unwritable(&dir))?;
    }
    Ok(())
}

/// Puts the files of a kernel, each with its name there, into the cache.
pub(super) fn keep(
    files: &[(&str, PathBuf)],
    package: &str,
    paths: &Paths,
    progress: &Progress,
) -> Result<(String, Kernel)> {
    let key = key_of(&files.iter().map(|(_, file)| file.clone()).collect::<Vec<_>>())?;
    let copy = |into: &Path| -> Result<()> {
        for (name, file) in files {
            std::fs::copy(file, into.join(name)).with_context(|| disk::unwritable(into))?;
        }
        finish(into, package)
    };
    install(key, &copy, paths, progress)
}

/// In the order of the parts, which is always the same.
pub(super) fn key_of(files: &[PathBuf]) -> Result<String> {
    let mut text = LAYOUT.to_owned();
    for file in files {
        text.push(' ');
        text.push_str(&disk::sha256(file)?);
    }
    let mut key = files::sha256(text.as_bytes());
    key.truncate(32);
    Ok(key)
}

/// What a killed run left; under the lock nobody else is unpacking.
fn remove_leftovers(kernels: &Path) {
    for entry in std::fs::read_dir(kernels).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

fn fill(dir: &Path, packages: &Packages) -> Result<()> {
    for file in &packages.files {
        deb::unpack(file, dir, &place)?;
    }
    if !dir.join(PACKED).is_file() {
        let message = format!("package `{}` holds no kernel image", packages.name);
        return Err(Refusal::input(message, "pass a `linux-image-RELEASE` package").into());
    }
    let modules = dir.join("modules");
    if modules.is_dir() {
        modules::write_index(&modules)?;
    }
    finish(dir, &packages.name)
}

/// Unpacks the image in the folder and writes down what it is.
fn finish(dir: &Path, package: &str) -> Result<()> {
    let setup = bzimage::read(&dir.join(PACKED)).with_context(|| format!("package `{package}`"))?;
    let image = unpack(dir)?;
    let record = Record {
        release: setup.release,
        version: setup.version,
        sha256: disk::sha256(&dir.join(image))?,
        image: image.to_owned(),
        package: package.to_owned(),
    };
    let file = dir.join(RECORD);
    let text = serde_json::to_vec_pretty(&record).context("serialize(kernel.json) failed")?;
    std::fs::write(&file, text).with_context(|| disk::unwritable(&file))
}

/// The name of the kernel proper, unpacked beside the image that unpacks itself; or of that one, if
/// QEMU cannot enter the other.
fn unpack(dir: &Path) -> Result<&'static str> {
    let (packed, unpacked) = (dir.join(PACKED), dir.join(UNPACKED));
    let image = std::fs::read(&packed).with_context(|| disk::unreadable(&packed))?;
    let Ok(kernel) = payload::unpack(image) else { return Ok(PACKED) };
    std::fs::write(&unpacked, kernel).with_context(|| disk::unwritable(&unpacked))?;
    if vmlinux::read(&unpacked).is_ok() {
        return Ok(UNPACKED);
    }
    std::fs::remove_file(&unpacked).with_context(|| disk::unwritable(&unpacked))?;
    Ok(PACKED)
}

/// Where a file of the package goes; all that no guest needs is left out.
fn place(member: &Path) -> Option<PathBuf> {
    let names: Vec<&str> = member
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let names = names.strip_prefix(&["usr"]).unwrap_or(&names);
    match names {
        ["boot", name] if name.starts_with("vmlinuz-") => Some(PACKED.into()),
        ["boot", name] if name.starts_with("config-") => Some("config".into()),
        ["lib", "modules", _, name @ ("vmlinuz" | "config")] => Some(name.into()),
        ["lib", "modules", _, "modules.builtin"] => Some("modules/modules.builtin".into()),
        ["lib", "modules", _, rest @ ..] if rest.len() > 1 && modules::is_module(member) => {
            Some(Path::new("modules").join(rest.join("/")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
