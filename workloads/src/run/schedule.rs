//! The context switches of a run, as two hashes: two runs with the same one took the same
//! decisions. Called by `stage`, if the run is asked for it.

use super::record::ScheduleRecord;
use crate::clock::monotonic_ns;
use crate::list;
use crate::sys::switches::SwitchRing;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};

const RECORD_LOST: u32 = 2;
const RECORD_SWITCH_CPU_WIDE: u32 = 15;
const SWITCH_OUT: u16 = 1 << 13;
/// A ring with less room than this may have refused a record.
const ROOM: usize = 128;
/// All rings together have this part of the memory at most, each this many bytes.
const MEMORY_PART: u64 = 16;
const RING_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=16 << 20;
/// A record that is under way on another CPU is there after this time.
const SETTLED_NS: u64 = 10_000_000;
/// Where the numbers of tasks begin that are no workers.
const OTHERS: u32 = 1 << 31;

/// Records switches of all CPUs from its beginning on.
pub(super) struct Recorder {
    rings: Vec<(usize, SwitchRing)>,
    ring_bytes: usize,
    records: bool,
    sequence: Sequence,
}

impl Recorder {
    /// Opens the rings. This takes tens of milliseconds, so it comes before there are workers, who
    /// would count them as a wait for the CPU.
    pub(super) fn open() -> Result<Self, String> {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
        let online = online.ok().and_then(|text| list::parse(text.trim()).ok());
        let cpus = online.ok_or("the kernel does not say which CPUs are on line")?;
        let bytes = ring_bytes(cpus.len());
        let open = |cpu: usize| Ok((cpu, SwitchRing::open(cpu, bytes)?));
        let rings: Result<Vec<_>, Errno> = cpus.into_iter().map(open).collect();
        let rings = rings.map_err(|errno| format!("perf_event_open failed: {errno}"))?;
        let sequence = Sequence::new(&[], 0);
        Ok(Self { rings, ring_bytes: bytes, records: false, sequence })
    }

    /// Begins. `workers` are the thread ids of those who are there, in the order of their indices.
    pub(super) fn begin(&mut self, workers: &[i32]) {
        self.sequence = Sequence::new(workers, monotonic_ns());
        self.records = true;
        if let Err(why) = self.each(SwitchRing::enable) {
            self.spoil(why);
        }
    }

    /// Readable once when another half of a ring was filled (`perf_poll`; the default of
    /// `wakeup_watermark`). The event of a CPU that is off line would always be.
    pub(super) fn descriptors(&self, off_line: &[usize]) -> Vec<BorrowedFd<'_>> {
        let there = self.rings.iter().filter(|(cpu, _)| !off_line.contains(cpu));
        there.map(|(_, ring)| ring.as_fd()).collect()
    }

    /// Makes room if a ring is a quarter full. Seldom needed, because it takes time from the workers.
    /// A ring tells of every half that is filled, whatever was taken since: one that was left with
    /// less than a quarter then has room until the next time.
    pub(super) fn relieve(&mut self) {
        if self.rings.iter().any(|(_, ring)| ring.waiting() > ring.bytes() / 4) {
            let settled = monotonic_ns().saturating_sub(SETTLED_NS);
            self.take();
            self.sequence.advance(settled);
        }
    }

    /// `cpu` came on line. What it did on its way there and, before, on its way off is not recorded:
    /// `perf_event_exit_cpu` takes the events of a CPU away, `perf_event_init_cpu` gives none back.
    pub(super) fn came_on_line(&mut self, cpu: usize) {
        let opened = self.records.then(|| self.follow(cpu));
        if let Some(Err(errno)) = opened {
            self.spoil(format!(
                "perf_event_open for CPU {cpu}, which came on line, failed: {errno}"
            ));
        }
    }

    fn follow(&mut self, cpu: usize) -> Result<(), Errno> {
        if let Some((_, ring)) = self.rings.iter_mut().find(|(of, _)| *of == cpu) {
            ring.reopen(cpu)?;
            return ring.enable();
        }
        let ring = SwitchRing::open(cpu, self.ring_bytes)?;
        ring.enable()?;
        self.rings.push((cpu, ring));
        Ok(())
    }

    /// Nothing that comes after this is recorded.
    pub(super) fn end(&mut self) {
        self.records = false;
        if let Err(why) = self.each(SwitchRing::disable) {
            self.spoil(why);
        }
    }

    /// There is no hash, because of `why`.
    pub(super) fn spoil(&mut self, why: String) {
        self.sequence.spoiled.get_or_insert(why);
    }

    /// What was recorded.
    pub(super) fn finish(mut self) -> ScheduleRecord {
        self.take();
        self.sequence.advance(u64::MAX);
        self.sequence.record()
    }

    fn take(&mut self) {
        for (cpu, ring) in &mut self.rings {
            // A refused record is said by the next one, and here may be none.
            if ring.bytes() - ring.waiting().min(ring.bytes()) < ROOM {
                self.sequence.lost += 1;
            }
            let mut taken = Vec::new();
            ring.take(&mut taken);
            self.sequence.read(*cpu, &taken);
        }
    }

    fn each(&self, act: fn(&SwitchRing) -> Result<(), Errno>) -> Result<(), String> {
        let all = self.rings.iter().try_for_each(|(_, ring)| act(ring));
        all.map_err(|errno| format!("ioctl(perf event) failed: {errno}"))
    }
}

