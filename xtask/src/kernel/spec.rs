//! What a kernel spec says: a path, `debian:SUITE[/FLAVOUR]`, `host`, or a name from
//! `kernel-configs/kernels.toml`. `mod.rs` calls [`parse`] first of all.

use crate::error::Refusal;
use crate::files::Kind;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use workloads::nearest;

const KINDS: &str = "pass the path of a bzImage, of a vmlinux, of a build tree, of an unpacked \
                     package or of a .deb, \
                     `debian:SUITE[/FLAVOUR]`, `host`, or a name of kernel-configs/kernels.toml";
const DEFAULT_FLAVOUR: &str = "cloud-amd64";

/// A spec, taken apart; nothing has been looked for yet.
#[derive(Debug, PartialEq)]
pub(super) enum Spec {
    /// A file or a build tree.
    File(PathBuf),
    Debian(Suite),
    /// What this machine runs.
    Host,
    /// What `kernel build` makes.
    Built(Recipe),
}

/// One flavour of the kernel in one suite of the Debian archive.
#[derive(Debug, PartialEq)]
pub(super) struct Suite {
    pub(super) suite: String,
    pub(super) flavour: String,
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "debian:{}/{}", self.suite, self.flavour)
    }
}

/// `kernels.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    default: String,
    kernel: Vec<Named>,
    #[serde(default)]
    build: Vec<Recipe>,
}

/// A kernel that is built here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    /// `debian:SUITE`, or a tree.
    pub(crate) source: String,
    /// Files of kernel-configs, without `.config`, in order.
    pub(crate) fragments: Vec<String>,
    /// Files of kernel-configs, applied to a copy of the sources in this order.
    #[serde(default)]
    pub(crate) patches: Vec<String>,
    pub(crate) text: String,
}

/// A kernel that has a name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) spec: String,
    pub(crate) text: String,
}

/// Every kernel that has a name.
pub(crate) fn named(paths: &crate::paths::Paths) -> Result<Vec<Named>> {
    Ok(Catalogue::read(&paths.repo)?.kernel)
}

/// Every kernel that is built here.
pub(crate) fn recipes(paths: &crate::paths::Paths) -> Result<Vec<Recipe>> {
    Ok(Catalogue::read(&paths.repo)?.build)
}

/// The spec that stands for a missing `--kernel`.
pub(crate) fn default_spec(paths: &crate::paths::Paths) -> Result<String> {
    Ok(Catalogue::read(&paths.repo)?.default)
}

/// A file wins over a name, because a path is what the user can see.
pub(super) fn parse(spec: &str, repo: &Path) -> Result<Spec> {
    if spec.is_empty() {
        return Err(Refusal::input("the kernel spec is empty", KINDS).into());
    }
    if let Some(direct) = parse_direct(spec)? {
        return Ok(direct);
    }
    let catalogue = Catalogue::read(repo)?;
    if let Some(recipe) = catalogue.build.iter().find(|recipe| recipe.name == spec) {
        return Ok(Spec::Built(recipe.clone()));
    }
    let named = catalogue.find(spec)?;
    parse_direct(&named.spec)?.ok_or_else(|| {
        let message = format!("kernel `{spec}`: its spec `{}` is no path", named.spec);
        Refusal::input(message, "mend that entry of kernel-configs/kernels.toml").into()
    })
}

fn parse_direct(spec: &str) -> Result<Option<Spec>> {
    if let Some(rest) = spec.strip_prefix("debian:") {
        return parse_suite(spec, rest).map(|suite| Some(Spec::Debian(suite)));
    }
    let path = Path::new(spec);
    if spec.contains(['/', '.']) || path.is_file() {
        return Ok(Some(Spec::File(path.to_path_buf())));
    }
    Ok((spec == "host").then_some(Spec::Host))
}

fn parse_suite(spec: &str, rest: &str) -> Result<Suite> {
    let (suite, flavour) = rest.split_once('/').unwrap_or((rest, DEFAULT_FLAVOUR));
    if is_word(suite) && is_word(flavour) {
        return Ok(Suite { suite: suite.to_owned(), flavour: flavour.to_owned() });
    }
    Err(Refusal::input(
        format!("kernel `{spec}` is not `debian:SUITE[/FLAVOUR]`"),
        "write for example `debian:trixie-backports/cloud-amd64`",
    )
    .into())
}

/// Both halves become parts of file names and of apt's configuration.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
}

impl Catalogue {
    fn read(repo: &Path) -> Result<Self> {
        let file = repo.join("kernel-configs/kernels.toml");
        let text = Kind::TABLE.read_text(&file)?;
        toml::from_str(&text).with_context(|| {
            Refusal::input(format!("`{}` is damaged", file.display()), "mend the line named above")
        })
    }

    fn find(&self, name: &str) -> Result<&Named> {
        self.kernel.iter().find(|named| named.name == name).ok_or_else(|| {
            let names = self.choices().into_iter().map(|(name, _)| name);
            let fix = match nearest(name, names) {
                Some(near) => format!("did you mean `{near}`? Otherwise {KINDS}"),
                None => {
                    let all = self.choices().into_iter();
                    let all = all.map(|(name, text)| format!("`{name}` ({text})"));
                    format!("{KINDS}; names: {}", all.collect::<Vec<_>>().join(", "))
                }
            };
            Refusal::input(format!("no kernel is named `{name}`"), fix).into()
        })
    }

