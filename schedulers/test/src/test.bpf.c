/*
 * The kernel's half of the test scheduler: one FIFO for all CPUs, and one fault on request. Loaded by
 * bpf.rs, which has the same layout of `config`, `state` and `last_words`.
 *
 * All types of the kernel's are declared here with the members that are used and nothing else; libbpf
 * finds them by name in the kernel's BTF. No header and no Kconfig extern is needed.
 */

typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define KFUNC extern __attribute__((section(".ksyms")))
#define OPS(name) SEC("struct_ops/" name)
#define SLEEPABLE_OPS(name) SEC("struct_ops.s/" name)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* A definition, as a mere declaration is another kind of type to libbpf. */
struct cpumask {
	unsigned long bits[1];
};

struct task_struct {
	u32 flags;
	s32 pid;
	s32 tgid;
	const struct cpumask *cpus_ptr;
	char comm[16];
};

enum scx_exit_kind { SCX_EXIT_NONE = 0 };

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	char *msg;
	char *dump;
};

#pragma clang attribute pop

/* Members go by name, so those that bpf.rs sets before the load can come first. */
struct sched_ext_ops {
	u64 flags;
	u32 timeout_ms;
	char name[128];
	s32 (*select_cpu)(struct task_struct *, s32, u64);
	void (*enqueue)(struct task_struct *, u64);
	void (*dispatch)(s32, struct task_struct *);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *);
};

KFUNC s32 scx_bpf_create_dsq(u64 dsq_id, s32 node);
KFUNC void scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags);
KFUNC _Bool scx_bpf_dsq_move_to_local(u64 dsq_id);
KFUNC s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags, _Bool *is_idle);
KFUNC s32 scx_bpf_pick_idle_cpu(const struct cpumask *cpus_allowed, u64 flags);
KFUNC void scx_bpf_kick_cpu(s32 cpu, u64 flags);
KFUNC u32 scx_bpf_nr_cpu_ids(void);
KFUNC _Bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *cpumask);
KFUNC void scx_bpf_error_bstr(char *fmt, u64 *data, u32 data__sz);
KFUNC void scx_bpf_exit_bstr(s64 exit_code, char *fmt, u64 *data, u32 data__sz);

/* Numbers of helpers are the kernel's stable interface. */
static long (*probe_read_kernel)(void *dst, u32 size, const void *from) = (void *)113;
static long (*probe_read_kernel_str)(void *dst, u32 size, const void *from) = (void *)115;

#define DSQ_LOCAL 0x8000000000000002ULL
#define DSQ_LOCAL_ON 0xc000000000000000ULL
#define KICK_IDLE 1
#define PF_KTHREAD 0x00200000

/* Ours: what runs next, who waits for ever, and one that is never made. */
#define FIFO 0
#define STARVED 1
#define UNKNOWN 0x3039
#define SLICE_NS 5000000
#define EXIT_CODE 42
#define MAX_CPUS 1024

enum fault { NONE, LOSE_TASK, WRONG_CPU, UNKNOWN_DSQ, ERROR, STOP_DISPATCHING, EXIT_BPF };

struct config {
	/* Faults begin after so many enqueues. */
	u64 after;
	/* All zeroes: nobody is starved. */
	u64 starve[2];
	u32 fault;
	/* Whose tasks nothing is done to, so that the scheduler itself can speak. */
	s32 self;
};
volatile const struct config config SEC(".rodata.config");

struct state {
	u64 enqueues;
	u64 direct;
	u64 dispatches;
	u64 kicks;
	u64 starved;
	s64 exit_code;
	/* Set last. */
	u32 exit_kind;
	s32 lost;
};
struct state state SEC(".bss.state");

struct last_words {
	char reason[128];
	char msg[1024];
	char dump[65536];
};
struct last_words last_words SEC(".bss.words");

static char error_text[] SEC(".data.error") = "told to fail after %llu enqueues";
static char exit_text[] SEC(".data.exit") = "told to exit after %llu enqueues";

#define count(counter) __sync_fetch_and_add(&state.counter, 1)

static _Bool is_due(u32 fault)
{
	return config.fault == fault && state.enqueues >= config.after;
}

static _Bool is_starved(struct task_struct *p)
{
	u64 comm[2] = {};

	if (!config.starve[0])
		return 0;
	probe_read_kernel(comm, sizeof(comm), p->comm);
	/* What lies behind the end of the name is zero: the kernel pads it. */
	return comm[0] == config.starve[0] && comm[1] == config.starve[1];
}

