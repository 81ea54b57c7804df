//! The few words that we and QEMU exchange: what QEMU tells us, what we tell it. Pure text in and
//! out; `process` owns the pipes. See QEMU's references of QMP and of its monitor for the names.

use serde::Deserialize;
use serde_json::{Value, json};
use std::os::fd::RawFd;
use std::time::Duration;

/// The language of QEMU's control channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Monitor {
    /// Tells of events. QEMU gives it a thread, which each timer of the guest wakes.
    Qmp,
    /// Meant for people, tells of no events, and is served by the main loop: a deterministic guest,
    /// whose turns are timers, is 5 % faster with it, and one that was stopped goes on exactly.
    Human,
}

/// What we ask of QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Capabilities,
    QueryStatus,
    /// Whether the guest has stopped, in words.
    Status,
    Continue,
    /// Sends the state of a guest that stopped, less its memory, to the Unix socket at this path.
    Save(String),
    /// Whether it has.
    Saved,
    /// Takes such a state from this descriptor of QEMU's.
    Restore(RawFd),
    InjectNmi,
    /// What the ACPI timer shows, at the port where the firmware of a `pc` puts it.
    ReadTimer,
    /// What the HPET counts, at the address where the firmware of a `pc` puts it. Kernels start it
    /// as they boot, and it does not wrap around.
    ReadCounter,
    Stop,
    Quit,
}

impl Command {
    /// Those that QMP has by itself; the others are lines for people there too.
    fn qmp(&self) -> Option<&'static str> {
        match self {
            Self::Capabilities => Some("qmp_capabilities"),
            Self::QueryStatus => Some("query-status"),
            Self::InjectNmi => Some("inject-nmi"),
            Self::Stop => Some("stop"),
            Self::Quit => Some("quit"),
            _ => None,
        }
    }

    /// A guest that is asked more than this has QMP.
    fn human(&self) -> Vec<String> {
        let lines: &[&str] = match self {
            Self::Capabilities | Self::QueryStatus => &[],
            Self::Status => &[STATUS],
            Self::Stop => &["stop", STATUS],
            Self::Continue => &[CONTINUE],
            Self::Save(socket) => &[WITHOUT_MEMORY, &format!("migrate -d unix:{socket}")],
            Self::Saved => &["info migrate"],
            Self::Restore(fd) => {
                &[UNANNOUNCED, WITHOUT_MEMORY, &format!("migrate_incoming fd:{fd}")]
            }
            Self::InjectNmi => &["nmi"],
            Self::ReadTimer => &["i /w 0x608"],
            Self::ReadCounter => &["xp /1gx 0xfed000f0"],
            Self::Quit => &["quit"],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }
}

const CONTINUE: &str = "cont";
/// The memory is in files.
pub(crate) const WITHOUT_MEMORY: &str = "migrate_set_capability x-ignore-shared on";
/// Whoever takes a state would announce itself to a network otherwise, by the host's clock.
pub(crate) const UNANNOUNCED: &str = "migrate_set_parameter announce-rounds 0";
const STATUS: &str = "info status";

/// What QEMU says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The greeting: commands are taken from now on.
    Ready,
    /// The vCPUs stopped; why is what `query-status` tells.
    Stopped,
    /// Answer to `query-status`, `running` or `internal-error`.
    Status(String),
    /// Answer to [`Command::ReadTimer`].
    Timer(u32),
    /// Answer to [`Command::ReadCounter`]: since the kernel started it.
    Counter(Duration),
    /// A command was refused.
    Refused(String),
    /// Answer to [`Command::Status`]: whether the guest has stopped by itself.
    AtTheStop(bool),
    /// Answer to [`Command::Saved`], `completed` or `failed`.
    Migration(String),
}

/// What the answer to [`Command::ReadTimer`] begins with.
const TIMER_PORT: &str = "portl[0x0608] =";
/// And that to [`Command::ReadCounter`], where the counter is one of 10 ns.
const COUNTER: &str = "00000000fed000f0: 0x";
const COUNTER_NS: u64 = 10;

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Value>,
}

impl Monitor {
    /// What `-mon` calls it.
    pub(super) fn mode(self) -> &'static str {
        match self {
            Self::Qmp => "control",
            Self::Human => "readline",
        }
    }

    /// What to send.
    pub(super) fn lines(self, command: &Command) -> String {
        let lines = command.human().into_iter();
        match (self, command.qmp()) {
            (Self::Human, _) => lines.map(|line| line + "\n").collect(),
            (Self::Qmp, Some(name)) => json!({ "execute": name }).to_string() + "\n",
            (Self::Qmp, None) => {
                let wrapped = |line: String| {
                    let arguments = json!({ "command-line": line });
                    json!({ "execute": "human-monitor-command", "arguments": arguments })
                };
                lines.map(|line| wrapped(line).to_string() + "\n").collect()
            }
        }
    }

    /// One line of QEMU's; `None` for what does not matter.
    pub(super) fn parse(self, line: &str) -> Option<Notice> {
        match self {
            Self::Qmp => parse_qmp(line),
            Self::Human => in_words(line),
        }
    }
}

