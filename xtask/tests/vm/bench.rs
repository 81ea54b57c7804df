//! Runs `xtask vm` and reads what it leaves behind.

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// A finished command with its run folder.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    dir: TempDir,
}

/// A command being put together.
pub(crate) struct Vm {
    command: Command,
    dir: TempDir,
}

impl Vm {
    /// `xtask vm` on `scenario`, a JSON text, with a run folder of its own.
    pub(crate) fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("scenario.json");
        std::fs::write(&config, scenario).unwrap();
        let mut command = Command::new(XTASK);
        command.arg("vm").arg("--config").arg(&config);
        command.arg("--out").arg(dir.path().join("run"));
        Self { command, dir }
    }

    /// The same, of a guest with a time of its own.
    pub(crate) fn deterministic(scenario: &str) -> Self {
        Self::new(scenario).args(["--deterministic"])
    }

    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// PID 1 with work functions that break things, watch the other workers, or run a list of
    /// scenarios.
    pub(crate) fn test_init(self) -> Self {
        let init = test_init().display().to_string();
        self.args(["--init", &init])
    }

    pub(crate) fn run(mut self) -> Run {
        let output = self.command.output().unwrap();
        Run::new(output, self.dir)
    }

    pub(crate) fn run_and(self, cue: &str, meddle: impl FnOnce(u32)) -> Run {
        Run::new(run_and(self.command, cue, meddle), self.dir)
    }
}

impl Vm {
    /// Kills it with all that it has no time to do, once stderr shows `cue`.
    pub(crate) fn kill_at(self, cue: &str) {
        let kill = |pid: u32| signal(i32::try_from(pid).unwrap(), rustix::process::Signal::KILL);
        run_and(self.command, cue, kill);
    }
}

/// Starts `command`, calls `meddle` with its process id once stderr shows `cue`, and waits.
pub(crate) fn run_and(mut command: Command, cue: &str, meddle: impl FnOnce(u32)) -> Output {
    use std::io::{BufRead as _, BufReader, Read as _};
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut stderr = String::new();
    while !stderr.contains(cue) {
        assert!(lines.read_line(&mut stderr).unwrap() > 0, "no `{cue}` in: {stderr}");
    }
    meddle(child.id());
    lines.read_to_string(&mut stderr).unwrap();
    let output = child.wait_with_output().unwrap();
    Output { stderr: stderr.into_bytes(), ..output }
}

impl Run {
    fn new(output: Output, dir: TempDir) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            dir,
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("run").join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.file(name)).unwrap()).into_owned()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    /// The report, after asserting verdict and exit code.
    #[track_caller]
    pub(crate) fn expect(&self, verdict: &str, code: i32) -> Value {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(self.file("report.json").exists(), "no report: {all}");
        let report = self.json("report.json");
        assert_eq!(report["verdict"], verdict, "{all}");
        assert_eq!(self.code, code, "{all}");
        assert_eq!(report["advice"].is_null(), verdict == "pass", "{all}");
        report
    }
}

/// The program under test.
pub(crate) fn xtask() -> &'static str {
    XTASK
}

/// A PATH on which this script comes before the QEMU of the host, in `dir`.
pub(crate) fn instead_of_qemu(dir: &Path, script: &str) -> OsString {
    let path = dir.join("qemu-system-x86_64");
    std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    [dir.as_os_str(), &std::env::var_os("PATH").unwrap()].join(OsStr::new(":"))
}

/// The process id of QEMU below a running `xtask`.
pub(crate) fn qemu_of(xtask: u32) -> i32 {
    let threads = std::fs::read_dir(format!("/proc/{xtask}/task")).unwrap();
    // Whichever of its threads watches this guest.
    let children = |thread: PathBuf| std::fs::read_to_string(thread.join("children")).unwrap();
    let all: String = threads.map(|thread| children(thread.unwrap().path())).collect();
    all.split_whitespace().next().unwrap().parse().unwrap()
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Builds the init of the tests as guest-init is built; Cargo knows whether it is up to date.
fn test_init() -> PathBuf {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target_dir = repo.join("target/guest");
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--package", "guest-init", "--example", "test-init"])
        .args(["--config", "images/build.toml", "--profile", "guest", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target_dir)
        .env_remove("RUSTFLAGS")
        .current_dir(repo)
        .status()
        .unwrap();
    assert!(status.success());
    target_dir.join(TARGET).join("guest/examples/test-init")
}

/// The `--scheduler` with faults on request: the one of SCHEDLAB_TEST_SCHEDULER, or else ours, which
/// is built once.
pub(crate) fn test_scheduler() -> &'static str {
    static SPEC: OnceLock<String> = OnceLock::new();
    SPEC.get_or_init(|| {
        if let Ok(path) = std::env::var("SCHEDLAB_TEST_SCHEDULER") {
            return path;
        }
        let output = Command::new(XTASK).args(["scheduler", "build", "test"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        "test".into()
    })
}

/// The value at `field` of every worker.
pub(crate) fn of_workers(report: &Value, field: &str) -> Vec<u64> {
    let workers = report["workers"].as_array().unwrap();
    workers.iter().map(|w| w[field].as_u64().unwrap_or_else(|| panic!("{field} in {w}"))).collect()
}

/// What `kernel check` says of the default kernel.
pub(crate) fn default_kernel() -> Value {
    let output = Command::new(XTASK).args(["kernel", "check", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The file that `kernel check` names there.
pub(crate) fn file(kernel: &Value, field: &str) -> PathBuf {
    kernel[field].as_str().unwrap().into()
}

/// The bzImage of the package, which the default kernel was unpacked from.
pub(crate) fn bzimage(kernel: &Value) -> PathBuf {
    file(kernel, "image").with_file_name("vmlinuz")
}
