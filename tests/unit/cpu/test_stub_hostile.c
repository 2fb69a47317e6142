/* What a hostile program can do to its stub: nothing that the host or the guest's kernel sees, and
 * the VMM never hangs. */
#include "stub_world.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "base/fd.h"
#include "cpu/soft/stub/stub_filter.h"

#define VECTOR_PF 14

/* Guest memory that is never mapped into the stub: its kernel's. */
#define KERNEL_OFFSET (48 * PAGE)
#define KERNEL_BYTE 0x5a

/* A timer kicks the stub, as the VMM's would: whatever spins comes to an end. */
static struct stub *kicked;

static void on_alarm(int signal)
{
	(void)signal;
	if (kicked != NULL)
		stub_kick(kicked);
}

static void timer_set(unsigned ms)
{
	const struct itimerval timer = { .it_interval = { .tv_usec = (suseconds_t)ms * 1000 },
		.it_value = { .tv_usec = (suseconds_t)ms * 1000 } };
	assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* The stub's mappings are the window, and what is mapped of the guest at CODE and DATA: read from
 * the kernel, which alone knows. */
static void assert_contained(struct stub_world *w)
{
	AUTO_FREE char *path = text_format("/proc/%d/maps", w->stub->window.pid);
	FILE *maps = fopen(path, "re");
	char line[512];
	uint64_t data_bytes = 0;
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long from, to, offset;
		char right[5];
		assert_int_equal(sscanf(line, "%lx-%lx %4s %lx", &from, &to, right, &offset), 4);
		bool is_code = from == w->stub->place && to == from + PAGE && offset == 0 &&
			       strcmp(right, "r-xs") == 0;
		bool is_data = from >= w->stub->place + PAGE && to <= w->stub->place + STUB_SIZE &&
			       strcmp(right, "rw-s") == 0;
		bool is_guest = (from == CODE && to == CODE + PAGE && offset == CODE_OFFSET &&
					strcmp(right, "r-xs") == 0) ||
				(from == DATA && to == DATA + PAGE && offset == DATA_OFFSET &&
					strcmp(right, "rw-s") == 0);
		bool is_vsyscall = from == 0xffffffffff600000;
		if (!is_code && !is_data && !is_guest && !is_vsyscall)
			fail_msg("the stub has mapped %s", line);
		data_bytes += is_data ? to - from : 0;
	}
	/* A dead one has none. */
	if (data_bytes != STUB_SIZE - STUB_PAGE && data_bytes != 0)
		fail_msg("the stub has unmapped its window");
	if (maps != NULL)
		(void)fclose(maps);
	for (unsigned i = 0; i < PAGE; i++)
		assert_int_equal(w->bytes[KERNEL_OFFSET + i], KERNEL_BYTE);
}

/* Like a VMM: a dead stub is replaced. */
static void renew(struct stub_world *w)
{
	kicked = NULL;
	stub_free(w->stub);
	w->stub = NULL;
	assert_int_equal(stub_new(w->pool, &w->stub, NULL), 0);
	kicked = w->stub;
}

/* Runs until something comes of it that the program cannot repeat for ever. */
static struct stub_event run_hostile(struct stub_world *w, struct stub_regs *regs)
{
	struct stub_event e = { 0 };
	for (unsigned i = 0; i < 3 && e.kind == STUB_KICK; i++)
		e = stub_world_run(w->stub, regs);
	assert_contained(w);
	return e;
}

/* The secret must not be where the guest can read it. */
static void assert_no_secret(const struct stub_world *w)
{
	const uint32_t halves[] = { (uint32_t)w->stub->secret, (uint32_t)(w->stub->secret >> 32) };
	const uint8_t *data = w->stub->window.control;
	for (size_t at = 0; at + 4 <= STUB_SIZE - STUB_PAGE; at++)
		for (size_t i = 0; i < ARRAY_LEN(halves); i++)
			if (memcmp(data + at, &halves[i], 4) == 0)
				fail_msg("half of the secret lies at %#zx", at);
}

GUEST(hostile_jump, "jmp *%r15");

static void load(struct stub_world *w, const uint8_t *code, const uint8_t *end)
{
	memset(w->bytes + KERNEL_OFFSET, KERNEL_BYTE, PAGE);
	stub_world_load(w, w->stub, code, end);
}

