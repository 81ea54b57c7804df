// SPDX-License-Identifier: MIT OR Apache-2.0
// What the bare loops share: memory of all parts of a loop, its pipes, and futex calls.
#ifndef LOOPS_H
#define LOOPS_H

#include <stdatomic.h>

enum { MAX_PARTS = 16, MAX_LINES = 64 };

struct line {
	_Alignas(64) atomic_uint word;
	atomic_ulong value;
};

// All parts of a loop share these. Part p owns pipe p.
extern struct line *lines;
extern int pipes[MAX_PARTS][2];
// An eventfd in semaphore mode, and an epoll that watches it.
extern int events_fd, epoll_fd;
extern int parts;
extern const char *argument;

// One part of a loop, from its first round to its last.
typedef void part_fn(long rounds, int part);

part_fn pipe_ring, futex_ring, fan, mutex, inversion, queue, events, signals;
part_fn sleeps, fork_exit, fork_exec, write_sync, read_direct, convoy;

void fail(const char *what);
// SCHED_FIFO: equals do not preempt each other, so that two programs are switched alike.
void fifo(int priority);
long long now_ns(void);
void sleep_ns(long long ns);
// Sleeps while `word` is `value`.
void futex_wait(atomic_uint *word, unsigned value);
void futex_wake(atomic_uint *word, int count);

#endif
