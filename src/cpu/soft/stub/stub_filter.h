/* stub_filter - the seccomp filter of one stub. */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#define STUB_FILTER_MAX 128
#define STUB_FILTER_I386_SET_THREAD_AREA 243 /* asm/unistd_32.h */

/* The filter of a stub whose trampoline begins at code, and whose calls carry this secret.
 * Returns how many instructions were written to program (room for STUB_FILTER_MAX). */
size_t stub_filter_build(uint64_t code, uint64_t secret, struct sock_filter *program);

/* What mmap carries, in halves of arguments that the kernel does not look at; the
 * others carry it as a third one, or in two halves. */
uint64_t stub_filter_mmap_flags(uint64_t secret);
uint64_t stub_filter_mmap_fd(uint64_t secret, unsigned fd);