    /// Names with what they are.
    fn choices(&self) -> Vec<(&str, &str)> {
        let named = self.kernel.iter().map(|named| (named.name.as_str(), named.text.as_str()));
        let built = self.build.iter().map(|recipe| (recipe.name.as_str(), recipe.text.as_str()));
        named.chain(built).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit, exit_code, render};
    use crate::keys::walk;

    fn repo() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    fn suite(suite: &str, flavour: &str) -> Spec {
        Spec::Debian(Suite { suite: suite.to_owned(), flavour: flavour.to_owned() })
    }

    #[test]
    fn a_suite_takes_the_cloud_flavour_unless_told() {
        assert_eq!(parse("debian:sid", repo()).unwrap(), suite("sid", "cloud-amd64"));
        assert_eq!(parse("debian:sid/rt-amd64", repo()).unwrap(), suite("sid", "rt-amd64"));
    }

    #[test]
    fn a_suite_cannot_leave_the_cache_or_add_apt_options() {
        for bad in
            ["debian:", "debian:/x", "debian:../x", "debian:a/", "debian:a/b/c", "debian:a b"]
        {
            let error = parse(bad, repo()).unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT, "{bad}");
        }
    }

    #[test]
    fn what_looks_like_a_path_is_one() {
        for path in ["./x", "/boot/vmlinuz-6.1", "a.deb"] {
            assert_eq!(parse(path, repo()).unwrap(), Spec::File(path.into()));
        }
    }

    #[test]
    fn host_is_no_name_and_no_path() {
        assert_eq!(parse("host", repo()).unwrap(), Spec::Host);
        assert_eq!(parse("./host", repo()).unwrap(), Spec::File("./host".into()));
    }

    #[test]
    fn every_named_kernel_has_a_spec_and_the_default_is_one_of_them() {
        let catalogue = Catalogue::read(repo()).unwrap();
        catalogue.find(&catalogue.default).unwrap();
        for named in &catalogue.kernel {
            assert!(is_word(&named.name) && !named.name.contains('.'), "{}", named.name);
            assert!(!named.text.is_empty(), "{}", named.name);
            parse(&named.name, repo()).unwrap();
        }
    }

    const FILE: &str = r#"default = "a"
[[kernel]]
name = "a"
spec = "./a"
text = "one"
[[build]]
name = "b"
source = "./b"
fragments = ["x"]
text = "two"
"#;

    /// What names stand for and what is said of them. What comes of sources, fragments and patches is
    /// shown in `build`.
    fn effect(text: &str) -> Result<String> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("kernel-configs"))?;
        std::fs::write(dir.path().join("kernel-configs/kernels.toml"), text)?;
        let catalogue = Catalogue::read(dir.path())?;
        let names = catalogue.choices().into_iter().map(|(name, _)| name);
        let specs: Vec<_> = names.map(|name| parse(name, dir.path())).collect::<Result<_>>()?;
        Ok(format!("{} {specs:?} {:?}", catalogue.default, catalogue.choices()))
    }

    #[test]
    fn no_key_of_the_file_is_without_effect() {
        let kernel = "[[kernel]]\nname = \"c\"\nspec = \"./c\"\ntext = \"c\"\n";
        let build = "[[build]]\nname = \"c\"\nsource = \"./c\"\nfragments = []\ntext = \"c\"\n";
        let before = |table: &str| format!("{table}[[build]]");
        let whole = [
            ("default", "default = \"a\"", "default = \"b\""),
            ("kernel", "[[build]]", &before(kernel)),
            ("build", "[[build]]", &before(build)),
        ];
        walk(FILE, "", &whole, effect);
        let named = [
            ("name", "name = \"a\"", "name = \"c\""),
            ("spec", "\"./a\"", "\"./c\""),
            ("text", "\"one\"", "\"other\""),
        ];
        walk(FILE, "[[kernel]]\n", &named, effect);
        let recipe = [
            ("name", "name = \"b\"", "name = \"c\""),
            ("source", "\"./b\"", "\"./c\""),
            ("fragments", "[\"x\"]", "[\"y\"]"),
            ("patches", "[\"x\"]", "[\"x\"]\npatches = [\"p\"]"),
            ("text", "\"two\"", "\"other\""),
        ];
        walk(FILE, "[[build]]\n", &recipe, effect);
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_one_or_all() {
        let near = parse("trixie-backport", repo()).unwrap_err();
        assert!(render(&near).contains("did you mean `trixie-backports`?"), "{near:#}");
        let far = parse("solaris", repo()).unwrap_err();
        assert_eq!(exit_code(&far), exit::BAD_INPUT);
        assert!(render(&far).contains("`bookworm` (Debian 12"), "{}", render(&far));
        assert_eq!(exit_code(&parse("", repo()).unwrap_err()), exit::BAD_INPUT);
    }
}
