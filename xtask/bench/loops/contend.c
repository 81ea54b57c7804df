// SPDX-License-Identifier: MIT OR Apache-2.0
// Loops whose parts contend for a lock, a queue or events, or interrupt each other.
#define _GNU_SOURCE
#include "loops.h"
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FREE, TAKEN, CONTENDED };

static void lock(atomic_uint *word)
{
	unsigned free = FREE;

	if (!atomic_compare_exchange_strong_explicit(word, &free, TAKEN, memory_order_acquire,
						     memory_order_relaxed))
		while (atomic_exchange_explicit(word, CONTENDED, memory_order_acquire) != FREE)
			futex_wait(word, CONTENDED);
}

static void unlock(atomic_uint *word)
{
	if (atomic_exchange_explicit(word, FREE, memory_order_release) == CONTENDED)
		futex_wake(word, 1);
}

// A futex mutex: MutexContention.
void mutex(long rounds, int part)
{
	(void)part;
	while (rounds--) {
		lock(&lines[0].word);
		unlock(&lines[0].word);
	}
}

static long futex_pi(atomic_uint *word, int op)
{
	return syscall(SYS_futex, word, op, 0, NULL, NULL, 0);
}

static void lock_pi(atomic_uint *word)
{
	unsigned free = 0;

	if (!atomic_compare_exchange_strong(word, &free, (unsigned)gettid()))
		if (futex_pi(word, FUTEX_LOCK_PI))
			fail("futex(FUTEX_LOCK_PI)");
}

static void unlock_pi(atomic_uint *word)
{
	unsigned own = gettid();

	if (!atomic_compare_exchange_strong(word, &own, 0))
		if (futex_pi(word, FUTEX_UNLOCK_PI))
			fail("futex(FUTEX_UNLOCK_PI)");
}

// Part 2 takes a lock and wakes part 0, which wants it, and part 1, then sleeps as long as that
// took: PriorityInversion, with an argument the lock that is inherited to.
void inversion(long rounds, int part)
{
	static const int priorities[] = { 70, 50, 30 };
	atomic_uint *word = &lines[0].word, *round = &lines[1].word;
	void (*take)(atomic_uint *) = atoi(argument) ? lock_pi : lock;
	void (*let_go)(atomic_uint *) = atoi(argument) ? unlock_pi : unlock;

	fifo(priorities[part % 3]);
	for (unsigned seen = 0; seen < rounds; seen++) {
		if (part == 2) {
			long long from_ns = now_ns();
			take(word);
			atomic_fetch_add(round, 1);
			futex_wake(round, INT_MAX);
			let_go(word);
			sleep_ns(now_ns() - from_ns);
		} else {
			while (atomic_load(round) == seen)
				futex_wait(round, seen);
			if (part == 0) {
				take(word);
				let_go(word);
			}
		}
	}
}

// Lines of the queue: how many were ever put in and taken out, where each part sleeps, the slots.
enum { PUT, OUT, BEDS, SLOTS = BEDS + 2 };
enum { AWAKE, PARKED, CHOSEN };

static unsigned long depth;

static struct line *slot(unsigned long at)
{
	return &lines[SLOTS + at % depth];
}

// What the word of a slot is when it may be filled; one more, and it may be emptied.
static unsigned turn(unsigned long at)
{
	return (unsigned)(at / depth * 2);
}

static int is_ready(int end, unsigned ready)
{
	unsigned long at = atomic_load(&lines[end].value);

	return atomic_load(&slot(at)->word) == turn(at) + ready;
}

// Claims the next place of an end, for one of many that may want it.
static struct line *claim(int end, unsigned ready, unsigned long *at)
{
	atomic_ulong *count = &lines[end].value;

	for (;;) {
		*at = atomic_load(count);
		if (atomic_load_explicit(&slot(*at)->word, memory_order_acquire) == turn(*at) + ready) {
			if (atomic_compare_exchange_strong(count, at, *at + 1))
				return slot(*at);
		} else if (atomic_load(count) == *at) {
			return NULL;
		}
	}
}