/* Registers that would map the guest's kernel's page if the code used any of them. */
static struct stub_regs hostile_regs(const struct stub_world *w, uint64_t rip)
{
	return (struct stub_regs){ .rip = CODE,
		.r15 = rip,
		.rax = SYS_mmap,
		.rdi = DATA,
		.rsi = PAGE,
		.rdx = PROT_READ | PROT_WRITE,
		.r10 = MAP_SHARED | MAP_FIXED,
		.r8 = 0,
		.r9 = KERNEL_OFFSET,
		.rbx = DATA,
		.rbp = 1,
		.rsp = DATA + 2048,
		.r12 = w->stub->place,
		.rflags = 0x202 };
}

static void a_jump_to_any_byte_of_the_trampoline_is_contained(void **state)
{
	struct stub_world *w = *state;
	/* Behind the code is int3 only. */
	const unsigned len = (unsigned)(stub_code_rdtsc - stub_code_start) + 16;
	for (unsigned at = 0; at < len; at++) {
		load(w, hostile_jump, hostile_jump_end);
		struct stub_regs regs = hostile_regs(w, w->stub->place + at);
		/* Calls, as the trampoline reads them: at DATA, where rbx points. */
		const struct stub_call call = { .number = SYS_mmap,
			.args = { DATA, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, 0,
				KERNEL_OFFSET } };
		memcpy(w->bytes + DATA_OFFSET, &call, sizeof(call));
		struct stub_event e = run_hostile(w, &regs);
		if (e.kind == STUB_SYSCALL)
			fail_msg("offset %#x: a system call at rip %#jx", at, (uintmax_t)regs.rip);
		if (w->stub->window.is_dead)
			renew(w);
	}
}

static uint64_t syscall_in_trampoline(const struct stub_world *w)
{
	for (unsigned at = 0; at + 1 < PAGE; at++)
		if (stub_code_start[at] == 0x0f && stub_code_start[at + 1] == 0x05)
			return w->stub->place + at;
	return 0;
}

static void no_call_from_the_trampoline_does_harm(void **state)
{
	struct stub_world *w = *state;
	/* And some of the x32 ABI. */
	for (unsigned i = 0; i < 500; i++) {
		const unsigned number = i < 480 ? i : i - 480 + 0x40000000;
		if (w->stub->window.is_dead)
			renew(w);
		load(w, hostile_jump, hostile_jump_end);
		struct stub_regs regs = hostile_regs(w, syscall_in_trampoline(w));
		regs.rax = number;
		if (number == SYS_munmap)
			regs.rdi = w->stub->place + STUB_CONTROL;
		struct stub_event e = run_hostile(w, &regs);
		if (e.kind == STUB_SYSCALL)
			fail_msg("call %u from the trampoline", number);
	}
}

static void mmap_needs_the_whole_secret(void **state)
{
	struct stub_world *w = *state;
	for (unsigned bit = 0; bit < 64; bit += 7) {
		renew(w);
		load(w, hostile_jump, hostile_jump_end);
		const uint64_t guess = w->stub->secret ^ 1ull << bit;
		struct stub_regs regs = hostile_regs(w, syscall_in_trampoline(w));
		regs.r10 = stub_filter_mmap_flags(guess);
		regs.r8 = stub_filter_mmap_fd(guess, 0);
		(void)run_hostile(w, &regs);
	}
}

GUEST(hostile_turn, "movl $1, (%rdi); 1: incq (%rsi); jmp 1b");
GUEST(hostile_turn_value, "movl $77, (%rdi); 1: jmp 1b");

static void a_stub_that_only_says_that_it_has_stopped_dies(void **state)
{
	struct stub_world *w = *state;
	renew(w);
	load(w, hostile_turn, hostile_turn_end);
	const pid_t pid = w->stub->window.pid;
	struct stub_regs regs = { .rip = CODE, .rdi = w->stub->place + STUB_CONTROL, .rsi = DATA };
	struct stub_event e = { .kind = STUB_KICK };
	timer_set(0);
	e = stub_world_run(w->stub, &regs);
	timer_set(2);
	assert_int_equal(e.kind, STUB_LOST);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	renew(w);
	load(w, hostile_turn_value, hostile_turn_value_end);
	regs = (struct stub_regs){ .rip = CODE, .rdi = w->stub->place + STUB_CONTROL };
	e = run_hostile(w, &regs);
	assert_int_equal(e.kind, STUB_LOST);
	renew(w);
}

