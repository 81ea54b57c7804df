// SPDX-License-Identifier: MIT OR Apache-2.0
// Loops of one part, which waits for the clock, a child or a file.
#define _GNU_SOURCE
#include "loops.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// Sleeps for so many us: Bursty, IdleChurn, PreemptStorm, Sequence.
void sleeps(long rounds, int part)
{
	long pause_us = atol(argument);

	(void)part;
	while (rounds--)
		sleep_ns(pause_us * 1000);
}

static void reap(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child || status)
		fail("fork");
}

// A child that ends at once: ForkExit.
void fork_exit(long rounds, int part)
{
	(void)part;
	while (rounds--) {
		pid_t child = fork();
		if (!child)
			_exit(0);
		reap(child);
	}
}

// A child that executes a tiny program, which ends at once: ForkExec. The argument is its file.
void fork_exec(long rounds, int part)
{
	int program = open(argument, O_RDONLY | O_CLOEXEC);
	char *arguments[] = { "nothing", NULL };

	(void)part;
	while (rounds--) {
		pid_t child = fork();
		if (!child) {
			execveat(program, "", arguments, environ, AT_EMPTY_PATH);
			_exit(1);
		}
		reap(child);
	}
}

// As many blocks as the library writes in turn, and as a disk of 64 MiB has.
enum { BLOCK = 4096, SECTOR = 512, WRITTEN = 256, BLOCKS = 16383 };

static char block[BLOCK] __attribute__((aligned(BLOCK)));

static int disk(int flags)
{
	int file = open(argument, O_RDWR | O_CLOEXEC | flags);

	if (file < 0)
		fail("open");
	return file;
}

static void write_at(int file, long at)
{
	if (pwrite(file, block, BLOCK, at) != BLOCK)
		fail("pwrite");
}

static void read_somewhere(int file)
{
	static unsigned long state = 1;

	state = state * 6364136223846793005 + 1442695040888963407;
	if (pread(file, block, BLOCK, (long)((state >> 33) % (BLOCKS * BLOCK / SECTOR)) * SECTOR) != BLOCK)
		fail("pread");
}

static void flush(int file)
{
	if (fdatasync(file))
		fail("fdatasync");
}

// 16 blocks of 4 KiB to a disk opened O_SYNC, then fdatasync: IoSyncWrite.
void write_sync(long rounds, int part)
{
	int file = disk(O_SYNC);

	(void)part;
	while (rounds--) {
		for (int at = 0; at < 16; at++)
			write_at(file, at * BLOCK);
		flush(file);
	}
}

// A block at a random sector, past the page cache: IoRandRead.
void read_direct(long rounds, int part)
{
	int file = disk(O_DIRECT);

	(void)part;
	while (rounds--)
		read_somewhere(file);
}

// A block in sequence, one at random, and now and then fdatasync: IoConvoy.
void convoy(long rounds, int part)
{
	int file = disk(O_DIRECT);

	(void)part;
	for (long round = 1; round <= rounds; round++) {
		write_at(file, round % WRITTEN * BLOCK);
		read_somewhere(file);
		if (round % 16 == 0)
			flush(file);
	}
}
