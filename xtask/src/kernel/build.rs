//! `kernel build`: a kernel from sources and configuration fragments, for a name of
//! `kernels.toml`. The build folder stays in the cache, so that an interrupted build goes on; the
//! result becomes a kernel of the cache like any other.

mod configure;
mod kconfig;
mod make;
mod patched;
mod source;

use super::spec::Recipe;
use super::{Kernel, answers, store};
use crate::disk;
use crate::error::Refusal;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use std::path::PathBuf;

/// What is kept of a build, each with its name there.
const PRODUCTS: [(&str, &str); 3] =
    [("vmlinuz", "arch/x86/boot/bzImage"), ("config", ".config"), ("System.map", "System.map")];

/// The kernel that `recipe` describes, built now unless the same sources, fragments and compiler
/// made it before.
pub(crate) fn build(
    recipe: &Recipe,
    source: Option<&str>,
    paths: &Paths,
    progress: &Progress,
) -> Result<(Kernel, Vec<String>)> {
    make::require_tools()?;
    build_with(recipe, source, paths, progress)
}

/// With the tools that there are.
fn build_with(
    recipe: &Recipe,
    source: Option<&str>,
    paths: &Paths,
    progress: &Progress,
) -> Result<(Kernel, Vec<String>)> {
    let spec = source.unwrap_or(&recipe.source);
    let source = source::find(spec, paths, progress)?;
    let source = match recipe.patches.is_empty() {
        true => source,
        false => patched::patched(&source, &recipe.patches, paths, progress)?,
    };
    let builds = paths.cache_dir("builds")?;
    let out = builds.join(format!("{}-{}", recipe.name, source.key));
    let _lock = disk::lock(&builds.join(format!("{}.lock", recipe.name)), progress)?;
    std::fs::create_dir_all(&out).with_context(|| disk::unwritable(&out))?;
    let wanted = configure::wanted(recipe, paths)?;
    let merged = configure::merged(&wanted, recipe);
    // Sources of the user's may change at any time; `make` sees what did.
    let inputs = format!("{}\n{merged}\n{}", source.key, make::compiler()?);
    let stamp = out.join("schedlab-inputs");
    let package = format!("{} of {spec}", recipe.name);
    let made = std::fs::read_to_string(&stamp).unwrap_or_default();
    let made = made.split_once('\n').filter(|(_, was)| source.is_fixed && *was == inputs);
    // By its key: the name may stand for a kernel of other sources by now.
    if let Some((key, _)) = made
        && let Some(kernel) = store::load(key, paths, progress)
    {
        answers::remember(&recipe.name, key.to_owned(), vec![package], paths)?;
        return Ok((kernel, Vec::new()));
    }
    let files = PRODUCTS.map(|(name, built)| (name, out.join(built)));
    let products = files.clone().map(|(_, file)| file);
    if made.is_some_and(|(key, _)| store::key_of(&products).is_ok_and(|now| now != key)) {
        progress
            .step(format!("what was built in `{}` is damaged: it is built again", out.display()));
        std::fs::remove_dir_all(&out).with_context(|| disk::unwritable(&out))?;
        std::fs::create_dir_all(&out).with_context(|| disk::unwritable(&out))?;
    }
    let tree = Tree { source: source.dir, out };
    let notes = configure::configure(&tree, &wanted, &merged, progress)?;
    progress.step(format!("building `{}` in {}", recipe.name, tree.out.display()));
    make::make(&tree, &["bzImage"], progress)?;
    let (key, kernel) = store::keep(&files, &package, paths, progress)?;
    disk::write_whole(&stamp, format!("{key}\n{inputs}").as_bytes())?;
    answers::remember(&recipe.name, key, vec![package], paths)?;
    Ok((kernel, notes))
}

/// The kernel of this name, if it was built.
pub(super) fn built(recipe: &Recipe, paths: &Paths, progress: &Progress) -> Result<Kernel> {
    answers::recall(&recipe.name, paths, progress).ok_or_else(|| {
        let was = answers::all(paths).iter().any(|(spec, _)| *spec == recipe.name);
        let how = if was { "is not in the cache any more, or not whole" } else { "is not built yet" };
        let message = format!("kernel `{}` {how}", recipe.name);
        let fix = format!(
            "run `cargo xtask kernel build {}`; a small kernel takes five to ten minutes on two CPUs",
            recipe.name
        );
        Refusal::input(message, fix).into()
    })
}

/// Sources, and the folder that holds everything made of them.
#[derive(Debug)]
struct Tree {
    source: PathBuf,
    out: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::super::bzimage;
    use super::*;
    use crate::error::{exit, exit_code, render};
    use std::fs::{create_dir_all, read_to_string, write};
    use std::path::Path;

    /// Takes the options that it knows, counts its builds, and fails when told to.
    const MAKEFILE: &str = "\
allnoconfig:
\tgrep -v CONFIG_PICKY $(KCONFIG_ALLCONFIG) > $(O)/.config
olddefconfig:
bzImage:
\techo '  CC      one.o'
\techo x >> $(O)/builds
\ttest ! -e broken || { echo 'one.c:1: error: broken' >&2; exit 1; }
\tmkdir -p $(O)/arch/x86/boot
\tcp bzImage.in $(O)/arch/x86/boot/bzImage
\techo map > $(O)/System.map
";

