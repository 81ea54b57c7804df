// SPDX-License-Identifier: MIT OR Apache-2.0
// How late sleeps end and how long wake-ups take, with nothing but a stamp before and after.
// `cargo xtask bench latency` runs `latency timer|futex|pipe SAMPLES SKIP NEAR` in a deterministic
// guest and reads the JSON line. SCHED_FIFO 80 on CPU 1; the first SKIP samples are the warm-up.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CPU = 1, PRIORITY = 80, PAUSE_NS = 1000000, BURST_NS = 50000 };

// What both sides of a wake-up share.
static struct {
	_Alignas(64) atomic_uint round;
	_Alignas(64) atomic_uint done;
	_Alignas(64) atomic_llong stamp_ns;
	atomic_long count;
	long long samples[];
} *shared;
static long wanted, skipped, near;

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long sleep_until(long long due_ns)
{
	struct timespec due = { .tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000 };

	if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL))
		fail("clock_nanosleep");
	return now_ns();
}

static void record(long long ns)
{
	long at = atomic_fetch_add_explicit(&shared->count, 1, memory_order_relaxed) - skipped;

	if (at >= 0 && at < wanted)
		shared->samples[at] = ns;
}

static int goes_on(void)
{
	return atomic_load_explicit(&shared->count, memory_order_relaxed) < wanted + skipped;
}

static void timer(void)
{
	while (goes_on()) {
		long long due_ns, end_ns = now_ns() + BURST_NS;

		while (now_ns() < end_ns)
			;
		due_ns = now_ns() + PAUSE_NS;
		record(sleep_until(due_ns) - due_ns);
	}
}

static void await(atomic_uint *word, unsigned seen)
{
	while (atomic_load_explicit(word, memory_order_acquire) == seen)
		syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void rouse(atomic_uint *word)
{
	atomic_fetch_add_explicit(word, 1, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_waker(void)
{
	for (unsigned round = 0; goes_on(); round++) {
		sleep_until(now_ns() + PAUSE_NS);
		atomic_store_explicit(&shared->stamp_ns, now_ns(), memory_order_relaxed);
		rouse(&shared->round);
		await(&shared->done, round);
	}
}

static void futex_wakee(void)
{
	for (unsigned round = 0; goes_on(); round++) {
		await(&shared->round, round);
		record(now_ns() - atomic_load_explicit(&shared->stamp_ns, memory_order_relaxed));
		rouse(&shared->done);
	}
}

static void pass(int from, int to, int first)
{
	char token = 1;

	for (; goes_on(); first = 0) {
		if (!first) {
			if (read(from, &token, 1) != 1)
				return;
			record(now_ns() - atomic_load_explicit(&shared->stamp_ns, memory_order_relaxed));
		}
		atomic_store_explicit(&shared->stamp_ns, now_ns(), memory_order_relaxed);
		if (write(to, &token, 1) != 1)
			return;
	}
}

static int by_value(const void *one, const void *other)
{
	long long a = *(const long long *)one, b = *(const long long *)other;

	return (a > b) - (a < b);
}

// The sample of which `per_million` of all are at or below.
static long long at(long per_million)
{
	long rank = (per_million * wanted + 999999) / 1000000;

	return shared->samples[rank > 0 ? rank - 1 : 0];
}

static void run(const char *name)
{
	int there[2], back[2];
	pid_t child;

	if (!strcmp(name, "timer")) {
		timer();
		return;
	}
	if (pipe(there) || pipe(back) || (child = fork()) < 0)
		fail("fork");
	if (!strcmp(name, "futex"))
		child ? futex_waker() : futex_wakee();
	else
		child ? pass(back[0], there[1], 1) : pass(there[0], back[1], 0);
	if (!child)
		_exit(0);
	close(there[1]);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	struct sched_param param = { .sched_priority = PRIORITY };
	cpu_set_t cpus;

	if (argc != 5 || (wanted = atol(argv[2])) < 1 || (skipped = atol(argv[3])) < 0 ||
	    (near = atol(argv[4])) < 0 || near > 1000) {
		fprintf(stderr, "usage: latency timer|futex|pipe SAMPLES SKIP NEAR\n");
		return 2;
	}
	shared = mmap(NULL, sizeof(*shared) + wanted * sizeof(long long), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CPU_ZERO(&cpus);
	CPU_SET(CPU, &cpus);
	if (shared == MAP_FAILED || sched_setaffinity(0, sizeof(cpus), &cpus) ||
	    sched_setscheduler(0, SCHED_FIFO, &param))
		fail("start");
	run(argv[1]);
	qsort(shared->samples, wanted, sizeof(long long), by_value);
	// NEAR: how far the rank of p99.9 may be off, in millionths.
	printf("{\"min\":%lld,\"p50\":%lld,\"p99\":%lld,\"p999\":%lld,\"max\":%lld,"
	       "\"min_high\":%lld,\"p999_low\":%lld,\"p999_high\":%lld}\n",
	       at(0), at(500000), at(990000), at(999000), at(1000000),
	       shared->samples[wanted > 10 ? 10 : wanted - 1], at(999000 - near), at(999000 + near));
	return 0;
}
