//! The QEMU command line, one function a concern. Nothing here looks at the machine: the same
//! [`Guest`] gives the same arguments. Called by `run`.

use super::accel::Accel;
use super::layout::Layout;
use super::monitor::Monitor;
use super::turns::{self, Turns};
use guest_init::proto::{ORDER_FILE, serial};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that shapes the virtual machine.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) accel: Accel,
    /// Makes the guest deterministic.
    pub(crate) icount: Option<Icount>,
    /// QEMU's CPU model; `None` is the richest that the accelerator offers.
    pub(crate) cpu_model: Option<String>,
    pub(crate) layout: Layout,
    pub(crate) kernel: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) cmdline: String,
    pub(crate) console: PathBuf,
    pub(crate) frames: PathBuf,
    /// Takes what QEMU itself complains of.
    pub(crate) log: PathBuf,
    /// The workload's disk, `/dev/vda`.
    pub(crate) disk: Option<DiskFile>,
    /// The scenario's disk, read-only.
    pub(crate) scenario_disk: Option<DiskFile>,
    /// The order of a guest that stops before it knows its scenario.
    pub(crate) order: Option<PathBuf>,
    pub(crate) memory: Memory,
    pub(crate) gdb: Option<Gdb>,
    /// The guest's time at which it is stopped.
    pub(crate) until: Option<Duration>,
}

impl Guest {
    /// Whether a debugger lets it go on.
    pub(crate) fn awaits_gdb(&self) -> bool {
        self.gdb.is_some_and(|gdb| gdb.is_awaited)
    }

    /// The one in whose thread the guest's turns and its stop are exact, where that counts.
    pub(crate) fn monitor(&self) -> Monitor {
        if self.icount.is_some() { Monitor::Human } else { Monitor::Qmp }
    }
}

/// What holds the guest's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Memory {
    /// QEMU's own.
    Anonymous,
    /// Files, one for each node, which have it all when the guest stops.
    Shared(Vec<PathBuf>),
    /// Files that a guest goes on from. What it writes is its own.
    Private(Vec<PathBuf>),
}

impl Memory {
    /// Where that of a node is, called `id`, and whether what the guest writes goes there.
    fn file(&self, node: usize) -> Option<(&Path, &'static str)> {
        match self {
            Self::Anonymous => None,
            Self::Shared(files) => Some((files.get(node)?, "on")),
            Self::Private(files) => Some((files.get(node)?, "off")),
        }
    }

    /// What the memory of a node is called.
    pub(crate) fn name(node: usize, nodes: usize) -> String {
        if nodes == 1 { "memory".into() } else { format!("node{node}") }
    }

    /// Whether the guest goes on from its stop.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Private(_))
    }
}

/// Time that is the number of instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Icount {
    /// One takes 2^N ns.
    pub(crate) shift: u8,
    pub(crate) turns: Turns,
}

impl Icount {
    /// As the QEMU of version `qemu` does it.
    pub(crate) fn of(shift: u8, qemu: &str) -> Self {
        Self { shift, turns: Turns::of(qemu) }
    }
}

/// A port on [`GDB_HOST`] for a debugger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gdb {
    pub(crate) port: u16,
    /// Whether the guest waits for it.
    pub(crate) is_awaited: bool,
    /// Whether the QEMU that boots a guest up to its stop has it too.
    pub(crate) is_at_boot: bool,
}

/// A raw image behind a virtio-blk device.
#[derive(Debug, Clone)]
pub(crate) struct DiskFile {
    pub(crate) path: PathBuf,
    pub(crate) format: &'static str,
}

/// `max` is an AMD CPU. This is the same as an Intel Atom of 2008, one of those that speculate so
/// little that kernels mitigate nothing: page table isolation makes system calls under TCG several
/// times as dear.
const INTEL_MAX: &str = "max,vendor=GenuineIntel,family=6,model=28,stepping=10";