GUEST(hostile_frame,
	/* rdi: the frame's siginfo, rsi: its registers, from a page of junk at rbx. */
	"mov %rdi, %r8; mov %rsi, %r9; mov $16, %ecx; mov %rbx, %rsi; mov %r8, %rdi; rep movsq;"
	"mov $23, %ecx; lea 128(%rbx), %rsi; mov %r9, %rdi; rep movsq; jmp *%r15");

static void a_forged_frame_says_only_what_ring_3_could_do(void **state)
{
	struct stub_world *w = *state;
	const struct stub_layout *layout = &w->pool->layout;
	for (unsigned seed = 0; seed < 64; seed++) {
		if (w->stub->window.is_dead)
			renew(w);
		load(w, hostile_frame, hostile_frame_end);
		uint64_t junk[64];
		for (size_t i = 0; i < ARRAY_LEN(junk); i++)
			junk[i] = 0x9e3779b97f4a7c15u * (i * 64 + seed + 1);
		const int signals[] = { SIGSYS, SIGSEGV, SIGBUS, SIGILL, SIGUSR1, 77 };
		junk[0] = (uint64_t)signals[seed % ARRAY_LEN(signals)];
		memcpy(w->bytes + DATA_OFFSET, junk, sizeof(junk));
		struct stub_regs regs = { .rip = CODE,
			.rbx = DATA,
			.rdi = w->stub->place + layout->siginfo,
			.rsi = w->stub->place + layout->ucontext +
			       offsetof(ucontext_t, uc_mcontext.gregs),
			.r15 = stub_code_at(w->stub->place, stub_code_hand_over),
			.rflags = 0x202 };
		struct stub_event e = run_hostile(w, &regs);
		assert_int_equal((int64_t)(regs.rip << 16) >> 16, (int64_t)regs.rip);
		assert_int_equal(regs.rflags & ~0x244dd5ull, 0x202);
		if (e.kind == STUB_EXCEPTION)
			assert_true(e.vector < 32);
		/* It obeys again. */
		if (!w->stub->window.is_dead) {
			static const uint8_t call[] = { 0x0f, 0x05 };
			load(w, call, call + sizeof(call));
			regs = (struct stub_regs){ .rip = CODE, .rax = 1234 };
			e = run_hostile(w, &regs);
			/* A kick while the program was in the trampoline has ended it. */
			if (w->stub->window.is_dead)
				continue;
			if (e.kind != STUB_SYSCALL || regs.rax != 1234)
				fail_msg("seed %u: event %d, vector %u, rip %#jx", seed, e.kind,
					e.vector, (uintmax_t)regs.rip);
		}
	}
}

GUEST(hostile_wait,
	/* Sleeps in the trampoline by itself, its signals not in the handler, single-stepping. */
	"movl $1, (%rdi); pushfq; orl $0x100, (%rsp); popfq; jmp *%r15");

static void calls_are_not_made_for_a_guest_that_waits_in_the_trampoline_itself(void **state)
{
	struct stub_world *w = *state;
	load(w, hostile_wait, hostile_wait_end);
	struct stub_regs regs = { .rip = CODE,
		.rsp = DATA + 2048,
		.rdi = w->stub->place + STUB_CONTROL,
		.r15 = stub_code_at(w->stub->place, stub_code_hand_over) };
	for (unsigned i = 0; i < 4 && !w->stub->window.is_dead; i++) {
		(void)run_hostile(w, &regs);
		if (!w->stub->window.is_dead)
			assert_no_secret(w);
	}
	renew(w);
}

GUEST(hostile_trap,
	/* Sleeps in the trampoline itself, so that it single-steps out of it when woken, with a
	 * frame where its stack pointer (r14) puts it, and vectors full of an address of its own.
	 */
	"movl $1, (%rdi); movq %rbx, %xmm0; punpcklqdq %xmm0, %xmm0;"
	".irp n,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15; movdqa %xmm0, %xmm\\n; .endr;"
	"mov %ss, %ecx; push %rcx; push %r14; push $0x302; mov %cs, %ecx; push %rcx; push %r15; "
	"iretq");

