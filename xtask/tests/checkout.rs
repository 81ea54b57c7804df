//! Which checkout a program works on that was built in one and runs in another, as a copied build
//! folder does. Boots nothing.

use std::path::Path;
use std::process::{Command, Output};

/// Puts the program under test where Cargo would, below `dir`.
fn install(dir: &Path) -> std::path::PathBuf {
    let program = dir.join("target/debug/xtask");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    program
}

/// `list kernels` of that program, called as a user does, without Cargo.
fn list_kernels(program: &Path, working_dir: &Path) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(["list", "kernels", "--json"]).current_dir(working_dir);
    command.env_remove("CARGO_MANIFEST_DIR").env("SCHEDLAB_CACHE", cache.path());
    command.output().unwrap()
}

#[test]
fn a_copied_program_reads_the_tree_that_it_is_in() {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (tree, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for file in ["xtask/Cargo.toml", "guest-init/Cargo.toml", "kernel-configs/kernels.toml"] {
        let to = tree.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(repo.join(file), to).unwrap();
    }
    let catalogue = tree.path().join("kernel-configs/kernels.toml");
    let text = std::fs::read_to_string(&catalogue).unwrap();
    let own = "[[kernel]]\nname = \"of-this-tree\"\nspec = \"debian:sid/amd64\"\ntext = \"x\"\n";
    std::fs::write(&catalogue, format!("{text}\n{own}")).unwrap();
    let program = install(tree.path());
    let output = list_kernels(&program, elsewhere.path());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("of-this-tree"), "{output:?}");
    // Built by Cargo in a folder of its own, it is in no tree but is called in one.
    let program = install(elsewhere.path());
    let output = list_kernels(&program, &tree.path().join("kernel-configs"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("of-this-tree"), "{output:?}");
    let output = list_kernels(&program, elsewhere.path());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text.contains("there is no checkout of schedlab around"), "{text}");
}
