/* stub_pool - all stubs of one machine: their shared pages, their number, what the host offers.
 *
 * The data pages of all windows are one memory file, mapped here as a whole before the jail closes:
 * later, making a stub needs no descriptor, and no system call but futex. */
#include <asm/prctl.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cpu/soft/stub/stub_spawn.h"

#define VECTOR_GP 13
#define VECTOR_PF 14

#define HWCAP2_HAS_FSGSBASE 2
#define ARCH_SET_CPUID_FAULTING 0x1012

/* Where the kernel's struct _fpx_sw_bytes is in an FPU's state, and what we take of it. */
#define FPX_MAGIC_AT 464
#define FPX_MAGIC 0x46505853u
#define FPX_FEATURES_AT 472
#define FPX_SIZE_AT 480
/* x87, SSE, AVX, AVX-512: no PKRU, no AMX, which the guest is not offered. */
#define XFEATURES 0xe7u

/* Two places for a window: guests' programs are rarely at either. */
static const uint64_t places[STUB_PLACES] = { 0x6fff80000000, 0x2fff80000000 };

uint64_t stub_pool_place(unsigned place)
{
	return places[place];
}

static uint8_t *control_of(const struct stub_pool *pool, unsigned slot)
{
	return pool->shared + (size_t)slot * (STUB_SIZE - STUB_PAGE);
}

/* ---- stubs ---- */

static int slot_take(struct stub_pool *pool, unsigned *ret_slot)
{
	for (unsigned i = 1; i <= pool->stubs_max; i++)
		if (!pool->used[i]) {
			pool->used[i] = true;
			*ret_slot = i;
			return 0;
		}
	return -ENOSPC;
}

/* Where the kernel has put a frame: known from one, made before any guest code has run. */
static int find_layout(struct stub *stub, struct stub_layout *layout)
{
	const struct stub_control *control = stub_window_control(&stub->window);
	const uint64_t stack = stub->place + STUB_RESUME + STUB_RESUME_SIZE,
		       end = stub->place + STUB_SIZE;
	if (control->siginfo < stack || control->siginfo > end - sizeof(siginfo_t) ||
		control->ucontext < stack || control->ucontext > end - 1024)
		return -EOPNOTSUPP;
	layout->siginfo = control->siginfo - stub->place;
	layout->ucontext = control->ucontext - stub->place;
	const ucontext_t *context = stub_window_at(&stub->window, layout->ucontext);
	uint64_t fpu;
	memcpy(&fpu, &context->uc_mcontext.fpregs, sizeof(fpu));
	const uint8_t *area = stub_window_at(&stub->window, fpu - stub->place);
	uint32_t magic, size;
	memcpy(&magic, area + FPX_MAGIC_AT, sizeof(magic));
	memcpy(&size, area + FPX_SIZE_AT, sizeof(size));
	memcpy(&layout->xfeatures, area + FPX_FEATURES_AT, sizeof(layout->xfeatures));
	if (magic != FPX_MAGIC || size > STUB_XSAVE_MAX || fpu % 64 != 0 || fpu + size > end)
		return -EOPNOTSUPP;
	layout->fpu = fpu - stub->place;
	layout->xsave_size = size;
	layout->xfeatures &= XFEATURES;
	return 0;
}

/* Runs the stub where no guest is; false when no frame has come of it. */
static bool try(struct stub *stub, uint64_t rip, bool is_32bit, struct stub_event *ret_event)
{
	struct stub_control *control = stub_window_control(&stub->window);
	struct stub_regs regs = { .rip = rip,
		.rsp = STUB_PAGE,
		.is_32bit = is_32bit,
		.ds = STUB_DATA,
		.es = STUB_DATA };
	stub_frame_resume(stub, &regs);
	control->calls_len = 0;
	stub_window_order(&stub->window);
	int r;
	do
		r = stub_window_wait(&stub->window);
	while (r == -EAGAIN);
	if (r < 0)
		return false;
	if (stub->pool->layout.xsave_size == 0 && find_layout(stub, &stub->pool->layout) < 0)
		return false;
	control->fpu = stub->place + stub->pool->layout.fpu;
	return stub_frame_take(stub, &regs, ret_event) && ret_event->kind == STUB_EXCEPTION;
}

/* With nothing mapped there, the stub comes back with a frame in place. */
static int make_frame(struct stub *stub, struct err *err)
{
	struct stub_event event;
	if (!try(stub, STUB_PAGE, false, &event))
		return err_set(err, ERR_UNSUPPORTED,
			"processes that run guest code do not work here");
	return 0;
}

int stub_pool_spawn(struct stub *stub, unsigned place, struct err *err)
{
	struct stub_pool *pool = stub->pool;
	stub->place = places[place];
	stub->cpu = -1;
	stub->knows_bases = stub->knows_tls = stub->has_selectors = false;
	stub->window = (struct stub_window){ .control = control_of(pool, stub->slot), .pid = -1 };
	if (getrandom(&stub->secret, sizeof(stub->secret), 0) != sizeof(stub->secret))
		return err_sys(err, errno, "get random bytes");
	(void)pthread_mutex_lock(&pool->lock);
	int r = stub_spawn_clone(pool, stub, err);
	if (r == 0)
		r = make_frame(stub, err);
	(void)pthread_mutex_unlock(&pool->lock);
	return r;
}

int stub_new(struct stub_pool *pool, struct stub **ret_stub, struct err *err)
{
	AUTO(stub) stub = NEW(stub);
	stub->pool = pool;
	stub->window.pid = -1;
	(void)pthread_mutex_lock(&pool->lock);
	int r = slot_take(pool, &stub->slot);
	(void)pthread_mutex_unlock(&pool->lock);
	if (r < 0)
		return err_set(err, ERR_LIMIT, "more than %u stubs", pool->stubs_max);
	r = stub_pool_spawn(stub, 0, err);
	if (r < 0)
		return r;
	*ret_stub = TAKE(stub);
	return 0;
}

