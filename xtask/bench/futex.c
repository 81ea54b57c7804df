// SPDX-License-Identifier: MIT OR Apache-2.0
// The bare loop beside FutexPingPong: two processes wake each other, each asleep on a word of its
// own, after so many PAUSEs. `cargo xtask bench work-types` compiles it, runs `futex ROUNDS [PAUSES]`
// and reads the JSON line, which also has how often a part slept.
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct line {
	_Alignas(64) atomic_uint word;
};

static long pauses;

static void give(struct line *line)
{
	for (long step = 0; step < pauses; step++)
		__builtin_ia32_pause();
	atomic_store_explicit(&line->word, 1, memory_order_release);
	syscall(SYS_futex, &line->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void take(struct line *line)
{
	while (!atomic_load_explicit(&line->word, memory_order_acquire))
		syscall(SYS_futex, &line->word, FUTEX_WAIT, 0, NULL, NULL, 0);
	atomic_store_explicit(&line->word, 0, memory_order_relaxed);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 100000;
	struct rusage mine, partners;
	struct timespec from, to;
	struct line *lines = mmap(NULL, 2 * sizeof(*lines), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (lines == MAP_FAILED)
		return 1;
	pauses = argc > 2 ? atol(argv[2]) : 0;
	clock_gettime(CLOCK_MONOTONIC, &from);
	pid_t partner = fork();
	if (partner < 0)
		return 1;
	for (long round = 0; round < rounds; round++) {
		if (partner) {
			give(&lines[1]);
			take(&lines[0]);
		} else {
			take(&lines[1]);
			give(&lines[0]);
		}
	}
	if (!partner)
		_exit(0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	waitpid(partner, NULL, 0);
	getrusage(RUSAGE_SELF, &mine);
	getrusage(RUSAGE_CHILDREN, &partners);
	printf("{\"iterations\":%ld,\"wall_ns\":%lld,\"sleeps\":%ld}\n", rounds,
	       (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec,
	       mine.ru_nvcsw + partners.ru_nvcsw);
	return 0;
}
