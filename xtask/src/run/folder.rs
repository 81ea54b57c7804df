//! The folder of a run: what goes in, what comes out, and the facts of the host that must stay
//! out of the report. Called by `cmd::vm` and `cmd::report`.

use super::Limits;
use super::load::HostLoad;
use crate::error::Refusal;
use crate::files::Kind;
use crate::paths::Paths;
use crate::qemu::HostCpu;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An existing folder, ours alone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// `host.json`: what differs from machine to machine and from run to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostFacts {
    pub(crate) started: String,
    pub(crate) command: Vec<String>,
    pub(crate) qemu: String,
    pub(crate) accel: String,
    pub(crate) accel_reason: String,
    /// The CPU of this host that a deterministic guest had.
    pub(crate) host_cpu: Option<usize>,
    /// Whether QEMU's main loop went before the vCPUs there, which takes CAP_SYS_NICE or an
    /// RLIMIT_RTPRIO of 1.
    #[serde(default)]
    pub(crate) main_loop_first: Option<bool>,
    pub(crate) kernel_image: PathBuf,
    pub(crate) kernel_package: Option<String>,
    pub(crate) initramfs: PathBuf,
    pub(crate) initramfs_sha256: String,
    pub(crate) host_release: String,
    pub(crate) host_cpus: usize,
    /// When the run began.
    pub(crate) load_average: String,
    /// How long the guest might take; absent in folders of before this was kept.
    #[serde(default)]
    pub(crate) limits: Option<Limits>,
    /// Absent until the run has ended.
    #[serde(default)]
    pub(crate) load: Option<HostLoad>,
    /// Absent until the run has ended.
    pub(crate) timings: Option<Timings>,
    /// Whether the guest ended the run, and neither we nor somebody else QEMU; absent until then.
    pub(crate) ended_by_itself: Option<bool>,
    /// Whether the guest was booted, `cold`, or went on from a snapshot, `warm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<String>,
}

/// Wall times of the host.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Timings {
    /// From QEMU's start to the guest's first frame.
    pub(crate) boot_ms: Option<u64>,
    /// From the first frame to the last.
    pub(crate) run_ms: Option<u64>,
    /// From QEMU's start to its end.
    pub(crate) total_ms: u64,
}

/// The file that the kernel of the run in `folder` was booted from, if `host.json` is there.
pub(crate) fn kernel_image(folder: &Path) -> Option<PathBuf> {
    host_facts(folder).map(|facts| facts.kernel_image)
}

/// Whether its guest ended the run in `folder`, as far as `host.json` says.
pub(super) fn ended_by_itself(folder: &Path) -> bool {
    host_facts(folder).and_then(|facts| facts.ended_by_itself) == Some(true)
}

fn host_facts(folder: &Path) -> Option<HostFacts> {
    let text = Kind::OF_RUN.read(&folder.join("host.json")).ok()?;
    serde_json::from_slice(&text).ok()
}

impl Folder {
    /// The folder the user named, which must be new or empty, or one named by scenario and date.
    pub(crate) fn create(out: Option<&Path>, name: &str, paths: &Paths) -> Result<Self> {
        Self::create_in(out, name, &paths.runs)
    }

    /// The same, below a folder of folders.
    pub(crate) fn create_in(out: Option<&Path>, name: &str, all: &Path) -> Result<Self> {
        match out {
            Some(path) => Self::named(path),
            None => Self::dated(all, name),
        }
    }

