/* stub - running one: its queue of mapping calls, its turn, kicks.
 *
 * The queue is the VMM's own memory; each order writes it anew into the shared page, so a run that
 * a kick ended inside the trampoline is simply tried again: doing a call twice changes nothing. */
#include "cpu/soft/stub/stub.h"

#include <asm/prctl.h>
#include <asm/unistd.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cpu/soft/stub/stub_filter.h"
#include "cpu/soft/stub/stub_private.h"

/* The last places are for segments. */
#define QUEUE_MAX (STUB_CALLS_MAX - 2 - (STUB_TLS + 2))
/* Where descriptors are while they are taken over: what a guest has there comes back when it
 * faults. */
#define SEGMENTS_AT 0x10000
/* A flush that kicks interrupt is tried so often. */
#define FLUSH_TRIES 1000

/* How long a stub may take to come back after a kick, however busy the host is. */
#define OBEY_NS 2000000000

#define VECTOR_GP 13
#define VECTOR_PF 14
#define PF_USER_FETCH 0x14u

/* ---- the queue ---- */

static void write_calls(struct stub *stub)
{
	struct stub_control *control = stub_window_control(&stub->window);
	memcpy(control->calls, stub->calls, stub->calls_len * sizeof(stub->calls[0]));
	control->calls_len = stub->calls_len;
	control->result = 0;
}

/* Where the trampoline cannot write FS and GS base itself, behind the queue.  What the kernel would
 * refuse, the guest has not got by itself either. */
static void write_bases(struct stub *stub, const struct stub_regs *regs)
{
	struct stub_control *control = stub_window_control(&stub->window);
	const struct {
		uint64_t code, *known, wanted;
	} bases[] = { { ARCH_SET_FS, &stub->fs_base, regs->fs_base },
		{ ARCH_SET_GS, &stub->gs_base, regs->gs_base } };
	for (size_t i = 0; i < ARRAY_LEN(bases) && !stub->pool->has_fsgsbase && !regs->is_32bit;
		i++) {
		uint64_t base = bases[i].wanted < STUB_ADDRESS_END ? bases[i].wanted : 0;
		if (stub->knows_bases && *bases[i].known == base)
			continue;
		*bases[i].known = base;
		control->calls[control->calls_len++] =
			(struct stub_call){ .number = __NR_arch_prctl,
				.args = { bases[i].code, base, stub->secret } };
	}
}

static struct stub_call unmapping(const struct stub *stub, uint64_t from, uint64_t to)
{
	return (struct stub_call){ .number = __NR_munmap,
		.args = { from, to - from, stub->secret } };
}

static struct user_desc tls_entry(unsigned number, uint64_t raw)
{
	enum { DATA = 0x10, GRANULARITY = 0x800, SIZE_32 = 0x400, PRESENT = 0x80, TYPE = 0x1f };
	const unsigned attributes = (unsigned)(raw >> 40 & 0xff) | (unsigned)(raw >> 44 & 0xf00);
	struct user_desc desc = { .entry_number = STUB_TLS_FIRST / 8 + number };
	/* What the kernel would refuse is none: who loads it faults, and is interpreted. */
	if ((attributes & (PRESENT | SIZE_32)) != (PRESENT | SIZE_32) ||
		(attributes & TYPE & ~0x7u) != DATA)
		return desc;
	desc.base_addr = (unsigned)(raw >> 16 & 0xffffff) | (unsigned)(raw >> 32 & 0xff000000);
	desc.limit = (unsigned)(raw & 0xffff) | (unsigned)(raw >> 32 & 0xf0000);
	desc.seg_32bit = 1;
	desc.contents = attributes >> 2 & 1;
	desc.read_exec_only = (attributes & 2) == 0;
	desc.limit_in_pages = (attributes & GRANULARITY) != 0;
	desc.useable = 1;
	return desc;
}

/* What 32-bit code's selectors stand for, behind the queue.  Only 32-bit programs may ask for it,
 * with addresses that they can reach. */