fn ring_bytes(cpus: usize) -> usize {
    let info = rustix::system::sysinfo();
    let memory = info.totalram * u64::from(info.mem_unit.max(1));
    let each = memory / MEMORY_PART / cpus.max(1) as u64;
    let each = each.clamp(*RING_BYTES.start(), *RING_BYTES.end());
    usize::try_from(1 << each.ilog2()).unwrap_or(0)
}

/// One context switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Switch {
    at_ns: u64,
    cpu: u32,
    previous: i32,
    next: i32,
}

/// Switches of all CPUs in the order of their times, hashed as they are settled.
struct Sequence {
    began_ns: u64,
    tasks: BTreeMap<i32, u32>,
    others: u32,
    pending: Vec<Switch>,
    hashed_until_ns: u64,
    switches: u64,
    lost: u64,
    order: Fnv,
    timed: Fnv,
    spoiled: Option<String>,
}

impl Sequence {
    fn new(workers: &[i32], began_ns: u64) -> Self {
        // Ids differ with whatever was started before; 0 is what runs on an idle CPU.
        let numbered = workers.iter().zip(1..).map(|(tid, number)| (*tid, number));
        Self {
            began_ns,
            tasks: numbered.chain([(0, 0)]).collect(),
            others: OTHERS,
            pending: Vec::new(),
            hashed_until_ns: 0,
            switches: 0,
            lost: 0,
            order: Fnv::default(),
            timed: Fnv::default(),
            spoiled: None,
        }
    }

    /// Adds the records in `bytes`, which are whole.
    fn read(&mut self, cpu: usize, mut bytes: &[u8]) {
        let cpu = u32::try_from(cpu).unwrap_or(u32::MAX);
        while let Some(record) = Record::first(bytes) {
            match (record.kind, record.misc & SWITCH_OUT) {
                (RECORD_LOST, _) => self.lost += record.u64_at(16),
                (RECORD_SWITCH_CPU_WIDE, SWITCH_OUT) => self.pending.push(Switch {
                    at_ns: record.u64_at(24),
                    cpu,
                    previous: record.i32_at(20),
                    next: record.i32_at(12),
                }),
                _ => {}
            }
            bytes = &bytes[record.bytes.len()..];
        }
    }

    /// Hashes what came before `until_ns`.
    fn advance(&mut self, until_ns: u64) {
        self.pending.sort_by_key(|switch| (switch.at_ns, switch.cpu));
        let settled = self.pending.partition_point(|switch| switch.at_ns < until_ns);
        for switch in self.pending.drain(..settled).collect::<Vec<_>>() {
            self.hash(&switch);
        }
    }

    fn hash(&mut self, switch: &Switch) {
        if switch.at_ns < self.hashed_until_ns {
            self.spoiled.get_or_insert_with(|| "a switch was recorded too late".into());
        }
        self.hashed_until_ns = switch.at_ns;
        let (previous, next) = (self.number(switch.previous), self.number(switch.next));
        let words = [switch.cpu, previous, next].map(u32::to_le_bytes);
        self.order.add(words.as_flattened());
        self.timed.add(words.as_flattened());
        self.timed.add(&switch.at_ns.saturating_sub(self.began_ns).to_le_bytes());
        self.switches += 1;
    }

    /// A worker's index from 1 on; others are counted as they appear.
    fn number(&mut self, task: i32) -> u32 {
        *self.tasks.entry(task).or_insert_with(|| {
            self.others += 1;
            self.others
        })
    }

    fn record(self) -> ScheduleRecord {
        let lost = self.lost;
        let why = (lost > 0).then(|| format!("{lost} or more switches did not fit into the rings"));
        let why = self.spoiled.or(why);
        let hash = |hash: &Fnv| why.is_none().then(|| format!("{:016x}", hash.0));
        ScheduleRecord {
            switches: Some(self.switches),
            lost,
            order_hash: hash(&self.order),
            timed_hash: hash(&self.timed),
            unavailable: why,
        }
    }
}