/// CPUID leaf 0x1f has the dies. Where it is the last leaf, QEMU 10.0 aborts in `encode_topo_cpuid1f` as kernels boot;
/// one more, an empty one, spares it that.
const BEYOND_DIES: &str = ",level=32";

/// Instructions that give what no replay could.
const NO_ENTROPY: &str = ",-rdrand,-rdseed";

/// Translated code in MiB. QEMU's own choice depends on the host's memory, and a full buffer ends
/// the turn of a vCPU.
const CODE_BUFFER: &str = "tb-size=512";

const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// A debugger owns the guest, so that only this machine gets one.
pub(crate) const GDB_HOST: &str = "127.0.0.1";

/// Slots on the PCI bus: the order in which the guest names its disks.
const DISK_SLOT: u32 = 0x8;
const SCENARIO_SLOT: u32 = 0x9;

/// The arguments after `qemu-system-x86_64`.
pub(crate) fn arguments(guest: &Guest) -> Vec<String> {
    [
        bare_machine(guest),
        acceleration(guest),
        virtual_time(guest),
        memory_files(guest, processors(guest)),
        control(guest),
        debugger(guest),
        serial_ports(guest),
        disks(guest),
        order(guest),
        boot(guest),
    ]
    .concat()
}

/// No devices but those named below, no window, and a reset ends it. A guest that breaks out of its
/// machine finds itself without the system calls that start programs or take other rights.
fn bare_machine(guest: &Guest) -> Vec<String> {
    let in_one_file = guest.memory != Memory::Anonymous && guest.layout.nodes() == 1;
    let machine = if in_one_file { "pc,memory-backend=memory" } else { "pc" };
    let words = ["-no-user-config", "-nodefaults", "-display", "none", "-machine", machine];
    strings(&[words.as_slice(), &["-no-reboot", "-sandbox", SANDBOX]].concat())
}

/// `words` with memory that is in files: one, or one for each node.
fn memory_files(guest: &Guest, words: Vec<String>) -> Vec<String> {
    const OWN: &str = "memory-backend-ram,";
    let nodes = guest.layout.nodes();
    let file = |node: usize, size: &str| {
        let id = Memory::name(node, nodes);
        let (path, share) = guest.memory.file(node)?;
        let path = option_value(path);
        Some(format!("memory-backend-file,id={id},{size},mem-path={path},share={share}"))
    };
    if nodes == 1 {
        let object = file(0, &format!("size={}M", guest.layout.memory_mib()));
        let more = object.map(|object| ["-object".to_owned(), object]);
        return words.into_iter().chain(more.into_iter().flatten()).collect();
    }
    let mut node = 0;
    let of_node = |word: String| {
        let size = word.strip_prefix(OWN).and_then(|object| object.split_once(','))?.1.to_owned();
        node += 1;
        file(node - 1, &size)
    };
    let mut of_node = of_node;
    words.into_iter().map(|word| of_node(word.clone()).unwrap_or(word)).collect()
}

/// A device by which the guest stops the machine, and a file that it reads when it goes on. Kernels have a
/// driver for the device, which sees that it knows no events and leaves it alone.
fn order(guest: &Guest) -> Vec<String> {
    let Some(path) = &guest.order else { return Vec::new() };
    let file = format!("name={ORDER_FILE},file={}", option_value(path));
    let words = ["-device", "pvpanic,events=0", "-action", "panic=pause", "-fw_cfg", &file];
    let incoming: &[&str] = if guest.memory.goes_on() { &["-incoming", "defer"] } else { &[] };
    strings(&[words.as_slice(), incoming].concat())
}

/// A debugger may come at any time; one that is waited for comes before the first instruction.
fn debugger(guest: &Guest) -> Vec<String> {
    let Some(Gdb { port, is_awaited, .. }) = guest.gdb else { return Vec::new() };
    let stopped = is_awaited.then(|| "-S".to_owned());
    let open = ["-gdb".to_owned(), format!("tcp:{GDB_HOST}:{port}")];
    stopped.into_iter().chain(open).collect()
}