static void write_tls(struct stub *stub, const struct stub_regs *regs)
{
	struct stub_control *control = stub_window_control(&stub->window);
	struct user_desc *segments = stub_segments(stub);
	if (!regs->is_32bit ||
		(stub->knows_tls && memcmp(stub->tls, regs->tls, sizeof(stub->tls)) == 0))
		return;
	memcpy(stub->tls, regs->tls, sizeof(stub->tls));
	control->calls[control->calls_len++] = (struct stub_call){ .number = __NR_mmap,
		.args = { SEGMENTS_AT, STUB_PAGE, PROT_READ, stub_filter_mmap_flags(stub->secret),
			stub_filter_mmap_fd(stub->secret, stub->pool->memories + 1),
			(uint64_t)stub->slot * STUB_PAGE } };
	for (unsigned i = 0; i < STUB_TLS; i++) {
		segments[i] = tls_entry(i, regs->tls[i]);
		control->calls[control->calls_len++] =
			(struct stub_call){ .number = STUB_FILTER_I386_SET_THREAD_AREA,
				.args = { SEGMENTS_AT + i * sizeof(segments[0]),
					(uint32_t)stub->secret, stub->secret >> 32 },
				.then = STUB_BY_INT80 };
	}
	control->calls[control->calls_len++] =
		unmapping(stub, SEGMENTS_AT, SEGMENTS_AT + STUB_PAGE);
}

/* The call that the trampoline could not make, if there was one: all before it are made, and it
 * alone is dropped.  False when the numbers make no sense. */
static bool drop_failed_call(struct stub *stub, size_t segments_len, struct stub_call *ret_call,
	int *ret_code)
{
	const struct stub_control *control = stub_window_control(&stub->window);
	const int64_t result = control->result;
	const uint64_t left = control->calls_len;
	if (result >= 0 || result < -4095 || left <= segments_len ||
		left > stub->calls_len + segments_len)
		return false;
	const size_t done = stub->calls_len - (left - segments_len);
	*ret_call = stub->calls[done];
	*ret_code = (int)-result;
	stub->calls_len -= done + 1;
	memmove(stub->calls, stub->calls + done + 1, stub->calls_len * sizeof(stub->calls[0]));
	return true;
}

/* After a turn in which not all was made, and the guest has not run: neither what is left of the
 * list nor what a signal in the trampoline has left may be seen by it. */
static void clean(struct stub *stub)
{
	struct stub_control *control = stub_window_control(&stub->window);
	memset(control->calls, 0, sizeof(control->calls));
	stub_frame_wipe(stub);
}

/* Makes the queued calls without running the guest. */
static int flush(struct stub *stub)
{
	const struct stub_control *control = stub_window_control(&stub->window);
	struct stub_call failed;
	int code;
	if (stub->calls_len == 0)
		return 0;
	stub->calls[stub->calls_len - 1].then = stub_code_at(stub->place, stub_code_hand_over);
	for (unsigned i = 0; i < FLUSH_TRIES; i++) {
		write_calls(stub);
		stub_window_order(&stub->window);
		int r;
		do
			r = stub_window_wait(&stub->window);
		while (r == -EAGAIN);
		if (r < 0)
			return r;
		if (control->calls_len == 0) {
			stub->calls_len = 0;
			return 0;
		}
		bool has_failed = drop_failed_call(stub, 0, &failed, &code);
		clean(stub);
		if (has_failed)
			return -code;
	}
	stub_window_kill(&stub->window);
	return -ESRCH;
}

static int queue(struct stub *stub, const struct stub_call *call)
{
	int r = stub->calls_len < QUEUE_MAX ? 0 : flush(stub);
	if (r == 0)
		stub->calls[stub->calls_len++] = *call;
	return r;
}

static bool is_range(uint64_t va, uint64_t len)
{
	return va % STUB_PAGE == 0 && len % STUB_PAGE == 0 && len > 0 && va < STUB_ADDRESS_END &&
	       len <= STUB_ADDRESS_END - va;
}

static bool is_in_window(const struct stub *stub, uint64_t va, uint64_t len)
{
	return va < stub->place + STUB_SIZE && va + len > stub->place;
}

