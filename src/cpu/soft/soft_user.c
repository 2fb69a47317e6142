/* soft_user - see soft_user.h.
 *
 * A stub's mappings are the TLB of one address space.  They are kept for as long as the guest's
 * PCIDs allow: an operating system that uses them (Linux has six on each processor) comes back to a
 * process without a fault.  Stubs are a cache of SPACES of them; the longest unused one goes.
 *
 * A page fault in a stub is first ours: where the guest's page tables allow the access the page is
 * mapped, and some of its neighbours with it, as a processor may fetch entries that nobody asked
 * for.  Only what the tables forbid is the guest's #PF.  A page that is not dirty is mapped without
 * the right to write, so that the first write is seen. */
#include "cpu/soft/soft_user.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/soft/interpreter/soft_syscall.h"
#include "cpu/soft/interpreter/soft_trap.h"
#include "cpu/soft/soft_compat.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/stub/stub.h"

enum { SPACES = 8, AROUND = 16, MAPPED = 1024 };

struct space {
	struct stub *stub; /* owned; NULL: none yet */
	unsigned pcid;
	uint64_t used; /* when: the highest is the latest */
	/* Pages that were mapped lately, and how: address + protection.  A guess that saves work.
	 */
	uint64_t mapped[MAPPED];
};

struct soft_user {
	struct stub_pool *pool; /* owned */
	struct space space[SPACES];
	uint64_t clock;
	/* Where the FPU's state is: in v->xstate, in a stub, or the same in both. */
	struct stub *fpu;
	bool is_xstate_current;
	/* The last page fault that was the guest's: where it goes back to that instruction, the
	 * page is there by now. */
	struct fault {
		bool is_set;
		uint64_t address, rip, cr3;
		enum soft_access access;
	} fault;
	struct stub *_Atomic running; /* for who kicks */
	atomic_uint kickers;          /* that may just be doing it: then no stub is freed */
};

int soft_user_new(struct soft_vcpu *v, struct err *err)
{
	const struct stub_options options = {
		.memory_fds = v->machine->files,
		.memory_fds_len = v->machine->files_len,
		.stubs_max = SPACES,
	};
	AUTO_FREE struct soft_user *user = NEW(soft_user);
	user->is_xstate_current = true;
	int r = stub_pool_new(&options, &user->pool, err);
	if (r == 0)
		v->user = TAKE(user);
	return r;
}

void soft_user_kick(struct soft_user *user)
{
	(void)atomic_fetch_add(&user->kickers, 1);
	struct stub *stub = atomic_load(&user->running);
	if (stub != NULL)
		stub_kick(stub);
	(void)atomic_fetch_sub(&user->kickers, 1);
}

void soft_user_free(struct soft_user *user)
{
	if (user == NULL)
		return;
	for (unsigned i = 0; i < SPACES; i++)
		stub_free(user->space[i].stub);
	stub_pool_free(user->pool);
	free(user);
}

/* ---- the FPU's state ---- */

void soft_user_read_xstate(struct soft_vcpu *v)
{
	if (v->user == NULL || v->user->is_xstate_current)
		return;
	stub_get_xsave(v->user->fpu, v->xstate);
	v->user->is_xstate_current = true;
}

void soft_user_write_xstate(struct soft_vcpu *v)
{
	if (v->user == NULL)
		return;
	soft_user_read_xstate(v);
	v->user->fpu = NULL;
}

static void bring_fpu(struct soft_vcpu *v, struct stub *stub)
{
	if (v->user->fpu != stub) {
		soft_user_read_xstate(v);
		stub_set_xsave(stub, v->xstate);
		v->user->fpu = stub;
	}
	v->user->is_xstate_current = false;
}

/* ---- address spaces ---- */

static unsigned pcid_of(const struct soft_vcpu *v)
{
	return (v->cr4 & CR4_PCIDE) != 0 ? v->cr3 & 0xfff : 0;
}

static void space_drop(struct soft_vcpu *v, struct space *space)
{
	if (space->stub != NULL && v->user->fpu == space->stub) {
		soft_user_read_xstate(v);
		v->user->fpu = NULL;
	}
	/* None runs now: who comes later finds none, who has found one is waited for. */
	while (atomic_load(&v->user->kickers) != 0)
		(void)sched_yield();
	stub_free(TAKE(space->stub));
}

