// SPDX-License-Identifier: MIT OR Apache-2.0
// Bare loops: the system calls of the work types that block or wake, and no books.
// `cargo xtask bench hops` runs `loops NAME ROUNDS PARTS [ARGUMENT [fair]]` in a deterministic guest
// and reads the JSON line. Each part is a process, under SCHED_FIFO 50 unless it is to be fair.
#define _GNU_SOURCE
#include "loops.h"
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name;
	part_fn *run;
} loops[] = {
	{ "pipe_ring", pipe_ring }, { "futex_ring", futex_ring }, { "fan", fan },
	{ "mutex", mutex }, { "inversion", inversion }, { "queue", queue },
	{ "events", events }, { "signals", signals }, { "sleeps", sleeps },
	{ "fork_exit", fork_exit }, { "fork_exec", fork_exec },
	{ "write_sync", write_sync }, { "read_direct", read_direct }, { "convoy", convoy },
};

struct line *lines;
int pipes[MAX_PARTS][2];
int events_fd, epoll_fd;
int parts;
const char *argument;

void fail(const char *what)
{
	perror(what);
	_exit(1);
}

void futex_wait(atomic_uint *word, unsigned value)
{
	syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void futex_wake(atomic_uint *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

void fifo(int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		fail("sched_setscheduler");
}

long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void sleep_ns(long long ns)
{
	struct timespec time = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	if (clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL))
		fail("clock_nanosleep");
}

static long long cpu_ns(int who)
{
	struct rusage used;

	getrusage(who, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000LL +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000LL;
}

static void make_events(void)
{
	struct epoll_event event = { .events = EPOLLIN };

	events_fd = eventfd(0, EFD_SEMAPHORE);
	epoll_fd = epoll_create1(0);
	if (events_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, events_fd, &event))
		fail("epoll");
}

static part_fn *named(const char *name)
{
	for (size_t at = 0; at < sizeof(loops) / sizeof(loops[0]); at++)
		if (!strcmp(loops[at].name, name))
			return loops[at].run;
	return NULL;
}

int main(int argc, char **argv)
{
	part_fn *run = argc > 3 ? named(argv[1]) : NULL;
	long rounds = argc > 2 ? atol(argv[2]) : 0;
	long long from_ns;

	parts = argc > 3 ? atoi(argv[3]) : 0;
	argument = argc > 4 ? argv[4] : "0";
	if (!run || parts < 1 || parts > MAX_PARTS) {
		fprintf(stderr, "usage: loops NAME ROUNDS PARTS [ARGUMENT [fair]]\n");
		return 2;
	}
	lines = mmap(NULL, MAX_LINES * sizeof(*lines), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lines == MAP_FAILED)
		fail("mmap");
	for (int part = 0; part < parts; part++)
		if (pipe(pipes[part]))
			fail("pipe");
	make_events();
	if (argc < 6)
		fifo(50);
	from_ns = now_ns();
	for (int part = 1; part < parts; part++) {
		pid_t child = fork();
		if (child < 0)
			fail("fork");
		if (!child) {
			run(rounds, part);
			_exit(0);
		}
	}
	run(rounds, 0);
	for (int part = 1; part < parts; part++) {
		int status;
		if (wait(&status) < 0 || status)
			fail("wait");
	}
	from_ns = now_ns() - from_ns;
	printf("{\"iterations\":%ld,\"wall_ns\":%lld,\"cpu_ns\":%lld}\n", rounds, from_ns,
	       cpu_ns(RUSAGE_SELF) + cpu_ns(RUSAGE_CHILDREN));
	return 0;
}
