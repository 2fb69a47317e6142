/* soft_run - see soft_run.h.
 *
 *            +-> look around (kick, interrupts, timers) -> halted? sleep
 *            |                                                |
 *   trap <---+------------------ run a block <----------------+
 *     |                              |
 *     +-> deliver the exception      +-> its ops, one after the other; soft_raise() goes to trap
 *
 * What another thread has to say is a bit in `attention`, looked at before each block: a block is
 * short.  A processor that is halted sleeps on that word until the next timer rings; one
 * in ring 3 is woken by the same timer; one that runs ring 0 looks every few hundred blocks. */
#include "cpu/soft/soft_run.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cpu/soft/interpreter/soft_block.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_msr.h"
#include "cpu/soft/interpreter/soft_trap.h"
#include "cpu/soft/irqchip/irqchip.h"
#include "cpu/soft/soft_alarm.h"
#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_user.h"

enum { BLOCKS_BETWEEN_TIMERS = 256 };
#define DR6_STEP (UINT64_C(1) << 14)

/* ---- made ---- */

/* Intel SDM 3, table 10-1, "INIT". */
static void reset(struct soft_vcpu *v)
{
	const struct cpu_segment data = { .limit = 0xffff, .attributes = 0x93 };
	memset(v->gpr, 0, sizeof(v->gpr));
	for (unsigned i = 0; i <= SEG_GS; i++)
		v->seg[i] = data;
	v->seg[SEG_CS] = (struct cpu_segment){ .base = 0xffff0000,
		.limit = 0xffff,
		.selector = 0xf000,
		.attributes = 0x9b };
	v->seg[SEG_LDT] = (struct cpu_segment){ .limit = 0xffff, .attributes = 0x82 };
	v->seg[SEG_TR] = (struct cpu_segment){ .limit = 0xffff, .attributes = 0x8b };
	v->gdt = v->idt = (struct cpu_table){ .limit = 0xffff };
	v->rip = 0xfff0;
	v->arith = 0x0200;
	v->other_flags = 0;
	v->cr0 = 0x60000010;
	v->cr2 = v->cr3 = v->cr4 = v->efer = 0;
	v->dr[6] = 0xffff0ff0;
	v->dr[7] = 0x400;
	v->is_halted = v->is_inhibited = v->is_nmi_blocked = false;
	v->exception.vector = -1;
	v->op = NULL;
	soft_settle(v);
	soft_tlb_flush(v, true);
}

int soft_vcpu_init(struct soft_vcpu *v, struct soft_machine *machine, unsigned index,
	struct err *err)
{
	memset(v, 0, sizeof(*v));
	v->machine = machine;
	v->index = index;
	v->xcr0 = 1;
	soft_tlb_init(v);
	int r = soft_blocks_new(&v->blocks, err);
	if (r < 0)
		return r;
	v->xstate = aligned_alloc(64, SOFT_XSTATE_MAX);
	CHECK(v->xstate != NULL);
	memset(v->xstate, 0, SOFT_XSTATE_MAX);
	soft_store16(v->xstate, 0x37f);       /* x87's control word */
	soft_store32(v->xstate + 24, 0x1f80); /* MXCSR */
	soft_msr_reset(v);
	reset(v);
	v->waits_for_sipi = index != 0;
	return 0;
}

void soft_vcpu_done(struct soft_vcpu *v)
{
	soft_blocks_free(TAKE(v->blocks));
	soft_alarm_free(v);
	soft_user_free(TAKE(v->user));
	free(TAKE(v->xstate));
}

/* ---- attention ---- */

