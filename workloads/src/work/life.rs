//! Types that create and end tasks.

use super::catalogue::params::{ForkExec, ForkExit};
use super::reference::Documented;
use super::{Finish, Needs, Work};
use crate::sys::process::{fork_to_exec, fork_to_exit};
use crate::worker::Worker;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, write};
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
use std::time::Duration;

/// From a fork that failed to the next attempt.
const RETRY_AFTER: Duration = Duration::from_millis(1);

const ALONE: Needs = Needs {
    own_process: Some("it forks and waits, which takes a process with one thread"),
    ..Needs::PLAIN
};

impl Documented for ForkExit {}

impl Work for ForkExit {
    fn needs(&self) -> Needs {
        ALONE
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        while w.next() {
            let Some(child) = make_one(w, fork_to_exit) else { break };
            match reap(child, w) {
                Ok(_) => w.add_work(1),
                Err(errno) => w.error("waitpid", errno),
            }
        }
        Finish::Done
    }
}

impl Documented for ForkExec {}

impl Work for ForkExec {
    fn needs(&self) -> Needs {
        ALONE
    }

    fn run(&self, w: &mut Worker<'_>) -> Finish {
        let program = match in_memory(&ELF) {
            Ok(program) => program,
            Err(why) => return Finish::Failed(why),
        };
        while w.next() {
            let Some(child) = make_one(w, || fork_to_exec(&program)) else { break };
            match reap(child, w) {
                Ok(status) => match why_not(status) {
                    None => w.add_work(1),
                    Some(why) => return Finish::Failed(why),
                },
                Err(errno) => w.error("waitpid", errno),
            }
        }
        Finish::Done
    }
}

/// A child that ends at once; `None` if the stop came while there were no processes to be had.
/// Between attempts the worker sleeps: who must end before one is free needs the CPU, and a yield
/// comes straight back from an idle one. So an iteration is a child, never a failure.
fn make_one(w: &mut Worker<'_>, fork: impl Fn() -> Result<Pid, Errno>) -> Option<Pid> {
    loop {
        match fork() {
            Ok(child) => return Some(child),
            Err(errno) => w.error("fork", errno),
        }
        if !w.pause(RETRY_AFTER) || w.stopping() {
            return None;
        }
    }
}

/// Waits for `child` through interruptions, so that none outlives its worker.
fn reap(child: Pid, w: &mut Worker<'_>) -> Result<Option<WaitStatus>, Errno> {
    w.blocked(|| {
        loop {
            match waitpid(Some(child), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                other => break other.map(|waited| waited.map(|(_, status)| status)),
            }
        }
    })
}

/// What a child did instead of executing the program, which exits with 0. A child that could not
/// execute it exits with the error.
fn why_not(status: Option<WaitStatus>) -> Option<String> {
    let exit = status.and_then(WaitStatus::exit_status);
    match exit {
        Some(0) => None,
        Some(code) => Some(format!("execveat failed: {}", Errno::from_raw_os_error(code))),
        None => Some(format!("the executed program did not exit: {status:?}")),
    }
}

/// A program in a sealed file of memory.
fn in_memory(program: &[u8]) -> Result<OwnedFd, String> {
    let file = executable_memory().map_err(|errno| match errno {
        Errno::ACCESS => "memfd_create(MFD_EXEC) failed: vm.memfd_noexec forbids programs in \
            memory; fix: set it to 0 or 1"
            .to_owned(),
        errno => format!("memfd_create(MFD_EXEC) failed: {errno}"),
    })?;
    let written = write(&file, program).map_err(|errno| format!("write(memfd) failed: {errno}"))?;
    if written != program.len() {
        return Err(format!("write(memfd) failed: {written} of {} bytes", program.len()));
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals).map_err(|errno| format!("F_ADD_SEALS failed: {errno}"))?;
    Ok(file)
}

fn executable_memory() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(c"schedlab-exec", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 there is no such flag, and all of it may be executed.
        Err(Errno::INVAL) => memfd_create(c"schedlab-exec", flags),
        other => other,
    }
}

/// Where the program is mapped.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS: usize = 64 + 56;
/// `mov eax, 231; xor edi, edi; syscall`: exit_group(0).
const CODE: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
/// A static x86-64 program of one segment, mapped as it lies in the file: elf(5).
const ELF: [u8; HEADERS + CODE.len()] = elf();

const fn elf() -> [u8; HEADERS + CODE.len()] {
    let mut bytes = [0; HEADERS + CODE.len()];
    let size = bytes.len() as u64;
    // Class 64, little-endian, version 1.
    put(&mut bytes, 0, &[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    // ET_EXEC, EM_X86_64, version 1.
    put(&mut bytes, 16, &[2, 0, 62, 0, 1]);
    put(&mut bytes, 24, &(BASE + HEADERS as u64).to_le_bytes());
    // Offset of the program header; sizes of the headers, and how many there are.
    put(&mut bytes, 32, &[64]);
    put(&mut bytes, 52, &[64, 0, 56, 0, 1]);
    // PT_LOAD, readable and executable, from offset 0.
    put(&mut bytes, 64, &[1, 0, 0, 0, 5]);
    put(&mut bytes, 64 + 16, &BASE.to_le_bytes());
    put(&mut bytes, 64 + 24, &BASE.to_le_bytes());
    put(&mut bytes, 64 + 32, &size.to_le_bytes());
    put(&mut bytes, 64 + 40, &size.to_le_bytes());
    put(&mut bytes, 64 + 48, &4096_u64.to_le_bytes());
    put(&mut bytes, HEADERS, &CODE);
    bytes
}

const fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    let mut index = 0;
    while index < what.len() {
        bytes[at + index] = what[index];
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(program: &OwnedFd) -> Option<String> {
        let child = fork_to_exec(program).unwrap();
        why_not(waitpid(Some(child), WaitOptions::empty()).unwrap().map(|(_, status)| status))
    }

    #[test]
    fn the_program_can_be_executed_and_not_changed() {
        let program = in_memory(&ELF).unwrap();
        assert_eq!(write(&program, &[0]), Err(Errno::PERM));
        assert_eq!(end_of(&program), None);
    }

    #[test]
    fn a_child_that_does_not_execute_the_program_to_its_end_says_why() {
        let why = end_of(&in_memory(&[]).unwrap()).unwrap();
        assert!(why.contains("execveat failed") && why.contains("os error 8"), "{why}");
        let mut undefined = ELF;
        undefined[HEADERS..][..2].copy_from_slice(&[0x0f, 0x0b]);
        let why = end_of(&in_memory(&undefined).unwrap()).unwrap();
        assert!(why.contains("did not exit") && why.contains("signaled"), "{why}");
    }
}
