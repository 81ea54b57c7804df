// SPDX-License-Identifier: MIT OR Apache-2.0
// The bare loop beside PipeIo: two processes pass one byte to and fro through two pipes.
// `cargo xtask bench work-types` compiles it, runs `pipe ROUNDS` and reads the JSON line.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 100000;
	int there[2], back[2];
	struct timespec from, to;
	char token = 1;

	if (pipe(there) || pipe(back))
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &from);
	pid_t partner = fork();
	if (partner < 0)
		return 1;
	for (long round = 0; round < rounds; round++) {
		if (partner) {
			if (write(there[1], &token, 1) != 1 || read(back[0], &token, 1) != 1)
				return 1;
		} else {
			if (read(there[0], &token, 1) != 1 || write(back[1], &token, 1) != 1)
				_exit(1);
		}
	}
	if (!partner)
		_exit(0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	waitpid(partner, NULL, 0);
	printf("{\"iterations\":%ld,\"wall_ns\":%lld}\n", rounds,
	       (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
	return 0;
}
