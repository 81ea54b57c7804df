//! Whole lines as they come over the serial port.

use super::*;

fn read(text: &str, allow: &[&str]) -> Console {
    let allow = allow.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
    let mut console = Console::new(allow, false);
    console.push(text.as_bytes(), &Progress::silent());
    console
}

fn names(text: &str) -> Vec<String> {
    read(text, &[]).splats.into_iter().map(|splat| splat.name).collect()
}

#[test]
fn splats_of_old_and_new_kernels_are_seen() {
    assert_eq!(
        names("[    1.2] WARNING: CPU: 1 PID: 7 at kernel/sched/core.c:99 f+0x1/0x2\n"),
        ["warning"]
    );
    assert_eq!(
        names("[    1.2] WARNING: kernel/sched/core.c:99 at f+0x1/0x2, CPU#1: a/7\n"),
        ["warning"]
    );
    assert_eq!(names("[    1.2] BUG: KASAN: use-after-free in f\n"), ["kasan"]);
    assert_eq!(names("init said [    1.2] BUG: unable to handle page fault\n"), ["bug"]);
}

#[test]
fn a_line_counts_with_and_without_stamp_and_caller_and_in_pieces() {
    let text = "bad: scheduling from the idle thread!";
    for before in ["", "[    1.234567] ", "[    1.234567][    T1] ", "[    1.2][  C0] ", "a[1.2] "]
    {
        assert_eq!(names(&format!("{before}{text}\r\n")), ["idle"], "{before}");
    }
    let mut console = read("[    1.2] bad: scheduling", &[]);
    assert!(console.splats.is_empty());
    console.push(b" from the idle thread!\n", &Progress::silent());
    assert_eq!(console.splats.len(), 1);
}

#[test]
fn a_panic_is_kept_and_what_follows_belongs_to_it() {
    let console = read("[ 1.0] Kernel panic - not syncing: sysrq\n[ 1.1] WARNING: x\n", &[]);
    assert_eq!(console.panic.as_deref(), Some("Kernel panic - not syncing: sysrq"));
    assert!(console.splats.is_empty());
}

#[test]
fn an_allowed_splat_says_by_what() {
    let console = read("[ 1.0] WARNING: known thing\n", &["known"]);
    assert_eq!(console.splats[0].allowed_by.as_deref(), Some("known"));
    assert_eq!(console.splats[0].line, 1);
}

#[test]
fn a_remark_is_one_note_with_its_first_line_and_no_splat() {
    let far = |pid: u32| format!("[ 1.0] process {pid} (worker) no longer affine to cpu1\n");
    let console = read(&format!("[ 0.1] x\n{}{}{}", far(7), far(8), far(9)), &[]);
    assert!(console.splats.is_empty() && console.loss().is_none());
    let notes: Vec<_> = console.notes().collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    let begins = "console.log:2: process 7 (worker) no longer affine to cpu1 (and 2 more lines of \
                  this kind): a task was moved";
    assert!(notes[0].starts_with(begins), "{notes:?}");
}

#[test]
fn lost_lines_are_known() {
    let console = read("[ 1.0] x\n** 12 printk messages dropped **\n[ 1.2] y\n", &[]);
    assert_eq!(console.loss(), Some("** 12 printk messages dropped **"));
    assert_eq!(console.notes().count(), 1);
}
