//! Whose fault an early end is, and what mends it. Commands return `anyhow::Result`; a
//! [`Refusal`] anywhere in the chain gives `main` the exit code and the last line of the message.

use std::fmt;

/// Exit codes of every command, as the README lists them.
pub(crate) mod exit {
    pub(crate) const PASS: u8 = 0;
    pub(crate) const FAIL: u8 = 1;
    pub(crate) const BAD_INPUT: u8 = 2;
    pub(crate) const HOST: u8 = 3;
    pub(crate) const GUEST: u8 = 4;
    pub(crate) const INCONCLUSIVE: u8 = 5;
    /// 128 + SIGINT, as shells have it.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// A failure whose remedy is known. Attach it with `anyhow::Context`, or raise it alone.
#[derive(Debug)]
pub(crate) struct Refusal {
    exit_code: u8,
    message: String,
    fix: String,
}

impl Refusal {
    /// What the user gave cannot work: exit 2.
    pub(crate) fn input(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { exit_code: exit::BAD_INPUT, message: message.into(), fix: fix.into() }
    }

    /// With one more way out.
    #[must_use]
    pub(crate) fn or(mut self, fix: &str) -> Self {
        self.fix.push_str(fix);
        self
    }

    /// This host lacks something that the command needs: exit 3.
    pub(crate) fn host(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { exit_code: exit::HOST, message: message.into(), fix: fix.into() }
    }

    /// A guest did not do what was asked: exit 4.
    pub(crate) fn guest(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { exit_code: exit::GUEST, message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// The exit code that `error` asks for; a failure without a [`Refusal`] is the host's.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Refusal>().map_or(exit::HOST, |refusal| refusal.exit_code)
}

/// The chain in one line, then the fix on a line of its own.
pub(crate) fn render(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Refusal>() {
        Some(refusal) if !refusal.fix.is_empty() => {
            format!("error: {error:#}\n  fix: {}", refusal.fix)
        }
        _ => format!("error: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_refusal_keeps_its_code_and_fix_under_more_context() {
        let error = Err::<(), _>(std::io::Error::other("no space"))
            .context(Refusal::input("open(`x`) failed", "pass another path"))
            .context("resolving the kernel")
            .unwrap_err();
        assert_eq!(exit_code(&error), exit::BAD_INPUT);
        assert_eq!(
            render(&error),
            "error: resolving the kernel: open(`x`) failed: no space\n  fix: pass another path"
        );
    }

    #[test]
    fn an_unclassified_failure_is_the_hosts() {
        assert_eq!(exit_code(&anyhow::anyhow!("disk full")), exit::HOST);
    }
}
