/* stub - direct execution: a process that runs the ring-3 code of one guest address space on the
 * real processor, as far as its next event.
 *
 * A stub is one vCPU's TLB for one address space: it begins empty, pages are mapped into it when
 * the guest faults on them and unmapped when the guest flushes its TLB.  All pages are windows of
 * the guest's memory files.  Besides them it has only the trampoline's window (stub_code.h), and
 * while descriptors of 32-bit code's segments are taken over a page with these.
 *
 * The stub is hostile.  What the guest can do to it, and why that is no more than it can do to
 * itself:
 *
 * It can jump into the trampoline, anywhere, with any registers.  The code there computes every
 * address from rip.  It makes system calls that the filter allows (stub_filter.c), and ends by
 * giving the VMM its turn or by loading registers.  An event whose rip is in the trampoline ends
 * the stub.
 *
 * It can make the calls that the filter allows.  futex gives the VMM its turn, which every event
 * does, or sleeps until kicked.  All others want a secret of 64 bits; the trampoline sees it only
 * in a list of calls that is written while the stub sleeps, and wipes each call before it makes it.
 * Where an event comes before all of them are made, the stub ends or the list is wiped.
 *
 * It can say that it has stopped and run on.  The VMM does not believe the shared word.  It asks
 * the kernel to move the sleeper from that word to one of the VMM's own (FUTEX_CMP_REQUEUE): only
 * when that moved a thread has the stub stopped, inside the trampoline, and only the VMM can wake
 * it.  Before that nothing is written and no ring-0 code interpreted.
 *
 * It can write anything into the shared pages.  While it runs they are only its own.  What the VMM
 * takes from them it copies once and cuts down to what ring 3 can do: any event it may invent there
 * it could also cause.
 *
 * It cannot block signals to run for ever: there is no sigreturn and no sigprocmask; the handler
 * has an empty mask and leaves by iretq, as any ring-3 code may.  A stub that does not come when
 * kicked is killed all the same.
 *
 * It can kill itself: STUB_LOST, and the caller makes another one.
 *
 * It can leave traces for the next address space of the same number (CR3), in registers that the
 * VMM believes to know: stub_unmap_all() forgets them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define STUB_MEMORIES_MAX 64
#define STUB_XSAVE_MAX 4096 /* room for the state of one FPU, up to AVX-512 */

/* What is the same in a stub as in any program of 64-bit Linux's, whatever the guest. */
#define STUB_CS32 0x23
#define STUB_CS64 0x33
#define STUB_DATA 0x2b
#define STUB_TLS 3          /* entries of the GDT that a program may choose ... */
#define STUB_TLS_FIRST 0x63 /* ... the first one's selector */

/* ---- all stubs of one machine ---- */

struct stub_pool;
struct stub_options {
	const int *memory_fds; /* borrowed; what stub_map() can map, by index */
	size_t memory_fds_len; /* at most STUB_MEMORIES_MAX */
	unsigned stubs_max;    /* at the same time */
	bool trap_tsc;         /* rdtsc is an event, where the host can do that */
};
/* Before the jail closes: starts the process that clones stubs.  It and all stubs are children of
 * the caller and die with the calling thread, which has to live as long as the machine.  Nobody
 * else may wait for unknown children.  After it, stubs need of the kernel: futex, tgkill, kill,
 * waitid, wait4, sched_setaffinity, sched_yield, getrandom. */
MUST_CHECK int stub_pool_new(const struct stub_options *options, struct stub_pool **ret_pool,
	struct err *err);
void stub_pool_free(struct stub_pool *pool); /* NULL is fine; after all its stubs */
DEFINE_AUTO(stub_pool)
/* Bytes of an FPU's state, in the processor's standard format of XSAVE. */
size_t stub_pool_xsave_size(const struct stub_pool *pool);
/* What this host lets come out of a stub (as #GP), or run in it at all; tried, not believed. */
bool stub_pool_traps_cpuid(const struct stub_pool *pool);
bool stub_pool_traps_tsc(const struct stub_pool *pool);
bool stub_pool_runs_32bit(const struct stub_pool *pool);

/* ---- one stub: used by one thread, but for stub_kick() ---- */

struct stub;
MUST_CHECK int stub_new(struct stub_pool *pool, struct stub **ret_stub, struct err *err);
void stub_free(struct stub *stub); /* NULL is fine */
DEFINE_AUTO(stub)

/* Queued for the next stub_run().  prot is PROT_READ, _WRITE, _EXEC; all is whole pages.  -EFAULT:
 * no stub can map this address; let the interpreter run the code that needs it. */
MUST_CHECK int stub_map(struct stub *stub, uint64_t va, unsigned memory, uint64_t offset,
	uint64_t len, int prot);
MUST_CHECK int stub_unmap(struct stub *stub, uint64_t va, uint64_t len);
/* Also before the stub runs for another address space. */
void stub_unmap_all(struct stub *stub);

struct stub_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;      /* of rflags only what ring 3 can change goes in and comes out */
	uint64_t fs_base, gs_base; /* of 64-bit code */
	bool is_32bit;             /* the kind of code segment */
	/* Of 32-bit code: its data segments' selectors, and the descriptors of STUB_TLS_FIRST and
	 * so on, 0 where there is none.  A segment's base is its descriptor's. */
	uint16_t ds, es, fs, gs;
	uint64_t tls[STUB_TLS];
};

enum stub_event_kind {
	STUB_KICK,        /* somebody called stub_kick() */
	STUB_SYSCALL,     /* rip is behind the instruction, rcx and r11 are as it sets them */
	STUB_INT80,       /* int $0x80; rip is behind it */
	STUB_SYSENTER,    /* rip means nothing; rsp is what rbp was */
	STUB_EXCEPTION,   /* vector, error_code; address (CR2) with a page fault */
	STUB_BUS,         /* the memory file has no such page: no fault of the guest's */
	STUB_UNMAPPABLE,  /* the kernel refused the mapping at address: -error_code is why */
	STUB_UNSUPPORTED, /* 32-bit code on a host that has none: let the interpreter run it */
	STUB_DIED, /* before it ran: registers are as they went in; free it and make another */
	STUB_LOST, /* while it ran: how far the guest had come is not known */
};
struct stub_event {
	enum stub_event_kind kind;
	uint8_t vector;
	uint32_t error_code;
	uint64_t address;
};
/* Makes the queued mappings and runs the guest until something happens. */
void stub_run(struct stub *stub, struct stub_regs *regs, struct stub_event *ret_event);
/* From any thread or a signal handler: the running (or next) stub_run() returns soon with
 * STUB_KICK, or with the event that came first and STUB_KICK the next time.  It may say STUB_KICK
 * once more than it was kicked. */
void stub_kick(struct stub *stub);

/* The FPU of the guest as it is in the stub; it stays there until another one is put in. */
void stub_get_xsave(const struct stub *stub, void *ret_xsave);
void stub_set_xsave(struct stub *stub, const void *xsave);