static uint64_t wait_in_trampoline(const struct stub_world *w)
{
	unsigned seen = 0;
	for (unsigned at = 0; at + 1 < PAGE; at++)
		if (stub_code_start[at] == 0x0f && stub_code_start[at + 1] == 0x05 && ++seen == 2)
			return w->stub->place + at;
	return 0;
}

static void a_guest_that_steps_out_of_the_trampoline_before_the_calls_does_not_see_them(
	void **state)
{
	struct stub_world *w = *state;
	timer_set(0);
	for (unsigned below = 0; below < 4096; below += 64) {
		renew(w);
		load(w, hostile_trap, hostile_trap_end);
		struct stub_regs regs = { .rip = CODE,
			.rsp = DATA + 2048,
			.rbx = CODE,
			.rdi = w->stub->place + STUB_CONTROL,
			.rdx = STUB_TURN_VMM,
			.rax = SYS_futex,
			.r14 = w->stub->place + STUB_SIZE - below,
			.r15 = wait_in_trampoline(w) };
		(void)run_hostile(w, &regs);
		assert_int_equal(stub_map(w->stub, DATA, 0, DATA_OFFSET, PAGE,
					 PROT_READ | PROT_WRITE),
			0);
		(void)stub_world_run(w->stub, &regs);
		if (!w->stub->window.is_dead)
			assert_no_secret(w);
	}
	renew(w);
	timer_set(2);
}

static void the_secret_is_gone_when_the_guest_runs(void **state)
{
	struct stub_world *w = *state;
	static const uint8_t call[] = { 0x0f, 0x05, 0xeb, 0xfc };
	load(w, call, call + sizeof(call));
	struct stub_regs regs = { .rip = CODE };
	for (unsigned i = 0; i < 500; i++) {
		for (unsigned page = 0; page < 80; page++)
			assert_int_equal(stub_map(w->stub, DATA + 2 * (80 - page) * PAGE, 0, 0,
						 PAGE, PROT_READ),
				0);
		stub_kick(w->stub);
		stub_world_expect(w->stub, &regs, STUB_KICK);
		struct stub_event e;
		do {
			stub_run(w->stub, &regs, &e);
			assert_no_secret(w);
		} while (e.kind == STUB_KICK);
		assert_int_equal(e.kind, STUB_SYSCALL);
	}
	stub_unmap_all(w->stub);
}

GUEST(hostile_stack, "mov %rdi, %rsp; 1: ud2");

static void a_stack_pointer_in_the_window_is_contained(void **state)
{
	struct stub_world *w = *state;
	for (uint64_t at = STUB_PAGE; at < STUB_SIZE; at += 512) {
		if (w->stub->window.is_dead)
			renew(w);
		load(w, hostile_stack, hostile_stack_end);
		struct stub_regs regs = { .rip = CODE, .rdi = w->stub->place + at };
		(void)run_hostile(w, &regs);
	}
}

static void a_page_where_the_trampoline_is_moves_it(void **state)
{
	struct stub_world *w = *state;
	static const uint8_t read[] = { 0x48, 0x8b, 0x07, 0x0f, 0x05 };
	renew(w);
	const uint64_t value = 0xfeedfacecafebeef, place = w->stub->place;
	memcpy(w->bytes + DATA_OFFSET, &value, sizeof(value));
	for (unsigned round = 0; round < 3; round++) {
		const uint64_t at = w->stub->place + STUB_STACK;
		memcpy(w->bytes, read, sizeof(read));
		assert_int_equal(stub_map(w->stub, at, 0, DATA_OFFSET, PAGE, PROT_READ), 0);
		assert_int_equal(stub_map(w->stub, CODE, 0, 0, PAGE, PROT_READ | PROT_EXEC), 0);
		assert_true(w->stub->place != at - STUB_STACK);
		struct stub_regs regs = { .rip = CODE, .rdi = at };
		struct stub_event e = { 0 };
		while (e.kind == STUB_KICK)
			e = stub_world_run(w->stub, &regs);
		assert_int_equal(e.kind, STUB_SYSCALL);
		assert_int_equal(regs.rax, value);
	}
	/* Everything at once has no place for it. */
	assert_int_equal(stub_map(w->stub, PAGE, 0, 0, 0x7fff00000000, PROT_READ), -EFAULT);
	assert_true(w->stub->place != place);
	renew(w);
}

