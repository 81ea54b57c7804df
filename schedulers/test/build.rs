//! Compiles the BPF half by clang; `bpf.rs` includes the object.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/test.bpf.c";
/// Tried in this order, unless BPF_CLANG names one.
const CLANGS: [&str; 7] =
    ["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];
const FLAGS: [&str; 9] =
    ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror"];

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    println!("cargo::rerun-if-env-changed=PATH");
    let clang = clang()?;
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo")?;
    let object = PathBuf::from(out).join("test.bpf.o");
    let status = Command::new(&clang).args(FLAGS).args(["-c", SOURCE, "-o"]).arg(object).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{clang}(`{SOURCE}`) failed: {status}; its words are above")),
        Err(error) => Err(format!("run(`{clang}`) failed: {error}; BPF_CLANG must name a clang")),
    }
}

fn clang() -> Result<String, String> {
    if let Some(named) = env::var("BPF_CLANG").ok().filter(|named| !named.is_empty()) {
        return Ok(named);
    }
    let runs = |clang: &&str| Command::new(clang).arg("--version").output().is_ok();
    let found = CLANGS.iter().find(|clang| runs(clang));
    found.map(|clang| (*clang).to_owned()).ok_or_else(|| {
        "no clang: run `apt-get install --no-install-recommends clang`, or set BPF_CLANG".to_owned()
    })
}
