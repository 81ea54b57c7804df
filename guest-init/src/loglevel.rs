//! Which messages of the kernel reach its console. Called by `supervise` once, and by `printed`.

use std::sync::OnceLock;

const PRINTK: &str = "/proc/sys/kernel/printk";
/// Only messages below the level are printed, and complaints are warnings (4) at least.
const LEAST: u32 = 5;
/// What kernels have without an argument: all but debug messages.
const USUAL: &str = "7";
/// The level that the kernel came up with; the runner inherits it.
static FIRST: OnceLock<u32> = OnceLock::new();

/// Lets complaints through where `quiet`, `loglevel=` or the kernel's configuration keep them from
/// the host, and says so.
pub(crate) fn let_complaints_through() -> Option<String> {
    let level = current()?;
    FIRST.get_or_init(|| level);
    if level >= LEAST {
        return None;
    }
    Some(match std::fs::write(PRINTK, USUAL) {
        Ok(()) => format!(
            "the kernel's console began with level {level} (`quiet`, `loglevel=`) and has level \
             {USUAL} now: warnings from before are not in console.log"
        ),
        Err(error) => format!(
            "the kernel's console has level {level}: warnings are not in console.log, because \
             write({PRINTK}) failed: {error}"
        ),
    })
}

/// The lowest level that the console has had, as far as it can be known: messages below it were
/// printed at all times.
pub(crate) fn lowest() -> Option<u32> {
    Some(current()?.min(*FIRST.get()?))
}

fn current() -> Option<u32> {
    level(&std::fs::read_to_string(PRINTK).ok()?)
}

/// The level of the console, which is the first of four numbers.
fn level(text: &str) -> Option<u32> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_that_of_the_console() {
        assert_eq!(level("4\t4\t1\t7\n"), Some(4));
        assert_eq!(level(""), None);
    }
}