void stub_free(struct stub *stub)
{
	if (stub == NULL)
		return;
	stub_window_reap(&stub->window);
	(void)pthread_mutex_lock(&stub->pool->lock);
	stub->pool->used[stub->slot] = false;
	(void)pthread_mutex_unlock(&stub->pool->lock);
	free(stub);
}

/* ---- the pool ---- */

/* The file of windows: the trampoline, then data pages.  Mapped in the VMM but for the first page.
 */
static int share_windows(struct stub_pool *pool, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("stubs", MFD_CLOEXEC);
	uint64_t size = stub_spawn_file_size(pool->stubs_max);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_sys(err, errno, "reserve the pages of stubs");
	int r = fd_pwrite_all(fd, stub_code_start, STUB_PAGE, 0);
	if (r < 0)
		return err_sys(err, -r, "write the trampoline");
	pool->shared_size = size - STUB_PAGE;
	void *shared =
		mmap(NULL, pool->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, STUB_PAGE);
	if (shared == MAP_FAILED)
		return err_sys(err, errno, "map the pages of stubs");
	pool->shared = shared;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The file of descriptors, a page for each slot. */
static int share_segments(struct stub_pool *pool, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("segments", MFD_CLOEXEC);
	pool->segments_size = (size_t)(pool->stubs_max + 1) * STUB_PAGE;
	if (fd < 0 || ftruncate(fd, (off_t)pool->segments_size) < 0)
		return err_sys(err, errno, "reserve the segments of stubs");
	void *segments = mmap(NULL, pool->segments_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (segments == MAP_FAILED)
		return err_sys(err, errno, "map the segments of stubs");
	pool->segments = segments;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* 32-bit code with thread-local storage: the way that programs go, through everything. */
static void try_segments(struct stub *stub)
{
	const uint64_t flat_data = 0xcff3000000ffff;
	struct stub_regs regs = {
		.rip = STUB_PAGE,
		.rsp = STUB_PAGE,
		.is_32bit = true,
		.ds = STUB_DATA,
		.es = STUB_DATA,
		.gs = STUB_TLS_FIRST,
		.tls = { flat_data },
	};
	struct stub_event event;
	stub_run(stub, &regs, &event);
	stub->pool->runs_32bit = event.kind == STUB_EXCEPTION && event.vector == VECTOR_PF &&
				 regs.gs == STUB_TLS_FIRST;
}

/* The first stub shows where the kernel puts frames, and what works: nothing of it is believed. */
static int try_one(struct stub_pool *pool, struct err *err)
{
	AUTO(stub) stub = NULL;
	struct stub_event event;
	int r = stub_new(pool, &stub, err);
	if (r < 0)
		return r;
	pool->traps_cpuid = try(stub, stub_code_at(stub->place, stub_code_cpuid), false, &event) &&
			    event.vector == VECTOR_GP;
	pool->traps_tsc = try(stub, stub_code_at(stub->place, stub_code_rdtsc), false, &event) &&
			  event.vector == VECTOR_GP;
	pool->runs_32bit = try(stub, STUB_PAGE, true, &event) && event.vector == VECTOR_PF;
	if (pool->runs_32bit)
		try_segments(stub);
	return 0;
}

int stub_pool_new(const struct stub_options *options, struct stub_pool **ret_pool, struct err *err)
{
	if (options->memory_fds_len > STUB_MEMORIES_MAX || options->stubs_max == 0)
		return err_set(err, ERR_INVALID, "a pool of %u stubs with %zu memories",
			options->stubs_max, options->memory_fds_len);
	AUTO(stub_pool) pool = NEW(stub_pool);
	(void)pthread_mutex_init(&pool->lock, NULL);
	pool->spawner.pid = -1;
	pool->stubs_max = options->stubs_max;
	pool->memories = (unsigned)options->memory_fds_len;
	pool->used = mem_new(options->stubs_max + 1, sizeof(bool));
	pool->trap_tsc = options->trap_tsc;
	pool->has_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_HAS_FSGSBASE) != 0;
	pool->trap_cpuid = syscall(SYS_arch_prctl, ARCH_SET_CPUID_FAULTING, 1) == 0;
	AUTO_CLOSE int fd = -1, segments_fd = -1;
	int r = share_windows(pool, &fd, err);
	if (r == 0)
		r = share_segments(pool, &segments_fd, err);
	if (r < 0)
		return r;
	pool->spawner.control = control_of(pool, STUB_SPAWNER_SLOT);
	r = stub_spawn_start(pool, options, fd, segments_fd, err);
	if (r == 0)
		r = try_one(pool, err);
	if (r < 0)
		return r;
	*ret_pool = TAKE(pool);
	return 0;
}

void stub_pool_free(struct stub_pool *pool)
{
	if (pool == NULL)
		return;
	stub_window_reap(&pool->spawner);
	if (pool->shared != NULL)
		(void)munmap(pool->shared, pool->shared_size);
	if (pool->segments != NULL)
		(void)munmap(pool->segments, pool->segments_size);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool->used);
	free(pool);
}

size_t stub_pool_xsave_size(const struct stub_pool *pool)
{
	return pool->layout.xsave_size;
}

bool stub_pool_traps_cpuid(const struct stub_pool *pool)
{
	return pool->traps_cpuid;
}

bool stub_pool_traps_tsc(const struct stub_pool *pool)
{
	return pool->traps_tsc;
}

bool stub_pool_runs_32bit(const struct stub_pool *pool)
{
	return pool->runs_32bit;
}