/// What a line for people says.
fn in_words(line: &str) -> Option<Notice> {
    const SAID: &str = "VM status: ";
    const MIGRATION: &str = "Migration status: ";
    if let Some(status) = line.strip_prefix(SAID) {
        return Some(match status.trim() {
            "running" => Notice::AtTheStop(false),
            "paused (guest-panicked)" => Notice::AtTheStop(true),
            _ => Notice::Stopped,
        });
    }
    if let Some(status) = line.strip_prefix(MIGRATION) {
        return Some(Notice::Migration(status.trim().to_owned()));
    }
    timer(line).or_else(|| counter(line))
}

fn timer(line: &str) -> Option<Notice> {
    let digits = line.strip_prefix(TIMER_PORT)?.trim().strip_prefix("0x")?;
    u32::from_str_radix(digits, 16).ok().map(Notice::Timer)
}

fn counter(text: &str) -> Option<Notice> {
    let ticks = u64::from_str_radix(text.strip_prefix(COUNTER)?.trim(), 16).ok()?;
    Some(Notice::Counter(Duration::from_nanos(ticks.saturating_mul(COUNTER_NS))))
}

fn parse_qmp(line: &str) -> Option<Notice> {
    let line: Line = serde_json::from_str(line).ok()?;
    if line.greeting.is_some() {
        return Some(Notice::Ready);
    }
    if let Some(error) = line.error {
        let text = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
        return Some(Notice::Refused(text.to_owned()));
    }
    if line.event.as_deref() == Some("STOP") {
        return Some(Notice::Stopped);
    }
    let answer = line.answer?;
    if let Some(text) = answer.as_str() {
        return text.lines().find_map(in_words);
    }
    let status = answer.get("status")?.as_str()?.to_owned();
    Some(Notice::Status(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_read_from_text() {
        let notice = Monitor::Qmp.parse("{\"return\": \"portl[0x0608] = 0x0012f687\\r\\n\"}");
        assert_eq!(notice, Some(Notice::Timer(0x12_f687)));
        assert_eq!(Monitor::Qmp.parse(r#"{"return": "invalid"}"#), None);
    }

    #[test]
    fn the_counter_is_read_in_both_languages() {
        let expected = Some(Notice::Counter(Duration::from_millis(2)));
        let line = "00000000fed000f0: 0x0000000000030d40\r";
        assert_eq!(Monitor::Human.parse(line), expected);
        let answer = r#"{"return": "00000000fed000f0: 0x0000000000030d40\r\n"}"#;
        assert_eq!(Monitor::Qmp.parse(answer), expected);
        let echo = "(qemu) xp /1gx 0xfed000f0";
        assert_eq!(Monitor::Human.parse(echo), None);
    }

    #[test]
    fn the_lines_of_a_dying_kvm_guest() {
        let lines = [
            r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#,
            r#"{"return": {}}"#,
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#,
            r#"{"return": {"status": "internal-error", "singlestep": false, "running": false}}"#,
            r#"{"error": {"class": "GenericError", "desc": "no"}}"#,
            "garbage",
        ];
        let notices: Vec<_> = lines.iter().filter_map(|line| Monitor::Qmp.parse(line)).collect();
        let expected = [
            Notice::Ready,
            Notice::Stopped,
            Notice::Status("internal-error".into()),
            Notice::Refused("no".into()),
        ];
        assert_eq!(notices, expected);
    }

    #[test]
    fn a_guest_goes_on_by_the_same_lines_in_both_languages() {
        let human = Monitor::Human.lines(&Command::Restore(7));
        insta::assert_snapshot!(human, @r"
        migrate_set_parameter announce-rounds 0
        migrate_set_capability x-ignore-shared on
        migrate_incoming fd:7
        ");
        let qmp = Monitor::Qmp.lines(&Command::Restore(7));
        assert_eq!(qmp.lines().count(), human.lines().count());
        assert!(qmp.lines().all(|line| line.contains("human-monitor-command")), "{qmp}");
        assert_eq!(Monitor::Qmp.lines(&Command::Quit), "{\"execute\":\"quit\"}\n");
    }

    #[test]
    fn where_the_guest_is_and_whether_its_state_was_sent() {
        let said = |line: &str| Monitor::Human.parse(line);
        assert_eq!(said("VM status: running\r"), Some(Notice::AtTheStop(false)));
        assert_eq!(said("VM status: paused (guest-panicked)\r"), Some(Notice::AtTheStop(true)));
        assert_eq!(said("VM status: paused\r"), Some(Notice::Stopped));
        let sent = Some(Notice::Migration("completed".into()));
        assert_eq!(said("Migration status: completed\r"), sent);
        assert_eq!(said("(qemu) info status"), None);
    }
}
