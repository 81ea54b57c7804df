//! The defined stop of a deterministic guest: the last thing that PID 1 does before it knows its scenario.
//! The host takes memory and state of the guest there, and lets it go on from these; PID 1 then reads its order
//! from QEMU's `fw_cfg` device. By port I/O: that needs no driver and no interrupt, and the machine
//! stops at the very instruction. Called by `supervise`.

use crate::port::Port;
use crate::printed;
use crate::proto::{Message, ORDER_FILE, Order};
use crate::sys::Ports;
use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::thread::sleep;
use std::time::Duration;

/// Of QEMU's `pvpanic` device, and the event that makes QEMU stop the machine.
const STOP_PORT: u16 = 0x505;
const STOP: u8 = 1;

/// Of `fw_cfg` (QEMU's docs/specs/fw_cfg): the selector takes a key, the data comes byte by byte.
const SELECTOR_PORT: u16 = 0x510;
const DATA_PORT: u16 = 0x511;
/// The key of the list of files: a count, then for each its size, key, two spare bytes and name.
const DIRECTORY: u16 = 0x19;
const ENTRY_BYTES: usize = 64;
const NAME_AT: usize = 8;

/// Before the stop, so that nothing of the boot still runs elsewhere: QEMU stops this vCPU at the instruction, the others
/// when its main loop comes to it. It is the last CPU, behind which no other has a turn until then.
const CALM: Duration = Duration::from_millis(50);

/// A scheduler may have a process that wakes up now and then. One that never sleeps is not waited for.
const WAITS: usize = 20;

/// Stops the machine, then reads what to do. The ports are closed by the end: a child would inherit
/// them, and switches to it would be slower.
pub(crate) fn wait_for(port: &mut Port) -> Result<(Order, String)> {
    let everywhere = sched_getaffinity(None).context("sched_getaffinity failed")?;
    sched_setaffinity(None, &last_of(&everywhere)).context("sched_setaffinity failed")?;
    sleep(CALM);
    let ports = Ports::open().context("iopl(3) failed")?;
    port.send(&Message::Printed(printed::read()));
    port.send(&Message::Waiting {});
    port.drain();
    for _ in 0..WAITS {
        if runs_alone() {
            break;
        }
        sleep(CALM);
    }
    ports.write_byte(STOP_PORT, STOP);
    let bytes = read_file(&ports)?;
    drop(ports);
    let text = String::from_utf8(bytes).context("the order")?;
    let parsed = Order::parse(&text).map(|(order, scenario)| (order, scenario.to_owned()));
    let (order, scenario) = parsed.context("the order has no first line")?;
    sched_setaffinity(None, &everywhere).context("sched_setaffinity failed")?;
    Ok((order, scenario))
}

/// Why this kernel gives PID 1 no ports, if it does not.
pub(crate) fn cannot_stop() -> Option<String> {
    Ports::open().err().map(|error| format!("iopl(3) failed: {error}"))
}

/// Whether nothing else is runnable, by the fourth number of /proc/loadavg.
fn runs_alone() -> bool {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').nth(3).is_some_and(|tasks| tasks.starts_with("1/"))
}

fn last_of(cpus: &CpuSet) -> CpuSet {
    let mut last = CpuSet::new();
    if let Some(cpu) = (0..CpuSet::MAX_CPU).rev().find(|cpu| cpus.is_set(*cpu)) {
        last.set(cpu);
    }
    last
}

/// The file up to its first zero.
fn read_file(ports: &Ports) -> Result<Vec<u8>> {
    let (key, size) = find_file(ports)?;
    ports.write_word(SELECTOR_PORT, key);
    let (mut bytes, mut byte) = (Vec::with_capacity(4096), [0]);
    for _ in 0..size {
        ports.read(DATA_PORT, &mut byte);
        if byte == [0] {
            return Ok(bytes);
        }
        bytes.extend(byte);
    }
    bail!("fw_cfg: `{ORDER_FILE}` does not end with a zero")
}

fn find_file(ports: &Ports) -> Result<(u16, usize)> {
    ports.write_word(SELECTOR_PORT, DIRECTORY);
    let (mut count, mut entry) = ([0; 4], [0; ENTRY_BYTES]);
    ports.read(DATA_PORT, &mut count);
    for _ in 0..u32::from_be_bytes(count) {
        ports.read(DATA_PORT, &mut entry);
        if let Some(found) = place_of(&entry) {
            return Ok(found);
        }
    }
    bail!("fw_cfg: this machine has no file `{ORDER_FILE}`")
}

/// Key and size of the order, if this entry is its.
fn place_of(entry: &[u8; ENTRY_BYTES]) -> Option<(u16, usize)> {
    let name = entry[NAME_AT..].split(|byte| *byte == 0).next()?;
    let size = u32::from_be_bytes(entry[..4].try_into().ok()?);
    let key = u16::from_be_bytes(entry[4..6].try_into().ok()?);
    (name == ORDER_FILE.as_bytes()).then_some((key, size as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gives_key_and_size_of_the_order_alone() {
        let mut entry = [0; ENTRY_BYTES];
        entry[..6].copy_from_slice(&[0, 1, 0, 0, 0, 0x2a]);
        entry[NAME_AT..NAME_AT + ORDER_FILE.len()].copy_from_slice(ORDER_FILE.as_bytes());
        assert_eq!(place_of(&entry), Some((0x2a, 1 << 16)));
        entry[NAME_AT] = b'x';
        assert_eq!(place_of(&entry), None);
    }
}