static void space_flush(struct space *space)
{
	stub_unmap_all(space->stub);
	memset(space->mapped, 0, sizeof(space->mapped));
}

static struct space *space_find(struct soft_user *user, unsigned pcid)
{
	for (unsigned i = 0; i < SPACES; i++) {
		if (user->space[i].stub != NULL && user->space[i].pcid == pcid)
			return &user->space[i];
	}
	return NULL;
}

/* A place for another: an empty one, or the longest unused one's. */
static struct space *space_make(struct soft_vcpu *v, unsigned pcid, struct err *err)
{
	struct space *oldest = &v->user->space[0];
	for (unsigned i = 1; i < SPACES && oldest->stub != NULL; i++) {
		struct space *space = &v->user->space[i];
		if (space->stub == NULL || space->used < oldest->used)
			oldest = space;
	}
	if (oldest->stub != NULL)
		space_flush(oldest);
	else if (stub_new(v->user->pool, &oldest->stub, err) < 0)
		return NULL;
	oldest->pcid = pcid;
	return oldest;
}

static uint64_t *mapped_at(struct space *space, uint64_t page)
{
	return &space->mapped[page / SOFT_PAGE % MAPPED];
}

void soft_user_flush(struct soft_vcpu *v, unsigned pcid)
{
	struct space *space = v->user != NULL ? space_find(v->user, pcid) : NULL;
	if (space != NULL)
		space_flush(space);
}

void soft_user_flush_page(struct soft_vcpu *v, unsigned pcid, uint64_t linear)
{
	struct space *space = v->user != NULL ? space_find(v->user, pcid) : NULL;
	uint64_t page = linear & ~(SOFT_PAGE - 1);
	if (space == NULL)
		return;
	*mapped_at(space, page) = 0;
	if (stub_unmap(space->stub, page, SOFT_PAGE) < 0)
		space_flush(space);
}

void soft_user_flush_all(struct soft_vcpu *v)
{
	for (unsigned i = 0; v->user != NULL && i < SPACES; i++) {
		if (v->user->space[i].stub != NULL)
			space_flush(&v->user->space[i]);
	}
}

/* ---- page faults ---- */

static int protection_of(const struct soft_translation *t)
{
	return PROT_READ | (t->can_write ? PROT_WRITE : 0) | (t->can_execute ? PROT_EXEC : 0);
}

/* A run of pages that one mapping makes. */
struct run {
	uint64_t va, offset, len;
	unsigned memory;
	int protection;
};

static int run_map(struct space *space, const struct run *run)
{
	if (run->len == 0)
		return 0;
	for (uint64_t at = 0; at < run->len; at += SOFT_PAGE)
		*mapped_at(space, run->va + at) = (run->va + at) | (unsigned)run->protection;
	return stub_map(space->stub, run->va, run->memory, run->offset, run->len, run->protection);
}

/* Adds a page to a run, or makes the run's mapping and begins another. */
static int run_add(struct space *space, struct run *run, const struct run *page)
{
	if (run->len != 0 && run->memory == page->memory && run->protection == page->protection &&
		run->offset + run->len == page->offset && run->va + run->len == page->va) {
		run->len += page->len;
		return 0;
	}
	int r = run_map(space, run);
	*run = *page;
	return r;
}

static bool page_of(struct soft_vcpu *v, uint64_t va, const struct soft_translation *t,
	struct run *ret_page)
{
	uint64_t gpa = t->gpa & ~(SOFT_PAGE - 1);
	const struct soft_range *range = soft_range_at(v->machine, gpa, SOFT_PAGE);
	if (range == NULL || range->memory == SOFT_NO_MEMORY ||
		gpa - range->gpa >= range->file_size)
		return false;
	*ret_page = (struct run){ .va = va,
		.offset = range->file_offset + (gpa - range->gpa),
		.len = SOFT_PAGE,
		.memory = range->memory,
		.protection = protection_of(t) & ~(range->read_only ? PROT_WRITE : 0) };
	return true;
}

