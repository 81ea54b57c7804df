//! `run.sh` of a bundle: replays it with QEMU and a POSIX shell alone. Called by `pack`, and by
//! `open` to tell whether a stranger's is the same.

use super::manifest::Manifest;
use super::member::{CONSOLE, FRAMES};
use crate::qemu::{Guest, Memory, UNANNOUNCED, WITHOUT_MEMORY, arguments};
use crate::run::{Disk, shell_word};
use guest_init::proto::{ORDER_BLOCK, Order};

const HEAD: &str = r#"#!/bin/sh
# Replays the run of this folder with QEMU alone and compares what the guest writes with what was
# recorded. Needs qemu-system-x86_64; writes to a new folder `replay` here and nowhere else.
set -eu
cd -- "$(dirname -- "$0")"
if ! command -v qemu-system-x86_64 >/dev/null; then
    echo "there is no qemu-system-x86_64 here; on Debian: apt-get install qemu-system-x86" >&2
    exit 3
fi
"#;

const FOLDER: &str = r#"if ! mkdir replay; then
    echo "remove or rename it first" >&2
    exit 2
fi
cd replay
"#;

/// All threads on one CPU and the first before the others: else QEMU's own threads race and the
/// guest may be another one.
const PIN: &str = r#"pin=
if command -v taskset >/dev/null; then
    pin="taskset -c $(taskset -cp $$ | sed 's/.*: *//; s/[,-].*//')"
else
    echo "there is no taskset here: QEMU is not kept to one CPU, so the bytes may differ" >&2
fi
if chrt --reset-on-fork --fifo 1 true 2>/dev/null; then
    pin="chrt --reset-on-fork --fifo 1 $pin"
fi
"#;

const COMPARE: &str = r#"differs=0
same() {
    if command -v sha256sum >/dev/null; then
        test "$(sha256sum <"$1")" = "$2  -"
    else
        cmp "$1" "../$1"
    fi
}
check() {
    if same "$1" "$2"; then
        echo "$1: same bytes"
    else
        echo "$1: differs"
        differs=1
    fi
}
"#;

/// The script; of a bundle without a kernel it says how to come by one.
pub(super) fn write(manifest: &Manifest, guest: &Guest) -> String {
    let mut text = HEAD.to_owned();
    if !manifest.has_kernel() {
        let kernel = &manifest.boot.kernel;
        let name = kernel.name();
        let words = [
            "this bundle has no kernel in it; replay it with:".to_owned(),
            "cargo xtask bundle run FILE --kernel SPEC".to_owned(),
            format!("the kernel was {name}, SHA-256 {}", kernel.sha256),
        ];
        for line in words {
            text.push_str(&format!("echo {} >&2\n", shell_word(&line)));
        }
        return text + "exit 3\n";
    }
    text.push_str(FOLDER);
    if let Disk::Scratch { bytes } = manifest.boot.disk {
        text.push_str(&format!("dd if=/dev/null of=disk.img bs=1 seek={bytes} 2>/dev/null\n"));
    }
    text.push_str(if guest.icount.is_some() { PIN } else { "pin=\n" });
    text.push_str(&format!(
        "echo {}\n",
        shell_word(&format!("recorded with QEMU {}; here:", manifest.boot.qemu))
    ));
    text.push_str("qemu-system-x86_64 --version | head -n 1\n");
    text.push_str(&manifest.boot.order.map(|order| order_file(&order)).unwrap_or_default());
    text.push_str(&match manifest.boot.order {
        Some(_) => by_the_stop(guest),
        // Silence the control channel, which nobody uses here.
        None => format!("{}    </dev/null >monitor.log\n", command(guest)),
    });
    text.push_str(&ending(manifest));
    text
}

/// Makes the file that the guest reads after its stop.
fn order_file(order: &Order) -> String {
    let first = serde_json::to_string(order).unwrap_or_default();
    format!(
        r#"{{ echo {}; cat ../scenario.json; }} >order
bytes=$(wc -c <order)
dd if=/dev/zero bs=1 count=$(({ORDER_BLOCK} - bytes % {ORDER_BLOCK})) >>order 2>/dev/null
"#,
        shell_word(&first)
    )
}

/// Boots the guest up to its stop, and lets it go on in another QEMU, which takes the state by a socket.
fn by_the_stop(guest: &Guest) -> String {
    let nodes = guest.layout.nodes();
    let files: Vec<_> = (0..nodes).map(|node| Memory::name(node, nodes).into()).collect();
    let with = |memory: Memory| command(&Guest { memory, ..guest.clone() });
    let (boots, goes_on) = (with(Memory::Shared(files.clone())), with(Memory::Private(files)));
    format!(
        r#"mkfifo control control-2
{boots}    <control >monitor.log &
first=$!
exec 3>control
until grep -q '"kind":"waiting"' frames.log 2>/dev/null || ! kill -0 $first 2>/dev/null; do sleep 1; done
until grep -q 'paused (guest-panicked)' monitor.log || ! kill -0 $first 2>/dev/null; do
    echo 'info status' >&3
    sleep 1
done
if kill -0 $first 2>/dev/null; then
{goes_on}    <control-2 >monitor-2.log &
second=$!
exec 4>control-2
printf '{UNANNOUNCED}\n{WITHOUT_MEMORY}\nmigrate_incoming unix:socket\n' >&4
until test -S socket || ! kill -0 $second 2>/dev/null; do sleep 1; done
printf '{WITHOUT_MEMORY}\nmigrate -d unix:socket\n' >&3
until grep -q 'Migration status: completed' monitor.log || ! kill -0 $first 2>/dev/null; do
    echo 'info migrate' >&3
    sleep 1
done
echo quit >&3
wait $first || true
echo cont >&4
wait $second
exec 4>&-
else
echo "the guest ended before its scenario"
wait $first
fi
exec 3>&-
"#
    )
}

/// QEMU's command, which goes on with the next line.
fn command(guest: &Guest) -> String {
    let lines = lines(arguments(guest)).into_iter().map(|word| format!("    {word} \\\n"));
    "$pin qemu-system-x86_64 \\\n".to_owned() + &lines.collect::<String>()
}

/// An option and its value a line.
fn lines(arguments: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in arguments {
        let word_is_option = word.starts_with('-');
        match lines.last_mut() {
            Some(line) if !word_is_option => *line += &format!(" {}", shell_word(&word)),
            _ => lines.push(shell_word(&word)),
        }
    }
    lines
}

fn ending(manifest: &Manifest) -> String {
    if !manifest.is_exact() {
        let why = match manifest.boot.icount_shift {
            None => "this run was not deterministic",
            Some(_) => "the host ended the recorded run",
        };
        let text =
            format!("replayed; {why}, so that no two are the same bytes: read replay/{CONSOLE}");
        return format!("echo {}\n", shell_word(&text));
    }
    let check = |name: &str| {
        let digest = manifest.members.get(name).map(|digest| digest.sha256.as_str());
        format!("check {name} {}\n", digest.unwrap_or_default())
    };
    format!("{COMPARE}{}{}exit $differs\n", check(CONSOLE), check(FRAMES))
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn arguments_are_quoted_for_a_shell_an_option_a_line() {
        let words = ["-S", "-append", "a b'c", "-m", "1M"].map(str::to_owned).to_vec();
        assert_eq!(lines(words), ["-S", r"-append 'a b'\''c'", "-m 1M"]);
    }
}
