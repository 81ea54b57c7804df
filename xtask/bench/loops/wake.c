// SPDX-License-Identifier: MIT OR Apache-2.0
// Loops whose parts wake each other in turn.
#define _GNU_SOURCE
#include "loops.h"
#include <stdlib.h>
#include <unistd.h>

static int next(int part)
{
	return (part + 1) % parts;
}

static void write_to(int part)
{
	char token = 1;

	if (write(pipes[part][1], &token, 1) != 1)
		fail("write");
}

static void read_from(int part)
{
	char token;

	if (read(pipes[part][0], &token, 1) != 1)
		fail("read");
}

// One token goes round through pipes: PipeIo, CachePipe, WakeChain.
void pipe_ring(long rounds, int part)
{
	while (rounds--) {
		if (part == 0) {
			write_to(next(part));
			read_from(part);
		} else {
			read_from(part);
			write_to(next(part));
		}
	}
}

static void give(int part)
{
	atomic_store_explicit(&lines[part].word, 1, memory_order_release);
	futex_wake(&lines[part].word, 1);
}

static void take(int part)
{
	while (!atomic_load_explicit(&lines[part].word, memory_order_acquire))
		futex_wait(&lines[part].word, 0);
	atomic_store_explicit(&lines[part].word, 0, memory_order_relaxed);
}

// One token goes round through futexes: FutexPingPong, WakeChain.
void futex_ring(long rounds, int part)
{
	while (rounds--) {
		if (part == 0) {
			give(next(part));
			take(part);
		} else {
			take(part);
			give(next(part));
		}
	}
}

static void lead(void)
{
	atomic_uint *round = &lines[0].word, *done = &lines[1].word;
	unsigned followers = parts - 1, count;

	atomic_store_explicit(done, 0, memory_order_relaxed);
	atomic_fetch_add_explicit(round, 1, memory_order_release);
	futex_wake(round, followers);
	while ((count = atomic_load_explicit(done, memory_order_acquire)) < followers)
		futex_wait(done, count);
}

static void follow(unsigned seen)
{
	atomic_uint *round = &lines[0].word, *done = &lines[1].word;

	while (atomic_load_explicit(round, memory_order_acquire) == seen)
		futex_wait(round, seen);
	if (atomic_fetch_add_explicit(done, 1, memory_order_acq_rel) + 1 == (unsigned)parts - 1)
		futex_wake(done, 1);
}

// Part 0 wakes all others, the last of them wakes it: FutexFanOut, FanOutCompute, ThunderingHerd,
// AsymmetricWaker. With an argument part 0 sleeps so many us before each round.
void fan(long rounds, int part)
{
	long pause_us = atol(argument);

	for (long round = 0; round < rounds; round++) {
		if (part) {
			follow((unsigned)round);
		} else {
			if (pause_us)
				sleep_ns(pause_us * 1000);
			lead();
		}
	}
}
