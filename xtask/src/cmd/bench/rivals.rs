//! The programs that `bench work-types` times: the workload library as the guest has it, bare
//! loops in C, and perf. Called by `work_types`.

use crate::error::Refusal;
use crate::image::static_program;
use crate::paths::Paths;
use crate::progress::Progress;
use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use xshell::{Shell, cmd};

const BARE: [&str; 3] = ["pipe", "futex", "fork"];

/// Something done again and again, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) count: u64,
    pub(super) time: Duration,
}

impl Pace {
    pub(super) fn per_second(self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }

    /// How often it can be done in `span`.
    pub(super) fn fit(self, span: Duration) -> u64 {
        let count = u128::from(self.count) * span.as_nanos() / self.time.as_nanos().max(1);
        u64::try_from(count).unwrap_or(u64::MAX).max(1)
    }
}

/// The line that `workloads/examples/rate.rs` and the programs of `xtask/bench` print.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) iterations: u64,
    pub(super) work_units: u64,
    pub(super) wall_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) sleeps: u64,
    pub(super) spawn_ns: u64,
    pub(super) run_ns: u64,
    pub(super) collect_ns: u64,
    pub(super) supervised: bool,
    pub(super) space_pages: u64,
    pub(super) private_pages: u64,
}

/// How long a run of the library lasts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Iterations(u64),
    Time(Duration),
}

/// Everything that is timed, built and found.
#[derive(Debug)]
pub(super) struct Rivals {
    rate: PathBuf,
    bare: PathBuf,
    /// Why perf cannot be used, if it cannot.
    pub(super) no_perf: Option<String>,
    /// The CPUs that this process may use.
    pub(super) cpus: Vec<usize>,
}

impl Rivals {
    pub(super) fn prepare(paths: &Paths, progress: &Progress) -> Result<Self> {
        progress.step("building the library and the bare loops");
        let ours = rate(paths)?;
        let bare = paths.target.join("bench");
        std::fs::create_dir_all(&bare)
            .with_context(|| format!("create_dir_all(`{}`) failed", bare.display()))?;
        let sh = Shell::new()?;
        for name in BARE {
            let source = paths.repo.join("xtask/bench").join(name).with_extension("c");
            let program = bare.join(name);
            cmd!(sh, "gcc -O2 -static -Wall -Werror -o {program} {source}")
                .quiet()
                .run()
                .context(Refusal::host("gcc failed", "install gcc and libc6-dev"))?;
        }
        let allowed = sched_getaffinity(None).context("sched_getaffinity failed")?;
        let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let mut rivals = Self { rate: ours, bare, no_perf: None, cpus };
        rivals.no_perf = rivals.perf_pipe(&[], 10).err().map(|error| format!("{error:#}"));
        Ok(rivals)
    }

    /// One set of workers of the library on `cpus`, on any for none.
    pub(super) fn library(
        &self,
        work_type: &str,
        num_workers: usize,
        cpus: &[usize],
        length: Length,
    ) -> Result<Figures> {
        let scenario = scenario(work_type, num_workers, cpus, length)?;
        figures(Command::new(&self.rate).arg(scenario), &[])
    }

    /// A program of `xtask/bench`.
    pub(super) fn bare(
        &self,
        name: &str,
        pauses: u64,
        cpus: &[usize],
        count: u64,
    ) -> Result<Figures> {
        let words = [count, pauses].map(|word| word.to_string());
        figures(Command::new(self.bare.join(name)).args(words), cpus)
    }

    /// `perf bench sched pipe`, which prints seconds.
    pub(super) fn perf_pipe(&self, cpus: &[usize], count: u64) -> Result<Pace> {
        let mut perf = Command::new("perf");
        perf.args(["bench", "--format", "simple", "sched", "pipe", "--loop"])
            .arg(count.to_string());
        let text = match output(&mut perf, cpus) {
            Err(error) if is_missing(&error) => bail!("perf is missing (Debian: linux-perf)"),
            text => text?,
        };
        let seconds: f64 =
            text.trim().parse().with_context(|| format!("perf printed `{}`", text.trim()))?;
        // It rounds to a millisecond.
        Ok(Pace { count, time: Duration::from_secs_f64(seconds.max(0.001)) })
    }
}

/// The workload library as the guest has it.
pub(super) fn rate(paths: &Paths) -> Result<PathBuf> {
    static_program(&paths.repo.join("workloads"), &["--example", "rate"], paths)
        .context(Refusal::host("building `rate` failed", "the compiler's message is above"))
}