fn acceleration(guest: &Guest) -> Vec<String> {
    // `thread=multi` loses guests: code that the kernel patches at run time is fetched stale.
    let tcg = "tcg,thread=single";
    let turns = guest.icount.map(|icount| icount.turns);
    let accel = match guest.accel {
        Accel::Kvm => "kvm".to_owned(),
        Accel::Tcg if turns.is_some() => format!("{tcg},{CODE_BUFFER}"),
        Accel::Tcg => tcg.to_owned(),
    };
    let model = guest.cpu_model.as_deref();
    vec!["-accel".into(), accel, "-cpu".into(), cpu(guest.accel, model, &guest.layout, turns)]
}

/// The CPU of a guest, as QEMU takes it; `model` is what was asked for, `turns` are those of a deterministic one.
pub(crate) fn cpu(
    accel: Accel,
    model: Option<&str>,
    layout: &Layout,
    turns: Option<Turns>,
) -> String {
    match accel {
        Accel::Kvm => model.unwrap_or("host").to_owned(),
        Accel::Tcg => {
            let no_entropy = if turns.is_some() { NO_ENTROPY } else { "" };
            emulated_model(model, layout, turns) + no_entropy
        }
    }
}

fn emulated_model(model: Option<&str>, layout: &Layout, turns: Option<Turns>) -> String {
    let richest = if layout.needs_intel() { INTEL_MAX } else { "max" };
    // A QEMU that is old enough does without, and bundles that it recorded stay what they are.
    let needs_more = layout.topology().llcs_in_socket() > 1 && turns != Some(Turns::Whole);
    let beyond = if needs_more { BEYOND_DIES } else { "" };
    model.map_or_else(|| format!("{richest}{beyond}"), str::to_owned)
}

fn processors(guest: &Guest) -> Vec<String> {
    match guest.icount {
        Some(icount) => {
            let turns = Some(icount.turns);
            let model = emulated_model(guest.cpu_model.as_deref(), &guest.layout, turns);
            turns::arguments(&guest.layout, &model, icount.turns)
        }
        None => guest.layout.arguments(),
    }
}

/// Time is the number of instructions, a date that never changes, and what QEMU itself takes for
/// random is not.
fn virtual_time(guest: &Guest) -> Vec<String> {
    let Some(Icount { shift, .. }) = guest.icount else { return Vec::new() };
    let icount = format!("shift={shift},sleep=off");
    let rtc = "base=2020-01-01T00:00:00,clock=vm";
    strings(&["-icount", &icount, "-rtc", rtc, "-seed", "1"])
}

/// On standard input and output: no socket, no path, gone with the process.
fn control(guest: &Guest) -> Vec<String> {
    let mode = format!("chardev=monitor,mode={}", guest.monitor().mode());
    strings(&["-chardev", "stdio,id=monitor,signal=off", "-mon", &mode])
}

/// ttyS0 is the kernel's console, ttyS1 carries frames and nothing else.
fn serial_ports(guest: &Guest) -> Vec<String> {
    // What the guest had written when the snapshot was made is there already.
    let append = if guest.memory.goes_on() { ",append=on" } else { "" };
    let port = |id: &str, path: &PathBuf| {
        let file = format!("file,id={id},path={}{append}", option_value(path));
        [vec!["-chardev".into(), file], vec!["-serial".into(), format!("chardev:{id}")]].concat()
    };
    [port("console", &guest.console), port("frames", &guest.frames)].concat()
}

fn disks(guest: &Guest) -> Vec<String> {
    let device = |id: &str, disk: &DiskFile, serial: &str, slot: u32, more: &str| {
        let file = option_value(&disk.path);
        vec![
            "-drive".into(),
            format!("if=none,id={id},file={file},format={}{more}", disk.format),
            "-device".into(),
            format!("virtio-blk-pci,drive={id},serial={serial},addr={slot:#x}"),
        ]
    };
    let workload = guest.disk.as_ref().map(|d| device("disk", d, serial::DISK, DISK_SLOT, ""));
    let scenario = guest.scenario_disk.as_ref();
    let scenario =
        scenario.map(|d| device("scenario", d, serial::SCENARIO, SCENARIO_SLOT, ",readonly=on"));
    workload.into_iter().chain(scenario).flatten().collect()
}

