/* stub_window - handing the turn to a process in the trampoline, and getting it back.
 *
 * The shared word says whose turn it is, and both sleep on it.  But the guest can write it too, so
 * the VMM has its turn only when the kernel has moved the sleeper to a word of the VMM's own
 * memory: then the process is in futex_wait, called from the trampoline's page, and sleeps until
 * the VMM wakes it.  (A signal may wake it as well: then it runs the handler, which sleeps on the
 * shared word again.  That is why an order looks for it in both places.)
 *
 * Both run on one processor: a wake-up across processors costs twenty times as much. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "cpu/soft/stub/stub_private.h"

/* How soon the death of a process that runs is noticed. */
#define LOOK_NS 20000000
/* How long a process that says that it has stopped may take to sleep: it has a dozen instructions
 * left, but may have lost the processor to others. */
#define SLEEP_NS 1000000000

static long futex(const uint32_t *word, int operation, uint32_t value, const void *time_or_count,
	const uint32_t *other, uint32_t expected)
{
	return syscall(SYS_futex, word, operation, value, time_or_count, other, expected);
}

static bool is_dead(const struct stub_window *w)
{
	siginfo_t info = { 0 };
	int r = waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT);
	return r < 0 || info.si_pid != 0;
}

void stub_window_order(struct stub_window *w)
{
	uint32_t *turn = &stub_window_control(w)->turn;
	__atomic_store_n(turn, STUB_TURN_STUB, __ATOMIC_SEQ_CST);
	if (futex(&w->park, FUTEX_WAKE, 1, NULL, NULL, 0) == 0)
		(void)futex(turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static int park(struct stub_window *w)
{
	const uint32_t *turn = &stub_window_control(w)->turn;
	uint64_t deadline = 0;
	for (;;) {
		long moved =
			futex(turn, FUTEX_CMP_REQUEUE, 0, (const void *)1, &w->park, STUB_TURN_VMM);
		if (moved == 1)
			return 0;
		/* The word has changed again: that is not the trampoline. */
		if (moved < 0 || is_dead(w))
			return -ESRCH;
		uint64_t now = clock_monotonic_ns();
		if (deadline == 0)
			deadline = now + SLEEP_NS;
		if (now > deadline)
			return -ESRCH;
		(void)sched_yield();
	}
}

static int wait_for_turn(struct stub_window *w)
{
	const struct timespec look = { .tv_nsec = LOOK_NS };
	const uint32_t *turn = &stub_window_control(w)->turn;
	while (__atomic_load_n(turn, __ATOMIC_SEQ_CST) != STUB_TURN_VMM) {
		if (futex(turn, FUTEX_WAIT, STUB_TURN_STUB, &look, NULL, 0) == 0)
			continue;
		/* Looked at here too: signals may come faster than LOOK_NS. */
		if (errno == EINTR)
			return is_dead(w) ? -ESRCH : -EAGAIN;
		/* EAGAIN: it is the VMM's turn now, or a value that nobody gave it. */
		uint32_t now = __atomic_load_n(turn, __ATOMIC_SEQ_CST);
		if (now != STUB_TURN_VMM && (now != STUB_TURN_STUB || is_dead(w)))
			return -ESRCH;
	}
	return park(w);
}

int stub_window_wait(struct stub_window *w)
{
	int r = w->is_dead ? -ESRCH : wait_for_turn(w);
	if (r == -ESRCH)
		stub_window_kill(w);
	return r;
}

void stub_window_kill(struct stub_window *w)
{
	if (w->pid > 0)
		(void)kill(w->pid, SIGKILL);
	w->is_dead = true;
}

void stub_window_reap(struct stub_window *w)
{
	stub_window_kill(w);
	while (w->pid > 0 && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	w->pid = -1;
}