/// The bare loops of `xtask/bench/loops`, all in one program.
pub(super) fn loops(paths: &Paths) -> Result<PathBuf> {
    compiled(paths, "loops", &[], &["main.c", "wake.c", "contend.c", "single.c"])
}

fn compiled(paths: &Paths, name: &str, options: &[&str], sources: &[&str]) -> Result<PathBuf> {
    let bare = paths.target.join("bench");
    std::fs::create_dir_all(&bare)
        .with_context(|| format!("create_dir_all(`{}`) failed", bare.display()))?;
    let (folder, program) = (paths.repo.join("xtask/bench/loops"), bare.join(name));
    let sources = sources.iter().map(|source| folder.join(source));
    let sh = Shell::new()?;
    cmd!(sh, "gcc -O2 -static -Wall -Wextra -Werror {options...} -o {program} {sources...}")
        .quiet()
        .run()
        .context(Refusal::host("gcc failed", "install gcc and libc6-dev"))?;
    Ok(program)
}

/// Sleeps and wake-ups with a stamp before and after.
pub(super) fn latency(paths: &Paths) -> Result<PathBuf> {
    compiled(paths, "latency", &[], &["latency.c"])
}

/// What the loop fork_exec executes.
pub(super) fn nothing(paths: &Paths) -> Result<PathBuf> {
    compiled(paths, "nothing", &["-nostdlib", "-Wl,-n,--build-id=none"], &["nothing.c"])
}

/// The scenario that `rate` runs.
pub(super) fn scenario(
    work_type: &str,
    num_workers: usize,
    cpus: &[usize],
    length: Length,
) -> Result<String> {
    let work_type: serde_json::Value =
        serde_json::from_str(work_type).with_context(|| format!("`{work_type}` is no JSON"))?;
    let mut workload = serde_json::json!({ "num_workers": num_workers, "work_type": work_type });
    if !cpus.is_empty() {
        workload["affinity"] = serde_json::json!({ "Exact": cpus });
    }
    let mut scenario = serde_json::json!({ "workload": workload });
    match length {
        Length::Iterations(count) => scenario["iterations"] = count.into(),
        Length::Time(time) => scenario["duration"] = format!("{}ms", time.as_millis()).into(),
    }
    Ok(scenario.to_string())
}

fn figures(command: &mut Command, cpus: &[usize]) -> Result<Figures> {
    let text = output(command, cpus)?;
    serde_json::from_str(&text).with_context(|| format!("{command:?} printed `{}`", text.trim()))
}

/// Runs a program on `cpus`, on any for none: it inherits the mask of the thread that starts it.
fn output(command: &mut Command, cpus: &[usize]) -> Result<String> {
    let all = sched_getaffinity(None).context("sched_getaffinity failed")?;
    let mut mask = if cpus.is_empty() { all } else { CpuSet::new() };
    cpus.iter().for_each(|cpu| mask.set(*cpu));
    sched_setaffinity(None, &mask)
        .with_context(|| format!("sched_setaffinity({cpus:?}) failed"))?;
    let output = command.output();
    sched_setaffinity(None, &all).context("sched_setaffinity failed")?;
    let output = output.with_context(|| format!("starting {command:?} failed"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_missing(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_says_how_often_and_how_much_fits() {
        let pace = Pace { count: 500, time: Duration::from_millis(250) };
        assert_eq!(pace.per_second(), 2000.0);
        assert_eq!(pace.fit(Duration::from_secs(3)), 6000);
        // Never a run of nothing, and no division by a time too short for the clock.
        assert_eq!(Pace { count: 1, time: Duration::from_secs(9) }.fit(Duration::from_secs(1)), 1);
        assert!(Pace { count: 1, time: Duration::ZERO }.fit(Duration::from_secs(1)) > 0);
    }

    #[test]
    fn a_program_runs_on_the_cpus_it_is_given_and_we_stay_where_we_were() {
        let before = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap();
        let status = output(Command::new("cat").arg("/proc/self/status"), &[cpu]).unwrap();
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
        assert_eq!(line.split_whitespace().nth(1).unwrap(), cpu.to_string());
        assert!(sched_getaffinity(None).unwrap() == before);
    }

    #[test]
    fn a_program_that_is_missing_is_told_from_one_that_fails() {
        assert!(is_missing(&output(&mut Command::new("/no/such/program"), &[]).unwrap_err()));
        assert!(!is_missing(&output(&mut Command::new("false"), &[]).unwrap_err()));
    }
}