static void a_killed_stub_is_an_event(void **state)
{
	struct stub_world *w = *state;
	static const uint8_t spin[] = { 0xeb, 0xfe };
	load(w, spin, spin + sizeof(spin));
	struct stub_regs regs = { .rip = CODE };
	timer_set(0);
	assert_int_equal(kill(w->stub->window.pid, SIGKILL), 0);
	/* The timer may have left a kick. */
	assert_int_equal(run_hostile(w, &regs).kind, STUB_LOST);
	stub_world_expect(w->stub, &regs, STUB_DIED);
	timer_set(2);
	assert_int_equal(regs.rip, CODE);
	renew(w);
}

/* ---- the end of the VMM ---- */

static void vmm_main(int out)
{
	struct stub_world w;
	stub_world_start(&w, false);
	AUTO(stub) other = NULL;
	assert_int_equal(stub_new(w.pool, &other, NULL), 0);
	const pid_t pids[] = { w.pool->spawner.pid, w.stub->window.pid, other->window.pid };
	static const uint8_t spin[] = { 0xeb, 0xfe };
	stub_world_load(&w, w.stub, spin, spin + sizeof(spin));
	struct stub_regs regs = { .rip = CODE };
	if (fd_write_all(out, pids, sizeof(pids)) < 0)
		_exit(1);
	struct stub_event e;
	stub_run(w.stub, &regs, &e);
	_exit(1);
}

static void nothing_outlives_a_killed_vmm(void **state)
{
	(void)state;
	int ends[2];
	pid_t pids[3];
	timer_set(0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t vmm = fork();
	if (vmm == 0)
		vmm_main(ends[1]);
	assert_int_equal(fd_read_exact(ends[0], pids, sizeof(pids)), 0);
	struct pollfd polls[3];
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		polls[i] = (struct pollfd){ .fd = (int)syscall(SYS_pidfd_open, pids[i], 0),
			.events = POLLIN };
		assert_true(polls[i].fd >= 0);
	}
	assert_int_equal(kill(vmm, SIGKILL), 0);
	assert_int_equal(waitpid(vmm, NULL, 0), vmm);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		int r;
		do
			r = poll(&polls[i], 1, 10000);
		while (r < 0 && errno == EINTR);
		assert_int_equal(r, 1);
		(void)close(polls[i].fd);
	}
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static int start(void **state)
{
	static struct stub_world w;
	const struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	stub_world_start(&w, false);
	*state = &w;
	kicked = w.stub;
	if (sigaction(SIGALRM, &action, NULL) < 0)
		return -1;
	timer_set(2);
	return 0;
}

static int end(void **state)
{
	timer_set(0);
	kicked = NULL;
	stub_world_end(*state);
	return 0;
}

/* Runs those whose names match its argument, where there is one. */
int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jump_to_any_byte_of_the_trampoline_is_contained),
		cmocka_unit_test(no_call_from_the_trampoline_does_harm),
		cmocka_unit_test(mmap_needs_the_whole_secret),
		cmocka_unit_test(a_stub_that_only_says_that_it_has_stopped_dies),
		cmocka_unit_test(a_forged_frame_says_only_what_ring_3_could_do),
		cmocka_unit_test(
			calls_are_not_made_for_a_guest_that_waits_in_the_trampoline_itself),
		cmocka_unit_test(
			a_guest_that_steps_out_of_the_trampoline_before_the_calls_does_not_see_them),
		cmocka_unit_test(the_secret_is_gone_when_the_guest_runs),
		cmocka_unit_test(a_stack_pointer_in_the_window_is_contained),
		cmocka_unit_test(a_page_where_the_trampoline_is_moves_it),
		cmocka_unit_test(a_killed_stub_is_an_event),
		cmocka_unit_test(nothing_outlives_a_killed_vmm),
	};
	return cmocka_run_group_tests(tests, start, end);
}
