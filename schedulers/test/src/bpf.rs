//! Loading, attaching and reading the kernel's half. The layouts here are those of test.bpf.c.

use crate::args::Args;
use anyhow::{Context as _, Result, ensure};
use libbpf_rs::{Link, MapCore as _, MapFlags, MapType, Object, ObjectBuilder, OpenObject};
use std::ffi::OsStr;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.bpf.o"));
const OPS: &str = "ops";
const CONFIG: &str = ".rodata.config";
const STATE: &str = ".bss.state";
const WORDS: &str = ".bss.words";
/// `SCX_OPS_SWITCH_PARTIAL` of the kernel.
const SWITCH_PARTIAL: u64 = 1 << 3;
/// Sizes of `struct last_words`.
const REASON: usize = 128;
const MESSAGE: usize = 1024;

/// Attached as long as it lives, unless the kernel ejects it.
#[derive(Debug)]
pub(crate) struct Scheduler {
    object: Object,
    link: Option<Link>,
}

/// `struct state`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    /// Tasks that were given to the scheduler, and those of them that went to an idle CPU at once.
    pub(crate) enqueues: u64,
    pub(crate) direct: u64,
    /// Turns taken from the FIFO.
    pub(crate) dispatches: u64,
    /// Idle CPUs that were woken.
    pub(crate) kicks: u64,
    /// Enqueues of tasks that starve.
    pub(crate) starved: u64,
    pub(crate) exit_code: u64,
    /// 0: not ended yet.
    pub(crate) exit_kind: u32,
}

/// Why the kernel ended it.
#[derive(Debug)]
pub(crate) struct LastWords {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) dump: String,
}

impl State {
    /// Ended because user space asked for it.
    pub(crate) fn is_clean(self) -> bool {
        /// `SCX_EXIT_UNREG` of the kernel.
        const UNREGISTERED: u32 = 64;
        self.exit_kind == UNREGISTERED
    }

    fn of(bytes: &[u8]) -> Result<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let [enqueues, direct, dispatches, kicks, starved, exit_code, kind_and_lost] = words[..]
        else {
            anyhow::bail!("the state has {} bytes", bytes.len());
        };
        let exit_kind = u32::try_from(kind_and_lost & u64::from(u32::MAX))?;
        Ok(Self { enqueues, direct, dispatches, kicks, starved, exit_code, exit_kind })
    }
}

impl Scheduler {
    pub(crate) fn attach(args: &Args) -> Result<Self> {
        let mut open = ObjectBuilder::default()
            .name("schedlab_test")?
            .open_memory(OBJECT)
            .context("open(BPF object) failed")?;
        configure(&mut open, args)?;
        let mut object = open.load().context("load(BPF object) failed")?;
        let ops = object.maps_mut().find(|map| map.name() == OsStr::new(OPS));
        let mut ops = ops.context("the BPF object has no `ops`")?;
        let link = ops.attach_struct_ops().context("attach(schedlab_test) failed")?;
        Ok(Self { object, link: Some(link) })
    }

    /// The kernel has let go of it afterwards.
    pub(crate) fn detach(&mut self) {
        self.link = None;
    }

    pub(crate) fn state(&self) -> Result<State> {
        State::of(&self.read(STATE)?)
    }

    pub(crate) fn last_words(&self) -> Result<LastWords> {
        let bytes = self.read(WORDS)?;
        let text = |from: usize, to: usize| {
            let bytes = bytes.get(from..to).unwrap_or_default();
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Ok(LastWords {
            reason: text(0, REASON),
            message: text(REASON, REASON + MESSAGE),
            dump: text(REASON + MESSAGE, bytes.len()),
        })
    }

    /// The one value of a data section.
    fn read(&self, section: &str) -> Result<Vec<u8>> {
        let map = self.object.maps().find(|map| map.name() == OsStr::new(section));
        let map = map.with_context(|| format!("the BPF object has no `{section}`"))?;
        let value = map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY);
        let value = value.with_context(|| format!("read(`{section}`) failed"))?;
        value.with_context(|| format!("`{section}` is empty"))
    }
}

/// Arguments that the kernel's half has to know before it is loaded.
fn configure(open: &mut OpenObject, args: &Args) -> Result<()> {
    let mut config = args.after.to_ne_bytes().to_vec();
    config.extend(args.starve.unwrap_or_default());
    config.extend((args.fault as u32).to_ne_bytes());
    config.extend(std::process::id().to_ne_bytes());
    let flags = if args.partial { SWITCH_PARTIAL } else { 0 };
    let mut ops = flags.to_ne_bytes().to_vec();
    ops.extend(args.watchdog_ms().to_ne_bytes());
    let mut set = 0;
    for mut map in open.maps_mut() {
        let bytes = match (map.name().to_str(), map.map_type()) {
            (Some(CONFIG), _) => &config,
            (_, MapType::StructOps) => &ops,
            _ => continue,
        };
        let value = map.initial_value_mut().and_then(|value| value.get_mut(..bytes.len()));
        value.context("the BPF object has another layout")?.copy_from_slice(bytes);
        set += 1;
    }
    ensure!(set == 2, "the BPF object has {set} of 2 parts to configure");
    Ok(())
}