    fn recipe() -> Recipe {
        Recipe {
            name: "mine".to_owned(),
            source: "debian:sid".to_owned(),
            fragments: vec!["base".to_owned()],
            patches: Vec::new(),
            text: String::new(),
        }
    }

    /// A tree that `make` builds at once, and paths around it.
    fn tree(dir: &Path, fragment: &str) -> (String, Paths) {
        let tree = dir.join("linux");
        create_dir_all(&tree).unwrap();
        create_dir_all(dir.join("kernel-configs")).unwrap();
        write(dir.join("kernel-configs/base.config"), fragment).unwrap();
        write(dir.join("kernel-configs/kernels.toml"), "default = \"mine\"\nkernel = []\n")
            .unwrap();
        write(tree.join("Makefile"), MAKEFILE).unwrap();
        write(tree.join("Kconfig"), "config PICKY\n\tbool \"p\"\n\tdepends on EXPERT\n").unwrap();
        write(tree.join("bzImage.in"), bzimage::fake("6.1.0-mine (me) #1")).unwrap();
        (tree.display().to_string(), Paths::below(dir))
    }

    #[test]
    fn a_kernel_is_built_and_from_then_on_its_name_stands_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, paths) = tree(dir.path(), "CONFIG_SMP=y\n");
        let progress = Progress::silent();
        let error = built(&recipe(), &paths, &Progress::silent()).unwrap_err();
        assert!(render(&error).contains("cargo xtask kernel build mine"), "{}", render(&error));
        let (kernel, notes) = build_with(&recipe(), Some(&tree), &paths, &progress).unwrap();
        assert_eq!((kernel.release.as_str(), notes.len()), ("6.1.0-mine", 0));
        assert!(kernel.has_built_in("CONFIG_SMP"));
        assert_eq!(built(&recipe(), &paths, &Progress::silent()).unwrap().sha256, kernel.sha256);
        // A tree of the user's may have changed: it is made again.
        write(dir.path().join("linux/bzImage.in"), bzimage::fake("6.1.1-mine (me) #1")).unwrap();
        build_with(&recipe(), Some(&tree), &paths, &progress).unwrap();
        assert_eq!(built(&recipe(), &paths, &Progress::silent()).unwrap().release, "6.1.1-mine");
    }

    #[test]
    fn a_failed_build_says_why_and_goes_on_later() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, paths) = tree(dir.path(), "CONFIG_SMP=y\n");
        let broken = dir.path().join("linux/broken");
        write(&broken, "").unwrap();
        let build = || build_with(&recipe(), Some(&tree), &paths, &Progress::silent());
        let error = build().unwrap_err();
        assert_eq!(exit_code(&error), exit::HOST);
        let text = render(&error);
        assert!(text.contains("one.c:1: error: broken") && text.contains("goes on"), "{text}");
        assert!(built(&recipe(), &paths, &Progress::silent()).is_err());
        std::fs::remove_file(&broken).unwrap();
        build().unwrap();
        let out = std::fs::read_dir(paths.cache.join("builds")).unwrap().flatten();
        let out = out.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
        assert_eq!(read_to_string(out.join("builds")).unwrap(), "x\nx\n", "in one folder");
    }

    #[test]
    fn a_recipe_is_built_from_its_sources_by_its_fragments_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, paths) = tree(dir.path(), "CONFIG_SMP=y\n");
        write(dir.path().join("kernel-configs/more.config"), "CONFIG_MORE=y\n").unwrap();
        let mine = Recipe { source: tree, ..recipe() };
        let build = |recipe: &Recipe| {
            let (kernel, _) = build_with(recipe, None, &paths, &Progress::silent()).unwrap();
            let progress = Progress::silent();
            assert_eq!(built(recipe, &paths, &progress).unwrap().sha256, kernel.sha256);
            kernel
        };
        assert!(!build(&mine).has_built_in("CONFIG_MORE"));
        let fragments = vec!["base".to_owned(), "more".to_owned()];
        assert!(build(&Recipe { fragments, ..mine.clone() }).has_built_in("CONFIG_MORE"));
        let other = Recipe { name: "other".to_owned(), ..mine.clone() };
        build(&other);
        let gone = Recipe { source: "/dev/null".to_owned(), ..mine };
        assert!(build_with(&gone, None, &paths, &Progress::silent()).is_err());
    }

    #[test]
    fn an_option_that_does_not_take_ends_the_build_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, paths) = tree(dir.path(), "CONFIG_PICKY=y\nCONFIG_SMP=y\n");
        let error = build_with(&recipe(), Some(&tree), &paths, &Progress::silent()).unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        let text = render(&error);
        assert!(
            text.contains("CONFIG_PICKY=y (base): it depends on EXPERT; off: EXPERT"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, paths) = tree(dir.path(), "CONFIG_SMP=y\n");
        let refused = |source: &str| {
            let error = build_with(&recipe(), Some(source), &paths, &Progress::silent());
            let error = error.unwrap_err();
            assert_eq!(exit_code(&error), exit::BAD_INPUT);
            render(&error)
        };
        assert!(refused("/dev/null").contains("no kernel source"));
        write(Path::new(&tree).join(".config"), "").unwrap();
        assert!(refused(&tree).contains("make mrproper"));
    }
}
