//! What it says, and above all at its end: in the form that tools know from other schedulers.

use crate::bpf::{LastWords, State};
use std::io::Write;

/// A line; who does not listen is no reason to end.
pub(crate) fn say(to: &mut impl Write, line: &str) {
    drop(writeln!(to, "{line}"));
}

/// Counters on `out`; the dump, if there is one, and the reason on `err`.
pub(crate) fn last(out: &mut impl Write, err: &mut impl Write, state: &State, last: &LastWords) {
    let State { enqueues, direct, dispatches, kicks, starved, exit_code, exit_kind } = state;
    say(
        out,
        &format!(
            "schedlab_test: {enqueues} enqueues, {direct} of them direct, {starved} starved; \
             {dispatches} dispatches, {kicks} kicks"
        ),
    );
    if !last.dump.is_empty() {
        let rule = "=".repeat(80);
        say(err, &format!("\nDEBUG DUMP\n{rule}\n\n{}\n\n{rule}\n", last.dump.trim_end()));
    }
    if !state.is_clean() {
        say(err, &format!("schedlab_test: exit kind {exit_kind}, code {exit_code}"));
    }
    say(err, &reason(last));
}

fn reason(last: &LastWords) -> String {
    match last.message.as_str() {
        "" => format!("EXIT: {}", last.reason),
        message => format!("EXIT: {} ({message})", last.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(exit_kind: u32) -> State {
        State {
            enqueues: 9,
            direct: 2,
            dispatches: 3,
            kicks: 1,
            starved: 0,
            exit_code: 0,
            exit_kind,
        }
    }

    fn said(exit_kind: u32, reason: &str, message: &str, dump: &str) -> String {
        let words = LastWords { reason: reason.into(), message: message.into(), dump: dump.into() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        last(&mut out, &mut err, &state(exit_kind), &words);
        assert!(String::from_utf8(out).unwrap().contains("9 enqueues, 2 of them direct"));
        String::from_utf8(err).unwrap()
    }

    #[test]
    fn a_clean_end_is_one_line() {
        let err = said(64, "unregistered from user space", "", "");
        assert_eq!(err, "EXIT: unregistered from user space\n");
    }

    #[test]
    fn an_ejection_has_its_dump_between_rules_and_the_reason_last() {
        let err = said(1026, "runnable task stall", "a[7] failed to run", "CPU 0\n");
        let rule = "=".repeat(80);
        assert!(err.contains(&format!("DEBUG DUMP\n{rule}\n\nCPU 0\n\n{rule}\n")), "{err}");
        assert!(err.contains("exit kind 1026, code 0"), "{err}");
        assert!(err.ends_with("EXIT: runnable task stall (a[7] failed to run)\n"), "{err}");
    }
}