    fn named(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).with_context(|| {
            Refusal::host(
                format!("create_dir_all(`{}`) failed", path.display()),
                "pass a folder that can be written as --out",
            )
        })?;
        let occupied = std::fs::read_dir(path)
            .with_context(|| format!("read_dir(`{}`) failed", path.display()))?
            .next()
            .is_some();
        if occupied {
            return Err(Refusal::input(
                format!("`{}` is not empty", path.display()),
                "pass a new folder as --out; a run never overwrites another",
            )
            .into());
        }
        Ok(Self { path: path.to_path_buf() })
    }

    fn dated(runs: &Path, name: &str) -> Result<Self> {
        let hint = || {
            Refusal::host(
                format!("creating a run folder in `{}` failed", runs.display()),
                "pass --out DIR",
            )
        };
        std::fs::create_dir_all(runs).with_context(hint)?;
        let stamp = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let stamp = stamp.replace([':', '-'], "").replace('T', "-");
        let stem = format!("{}-{}", file_name(name), stamp.trim_end_matches('Z'));
        for attempt in 1_u32.. {
            let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let path = runs.join(format!("{stem}{suffix}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(hint),
            }
        }
        unreachable!("some number is free")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    pub(crate) fn frames(&self) -> PathBuf {
        self.path.join("frames.log")
    }

    /// What QEMU wrote to stderr.
    pub(crate) fn qemu_log(&self) -> PathBuf {
        self.path.join("qemu.log")
    }

    /// Writes `value` as indented JSON.
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json(&self.path.join(name), value)
    }

    /// Writes the QEMU command as a shell would take it, with the CPU of this host that it runs on.
    pub(crate) fn write_arguments(
        &self,
        arguments: &[String],
        cpu: Option<&HostCpu>,
    ) -> Result<()> {
        let words: Vec<_> = arguments.iter().map(|word| shell_word(word)).collect();
        let pinned = cpu.map(HostCpu::prefix).unwrap_or_default();
        self.write("qemu.args", &format!("{pinned}qemu-system-x86_64 {}\n", words.join(" ")))
    }

    /// Writes a text file.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        write_file(&self.path.join(name), text.as_bytes())
    }

    /// Moves a folder that was to be thrown away to where runs are kept.
    pub(crate) fn keep(self, runs: &Path) -> Result<()> {
        let kept = Self::dated(runs, "lost")?;
        copy_folder(&self.path, &kept.path)
    }

    /// Puts the files of an attempt that proved nothing but the accelerator's fault aside.
    pub(crate) fn set_aside(&self, name: &str) -> Result<()> {
        let aside = self.path.join(name);
        std::fs::create_dir_all(&aside)
            .with_context(|| format!("create_dir_all(`{}`) failed", aside.display()))?;
        let made = ["boot.json", "qemu.args"].map(|name| self.path.join(name));
        for file in [self.console(), self.frames(), self.qemu_log()].into_iter().chain(made) {
            if let Some(file_name) = file.file_name().filter(|_| file.exists()) {
                std::fs::rename(&file, aside.join(file_name))
                    .with_context(|| format!("rename(`{}`) failed", file.display()))?;
            }
        }
        Ok(())
    }
}

/// Removes a folder with all in it, if it is there.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove(`{}`) failed", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Copies what is in `from` into `to`, made if it is not there, holes of disks as holes.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)
        .with_context(|| format!("create_dir_all(`{}`) failed", to.display()))?;
    let copied = std::process::Command::new("cp")
        .args(["-r", "--sparse=always"])
        .arg(from.join("."))
        .arg(to)
        .status()
        .context("starting cp failed")?;
    anyhow::ensure!(copied.success(), "cp(`{}`) failed", from.display());
    Ok(())
}

/// Writes `value` as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .with_context(|| format!("serialize(`{}`) failed", path.display()))?;
    write_file(path, (text + "\n").as_bytes())
}

/// Writes a file of a run.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| {
        let message = format!("write(`{}`) failed", path.display());
        Refusal::host(message, "free some space, or pass --out")
    })
}

/// A scenario's name as part of a file name.
pub(crate) fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let name: String = name.chars().map(plain).take(60).collect();
    if name.is_empty() { "run".into() } else { name }
}

/// As a POSIX shell takes it for one word.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_folder_must_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        Folder::named(&path).unwrap();
        std::fs::write(path.join("report.json"), "{}").unwrap();
        assert!(Folder::named(&path).unwrap_err().to_string().contains("not empty"));
    }

    #[test]
    fn runs_in_the_same_second_get_their_own_folders() {
        let dir = tempfile::tempdir().unwrap();
        let folders: Vec<_> = (0..3).map(|_| Folder::dated(dir.path(), "a b").unwrap()).collect();
        assert_ne!(folders[0].path(), folders[1].path());
        assert_ne!(folders[1].path(), folders[2].path());
        assert!(folders[0].path().file_name().unwrap().to_str().unwrap().starts_with("a-b-2"));
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("a=b,c"), "a=b,c");
        assert_eq!(shell_word("a b's"), r"'a b'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
