// SPDX-License-Identifier: MIT OR Apache-2.0
// The bare loop beside ForkExit: fork a child that ends at once, and wait for it.
// `cargo xtask bench work-types` compiles it, runs `fork ROUNDS` and reads the JSON line, which
// also has the size of the address space, and how much of it is private and in memory: what fork
// must copy depends on that.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 10000;
	struct timespec from, to;
	long size = 0, resident = 0, shared = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	if (!statm || fscanf(statm, "%ld %ld %ld", &size, &resident, &shared) != 3)
		return 1;
	fclose(statm);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long round = 0; round < rounds; round++) {
		pid_t child = fork();
		if (child < 0)
			return 1;
		if (!child)
			_exit(0);
		if (waitpid(child, NULL, 0) != child)
			return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("{\"iterations\":%ld,\"wall_ns\":%lld,\"space_pages\":%ld,\"private_pages\":%ld}\n",
	       rounds, (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec,
	       size, resident - shared);
	return 0;
}