/* The page and what is beside it and not yet mapped.  False: it cannot be in a stub. */
static bool map_around(struct soft_vcpu *v, struct space *space, uint64_t va,
	const struct soft_translation *found)
{
	struct run page, run = { 0 };
	if (!page_of(v, va, found, &page) || run_map(space, &page) < 0)
		return false;
	uint64_t first = va & ~(AROUND * SOFT_PAGE - 1);
	int r = 0;
	for (uint64_t at = first; r == 0 && at < first + AROUND * SOFT_PAGE; at += SOFT_PAGE) {
		struct soft_translation t;
		uint32_t error;
		if (at != va && (*mapped_at(space, at) & ~(SOFT_PAGE - 1)) != at &&
			soft_translate(v, at, ACCESS_READ, VIEW_USER, &t, &error) &&
			page_of(v, at, &t, &page))
			r = run_add(space, &run, &page);
	}
	/* A neighbour that does not fit is left for its own fault. */
	if (r == 0 && run_map(space, &run) < 0)
		*mapped_at(space, run.va) = 0;
	return true;
}

/* ---- events ---- */

static enum soft_user_result deliver(struct soft_vcpu *v, unsigned vector, bool has_error,
	uint32_t error)
{
	v->exception = (struct soft_exception){
		.vector = (int)vector,
		.has_error = has_error,
		.error = error,
	};
	return soft_deliver(v) ? SOFT_USER_DONE : SOFT_USER_SHUTDOWN;
}

static enum soft_user_result page_fault(struct soft_vcpu *v, struct space *space, uint64_t address,
	uint32_t code)
{
	enum { WRITE = 2, FETCH = 16 };
	enum soft_access access = (code & FETCH) != 0   ? ACCESS_EXEC
				  : (code & WRITE) != 0 ? ACCESS_WRITE
							: ACCESS_READ;
	struct soft_translation t;
	uint32_t error;
	/* Beyond the canonical half the host says #GP or gives no address: the interpreter knows.
	 */
	if (!soft_translate(v, address, access, VIEW_USER, &t, &error)) {
		v->cr2 = address;
		v->user->fault = (struct fault){ true, address, v->rip, v->cr3, access };
		return deliver(v, VECTOR_PF, true, error);
	}
	return map_around(v, space, address & ~(SOFT_PAGE - 1), &t) ? SOFT_USER_DONE
								    : SOFT_USER_INTERPRET;
}

/* Maps what the guest's kernel has put where the program had faulted, before it faults once more.
 */
static void map_fault(struct soft_vcpu *v, struct space *space)
{
	const struct fault fault = v->user->fault;
	struct soft_translation t;
	uint32_t error;
	v->user->fault.is_set = false;
	if (fault.is_set && fault.rip == v->rip && fault.cr3 == v->cr3 &&
		soft_translate(v, fault.address, fault.access, VIEW_USER, &t, &error))
		(void)map_around(v, space, fault.address & ~(SOFT_PAGE - 1), &t);
}

static bool has_error_code(unsigned vector)
{
	return vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) ||
	       vector == VECTOR_AC;
}

/* A #GP may be an instruction that only faults here: cpuid, rdtsc; the interpreter runs it and says
 * what it really is. */
static enum soft_user_result exception(struct soft_vcpu *v, struct space *space,
	const struct stub_event *e)
{
	switch (e->vector) {
	case VECTOR_PF: return page_fault(v, space, e->address, e->error_code);
	case VECTOR_GP:
	case VECTOR_SS: return SOFT_USER_INTERPRET;
	case VECTOR_DB: v->dr[6] |= 1u << 14; break; /* single step */
	default: break;
	}
	return deliver(v, e->vector, has_error_code(e->vector), e->error_code);
}

static enum soft_user_result handle(struct soft_vcpu *v, struct space *space,
	const struct stub_event *e)
{
	switch (e->kind) {
	case STUB_KICK: return SOFT_USER_DONE;
	case STUB_SYSCALL: soft_syscall(v, v->rip); return SOFT_USER_DONE;
	case STUB_INT80:
		/* As if at the instruction, whose length the delivery adds. */
		v->rip -= 2;
		v->exception =
			(struct soft_exception){ .vector = 0x80, .is_software = true, .len = 2 };
		return soft_deliver(v) ? SOFT_USER_DONE : SOFT_USER_SHUTDOWN;
	case STUB_EXCEPTION: return exception(v, space, e);
	case STUB_SYSENTER:
		v->gpr[RBP] = v->gpr[RSP];
		soft_sysenter(v);
		return SOFT_USER_DONE;
	case STUB_BUS:
	case STUB_UNSUPPORTED:
	case STUB_UNMAPPABLE: return SOFT_USER_INTERPRET;
	case STUB_DIED: space_drop(v, space); return SOFT_USER_DONE;
	case STUB_LOST:
		/* The program may have written to memory, so it must not do the same again. */
		space_drop(v, space);
		return deliver(v, VECTOR_GP, true, 0);
	}
	return SOFT_USER_SHUTDOWN;
}

