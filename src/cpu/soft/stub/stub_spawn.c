/* stub_spawn - how processes with nothing but a trampoline come to be.
 *
 * The spawner is forked off the VMM early, closes and unmaps everything and then waits in the
 * trampoline, as a stub does, but without a filter: it never runs guest code.  A list of calls
 * makes it clone; the clone goes on with that list to its own window, and there with its own list:
 * what the spawner still has mapped goes, handlers come, the filter last.  Cloning a process of
 * seven pages is quick, and nothing of the VMM's is in it. */
#include <asm/prctl.h>
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "cpu/soft/stub/stub_filter.h"
#include "cpu/soft/stub/stub_spawn.h"

#define WINDOW_DATA (STUB_SIZE - STUB_PAGE)
#define ARCH_SET_CPUID_FAULTING 0x1012 /* ARCH_SET_CPUID; asm/prctl.h of old kernels lacks it */

#define SA_HAS_RESTORER 0x04000000 /* asm/signal.h; x86-64 delivers no signal without it */

/* struct sigaction of the kernel. */
struct action {
	uint64_t handler, flags, restorer, mask;
};

/* What the calls of a new stub point to, at the bottom of its stack until they are made. */
struct setup {
	struct action action;
	stack_t stack;
	struct sock_fprog filter;
	struct sock_filter program[STUB_FILTER_MAX];
	_Alignas(64) uint8_t fpu[1024]; /* all components as after FNINIT */
};
_Static_assert(sizeof(struct setup) < STUB_RESUME - STUB_STACK, "the setup fits below");

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, STUB_KICK_SIGNAL };

/* ---- lists of calls ---- */

struct list {
	struct stub_call *calls;
	size_t len;
};

static void add(struct list *list, uint64_t then, uint64_t number, uint64_t a, uint64_t b,
	uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	CHECK(list->len < STUB_CALLS_MAX);
	list->calls[list->len++] =
		(struct stub_call){ .number = number, .args = { a, b, c, d, e, f }, .then = then };
}

static uint64_t file_offset(unsigned slot)
{
	return STUB_PAGE + (uint64_t)slot * WINDOW_DATA;
}

/* All that is not the window. */
static void add_unmap_others(struct list *list, uint64_t place)
{
	add(list, STUB_THEN_NEXT, __NR_munmap, 0, place, 0, 0, 0, 0);
	add(list, STUB_THEN_NEXT, __NR_munmap, place + STUB_SIZE,
		STUB_ADDRESS_END - place - STUB_SIZE, 0, 0, 0, 0);
}

/* For the spawner; the clone's result 0 makes the clone go on. */
static size_t list_clone(const struct stub_pool *pool, const struct stub *stub,
	struct stub_call *calls)
{
	struct list list = { .calls = calls };
	add(&list, STUB_THEN_REPORT, __NR_clone, CLONE_PARENT, 0, 0, 0, 0, 0);
	add(&list, STUB_THEN_NEXT, __NR_mmap, stub->place, STUB_PAGE, PROT_READ | PROT_EXEC,
		MAP_SHARED | MAP_FIXED, pool->memories, 0);
	add(&list, stub_code_at(stub->place, stub_code_order), __NR_mmap,
		stub->place + STUB_CONTROL, WINDOW_DATA, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED, pool->memories, file_offset(stub->slot));
	return list.len;
}

