//! A kernel's configuration: which options it was built with. Read from a file beside the image or
//! out of the image itself (`IKCONFIG`); `image.rs` and `store.rs` make it, checks ask it.

use super::payload;
use crate::files::Kind;
use crate::paths::Paths;
use crate::sealed::{self, Kept};
use anyhow::Result;
use memchr::memmem;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// What `kernel/configs.c` puts around the compressed configuration.
const IKCONFIG_BEGIN: &[u8] = b"IKCFG_ST";

/// Options by name, `CONFIG_SMP`, with their values as written: `y`, `m`, `64`, `"text"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where it was found, for users.
    pub(crate) origin: String,
    options: BTreeMap<String, String>,
}

impl Config {
    pub(super) fn parse(text: &str, origin: String) -> Self {
        let option = |line: &str| {
            let (name, value) = line.split_once('=')?;
            name.starts_with("CONFIG_").then(|| (name.to_owned(), value.trim().to_owned()))
        };
        Self { origin, options: text.lines().filter_map(option).collect() }
    }

    /// From a text file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = Kind::KERNEL_CONFIG.read(path)?;
        Ok(Self::parse(&String::from_utf8_lossy(&text), path.display().to_string()))
    }

    /// Its value; `None` for what is off or unknown to this kernel.
    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }

    /// What is on, as a text in the kernel's own form.
    pub(crate) fn text(&self) -> String {
        self.options.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    /// Whether nothing is on, which no kernel is.
    pub(super) fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// Whether it is built into the image.
    pub(crate) fn has_built_in(&self, option: &str) -> bool {
        self.value(option) == Some("y")
    }
}

/// The configuration inside the image at `path`, whose hash is `sha256`. Unpacking takes up to a
/// second, so what was found, nothing too, is remembered.
pub(super) fn embedded(path: &Path, sha256: &str, paths: &Paths) -> Result<Option<Config>> {
    let known = paths.cache_dir("configs")?.join(sha256);
    let text = match sealed::kept(&known) {
        Kept::Whole { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
        Kept::Absent | Kept::Damaged => {
            let image = Kind::IMAGE.read(path)?;
            // An image that cannot be unpacked may well boot.
            let kernel = payload::unpack(image).unwrap_or_default();
            let text = ikconfig(&kernel).unwrap_or_default();
            sealed::keep(&known, text.as_bytes())?;
            text
        }
    };
    let origin = format!("{} (IKCONFIG)", path.display());
    Ok((!text.is_empty()).then(|| Config::parse(&text, origin)))
}

/// The text that an uncompressed kernel built with `CONFIG_IKCONFIG=y` carries.
fn ikconfig(kernel: &[u8]) -> Option<String> {
    let begin = memmem::find(kernel, IKCONFIG_BEGIN)? + IKCONFIG_BEGIN.len();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&kernel[begin..]).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TEXT: &str = "# CONFIG_A is not set\nCONFIG_SMP=y\nCONFIG_X=m\nCONFIG_S=\"a=b\"\n";

    fn image_with(text: &str) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        let kernel =
            [b"\x7fELF..", IKCONFIG_BEGIN, &gz.finish().unwrap(), b"IKCFG_ED tail"].concat();
        payload::fake(&kernel)
    }

    #[test]
    fn options_have_the_values_that_are_written() {
        let config = Config::parse(TEXT, String::new());
        assert!(config.has_built_in("CONFIG_SMP"));
        assert!(!config.has_built_in("CONFIG_X") && !config.has_built_in("CONFIG_SM"));
        assert_eq!(config.value("CONFIG_S"), Some("\"a=b\""));
        assert_eq!(config.value("CONFIG_A"), None);
    }

    #[test]
    fn the_image_is_unpacked_once() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let image = dir.path().join("bzImage");
        std::fs::write(&image, image_with(TEXT)).unwrap();
        let config = embedded(&image, "abc", &paths).unwrap().unwrap();
        assert!(config.has_built_in("CONFIG_SMP") && config.origin.ends_with("(IKCONFIG)"));
        std::fs::remove_file(&image).unwrap();
        assert_eq!(embedded(&image, "abc", &paths).unwrap(), Some(config));
    }

    #[test]
    fn an_image_without_one_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::below(dir.path());
        let image = dir.path().join("bzImage");
        for (index, bytes) in
            [payload::fake(b"\x7fELF"), b"no image".to_vec()].into_iter().enumerate()
        {
            std::fs::write(&image, bytes).unwrap();
            assert_eq!(embedded(&image, &index.to_string(), &paths).unwrap(), None);
        }
    }
}