static int put(void)
{
	unsigned long at;
	struct line *free = claim(PUT, 0, &at);

	if (!free)
		return 0;
	atomic_store_explicit(&free->value, at + 1, memory_order_relaxed);
	atomic_store_explicit(&free->word, turn(at) + 1, memory_order_release);
	return 1;
}

static int take_out(void)
{
	unsigned long at;
	struct line *full = claim(OUT, 1, &at);

	if (!full)
		return 0;
	if (atomic_exchange_explicit(&full->value, 0, memory_order_relaxed) != at + 1)
		fail("queue");
	atomic_store_explicit(&full->word, turn(at) + 2, memory_order_release);
	return 1;
}

// Sleeps until a partner chooses this part, unless the end is ready by now.
static void park(int part, int end, unsigned ready)
{
	atomic_uint *bed = &lines[BEDS + part].word;
	unsigned state = PARKED;

	atomic_store(bed, PARKED);
	atomic_thread_fence(memory_order_seq_cst);
	if (is_ready(end, ready) && atomic_compare_exchange_strong(bed, &state, AWAKE))
		return;
	while ((state = atomic_load_explicit(bed, memory_order_acquire)) != AWAKE)
		futex_wait(bed, state);
}

static void wake_sleeper(int part)
{
	atomic_uint *bed = &lines[BEDS + part].word;
	unsigned parked = PARKED;

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(bed, memory_order_relaxed) == PARKED &&
	    atomic_compare_exchange_strong(bed, &parked, CHOSEN)) {
		atomic_store_explicit(bed, AWAKE, memory_order_release);
		futex_wake(bed, 1);
	}
}

// Part 0 puts, part 1 takes, through a bounded queue for many of both:
// ProducerConsumerImbalance. The argument is how many more there is room for than one.
void queue(long rounds, int part)
{
	depth = 1 + strtoul(argument, NULL, 10);
	while (rounds--) {
		if (part) {
			while (!take_out())
				park(part, OUT, 1);
			wake_sleeper(0);
			if (is_ready(OUT, 1))
				wake_sleeper(1);
		} else {
			while (!put())
				park(part, PUT, 0);
			wake_sleeper(1);
		}
	}
}

// Part 0 writes to an eventfd while at most one event is unread, part 1 waits for it by epoll:
// EpollStorm.
void events(long rounds, int part)
{
	atomic_uint *unread = &lines[0].word, *waits = &lines[1].word;
	uint64_t one = 1;
	int counter = events_fd, watcher = epoll_fd;
	struct epoll_event event;

	while (rounds--) {
		if (part) {
			if (epoll_wait(watcher, &event, 1, -1) != 1 || read(counter, &one, 8) != 8)
				fail("epoll_wait");
			atomic_fetch_sub(unread, 1);
			if (atomic_exchange(waits, 0))
				futex_wake(waits, 1);
		} else {
			while (atomic_load(unread) > 1) {
				atomic_store(waits, 1);
				if (atomic_load(unread) > 1)
					futex_wait(waits, 1);
			}
			atomic_fetch_add(unread, 1);
			if (write(counter, &one, 8) != 8)
				fail("write");
		}
	}
}

static atomic_uint *received;

static void on_signal(int number)
{
	(void)number;
	atomic_fetch_add(received, 1);
	futex_wake(received, 1);
}

static void await_word(atomic_uint *word, unsigned least)
{
	unsigned value;

	while ((value = atomic_load(word)) < least)
		futex_wait(word, value);
}

// Two parts send each other signals, each after the one before was handled: SignalStorm.
void signals(long rounds, int part)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct line *mine = &lines[part], *other = &lines[1 - part];
	atomic_uint *here = &lines[2 + part].word, *there = &lines[3 - part].word;

	received = &mine->word;
	if (sigaction(SIGUSR1, &action, NULL))
		fail("sigaction");
	mine->value = gettid();
	atomic_store(here, 1);
	futex_wake(here, 1);
	await_word(there, 1);
	for (long sent = 1; sent <= rounds; sent++) {
		syscall(SYS_tkill, (int)other->value, SIGUSR1);
		await_word(&other->word, sent);
	}
	atomic_store(here, 2);
	futex_wake(here, 1);
	await_word(there, 2);
}
