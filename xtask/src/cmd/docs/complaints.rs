//! The page `docs/complaints.md`, made from the table of what kernels say on their console. Called
//! by `docs`.

use crate::run::{COMPLAINTS, Kind};
use anyhow::Result;
use std::fmt::Write as _;

const HEAD: &str = "\
# What the kernel says on its console

<!-- Made by `cargo xtask docs`. Edit `xtask/src/run/complaint.rs`, not this page. -->

schedlab reads every line of the guest's console. Some lines say that something is wrong. The tables below are for Linux 6.1,
6.12 and 7.3. They cover what `kernel/sched`, `kernel/rcu`, `kernel/time`, `kernel/locking` and `kernel/cgroup` print, and the
faults that every part of a kernel may report. A `*` stands for what the kernel fills in.

";

const SPLATS: &str = "\
## Complaints

The kernel found a fault of its own. The verdict is `splat` and the exit code is 4. `splats` of `report.json` has each line with
the name in the table. `--allow-splat REGEX` lets a line pass that you know. `\"no_splat\": false` in `expect` of a scenario lets
all pass.

";

const NOTES: &str = "\
## Remarks

The kernel works as it says it does. But the numbers are to be read with this in mind. The report has one note for each kind of
line, with its place in `console.log` and how often it came. The verdict stays what it is.

";

const LOSS: &str = "\
## Lost lines

The console lost lines. What they said is not known. `no_splat` is `inconclusive`, unless another line is a complaint.

QEMU says nothing when it cannot write to the disk. So at the end of a run PID 1 reads the kernel's own log and sends a checksum of
each line that the console must have. A line that `console.log` lacks makes the run `report-lost`, unless a worker died or the
console shows a complaint. PID 1 also sends the kernel's taint flags, `kernel.tainted` in the report. If they say that the kernel has
warned (W), had an oops (D), a lockup (L), a bad page (B) or a machine check (M), and no complaint of that kind is on the console,
`no_splat` is `inconclusive`. The log holds 128 KiB in most kernels. If it has lost its oldest records by the end, a note says how
many. What the kernel prints while it powers off is not compared.

";

const NOT_HERE: &str = "\
## What is not here

- Lines that follow a complaint and belong to it: back-traces, tables of RCU, `Possible timer handling issue`.
- What the kernel says when it has too little memory, or could not start a thread.
- What a sched_ext scheduler says and why it was disabled. These have verdicts of their own.
- Lines that report a choice: `Switched to clocksource`, `Dynamic Preempt: full`, the boot lines of RCU.
- Lines of level `debug`, which are not on the console.

Some lines come only once in a boot, and some at most a few times a second. The number of lines says little.

The argument `quiet`, or `loglevel=` below 5, keeps warnings from the console. PID 1 raises such a level to 7 when it starts, and
a note says so. Warnings from before that are lost, and only the taint flags tell of them. Do not pass these arguments unless you must.
";

/// The whole page.
pub(super) fn page() -> Result<String> {
    let mut page = HEAD.to_owned();
    for (text, kind) in [(SPLATS, Kind::Splat), (NOTES, Kind::Note), (LOSS, Kind::Loss)] {
        page.push_str(text);
        table(&mut page, kind)?;
        page.push('\n');
    }
    page.push_str(NOT_HERE);
    Ok(page)
}

fn table(page: &mut String, kind: Kind) -> Result<()> {
    page.push_str(
        "| the line begins with | name | printed by | what it means |\n|---|---|---|---|\n",
    );
    for complaint in COMPLAINTS.iter().filter(|complaint| complaint.kind == kind) {
        let function = complaint.function;
        let function = match function.contains('`') {
            true => function.to_owned(),
            false => format!("`{function}`"),
        };
        let (begins, name, meaning) = (complaint.begins, complaint.name, complaint.meaning);
        writeln!(page, "| `{begins}` | `{name}` | {function} | {meaning} |")?;
    }
    Ok(())
}
