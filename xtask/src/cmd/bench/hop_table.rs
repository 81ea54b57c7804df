//! The work types that block or wake, each with nothing to do between two hops and with the bare loop
//! of `xtask/bench/loops` that it is set beside. Data for `hops`.

use super::guest::DISK;

/// What the bookkeeping may cost, in parts of the bare loop.
pub(super) const BOUND: f64 = 0.03;

/// A work type beside a bare loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop {
    /// As the table has it: the type, and those whose hop is the same function.
    pub(super) name: &'static str,
    /// As JSON.
    pub(super) work_type: &'static str,
    pub(super) num_workers: usize,
    /// The loop, its parts, its argument.
    pub(super) theirs: (&'static str, usize, &'static str),
    /// Iterations of a first run; a second one has twice as many.
    pub(super) rounds: u64,
    pub(super) clock: Clock,
    /// Whether [`BOUND`] holds: a loop that makes no system call is no hop.
    pub(super) bounded: bool,
}

/// What counts instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// From the first to the last, where the CPU is never idle.
    Wall,
    /// CPU time, where it is. What the kernel does for the idle task is left out on both sides.
    Cpu,
}

const BUSY: Hop = Hop {
    name: "",
    work_type: "",
    num_workers: 2,
    theirs: ("", 2, "0"),
    rounds: 500,
    clock: Clock::Wall,
    bounded: true,
};
const SLEEPY: Hop = Hop { clock: Clock::Cpu, rounds: 300, ..BUSY };
const ALONE: Hop = Hop { num_workers: 1, ..BUSY };

pub(super) const HOPS: &[Hop] = &[
    Hop {
        name: "PipeIo, CachePipe",
        work_type: r#"{"PipeIo":{"burst_iters":0}}"#,
        theirs: ("pipe_ring", 2, "0"),
        ..BUSY
    },
    Hop {
        name: "FutexPingPong",
        work_type: r#"{"FutexPingPong":{"spin_iters":0}}"#,
        theirs: ("futex_ring", 2, "0"),
        ..BUSY
    },
    Hop {
        name: "WakeChain, Pipe",
        work_type: r#"{"WakeChain":{"wake":"Pipe","work_per_hop":"0s"}}"#,
        num_workers: 4,
        theirs: ("pipe_ring", 4, "0"),
        ..BUSY
    },
    Hop {
        name: "WakeChain, Futex",
        work_type: r#"{"WakeChain":{"wake":"Futex","work_per_hop":"0s"}}"#,
        num_workers: 4,
        theirs: ("futex_ring", 4, "0"),
        ..BUSY
    },
    Hop {
        name: "FutexFanOut",
        work_type: r#"{"FutexFanOut":{"spin_iters":0}}"#,
        num_workers: 5,
        theirs: ("fan", 5, "0"),
        ..BUSY
    },
    Hop {
        name: "FanOutCompute",
        work_type: r#"{"FanOutCompute":{"cache_footprint_kb":0,"operations":0,"sleep_usec":0}}"#,
        num_workers: 5,
        theirs: ("fan", 5, "0"),
        ..BUSY
    },
    Hop {
        name: "ThunderingHerd",
        work_type: r#"{"ThunderingHerd":{"waiters":4,"inter_batch_ms":1}}"#,
        num_workers: 5,
        theirs: ("fan", 5, "1000"),
        ..SLEEPY
    },
    Hop {
        name: "AsymmetricWaker",
        work_type: r#"{"AsymmetricWaker":{"waker_class":"Rt","wakee_class":"Rt","burst_iters":0}}"#,
        theirs: ("fan", 2, "0"),
        ..BUSY
    },
    Hop {
        name: "ProducerConsumerImbalance",
        work_type: r#"{"ProducerConsumerImbalance":{"producers":1,"produce_rate_hz":1000000000,
            "consume_iters":1,"queue_depth_target":1}}"#,
        theirs: ("queue", 2, "0"),
        ..BUSY
    },
    Hop {
        name: "EpollStorm",
        work_type: r#"{"EpollStorm":{"consumers":1,"events_per_burst":1}}"#,
        theirs: ("events", 2, "0"),
        ..BUSY
    },
    Hop {
        name: "SignalStorm",
        work_type: r#"{"SignalStorm":{"signals_per_iter":1,"work_iters":0}}"#,
        theirs: ("signals", 2, "0"),
        ..BUSY
    },
    Hop {
        name: "PriorityInversion, Plain",
        work_type: r#"{"PriorityInversion":{"hold_iters":1,"work_iters":1}}"#,
        num_workers: 3,
        theirs: ("inversion", 3, "0"),
        ..SLEEPY
    },
    Hop {
        name: "PriorityInversion, Pi",
        work_type: r#"{"PriorityInversion":{"hold_iters":1,"work_iters":1,"pi_mode":"Pi"}}"#,
        num_workers: 3,
        theirs: ("inversion", 3, "1"),
        ..SLEEPY
    },
    Hop {
        name: "MutexContention, free",
        work_type: r#"{"MutexContention":{"contenders":1,"hold_iters":0,"work_iters":0}}"#,
        theirs: ("mutex", 1, "0"),
        rounds: 10_000,
        bounded: false,
        ..ALONE
    },
    Hop {
        name: "Sequence, Bursty, IdleChurn, PreemptStorm",
        work_type: r#"{"Sequence":{"first":{"Sleep":"100us"},"rest":[]}}"#,
        num_workers: 1,
        theirs: ("sleeps", 1, "100"),
        ..SLEEPY
    },
    Hop {
        name: "ForkExit",
        work_type: r#""ForkExit""#,
        theirs: ("fork_exit", 1, "0"),
        rounds: 50,
        ..ALONE
    },
    Hop {
        name: "ForkExec",
        work_type: r#""ForkExec""#,
        theirs: ("fork_exec", 1, "nothing"),
        rounds: 50,
        ..ALONE
    },
    Hop {
        name: "IoSyncWrite",
        work_type: r#""IoSyncWrite""#,
        num_workers: 1,
        theirs: ("write_sync", 1, DISK),
        rounds: 20,
        ..SLEEPY
    },
    Hop {
        name: "IoRandRead",
        work_type: r#""IoRandRead""#,
        num_workers: 1,
        theirs: ("read_direct", 1, DISK),
        ..SLEEPY
    },
    Hop {
        name: "IoConvoy",
        work_type: r#""IoConvoy""#,
        num_workers: 1,
        theirs: ("convoy", 1, DISK),
        ..SLEEPY
    },
];
