//! Port I/O, which no crate of ours wraps. Called by `order`.
#![expect(unsafe_code, reason = "instructions and one libc call; safe signatures out")]

use std::arch::asm;
use std::io;

/// The right of this thread to all I/O ports, which ends with it (`ioperm(2)`, `iopl(2)`).
#[derive(Debug)]
pub(crate) struct Ports(());

impl Ports {
    /// Needs CAP_SYS_RAWIO, `CONFIG_X86_IOPL_IOPERM` and a kernel that is not locked down.
    pub(crate) fn open() -> io::Result<Self> {
        level(3).map(Self)
    }

    /// One byte to `port`.
    pub(crate) fn write_byte(&self, port: u16, value: u8) {
        // SAFETY: the thread has the right, and no device behind `port` writes memory of this process.
        unsafe {
            asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags))
        }
    }

    /// Two bytes to `port` at once, the low one first.
    pub(crate) fn write_word(&self, port: u16, value: u16) {
        // SAFETY: as above.
        unsafe {
            asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags))
        }
    }

    /// Fills `bytes` from `port`, one after the other.
    pub(crate) fn read(&self, port: u16, bytes: &mut [u8]) {
        for byte in bytes {
            // SAFETY: as above.
            unsafe {
                asm!("in al, dx", in("dx") port, out("al") *byte, options(nostack, preserves_flags));
            }
        }
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        // To lose a right is never refused.
        let _ = level(0);
    }
}

fn level(level: libc::c_int) -> io::Result<()> {
    // SAFETY: changes what this thread may do and nothing else.
    match unsafe { libc::iopl(level) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