fn boot(guest: &Guest) -> Vec<String> {
    vec![
        "-kernel".into(),
        guest.kernel.display().to_string(),
        "-initrd".into(),
        guest.initramfs.display().to_string(),
        "-append".into(),
        guest.cmdline.clone(),
    ]
}

/// A path inside a comma-separated option: QEMU reads `,,` as a comma.
fn option_value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::MachineTexts;

    fn layout(topology: &str) -> Layout {
        let texts = MachineTexts {
            topology: Some(topology),
            memory: Some("512M"),
            ..MachineTexts::default()
        };
        texts.parse().unwrap().layout().unwrap()
    }

    fn guest() -> Guest {
        Guest {
            accel: Accel::Tcg,
            icount: None,
            cpu_model: None,
            layout: layout("2c"),
            kernel: "/k/vmlinuz".into(),
            initramfs: "/c/image.cpio".into(),
            cmdline: "console=ttyS0 panic=-1".into(),
            console: "/run/console.log".into(),
            frames: "/run/frames.log".into(),
            log: "/run/qemu.log".into(),
            disk: None,
            scenario_disk: None,
            order: None,
            memory: Memory::Anonymous,
            gdb: None,
            until: None,
        }
    }

    #[test]
    fn the_leaf_of_dies_is_never_the_last() {
        let cpu_of = |topology, model| cpu(Accel::Tcg, model, &layout(topology), None);
        assert_eq!(cpu_of("1s2d1c1t", None), format!("{INTEL_MAX},level=32"));
        assert_eq!(cpu_of("1s2d1c1t", Some("max")), "max");
        assert_eq!(cpu_of("2s1c2t", None), INTEL_MAX);
        let recorded = cpu(Accel::Tcg, None, &layout("1s2d1c1t"), Some(Turns::Whole));
        assert_eq!(recorded, format!("{INTEL_MAX}{NO_ENTROPY}"), "by QEMU 7.2");
    }

    fn shown(guest: &Guest) -> String {
        arguments(guest).join(" ").replace(" -", "\n-")
    }

    #[test]
    fn the_plain_guest() {
        insta::assert_snapshot!(shown(&guest()), @r"
        -no-user-config
        -nodefaults
        -display none
        -machine pc
        -no-reboot
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
        -accel tcg,thread=single
        -cpu max
        -smp cpus=2,sockets=1,dies=1,cores=2,threads=1
        -m 512M
        -chardev stdio,id=monitor,signal=off
        -mon chardev=monitor,mode=control
        -chardev file,id=console,path=/run/console.log
        -serial chardev:console
        -chardev file,id=frames,path=/run/frames.log
        -serial chardev:frames
        -kernel /k/vmlinuz
        -initrd /c/image.cpio
        -append console=ttyS0 panic=-1
        ");
    }

    #[test]
    fn the_workloads_disk_comes_first_whatever_else_is_attached() {
        let file = |path: &str| Some(DiskFile { path: path.into(), format: "raw" });
        let guest = Guest { disk: file("/r/disk.img"), scenario_disk: file("/r/s.img"), ..guest() };
        insta::assert_snapshot!(disks(&guest).join("\n"), @r"
        -drive
        if=none,id=disk,file=/r/disk.img,format=raw
        -device
        virtio-blk-pci,drive=disk,serial=schedlab-disk,addr=0x8
        -drive
        if=none,id=scenario,file=/r/s.img,format=raw,readonly=on
        -device
        virtio-blk-pci,drive=scenario,serial=schedlab-config,addr=0x9
        ");
    }

    #[test]
    fn kvm_takes_the_hosts_cpu() {
        let text = shown(&Guest { accel: Accel::Kvm, ..guest() });
        assert!(text.contains("-accel kvm\n-cpu host"), "{text}");
        let named = Guest { cpu_model: Some("Haswell".into()), ..guest() };
        assert!(shown(&named).contains("-cpu Haswell"));
    }

    #[test]
    fn a_deterministic_guest_has_its_own_time_and_no_entropy() {
        let guest = Guest { icount: Some(Icount { shift: 3, turns: Turns::Whole }), ..guest() };
        let text = shown(&guest);
        assert!(text.contains("-accel tcg,thread=single,tb-size=512\n"), "{text}");
        assert!(text.contains("-icount shift=3,sleep=off\n-rtc base=2020-01-01"), "{text}");
        assert!(text.contains("-cpu max,-rdrand,-rdseed\n"), "{text}");
        assert!(text.contains("-mon chardev=monitor,mode=readline\n"), "{text}");
        let named = shown(&Guest { cpu_model: Some("EPYC".into()), ..guest });
        assert!(named.contains("-cpu EPYC,-rdrand,-rdseed\n"), "{named}");
    }

    #[test]
    fn siblings_need_an_intel_cpu_unless_another_is_named() {
        let guest = Guest { layout: layout("2t"), ..guest() };
        assert!(shown(&guest).contains("-cpu max,vendor=GenuineIntel,"));
        let named = Guest { cpu_model: Some("EPYC".into()), ..guest };
        assert!(shown(&named).contains("-cpu EPYC\n"));
    }

    #[test]
    fn a_debugger_is_waited_for_on_this_machine_alone() {
        let gdb = |is_awaited| Some(Gdb { port: 1234, is_awaited, is_at_boot: true });
        let text = shown(&Guest { gdb: gdb(false), ..guest() });
        assert!(text.contains("\n-gdb tcp:127.0.0.1:1234\n") && !text.contains("\n-S"), "{text}");
        let text = shown(&Guest { gdb: gdb(true), ..guest() });
        assert!(text.contains("\n-S\n-gdb tcp:127.0.0.1:1234\n"), "{text}");
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        let text = shown(&Guest { console: "/a,b/console.log".into(), ..guest() });
        assert!(text.contains("path=/a,,b/console.log"), "{text}");
    }

    #[test]
    fn a_snapshot_is_memory_in_files_that_the_guest_does_not_write() {
        let files =
            |names: &[&str]| names.iter().map(|name| format!("/s,t/{name}").into()).collect();
        let order = Some("/r/order".into());
        let guest = Guest { order, memory: Memory::Private(files(&["memory"])), ..guest() };
        let text = shown(&guest);
        for words in [
            "-machine pc,memory-backend=memory\n",
            "-object memory-backend-file,id=memory,size=512M,mem-path=/s,,t/memory,share=off\n",
            "-chardev file,id=frames,path=/run/frames.log,append=on\n",
            "-device pvpanic,events=0\n-action panic=pause\n-fw_cfg name=opt/org.schedlab/order,file=/r/order\n",
            "-incoming defer\n",
        ] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        let numa = Layout::new("2s1c".parse().unwrap(), &"2".parse().unwrap(), Some(512)).unwrap();
        let memory = files(&["node0", "node1"]);
        let on_nodes = Guest { layout: numa, memory: Memory::Private(memory), ..guest };
        let nodes = shown(&on_nodes);
        assert!(nodes.contains("-machine pc\n"), "{nodes}");
        for node in ["node0", "node1"] {
            let file = format!("file,id={node},size=256M,mem-path=/s,,t/{node},share=off\n");
            assert!(nodes.contains(&file), "no {file} in {nodes}");
        }
        let memory = Memory::Shared(files(&["node0", "node1"]));
        let saved = shown(&Guest { memory, ..on_nodes });
        assert!(saved.contains("id=node1,size=256M,mem-path=/s,,t/node1,share=on\n"), "{saved}");
        assert!(!saved.contains("append=on") && !saved.contains("-incoming"), "{saved}");
    }
}