/* The first task of user space that comes along once it is due, and from then on that one. */
static _Bool is_lost(struct task_struct *p)
{
	s32 was;

	if (!is_due(LOSE_TASK) || p->flags & PF_KTHREAD || p->tgid == config.self)
		return 0;
	was = __sync_val_compare_and_swap(&state.lost, 0, p->pid);
	return was == 0 || was == p->pid;
}

/* A CPU on which the task may not run; one that does not exist if there is none. -1: not now. */
static s64 wrong_cpu(struct task_struct *p)
{
	u32 cpus = scx_bpf_nr_cpu_ids();

	for (u32 cpu = 0; cpu < MAX_CPUS && cpu < cpus; cpu++)
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			return cpu;
	/* Most tasks may run everywhere: give others the time to come. */
	return cpus == 1 || state.enqueues >= 2 * config.after ? (s64)cpus : -1;
}

/* True if the fault has dealt with the task. */
static _Bool misplace(struct task_struct *p, u64 enq_flags)
{
	u64 args[1] = { config.after };

	if (is_lost(p))
		return 1;
	if (is_due(WRONG_CPU)) {
		s64 cpu = wrong_cpu(p);

		if (cpu < 0)
			return 0;
		scx_bpf_dsq_insert(p, DSQ_LOCAL_ON | (u64)cpu, SLICE_NS, enq_flags);
		return 1;
	}
	if (is_due(UNKNOWN_DSQ)) {
		scx_bpf_dsq_insert(p, UNKNOWN, SLICE_NS, enq_flags);
		return 1;
	}
	if (is_due(ERROR))
		scx_bpf_error_bstr(error_text, args, sizeof(args));
	if (is_due(EXIT_BPF))
		scx_bpf_exit_bstr(EXIT_CODE, exit_text, args, sizeof(args));
	return 0;
}

OPS("select_cpu") s32 test_select_cpu(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	_Bool is_idle = 0;
	s32 cpu = scx_bpf_select_cpu_dfl(p, (s32)ctx[1], ctx[2], &is_idle);

	/* Whom a fault waits for goes through enqueue. */
	if (is_idle && (config.fault == NONE || state.enqueues < config.after) && !is_starved(p)) {
		count(enqueues);
		count(direct);
		scx_bpf_dsq_insert(p, DSQ_LOCAL, SLICE_NS, 0);
	}
	return cpu;
}

OPS("enqueue") void test_enqueue(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	u64 enq_flags = ctx[1];
	s32 cpu;

	count(enqueues);
	if (is_starved(p)) {
		count(starved);
		scx_bpf_dsq_insert(p, STARVED, SLICE_NS, enq_flags);
		return;
	}
	if (misplace(p, enq_flags))
		return;
	scx_bpf_dsq_insert(p, FIFO, SLICE_NS, enq_flags);
	cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	if (cpu >= 0) {
		count(kicks);
		scx_bpf_kick_cpu(cpu, KICK_IDLE);
	}
}

OPS("dispatch") void test_dispatch(u64 *ctx __attribute__((unused)))
{
	if (!is_due(STOP_DISPATCHING) && scx_bpf_dsq_move_to_local(FIFO))
		count(dispatches);
}

SLEEPABLE_OPS("init") s32 test_init(u64 *ctx __attribute__((unused)))
{
	s32 error = scx_bpf_create_dsq(FIFO, -1);

	return error ? error : scx_bpf_create_dsq(STARVED, -1);
}

OPS("exit") void test_exit(u64 *ctx)
{
	struct scx_exit_info *info = (void *)ctx[0];

	probe_read_kernel_str(last_words.reason, sizeof(last_words.reason), info->reason);
	probe_read_kernel_str(last_words.msg, sizeof(last_words.msg), info->msg);
	probe_read_kernel_str(last_words.dump, sizeof(last_words.dump), info->dump);
	state.exit_code = info->exit_code;
	__sync_lock_test_and_set(&state.exit_kind, info->kind);
}

SEC(".struct_ops.link") struct sched_ext_ops ops = {
	.select_cpu = (void *)test_select_cpu,
	.enqueue = (void *)test_enqueue,
	.dispatch = (void *)test_dispatch,
	.init = (void *)test_init,
	.exit = (void *)test_exit,
	.timeout_ms = 5000,
	.name = "schedlab_test",
};

char _license[] SEC("license") = "Dual MIT/GPL";