/* Neighbours that are mapped one after the other become one call. */
static bool extend_last(struct stub *stub, const struct stub_call *call)
{
	if (stub->calls_len == 0)
		return false;
	struct stub_call *last = &stub->calls[stub->calls_len - 1];
	if (last->number != __NR_mmap || last->args[0] + last->args[1] != call->args[0] ||
		last->args[5] + last->args[1] != call->args[5] || last->args[2] != call->args[2] ||
		last->args[4] != call->args[4])
		return false;
	last->args[1] += call->args[1];
	return true;
}

/* A guest's page is to be where the window is: the stub begins anew with its window elsewhere. */
static int move(struct stub *stub, uint64_t va, uint64_t len)
{
	uint8_t fpu[STUB_XSAVE_MAX];
	for (unsigned i = 0; i < STUB_PLACES; i++) {
		const uint64_t place = stub_pool_place(i);
		if (va < place + STUB_SIZE && va + len > place)
			continue;
		stub_get_xsave(stub, fpu);
		stub_window_reap(&stub->window);
		stub->calls_len = 0;
		int r = stub_pool_spawn(stub, i, NULL);
		if (r == 0)
			stub_set_xsave(stub, fpu);
		return r;
	}
	return -EFAULT;
}

int stub_map(struct stub *stub, uint64_t va, unsigned memory, uint64_t offset, uint64_t len,
	int prot)
{
	if (!is_range(va, len) || offset % STUB_PAGE != 0 || memory >= stub->pool->memories)
		return -EFAULT;
	if (is_in_window(stub, va, len)) {
		int r = move(stub, va, len);
		if (r < 0)
			return r;
	}
	const struct stub_call call = { .number = __NR_mmap,
		.args = { va, len, (uint64_t)prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
			stub_filter_mmap_flags(stub->secret),
			stub_filter_mmap_fd(stub->secret, memory), offset } };
	return extend_last(stub, &call) ? 0 : queue(stub, &call);
}

int stub_unmap(struct stub *stub, uint64_t va, uint64_t len)
{
	if (!is_range(va, len))
		return -EFAULT;
	/* Never its window, where nothing of the guest's is. */
	const uint64_t end = va + len, window_end = stub->place + STUB_SIZE;
	const bool overlaps = is_in_window(stub, va, len);
	const struct stub_call all = unmapping(stub, va, end),
			       below = unmapping(stub, va, stub->place),
			       above = unmapping(stub, window_end, end);
	int r = 0;
	if (!overlaps)
		return queue(stub, &all);
	if (va < stub->place)
		r = queue(stub, &below);
	if (r == 0 && end > window_end)
		r = queue(stub, &above);
	return r;
}

void stub_unmap_all(struct stub *stub)
{
	stub->calls[0] = unmapping(stub, 0, stub->place);
	stub->calls[1] = unmapping(stub, stub->place + STUB_SIZE, STUB_ADDRESS_END);
	stub->calls_len = 2;
	stub->knows_bases = false;
}

/* ---- running ---- */

static bool is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* Both on one processor, wherever this thread is now: the stub sleeps, so moving it costs little.
 */
static void follow(struct stub *stub)
{
	int cpu = sched_getcpu();
	if (cpu < 0 || cpu == stub->cpu)
		return;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	(void)sched_setaffinity(stub->window.pid, sizeof(set), &set);
	stub->cpu = cpu;
}

static void send_kick(const struct stub *stub)
{
	(void)syscall(SYS_tgkill, stub->window.pid, stub->window.pid, STUB_KICK_SIGNAL);
}

void stub_kick(struct stub *stub)
{
	__atomic_store_n(&stub->is_kicked, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&stub->is_running, __ATOMIC_SEQ_CST) != 0)
		send_kick(stub);
}

static bool take_kick(struct stub *stub)
{
	return __atomic_exchange_n(&stub->is_kicked, 0, __ATOMIC_SEQ_CST) != 0;
}

