//! Where each CPU of a guest was when the NMI of the host came: read from the back-traces that its
//! panic prints, so that a task which takes every CPU and a kernel that is stuck are told apart.
//! `console` feeds it, `verdict` asks.

use std::collections::BTreeMap;

/// What a CPU was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Idle,
    /// A task in user mode.
    User,
    /// The kernel, in this function.
    Kernel(String),
}

#[derive(Debug)]
struct Cpu {
    pid: u32,
    comm: String,
    at: Option<At>,
}

/// The back-traces so far.
#[derive(Debug, Default)]
pub(super) struct Backtraces {
    cpus: BTreeMap<usize, Cpu>,
    current: usize,
}

impl Backtraces {
    /// Takes a line of a panic, without its time stamp.
    pub(super) fn line(&mut self, message: &str) {
        if let Some((cpu, task)) = header(message) {
            self.current = cpu;
            // The CPU of the panic comes once more, at the end.
            self.cpus.entry(cpu).or_insert(task);
        } else if let Some(place) = message.strip_prefix("RIP: ") {
            let at = self.cpus.get_mut(&self.current).map(|cpu| &mut cpu.at);
            if let Some(at @ None) = at {
                *at = place_of(place);
            }
        } else if let Some(cpu) = skipped(message) {
            let at = Some(At::Idle);
            self.cpus.insert(cpu, Cpu { pid: 0, comm: String::new(), at });
        }
    }

    /// What the CPUs did, and what follows from it; nothing if no back-trace came.
    pub(super) fn conclusion(&self) -> Option<String> {
        let known: Vec<_> =
            self.cpus.iter().filter_map(|(id, cpu)| Some((id, cpu, cpu.at.as_ref()?))).collect();
        let told = known.iter().map(|(id, cpu, at)| {
            let Cpu { pid, comm, .. } = cpu;
            match at {
                At::Idle => format!("CPU {id} was idle"),
                At::User => format!("CPU {id} ran `{comm}` (PID {pid}) in user mode"),
                At::Kernel(place) => format!("CPU {id} was in {place} for `{comm}` (PID {pid})"),
            }
        });
        let told = told.collect::<Vec<_>>().join(", ");
        let is_hog = |(_, cpu, at): &(&usize, &Cpu, &At)| **at == At::User && cpu.pid != 1;
        let follows = match known.iter().all(is_hog) {
            true => {
                "Those tasks take every CPU, and the kernel works. A `Custom` function that gives \
                 itself priority 99 does that; otherwise the scheduler prefers them to PID 1"
            }
            false => "No task has taken every CPU: the kernel did not let PID 1 run",
        };
        (!known.is_empty()).then(|| format!("{told}. {follows}"))
    }
}

/// `CPU: 1 UID: 0 PID: 77 Comm: init Not tainted 7.3.4 #1`, before 6.11 without the user.
fn header(message: &str) -> Option<(usize, Cpu)> {
    let (cpu, rest) = message.strip_prefix("CPU: ")?.split_once(' ')?;
    let (pid, rest) = rest.split_once("PID: ")?.1.split_once(' ')?;
    let name = rest.strip_prefix("Comm: ")?;
    let ends = [" Not tainted", " Tainted: ", " Kdump: "];
    let end = ends.iter().filter_map(|end| name.find(end)).min().unwrap_or(name.len());
    let (pid, comm) = (pid.parse().ok()?, name[..end].to_owned());
    let at = comm.starts_with("swapper/").then_some(At::Idle);
    Some((cpu.parse().ok()?, Cpu { pid, comm, at }))
}

/// `0033:0x2884b5`, `0010:queued_spin_lock_slowpath+0x1f/0x20`.
fn place_of(place: &str) -> Option<At> {
    /// The selector of user code on x86-64.
    const USER: &str = "0033";
    let (selector, place) = place.split_once(':')?;
    let function = place.split(['+', ' ']).next().unwrap_or(place);
    Some(if selector == USER { At::User } else { At::Kernel(format!("`{function}`")) })
}

/// `NMI backtrace for cpu 1 skipped: idling at native_safe_halt+0xb/0x10`
fn skipped(message: &str) -> Option<usize> {
    let (cpu, _) =
        message.strip_prefix("NMI backtrace for cpu ")?.split_once(" skipped: idling")?;
    cpu.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusion(lines: &[&str]) -> Option<String> {
        let mut traces = Backtraces::default();
        lines.iter().for_each(|line| traces.line(line));
        traces.conclusion()
    }

    const USER_0: [&str; 3] = [
        "CPU: 0 UID: 0 PID: 77 Comm: a worker Not tainted 7.3.4 #1 PREEMPT(lazy)",
        " asm_exc_nmi+0xb7/0x100",
        "RIP: 0033:0x2884b5",
    ];

    #[test]
    fn tasks_that_take_every_cpu_are_hogs() {
        // As Linux 6.1 writes it; the CPU of the panic comes twice.
        let cpu_1 = [
            "NMI backtrace for cpu 1",
            "CPU: 1 PID: 78 Comm: b Tainted: G        W          6.1.0 #1",
            "RIP: 0033:0x401000",
            "NMI backtrace for cpu 0",
            "CPU: 0 PID: 77 Comm: a worker Not tainted 6.1.0 #1",
            "RIP: 0010:delay_tsc+0x1/0x2",
        ];
        let text = conclusion(&[USER_0.as_slice(), &cpu_1].concat()).unwrap();
        let told =
            "CPU 0 ran `a worker` (PID 77) in user mode, CPU 1 ran `b` (PID 78) in user mode.";
        assert!(text.starts_with(told), "{text}");
        assert!(text.contains("take every CPU"), "{text}");
    }

    #[test]
    fn a_cpu_that_is_idle_or_in_the_kernel_could_have_run_pid_1() {
        for (cpu_1, told) in [
            (
                [
                    "CPU: 1 UID: 0 PID: 0 Comm: swapper/1 Not tainted 7.3.4 #1",
                    "RIP: 0010:x+0x1/0x2",
                ],
                "CPU 1 was idle",
            ),
            (["NMI backtrace for cpu 1 skipped: idling at halt+0xb/0x10", ""], "CPU 1 was idle"),
            (
                ["CPU: 1 UID: 0 PID: 9 Comm: k Not tainted 7.3.4 #1", "RIP: 0010:pick+0x1/0x2"],
                "CPU 1 was in `pick` for `k` (PID 9)",
            ),
            (
                ["CPU: 1 UID: 0 PID: 1 Comm: init Not tainted 7.3.4 #1", "RIP: 0033:0x1"],
                "CPU 1 ran `init` (PID 1) in user mode",
            ),
        ] {
            let text = conclusion(&[USER_0.as_slice(), &cpu_1].concat()).unwrap();
            assert!(text.contains(told) && text.contains("did not let PID 1 run"), "{text}");
        }
    }

    #[test]
    fn without_back_traces_nothing_is_concluded() {
        assert_eq!(conclusion(&["Kernel panic", "RIP: 0033:0x1", "CPU: x PID: y"]), None);
    }
}