/// `struct perf_event_header` and what follows it.
struct Record<'a> {
    kind: u32,
    misc: u16,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let size = usize::from(word(6)?);
        let kind = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        // A header of no size would be read for ever.
        let bytes = bytes.get(..size).filter(|_| size >= 8)?;
        Some(Self { kind, misc: word(4)?, bytes })
    }

    fn i32_at(&self, at: usize) -> i32 {
        self.field(at).map_or(-1, i32::from_ne_bytes)
    }

    fn u64_at(&self, at: usize) -> u64 {
        self.field(at).map_or(u64::MAX, u64::from_ne_bytes)
    }

    fn field<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at + N)?.try_into().ok()
    }
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo).
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u32, misc: u16, size: u16) -> Vec<u8> {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.extend(misc.to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes
    }

    fn switch(out: bool, previous: i32, next: i32, at_ns: u64) -> Vec<u8> {
        let mut bytes = header(15, if out { SWITCH_OUT } else { 0 }, 32);
        [next, next, previous, previous].iter().for_each(|id| bytes.extend(id.to_ne_bytes()));
        bytes.extend(at_ns.to_ne_bytes());
        bytes
    }

    fn hashes(workers: &[i32], began: u64, cpus: &[Vec<Vec<u8>>]) -> ScheduleRecord {
        let mut sequence = Sequence::new(workers, began);
        cpus.iter().enumerate().for_each(|(cpu, records)| sequence.read(cpu, &records.concat()));
        sequence.advance(u64::MAX);
        sequence.record()
    }

    #[test]
    fn fnv_is_the_published_one() {
        let mut hash = Fnv::default();
        hash.add(b"foobar");
        assert_eq!(hash.0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn ids_and_times_do_not_change_the_order_and_times_change_the_other() {
        let run = |ids: [i32; 2], late: u64| {
            let records =
                vec![switch(true, 0, ids[0], 10), switch(true, ids[0], ids[1], 20 + late)];
            hashes(&ids, 5, &[records])
        };
        let (one, other, late) = (run([40, 41], 0), run([50, 52], 0), run([40, 41], 3));
        assert_eq!((&one.order_hash, &one.timed_hash), (&other.order_hash, &other.timed_hash));
        assert_eq!(one.order_hash, late.order_hash);
        assert_ne!(one.timed_hash, late.timed_hash);
        assert_eq!((one.switches, one.lost, one.unavailable), (Some(2), 0, None));
    }

    #[test]
    fn another_task_another_cpu_and_another_order_are_another_hash() {
        let (a, b) = (switch(true, 0, 40, 10), switch(true, 0, 41, 20));
        let b_first = switch(true, 0, 41, 5);
        let runs = [
            hashes(&[40, 41], 0, &[vec![a.clone()], vec![b.clone()]]),
            hashes(&[40, 41], 0, &[vec![b.clone()], vec![a.clone()]]),
            hashes(&[40, 41], 0, &[vec![a.clone()], vec![b_first]]),
            hashes(&[41, 40], 0, &[vec![a], vec![b]]),
        ];
        let all: std::collections::BTreeSet<_> = runs.iter().map(|run| &run.order_hash).collect();
        assert_eq!(all.len(), runs.len());
    }

    #[test]
    fn a_switch_is_counted_where_it_leaves_and_not_where_it_arrives() {
        let records = vec![switch(true, 0, 40, 10), switch(false, 40, 0, 11)];
        assert_eq!(hashes(&[40], 0, &[records]).switches, Some(1));
    }

    #[test]
    fn a_lost_record_is_a_reason_and_no_hash() {
        let mut lost = header(2, 0, 40);
        [0_u64, 7, 0, 0].iter().for_each(|word| lost.extend(word.to_ne_bytes()));
        let record = hashes(&[], 0, &[vec![switch(true, 0, 1, 1), lost, switch(true, 1, 0, 2)]]);
        assert_eq!((record.lost, record.order_hash, record.timed_hash), (7, None, None));
        assert!(record.unavailable.unwrap().starts_with("7 or more"));
    }

    #[test]
    fn what_comes_after_its_time_was_hashed_spoils_the_hash() {
        let mut sequence = Sequence::new(&[], 0);
        sequence.read(0, &switch(true, 0, 1, 50));
        sequence.advance(60);
        sequence.read(1, &switch(true, 0, 1, 40));
        sequence.advance(u64::MAX);
        assert!(sequence.record().order_hash.is_none());
    }

    #[test]
    fn records_that_are_not_whole_end_the_reading() {
        assert!(Record::first(&header(15, 0, 0)).is_none());
        assert!(Record::first(&switch(true, 0, 1, 1)[..20]).is_none());
    }
}
