//! The story of PID 1: mount, open the report port, supervise the run, power off. It never
//! returns and never dies: the kernel panics when PID 1 does.

use crate::port::Port;
use crate::proto::{End, Message};
use crate::{mounts, supervise};
use rustix::system::{RebootCommand, reboot};
use std::sync::{Arc, Mutex, PoisonError};

const REPORT_PORT: &str = "/dev/ttyS1";

/// Boots the guest as its PID 1. Anywhere else it says what it is for and exits.
pub fn boot() -> ! {
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        refuse_to_run_here();
    }
    let started_ns = workloads::monotonic_ns();
    let notes = mounts::mount_all();
    match Port::open(REPORT_PORT) {
        Ok(port) => {
            let port = Arc::new(Mutex::new(port));
            end_on_panic(&port);
            serve(&port, started_ns, notes);
        }
        Err(error) => say(&format!("guest-init: open({REPORT_PORT}) failed: {error}")),
    }
    power_off()
}

fn serve(port: &Arc<Mutex<Port>>, started_ns: u64, notes: Vec<String>) {
    let mut port = port.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = supervise::run(&mut port, started_ns, notes) {
        let text = format!("{error:#}");
        say(&format!("guest-init: {text}"));
        port.send(&Message::End(End { error: Some(text), ..End::default() }));
    }
    port.drain();
}

/// PID 1's own panic becomes the last frame and a power-off.
fn end_on_panic(port: &Arc<Mutex<Port>>) {
    let port = Arc::clone(port);
    std::panic::set_hook(Box::new(move |info| {
        let text = format!("guest-init panicked: {info}");
        say(&text);
        // Held by the very code that panicked: a port of our own then, whose frame the host
        // accepts as the end of a damaged stream.
        let end = Message::End(End { error: Some(text), ..End::default() });
        match port.try_lock() {
            Ok(mut port) => {
                port.send(&end);
                port.drain();
            }
            Err(_) => {
                if let Ok(mut port) = Port::open(REPORT_PORT) {
                    port.send(&end);
                    port.drain();
                }
            }
        }
        power_off()
    }));
}

fn power_off() -> ! {
    rustix::fs::sync();
    if let Err(errno) = reboot(RebootCommand::PowerOff) {
        say(&format!("guest-init: reboot(power off) failed: {errno}"));
    }
    // Without a way to power off the host ends QEMU once it has the last frame.
    loop {
        std::thread::park();
    }
}

/// One line on the console.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    // Nobody is left to hear of a console that cannot be written.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[expect(clippy::exit, reason = "there is nothing to unwind before anything has begun")]
fn refuse_to_run_here() -> ! {
    say("guest-init is PID 1 of a schedlab guest; start it with `cargo xtask vm`");
    std::process::exit(2)
}