/* For the clone, in its own window. */
static size_t list_become(const struct stub_pool *pool, const struct stub *stub,
	struct stub_call *calls)
{
	const uint64_t setup = stub->place + STUB_STACK;
	struct list list = { .calls = calls };
	add(&list, STUB_THEN_NEXT, __NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
	add(&list, STUB_THEN_PARENT, __NR_getppid, 0, 0, 0, 0, 0, 0);
	add_unmap_others(&list, stub->place);
	add(&list, STUB_THEN_NEXT, __NR_close, pool->memories, 0, 0, 0, 0, 0);
	add(&list, STUB_THEN_NEXT, __NR_sigaltstack, setup + offsetof(struct setup, stack), 0, 0, 0,
		0, 0);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		add(&list, STUB_THEN_NEXT, __NR_rt_sigaction, (uint64_t)signals[i],
			setup + offsetof(struct setup, action), 0, sizeof(uint64_t), 0, 0);
	if (pool->trap_tsc)
		add(&list, STUB_THEN_NEXT, __NR_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0, 0);
	if (pool->trap_cpuid)
		add(&list, STUB_THEN_NEXT, __NR_arch_prctl, ARCH_SET_CPUID_FAULTING, 0, 0, 0, 0, 0);
	add(&list, stub_code_at(stub->place, stub_code_hand_over), __NR_seccomp,
		SECCOMP_SET_MODE_FILTER, 0, setup + offsetof(struct setup, filter), 0, 0, 0);
	return list.len;
}

static void write_setup(struct stub *stub)
{
	const uint64_t setup_place = stub->place + STUB_STACK;
	struct setup *setup = stub_window_at(&stub->window, STUB_STACK);
	memset(setup, 0, sizeof(*setup));
	setup->action = (struct action){
		.handler = stub_code_at(stub->place, stub_code_handler),
		.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_HAS_RESTORER,
		.restorer = stub->place, /* never used: the trampoline leaves by iretq */
	};
	setup->stack = (stack_t){ .ss_size = STUB_SIZE - STUB_STACK };
	uint64_t stack = setup_place;
	memcpy(&setup->stack.ss_sp, &stack, sizeof(stack));
	size_t len = stub_filter_build(stub->place, stub->secret, setup->program);
	setup->filter = (struct sock_fprog){ .len = (unsigned short)len };
	uint64_t program = setup_place + offsetof(struct setup, program);
	memcpy(&setup->filter.filter, &program, sizeof(program));
	const uint32_t mxcsr = 0x1f80;
	memcpy(setup->fpu + 24, &mxcsr, sizeof(mxcsr));
}

static int wait_uninterrupted(struct stub_window *w)
{
	int r;
	do
		r = stub_window_wait(w);
	while (r == -EAGAIN);
	return r;
}

int stub_spawn_clone(struct stub_pool *pool, struct stub *stub, struct err *err)
{
	struct stub_control *control = stub_window_control(&stub->window);
	memset(control, 0, WINDOW_DATA);
	control->turn = STUB_TURN_STUB;
	control->parent = (uint64_t)getpid();
	control->calls_len = list_become(pool, stub, control->calls);
	control->fpu = stub->place + STUB_STACK + offsetof(struct setup, fpu);
	write_setup(stub);

	struct stub_control *order = stub_window_control(&pool->spawner);
	order->result = 0;
	order->calls_len = list_clone(pool, stub, order->calls);
	stub_window_order(&pool->spawner);
	int r = wait_uninterrupted(&pool->spawner);
	if (r < 0)
		return err_set(err, ERR_SYSTEM, "the process that makes stubs has died");
	if (order->result <= 0)
		return err_sys(err, (int)-order->result, "clone a stub");
	stub->window.pid = (pid_t)order->result;
	r = wait_uninterrupted(&stub->window);
	if (r < 0 || control->result < 0) {
		int code = r < 0 ? -r : (int)-control->result;
		stub_window_reap(&stub->window);
		return err_sys(err, code, "set up a stub");
	}
	/* The filter's program, with the secret. */
	memset(stub_window_at(&stub->window, STUB_STACK), 0, offsetof(struct setup, fpu));
	return 0;
}

/* ---- the spawner ---- */

/* Descriptors from 0 on are the guest's memory, the windows and the pages of segments, and there
 * are no others. */
static int keep_descriptors(const struct stub_options *options, int windows_fd, int segments_fd)
{
	int fds[STUB_MEMORIES_MAX + 2];
	const int memories = (int)options->memory_fds_len, n = memories + 2;
	memcpy(fds, options->memory_fds, options->memory_fds_len * sizeof(fds[0]));
	fds[memories] = windows_fd;
	fds[memories + 1] = segments_fd;
	for (int i = 0; i < n; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD, STUB_MEMORIES_MAX + 2);
		if (fds[i] < 0)
			return -errno;
	}
	for (int i = 0; i < n; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	if (syscall(SYS_close_range, n, ~0U, 0) < 0)
		return -errno;
	return 0;
}

static int drop_rights(pid_t parent)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { 0 };
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
		prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_capset, &header, none) < 0)
		return -EPERM;
	const struct action standard = { 0 };
	for (int i = 1; i <= 64; i++)
		(void)syscall(SYS_rt_sigaction, i, &standard, NULL, sizeof(uint64_t));
	const uint64_t nothing = 0;
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, sizeof(nothing));
	return 0;
}

/* The kernel kills a thread whose restartable-sequence area is unmapped. */
static int leave_rseq(void)
{
	if (__rseq_size == 0)
		return 0;
	void *area = (uint8_t *)__builtin_thread_pointer() + __rseq_offset;
	return syscall(SYS_rseq, area, sizeof(struct rseq), RSEQ_FLAG_UNREGISTER, RSEQ_SIG) < 0
		       ? -errno
		       : 0;
}

static void map_or_exit(uint64_t at, size_t size, int prot, int fd, uint64_t offset)
{
	void *wanted;
	memcpy(&wanted, &at, sizeof(wanted));
	if (mmap(wanted, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, (off_t)offset) != wanted)
		_exit(1);
}

_Noreturn static void spawner_main(const struct stub_options *options, int windows_fd,
	int segments_fd, pid_t parent)
{
	if (drop_rights(parent) < 0 || keep_descriptors(options, windows_fd, segments_fd) < 0 ||
		leave_rseq() < 0)
		_exit(1);
	const int fd = (int)options->memory_fds_len;
	map_or_exit(STUB_SPAWNER_PLACE, STUB_PAGE, PROT_READ | PROT_EXEC, fd, 0);
	map_or_exit(STUB_SPAWNER_PLACE + STUB_CONTROL, WINDOW_DATA, PROT_READ | PROT_WRITE, fd,
		file_offset(STUB_SPAWNER_SLOT));
	const uint64_t order = stub_code_at(STUB_SPAWNER_PLACE, stub_code_order);
	void (*go)(void);
	memcpy(&go, &order, sizeof(go));
	go();
	_exit(1);
}

int stub_spawn_start(struct stub_pool *pool, const struct stub_options *options, int windows_fd,
	int segments_fd, struct err *err)
{
	struct stub_control *control = stub_window_control(&pool->spawner);
	struct list list = { .calls = control->calls };
	add_unmap_others(&list, STUB_SPAWNER_PLACE);
	list.calls[list.len - 1].then = stub_code_at(STUB_SPAWNER_PLACE, stub_code_hand_over);
	control->calls_len = list.len;
	control->turn = STUB_TURN_STUB;
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "start the process that makes stubs");
	if (pid == 0)
		spawner_main(options, windows_fd, segments_fd, parent);
	pool->spawner.pid = pid;
	if (wait_uninterrupted(&pool->spawner) < 0)
		return err_set(err, ERR_SYSTEM, "the process that makes stubs does not start");
	return 0;
}
