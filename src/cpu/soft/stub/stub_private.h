/* stub_private - what the files of stubs share among themselves. */
#pragma once

#include <asm/ldt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>

#include "cpu/soft/stub/stub.h"
#include "cpu/soft/stub/stub_code.h"

#define STUB_KICK_SIGNAL SIGUSR1
#define STUB_ADDRESS_END 0x7ffffffff000 /* Linux: TASK_SIZE_MAX with four levels */

/* A process that waits in the trampoline (a stub, or the spawner), seen from the VMM. */
struct stub_window {
	uint8_t *control; /* borrowed; the control page and the stack behind it */
	pid_t pid;        /* a child: its number is its own until it is reaped; -1 for none */
	bool is_dead;
	uint32_t park; /* the word it sleeps on while the VMM has the turn */
};

static inline struct stub_control *stub_window_control(const struct stub_window *w)
{
	return (struct stub_control *)(void *)w->control;
}
/* The VMM's view of an offset in the window (not of the code). */
static inline void *stub_window_at(const struct stub_window *w, uint64_t offset)
{
	return w->control + (offset - STUB_CONTROL);
}

/* Gives the sleeping process its turn. */
void stub_window_order(struct stub_window *w);
/* Waits until it sleeps again, and parks it: 0; -EAGAIN when interrupted by a signal to this
 * thread; -ESRCH when it has died, or breaks the rules and was killed. */
MUST_CHECK int stub_window_wait(struct stub_window *w);
void stub_window_kill(struct stub_window *w);
/* Kills it and waits for its end: its number may be another's now. */
void stub_window_reap(struct stub_window *w);

/* Where the kernel puts things in the window, by offset; found out once. */
struct stub_layout {
	uint64_t siginfo, ucontext, fpu;
	size_t xsave_size;
	uint64_t xfeatures;
};

struct stub_pool {
	pthread_mutex_t lock; /* over the spawner and `used` */
	struct stub_window spawner;
	uint8_t *shared; /* owned mapping of all windows' data */
	size_t shared_size;
	uint8_t *segments; /* owned mapping: a page of descriptors for each slot */
	size_t segments_size;
	unsigned stubs_max, memories;
	bool *used;                /* owned; by slot */
	bool trap_tsc, trap_cpuid; /* asked of each new stub */
	bool traps_tsc, traps_cpuid, runs_32bit, has_fsgsbase;
	struct stub_layout layout;
};

struct stub {
	struct stub_pool *pool;
	struct stub_window window;
	unsigned slot;
	uint64_t place; /* of the window, in the stub */
	uint64_t secret;
	int cpu; /* where it is pinned; -1 for nowhere yet */
	/* What the next run has to do first. */
	struct stub_call calls[STUB_CALLS_MAX];
	size_t calls_len;
	/* FS and GS base as the stub has them, where the kernel has to be asked to set them. */
	bool knows_bases;
	uint64_t fs_base, gs_base;
	/* Descriptors of thread-local storage as it has them; whether selectors are 32-bit code's.
	 */
	bool knows_tls, has_selectors;
	uint64_t tls[STUB_TLS];
	/* Atomics, for stub_kick(). */
	uint32_t is_kicked, is_running;
};

/* Descriptors that a stub is to take over, in a page that it can map. */
static inline struct user_desc *stub_segments(const struct stub *stub)
{
	return (struct user_desc *)(void *)(stub->pool->segments + (size_t)stub->slot * STUB_PAGE);
}

/* A new process for the stub, in its slot, without mappings, at one of STUB_PLACES. */
#define STUB_PLACES 2
MUST_CHECK int stub_pool_spawn(struct stub *stub, unsigned place, struct err *err);
uint64_t stub_pool_place(unsigned place);

/* ---- frames ---- */

void stub_frame_resume(struct stub *stub, const struct stub_regs *regs);
/* Takes the event out of the frame at the top: false when there is none. */
MUST_CHECK bool stub_frame_take(struct stub *stub, struct stub_regs *regs, struct stub_event *ret);
void stub_frame_wipe(struct stub *stub);