/* ---- run ---- */

static void put_registers(const struct soft_vcpu *v, struct stub_regs *ret)
{
	const uint64_t *g = v->gpr;
	*ret = (struct stub_regs){
		.rax = g[RAX],
		.rbx = g[RBX],
		.rcx = g[RCX],
		.rdx = g[RDX],
		.rsi = g[RSI],
		.rdi = g[RDI],
		.rsp = g[RSP],
		.rbp = g[RBP],
		.r8 = g[R8],
		.r9 = g[R9],
		.r10 = g[R10],
		.r11 = g[R11],
		.r12 = g[R12],
		.r13 = g[R13],
		.r14 = g[R14],
		.r15 = g[R15],
		.rip = v->rip,
		.rflags = soft_flags(v),
		.fs_base = v->seg[SEG_FS].base,
		.gs_base = v->seg[SEG_GS].base,
	};
}

static void take_registers(struct soft_vcpu *v, const struct stub_regs *regs)
{
	const uint64_t values[16] = {
		[RAX] = regs->rax,
		[RBX] = regs->rbx,
		[RCX] = regs->rcx,
		[RDX] = regs->rdx,
		[RSI] = regs->rsi,
		[RDI] = regs->rdi,
		[RSP] = regs->rsp,
		[RBP] = regs->rbp,
		[R8] = regs->r8,
		[R9] = regs->r9,
		[R10] = regs->r10,
		[R11] = regs->r11,
		[R12] = regs->r12,
		[R13] = regs->r13,
		[R14] = regs->r14,
		[R15] = regs->r15,
	};
	const uint64_t ring3 =
		FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_AC | FLAG_ID | FLAG_RF | FLAG_NT;
	memcpy(v->gpr, values, sizeof(values));
	v->rip = regs->rip;
	soft_set_flags(v, (soft_flags(v) & ~ring3) | (regs->rflags & ring3));
}

/* Segments as the program has left them. */
static void take_segments(struct soft_vcpu *v, const struct stub_regs *put,
	const struct stub_regs *regs)
{
	/* Where ring 3 may set them itself. */
	if (!put->is_32bit) {
		v->seg[SEG_FS].base = regs->fs_base;
		v->seg[SEG_GS].base = regs->gs_base;
	}
	if (put->is_32bit || regs->is_32bit)
		soft_compat_take(v, put, regs);
}

bool soft_user_fits(const struct soft_vcpu *v)
{
	/* The host's page tables are the guest's only where both have ring 3 the same. */
	return v->user != NULL && v->cpl == 3 && (v->cr0 & CR0_TS) == 0 &&
	       (v->is_long || (stub_pool_runs_32bit(v->user->pool) && soft_compat_fits(v)));
}

enum soft_user_result soft_user_run(struct soft_vcpu *v)
{
	struct soft_user *user = v->user;
	unsigned pcid = pcid_of(v);
	struct space *space = space_find(user, pcid);
	struct err err = { 0 };
	if (space == NULL)
		space = space_make(v, pcid, &err);
	if (space == NULL)
		return SOFT_USER_INTERPRET;
	space->used = ++user->clock;
	map_fault(v, space);
	struct stub_regs put, regs;
	struct stub_event event = { .kind = STUB_KICK };
	put_registers(v, &put);
	if (!v->is_long && !soft_compat_put(v, &put))
		return SOFT_USER_INTERPRET;
	regs = put;
	bring_fpu(v, space->stub);
	atomic_store(&user->running, space->stub);
	/* Whoever asks for attention from here on finds the stub. */
	if (atomic_load(&v->attention) == 0)
		stub_run(space->stub, &regs, &event);
	atomic_store(&user->running, NULL);
	take_registers(v, &regs);
	take_segments(v, &put, &regs);
	return handle(v, space, &event);
}
