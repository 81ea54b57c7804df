// SPDX-License-Identifier: MIT OR Apache-2.0
// The program that the loop fork_exec executes: it exits.
#include <sys/syscall.h>

void _start(void)
{
	__asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
	__builtin_unreachable();
}