static long futex(atomic_uint *word, int op, unsigned value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

void soft_attend(struct soft_vcpu *v, unsigned attention)
{
	if ((atomic_fetch_or(&v->attention, attention) & attention) == attention)
		return;
	if (v->user != NULL)
		soft_user_kick(v->user);
	if (atomic_load(&v->is_asleep))
		(void)futex(&v->attention, FUTEX_WAKE, 1, NULL);
}

static void run_timers(struct soft_vcpu *v)
{
	uint64_t now = soft_tsc(v);
	if (irqchip_deadline(v->machine->irqchip, v->index) <= now)
		irqchip_run_timers(v->machine->irqchip, v->index, now);
}

/* Until there is attention, which the next timer gives. */
static void sleep_halted(struct soft_vcpu *v)
{
	soft_alarm_set(v, irqchip_deadline(v->machine->irqchip, v->index));
	atomic_store(&v->is_asleep, true);
	if (atomic_load(&v->attention) == 0)
		(void)futex(&v->attention, FUTEX_WAIT, 0, NULL);
	atomic_store(&v->is_asleep, false);
}

/* ---- between blocks ---- */

/* INIT: reset, but for what is the local APIC's and the FPU's; then it waits for SIPI. */
static void take_init(struct soft_vcpu *v)
{
	reset(v);
	soft_user_flush_all(v);
	v->waits_for_sipi = v->index != 0;
}

/* A start vector is the page that a processor begins in (Intel SDM 3, 9.4.3). */
static void take_sipi(struct soft_vcpu *v, unsigned vector)
{
	if (!v->waits_for_sipi)
		return;
	v->waits_for_sipi = false;
	v->seg[SEG_CS].selector = (uint16_t)(vector << 8);
	v->seg[SEG_CS].base = (uint64_t)vector << 12;
	v->rip = 0;
	soft_settle(v);
}

/* False: the processor shuts down. */
static bool take_events(struct soft_vcpu *v)
{
	struct irqchip *chip = v->machine->irqchip;
	uint8_t vector;
	if (irqchip_take_init(chip, v->index))
		take_init(v);
	if (irqchip_take_sipi(chip, v->index, &vector))
		take_sipi(v, vector);
	if (v->waits_for_sipi || v->is_inhibited)
		return true;
	if (!v->is_nmi_blocked && irqchip_take_nmi(chip, v->index)) {
		v->is_halted = false;
		return soft_interrupt(v, VECTOR_NMI);
	}
	if (soft_flag(v, FLAG_IF) && irqchip_take_interrupt(chip, v->index, &vector)) {
		v->is_halted = false;
		return soft_interrupt(v, vector);
	}
	return true;
}

static void run_ops(struct soft_vcpu *v, const struct soft_op *op, unsigned len)
{
	const struct soft_op *end = op + len;
	v->gpr[GPR_BLOCK] = v->rip;
	do {
		v->op = op;
		op->run(v, op);
	} while (++op != end);
}

static void run_block(struct soft_vcpu *v, const struct soft_block *b)
{
	run_ops(v, b->ops, b->ops_len);
	v->op = NULL;
}

/* The first instruction of a block. */
static void run_instruction(struct soft_vcpu *v)
{
	const struct soft_block *b = soft_block_find(v);
	run_ops(v, b->ops, 1);
	/* What ends a block has set rip; what does not stands before something that does. */
	if (b->ops_len > 1)
		v->rip = soft_next_rip(v, v->op);
	v->op = NULL;
}

/* With TF set each instruction is followed by #DB; the one behind STI or MOV SS comes before any
 * interrupt. */
static void run_one(struct soft_vcpu *v)
{
	bool is_stepping = soft_flag(v, FLAG_TF);
	v->is_inhibited = false;
	run_instruction(v);
	if (is_stepping && !v->is_inhibited) {
		v->dr[6] |= DR6_STEP;
		soft_raise(v, VECTOR_DB);
	}
}

static bool is_stepwise(const struct soft_vcpu *v)
{
	return v->is_inhibited || soft_flag(v, FLAG_TF);
}

/* Blocks, one leading to the next, as long as they are the interpreter's. */
static void run_blocks(struct soft_vcpu *v)
{
	struct soft_block *b = NULL;
	for (unsigned i = 0; i < BLOCKS_BETWEEN_TIMERS; i++) {
		if (is_stepwise(v)) {
			run_one(v);
			b = NULL;
		} else {
			b = b != NULL ? soft_block_follow(v, b) : soft_block_find(v);
			run_block(v, b);
		}
		if (atomic_load_explicit(&v->attention, memory_order_relaxed) != 0 ||
			v->is_halted || soft_user_fits(v))
			break;
	}
}

/* Runs until there is something to look at. */
static enum soft_user_result run_ring(struct soft_vcpu *v)
{
	if (v->cpl == 3 && soft_user_fits(v)) {
		soft_alarm_set(v, irqchip_deadline(v->machine->irqchip, v->index));
		enum soft_user_result r = soft_user_run(v);
		if (r == SOFT_USER_INTERPRET)
			run_one(v);
		return r;
	}
	run_blocks(v);
	return SOFT_USER_DONE;
}

/* False when this run is over, with how. */
static bool look_around(struct soft_vcpu *v, enum soft_outcome *ret_outcome)
{
	unsigned attention = atomic_exchange(&v->attention, 0);
	run_timers(v);
	if (!take_events(v)) {
		*ret_outcome = SOFT_SHUTDOWN;
		return false;
	}
	/* An interrupt that cannot be taken now is looked for again before each block. */
	unsigned pending = irqchip_pending(v->machine->irqchip, v->index);
	/* What wakes no processor that sleeps shall not keep it awake. */
	if (v->waits_for_sipi)
		pending &= IRQCHIP_INIT | IRQCHIP_SIPI;
	else if (v->is_halted && !soft_flag(v, FLAG_IF))
		pending &= ~(unsigned)IRQCHIP_INTERRUPT;
	if (pending != 0)
		(void)atomic_fetch_or(&v->attention, ATTENTION_EVENT);
	*ret_outcome = SOFT_KICKED;
	return (attention & ATTENTION_KICK) == 0;
}

enum soft_outcome soft_run(struct soft_vcpu *v)
{
	enum soft_outcome outcome;
	while (look_around(v, &outcome)) {
		if (v->is_halted || v->waits_for_sipi) {
			sleep_halted(v);
			continue;
		}
		if (sigsetjmp(v->trap, 0) != 0) {
			if (!soft_deliver(v))
				return SOFT_SHUTDOWN;
			continue;
		}
		if (run_ring(v) == SOFT_USER_SHUTDOWN)
			return SOFT_SHUTDOWN;
	}
	return outcome;
}

bool soft_step(struct soft_vcpu *v, struct soft_exception *ret_exception)
{
	if (sigsetjmp(v->trap, 0) != 0) {
		v->rip = soft_rip(v);
		v->op = NULL;
		*ret_exception = v->exception;
		v->exception.vector = -1;
		return false;
	}
	run_instruction(v);
	return true;
}
