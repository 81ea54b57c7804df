//! Where workers live: in a forked process each, in one forked process together (a container),
//! or as threads of this very process. Called by `spawn`.

use super::{Post, life, outbox};
use crate::sys::process::{exit_now, interrupt_blocking_calls};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setpgid};
use rustix::thread::{Gid, Uid, futex, set_name, set_thread_res_gid, set_thread_res_uid};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Status of a process whose parent was gone before it could ask to die with it.
const EXIT_ORPHANED: i32 = 1;

/// What a worker lives in.
#[derive(Debug)]
pub(super) enum Host {
    /// A process of its own.
    Own {
        /// Who forked it.
        parent: Pid,
    },
    /// A process with others, whom its panic must leave alone.
    Shared(#[expect(dead_code, reason = "it is there to be dropped")] Presence),
}

/// A worker that has not begun, with the pipe for its report.
#[derive(Debug)]
pub(super) struct Recruit {
    pub(super) post: Post,
    pub(super) pipe: OwnedFd,
}

/// The life of a forked worker. Nothing here returns or unwinds.
pub(super) fn process_main(recruit: Recruit, parent: Pid) -> ! {
    let Recruit { post, pipe } = recruit;
    begin_process(parent);
    let sent = match interrupt_blocking_calls() {
        Ok(()) => life::live(&post, pipe, Host::Own { parent }),
        Err(errno) => {
            life::stillborn(&post.identity(), pipe, format!("sigaction failed: {errno}"));
            true
        }
    };
    exit_now(if sent { 0 } else { 1 })
}

/// Who a container is to the kernel.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    pub(super) comm: String,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// The life of a container: it gives each worker a thread, and ends with the last of them.
pub(super) fn container_main(leader: &Leader, recruits: Vec<Recruit>, parent: Pid) -> ! {
    begin_process(parent);
    let named = CString::new(leader.comm.as_str()).map_err(|_| Errno::INVAL);
    let _ = named.and_then(|name| set_name(&name));
    let crew = Crew::of(recruits.len());
    match interrupt_blocking_calls() {
        Ok(()) => recruits.into_iter().for_each(|recruit| {
            if let Err((recruit, error)) = start_thread(recruit, Some(Arc::clone(&crew))) {
                let why = format!("pthread_create failed: {error}");
                life::stillborn(&recruit.post.identity(), recruit.pipe, why);
            }
        }),
        Err(errno) => recruits.into_iter().for_each(|recruit| {
            let why = format!("sigaction failed: {errno}");
            life::stillborn(&recruit.post.identity(), recruit.pipe, why);
            crew.leave();
        }),
    }
    // After the threads, which still need the right to set what they were asked to. What the
    // kernel refuses here it refuses each of them too, and they report it.
    if let Some(gid) = leader.gid.map(Gid::from_raw) {
        let _ = set_thread_res_gid(gid, gid, gid);
    }
    if let Some(uid) = leader.uid.map(Uid::from_raw) {
        let _ = set_thread_res_uid(uid, uid, uid);
    }
    die_with(parent);
    crew.wait();
    exit_now(0)
}

/// A worker as a thread of this process.
pub(super) fn thread(recruit: Recruit) -> Result<JoinHandle<()>, (Recruit, std::io::Error)> {
    outbox::report_panics();
    start_thread(recruit, None)
}

/// A process group of its own lets the teardown reach what a worker itself forks.
fn begin_process(parent: Pid) {
    outbox::report_panics();
    die_with(parent);
    let _ = setpgid(None, None);
}

/// A worker whose parent is gone has nobody to stop it. The kernel forgets the request when the
/// ids change (`commit_creds`), so it is made again after that.
pub(super) fn die_with(parent: Pid) {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != Some(parent) {
        exit_now(EXIT_ORPHANED)
    }
}

/// On failure the recruit comes back, and the crew is one less.
fn start_thread(
    recruit: Recruit,
    crew: Option<Arc<Crew>>,
) -> Result<JoinHandle<()>, (Recruit, std::io::Error)> {
    // The closure is lost with a thread that could not be made; what it is to take is not.
    let shelf = Arc::new(Mutex::new(Some(recruit)));
    let taken = Arc::clone(&shelf);
    let take = |shelf: &Mutex<Option<Recruit>>| {
        shelf.lock().unwrap_or_else(PoisonError::into_inner).take()
    };
    let presence = Presence(crew);
    let made = Builder::new().spawn(move || {
        if let Some(Recruit { post, pipe }) = take(&taken) {
            let live = || life::live(&post, pipe, Host::Shared(presence));
            // A panic has become the report by now.
            let _ = catch_unwind(AssertUnwindSafe(live));
        }
    });
    made.map_err(|error| match take(&shelf) {
        Some(recruit) => (recruit, error),
        None => unreachable!("a thread that was not made took its recruit"),
    })
}

/// Counts the threads of a container that have not ended.
#[derive(Debug)]
struct Crew(AtomicU32);

impl Crew {
    fn of(count: usize) -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(u32::try_from(count).unwrap_or(u32::MAX))))
    }

    fn leave(&self) {
        self.0.fetch_sub(1, AcqRel);
        // Whoever waits looks at the word again, and there is nobody else.
        let _ = futex::wake(&self.0, futex::Flags::PRIVATE, 1);
    }

    fn wait(&self) {
        loop {
            let left = self.0.load(Acquire);
            if left == 0 {
                return;
            }
            let _ = futex::wait(&self.0, futex::Flags::PRIVATE, left, None);
        }
    }
}

/// One thread's part in its process, given up when this is dropped.
#[derive(Debug)]
pub(super) struct Presence(Option<Arc<Crew>>);

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(crew) = &self.0 {
            crew.leave();
        }
    }
}
