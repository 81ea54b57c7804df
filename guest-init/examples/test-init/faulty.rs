//! Work functions that do what a bench must survive and name.

use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use workloads::{CustomFn, WorkerReport, become_supervisor};

/// Writing to it makes a thread of PID 1 panic.
static PANIC_BUTTON: OnceLock<OwnedFd> = OnceLock::new();

pub(crate) const FUNCTIONS: &[(&str, CustomFn)] = &[
    ("panic-kernel", |stop| sysrq("c", stop)),
    ("power-off", |stop| sysrq("o", stop)),
    ("kill-self", |stop| kill(Some(getpid()), stop)),
    ("kill-runner", |stop| kill(getppid(), stop)),
    ("panic-init", panic_init),
    ("panic-self", |_| panic!("as asked")),
    ("give-up", give_up),
    ("garble-reports", |stop| shout("/dev/ttyS1", stop)),
    ("flood-console", |stop| shout("/dev/kmsg", stop)),
    ("orphans", orphans),
    ("count-zombies", count_zombies),
    ("eat-memory", eat_memory),
    ("lift-quota", |stop| turn("/sys/fs/cgroup/limited/cpu.max", "max", stop)),
    ("level-weights", |stop| turn("/sys/fs/cgroup/heavy/cpu.weight", "100", stop)),
    ("widen-cpuset", |stop| turn("/sys/fs/cgroup/narrow/cpuset.cpus", "0-1", stop)),
    ("freeze-victim", freeze_victim),
    ("press-one", press_one),
    ("starve-init", starve_init),
    ("warn", |stop| say_once("WARNING: CPU: 0 PID: 1 at nowhere/in/particular.c:1", stop)),
];

/// The thread that `panic-init` makes panic, in PID 1 itself.
pub(crate) fn prepare() {
    if let Ok((reader, writer)) = rustix::pipe::pipe() {
        let _ = PANIC_BUTTON.set(writer);
        std::thread::spawn(move || {
            let pressed = rustix::io::read(&reader, &mut [0]);
            panic!("button pressed: {pressed:?}");
        });
    }
}

fn sysrq(key: &str, stop: &AtomicBool) -> WorkerReport {
    write("/proc/sysrq-trigger", key);
    wait(stop)
}

/// Takes the priority of PID 1, which no worker of a scenario gets, and never sleeps.
fn starve_init(stop: &AtomicBool) -> WorkerReport {
    let refused = become_supervisor().err();
    while refused.is_none() && !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    WorkerReport::default()
}

fn kill(pid: Option<Pid>, stop: &AtomicBool) -> WorkerReport {
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::KILL);
    }
    wait(stop)
}

fn panic_init(stop: &AtomicBool) -> WorkerReport {
    if let Some(button) = PANIC_BUTTON.get() {
        let _ = rustix::io::write(button, &[1]);
    }
    wait(stop)
}

fn give_up(_: &AtomicBool) -> WorkerReport {
    let failed = Some("the device went away".into());
    WorkerReport { work_units: 1, iterations: 1, failed, ..WorkerReport::default() }
}

fn say_once(line: &str, stop: &AtomicBool) -> WorkerReport {
    write("/dev/kmsg", line);
    wait(stop)
}

/// Turns a knob behind the back of the run.
fn turn(path: &str, value: &str, stop: &AtomicBool) -> WorkerReport {
    write(path, value);
    sleep_until(stop)
}

/// Keeps a cgroup from running until the stop.
fn freeze_victim(stop: &AtomicBool) -> WorkerReport {
    const FREEZE: &str = "/sys/fs/cgroup/victim/cgroup.freeze";
    write(FREEZE, "1");
    let report = sleep_until(stop);
    write(FREEZE, "0");
    report
}

/// Makes one of the workers called `pressed` as nice as can be.
fn press_one(stop: &AtomicBool) -> WorkerReport {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pressed = entries.filter(|entry| {
        let comm = std::fs::read_to_string(entry.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == "pressed")
    });
    let pids = pressed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    if let Some(pid) = pids.min().and_then(Pid::from_raw) {
        let _ = rustix::process::setpriority_process(Some(pid), 19);
    }
    sleep_until(stop)
}

/// Leaves children behind that PID 1 has to reap.
fn orphans(_: &AtomicBool) -> WorkerReport {
    // Anywhere but as PID 1 it says so and exits.
    let started = (0..20).filter(|_| std::process::Command::new("/init").spawn().is_ok()).count();
    WorkerReport { work_units: started as u64, ..WorkerReport::default() }
}

/// At the end of the run, one unit and one for each zombie in the guest.
fn count_zombies(stop: &AtomicBool) -> WorkerReport {
    wait(stop);
    let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let zombies = stats.filter(|stat| stat.contains(") Z ")).count();
    WorkerReport { work_units: 1 + zombies as u64, ..WorkerReport::default() }
}

/// Enters a cgroup that allows 16 MiB and touches more, until the kernel kills it.
fn eat_memory(_: &AtomicBool) -> WorkerReport {
    const DIR: &str = "/sys/fs/cgroup/small";
    // A cgroup has the controllers that are enabled for the children of its parent.
    write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
    let made = std::fs::create_dir(DIR);
    write(&format!("{DIR}/memory.max"), "16M");
    write(&format!("{DIR}/cgroup.procs"), "0");
    let eaten: Vec<_> = (0..64).map(|_| vec![1_u8; 1 << 20]).collect();
    let failed = format!("mkdir({DIR}): {made:?}; alive after {} MiB", eaten.len());
    WorkerReport { failed: Some(failed), ..WorkerReport::default() }
}

/// Writes lines to `path` for as long as the run lasts.
fn shout(path: &str, stop: &AtomicBool) -> WorkerReport {
    let mut lines = 0;
    while !stop.load(Ordering::Relaxed) {
        write(path, "noise that nobody asked for\n");
        lines += 1;
        // Leaves the line to others now and then, as a chatty driver does.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    WorkerReport { work_units: lines, iterations: lines, ..WorkerReport::default() }
}

fn write(path: &str, text: &str) {
    if let Ok(mut file) = OpenOptions::new().write(true).open(path) {
        let _ = file.write_all(text.as_bytes());
    }
}

/// Waits without taking CPU time from those who are measured.
fn sleep_until(stop: &AtomicBool) -> WorkerReport {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    WorkerReport { work_units: 1, iterations: 1, ..WorkerReport::default() }
}

fn wait(stop: &AtomicBool) -> WorkerReport {
    while !stop.load(Ordering::Relaxed) {
        rustix::thread::sched_yield();
    }
    WorkerReport { work_units: 1, iterations: 1, ..WorkerReport::default() }
}