/* One turn of the stub's: 0 or -ESRCH. */
static int give_turn(struct stub *stub)
{
	uint64_t deadline = 0;
	stub_window_order(&stub->window);
	/* The signal of a kick that came since it was last looked for may have found the stub
	 * asleep, and gone; one that is sent now finds it under way. */
	if (__atomic_load_n(&stub->is_kicked, __ATOMIC_SEQ_CST) != 0)
		send_kick(stub);
	for (;;) {
		int r = stub_window_wait(&stub->window);
		if (r != -EAGAIN)
			return r;
		/* A signal to this thread: whoever sent it wants it to look around. */
		__atomic_store_n(&stub->is_kicked, 1, __ATOMIC_SEQ_CST);
		send_kick(stub);
		uint64_t now = clock_monotonic_ns();
		if (deadline == 0)
			deadline = now + OBEY_NS;
		if (now > deadline) {
			stub_window_kill(&stub->window);
			return -ESRCH;
		}
	}
}

/* An event that happened in the trampoline: the guest was there.  For it nothing is there; and as
 * the registers may hold the secret, the stub ends. */
static void check_place(struct stub *stub, const struct stub_regs *regs, struct stub_event *event)
{
	if (regs->rip - stub->place >= STUB_PAGE)
		return;
	stub_window_kill(&stub->window);
	*event = (struct stub_event){ .kind = STUB_EXCEPTION,
		.vector = VECTOR_PF,
		.error_code = PF_USER_FETCH,
		.address = regs->rip };
}

/* What has come of a turn. */
static struct stub_event look(struct stub *stub, struct stub_regs *regs, size_t segments_len)
{
	const bool was_32bit = regs->is_32bit;
	struct stub_event event;
	struct stub_call failed;
	int code;
	/* The trampoline counts down what it makes, and the guest runs only behind the last. */
	const bool are_made = stub_window_control(&stub->window)->calls_len == 0;
	const bool has_run = stub_frame_take(stub, regs, &event);
	/* 32-bit code's have taken the bases' places. */
	stub->knows_bases = has_run && !was_32bit;
	stub->knows_tls = was_32bit ? has_run : stub->knows_tls;
	/* Else the guest had made its own way into the trampoline's sleep, and come out of it with
	 * a frame of its own making before the calls: it must not see them. */
	if (has_run && !are_made) {
		stub_window_kill(&stub->window);
		return (struct stub_event){ .kind = STUB_LOST };
	}
	if (has_run) {
		stub->calls_len = 0;
		if (event.kind == STUB_KICK)
			(void)take_kick(stub);
		check_place(stub, regs, &event);
		return event;
	}
	/* No frame: the guest has not run. */
	bool has_failed = drop_failed_call(stub, segments_len, &failed, &code);
	clean(stub);
	if (has_failed)
		return (struct stub_event){ .kind = STUB_UNMAPPABLE,
			.error_code = (uint32_t)code,
			.address = failed.args[0] };
	(void)take_kick(stub);
	return (struct stub_event){ .kind = STUB_KICK };
}

static struct stub_event run(struct stub *stub, struct stub_regs *regs)
{
	follow(stub);
	stub_frame_resume(stub, regs);
	write_calls(stub);
	write_bases(stub, regs);
	write_tls(stub, regs);
	size_t segments_len = stub_window_control(&stub->window)->calls_len - stub->calls_len;
	if (give_turn(stub) == 0)
		return look(stub, regs, segments_len);
	return (struct stub_event){ .kind = STUB_LOST };
}

void stub_run(struct stub *stub, struct stub_regs *regs, struct stub_event *ret_event)
{
	__atomic_store_n(&stub->is_running, 1, __ATOMIC_SEQ_CST);
	if (stub->window.is_dead)
		*ret_event = (struct stub_event){ .kind = STUB_DIED };
	else if (take_kick(stub))
		*ret_event = (struct stub_event){ .kind = STUB_KICK };
	else if (regs->is_32bit && !stub->pool->runs_32bit)
		*ret_event = (struct stub_event){ .kind = STUB_UNSUPPORTED };
	else if (!is_canonical(regs->rip))
		*ret_event = (struct stub_event){ .kind = STUB_EXCEPTION, .vector = VECTOR_GP };
	else
		*ret_event = run(stub, regs);
	__atomic_store_n(&stub->is_running, 0, __ATOMIC_SEQ_CST);
}
