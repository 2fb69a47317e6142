/* soft_vcpu - one virtual processor of the software CPU, as the files of the interpreter share it.
 *
 * The interpreter runs blocks: straight pieces of decoded instructions.  An instruction's handler
 * (ops_*.c) works on this struct and returns when it is done.  What stops one in the middle - a
 * page fault, #GP - leaves it by soft_raise(), a longjmp to the loop of soft_run.c.  So a handler
 * follows two rules: it changes nothing that the guest can see before its last access that may
 * fault (repeated string instructions: before that iteration's last), and it owns nothing on the
 * stack.
 *
 * rip is kept up to date only between blocks: inside one it is soft_rip(). */
#pragma once

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/cleanup.h"
#include "cpu/accel.h"

/* ---- registers ---- */

/* Numbers as in instructions. */
enum {
	RAX,
	RCX,
	RDX,
	RBX,
	RSP,
	RBP,
	RSI,
	RDI,
	R8,
	R9,
	R10,
	R11,
	R12,
	R13,
	R14,
	R15,
	GPR_ZERO,  /* always 0: where an address has no base or no index */
	GPR_BLOCK, /* the block's first rip: base of what is addressed relative to rip */
	GPRS
};
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDT, SEG_TR, SEGS };

#define FLAG_CF (1u << 0)
#define FLAG_PF (1u << 2)
#define FLAG_AF (1u << 4)
#define FLAG_ZF (1u << 6)
#define FLAG_SF (1u << 7)
#define FLAG_TF (1u << 8)
#define FLAG_IF (1u << 9)
#define FLAG_DF (1u << 10)
#define FLAG_OF (1u << 11)
#define FLAG_IOPL (3u << 12)
#define FLAG_NT (1u << 14)
#define FLAG_RF (1u << 16)
#define FLAG_VM (1u << 17)
#define FLAG_AC (1u << 18)
#define FLAG_VIF (1u << 19)
#define FLAG_VIP (1u << 20)
#define FLAG_ID (1u << 21)
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PCIDE (1u << 17)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

/* Attributes of a segment, as in cpu.h. */
#define SEG_TYPE 0x00fu
#define SEG_S 0x010u
#define SEG_DPL_SHIFT 5
#define SEG_P 0x080u
#define SEG_L 0x200u
#define SEG_DB 0x400u
#define SEG_G 0x800u

enum vector {
	VECTOR_DE,
	VECTOR_DB,
	VECTOR_NMI,
	VECTOR_BP,
	VECTOR_OF,
	VECTOR_BR,
	VECTOR_UD,
	VECTOR_NM,
	VECTOR_DF,
	VECTOR_TS = 10,
	VECTOR_NP,
	VECTOR_SS,
	VECTOR_GP,
	VECTOR_PF,
	VECTOR_MF = 16,
	VECTOR_AC,
	VECTOR_MC,
	VECTOR_XF
};

/* ---- memory ---- */

#define SOFT_PAGE UINT64_C(4096)
/* Whose rights an access has: decided by CPL and, where SMAP is on, by AC. */
enum soft_view { VIEW_KERNEL, VIEW_KERNEL_AC, VIEW_USER, VIEWS };

enum soft_access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };

/* A page of RAM, seen at a linear address; a tag that no page has (SOFT_NO_PAGE) where that access
 * has to take the slow way. */
#define SOFT_NO_PAGE UINT64_MAX
struct soft_tlb_entry {
	uint64_t read, write; /* the page's linear address; of code only `read` */
	uintptr_t addend;     /* linear + addend: the host's byte */
	uint64_t stamp;       /* of code: counts the fills; blocks seen since need no check */
};

/* One TLB for data of each view, and two for code; one half of each is for the upper half of the
 * address space, a kernel's, and mostly stays.  What is in use, and how, is in words of bits beside
 * the entries, so that a flush costs what there is to flush. */
enum { TLB_CODE = VIEWS, TLB_CODE_USER, TLBS };
enum { SOFT_TLB_HALF = 1024, SOFT_TLB_LEN = 2 * SOFT_TLB_HALF, SOFT_TLB_WORDS = SOFT_TLB_LEN / 64 };
struct soft_tlb {
	struct soft_tlb_entry entry[SOFT_TLB_LEN];
	uint64_t used[SOFT_TLB_WORDS], global[SOFT_TLB_WORDS], large[SOFT_TLB_WORDS];
};

/* ---- decoded instructions ---- */

struct soft_vcpu;
struct soft_op;
typedef void soft_handler(struct soft_vcpu *v, const struct soft_op *op);

/* Registers are byte offsets into gpr[], so that AH is an offset like any other. */
struct soft_op {
	soft_handler *run;
	uint64_t imm; /* immediate, sign-extended; or the branch's target, relative to GPR_BLOCK */
	int64_t disp; /* of the memory operand */
	uint16_t start;       /* of the instruction, from the block's first byte */
	uint8_t len;          /* of the instruction: 1 .. 15 */
	uint8_t size;         /* of the operands: 1, 2, 4, 8 (16 for cmpxchg16b) */
	uint8_t dst, src;     /* byte offsets of register operands */
	uint8_t base, index;  /* byte offsets: GPR_ZERO where there is none */
	uint8_t scale;        /* shift: 0 .. 3 */
	uint8_t segment;      /* SEG_*, of the memory operand */
	uint8_t address_size; /* 2, 4, 8 */
	uint8_t src_size;     /* of movzx, movsx */
	uint8_t reg;    /* a third operand's number: control register, count, condition, opcode */
	bool is_memory; /* the first (or only) r/m operand is in memory */
	bool is_flat;   /* 64-bit addresses: no limits, and no bases but those of FS and GS */
	bool is_locked;
	uint8_t repeat; /* 0, REPEAT_REP (F3), REPEAT_REPNE (F2) */
};
enum { REPEAT_NONE, REPEAT_REP, REPEAT_REPNE };

/* ---- the processor ---- */

struct soft_machine;
struct soft_blocks;
struct soft_user;
struct irqchip;

struct soft_vcpu {
	struct cpu_vcpu base;
	struct soft_machine *machine; /* borrowed */
	unsigned index;

	uint64_t gpr[GPRS];
	uint64_t rip; /* between blocks */
	/* The flags: all that arithmetic sets, as lahf and seto give them (SF:ZF:0:AF:0:PF:1:CF in
	 * bits 15..8, OF in bit 0), and all others in their places. */
	uint16_t arith;
	uint32_t other_flags;
	struct cpu_segment seg[SEGS];
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint64_t dr[8];
	struct soft_msrs {
		uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
		uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
		uint64_t pat, tsc_adjust, tsc_aux, misc_enable;
		uint64_t mtrr_def, mtrr_fixed[11], mtrr_var[16];
		uint64_t clock, wall_clock; /* KVM's */
		uint64_t unknown;           /* which others were tried, by a hash: for the log */
	} msr;
	uint64_t unknown_code; /* which instructions were tried that there are not, by a hash */
	uint8_t *xstate;       /* owned: the user's x87, SSE, AVX state in XSAVE's standard form */
	uint64_t tsc_offset;

	/* Derived; soft_settle() makes them anew after a change of CR0, CR4, EFER, CS, AC. */
	uint8_t cpl;
	uint8_t code_size; /* of addresses and operands in this code: 2, 4 or 8 (64-bit mode) */
	bool is_long;      /* EFER.LMA and CS.L: no limits, no bases but of FS and GS */
	enum soft_view view;
	struct soft_tlb *data_tlb, *code_tlb; /* of the view, of the CPL */

	/* Where it is. */
	const struct soft_op *op; /* being run; NULL between blocks */
	bool is_inhibited;        /* the instruction after STI or MOV SS: no interrupt before it */
	bool is_halted, waits_for_sipi;
	bool is_nmi_blocked; /* from an NMI to the next IRET */
	sigjmp_buf trap;     /* where soft_raise() goes */
	struct soft_exception {
		int vector; /* -1: none */
		bool has_error;
		bool is_software; /* INT n, INT3, INTO */
		bool is_external; /* an interrupt */
		uint32_t error;
		uint8_t len;     /* of the instruction, for a software interrupt: rip behind it */
	} exception, delivering; /* raised last; on its way to its handler */

	/* Set by any thread, with a signal to this one if it may be asleep: look around before the
	 * next block. */
	atomic_uint attention;
	atomic_bool is_asleep;
	timer_t alarm; /* owned, if has_alarm (soft_alarm.c) */
	bool has_alarm;
	volatile uint64_t
		alarm_deadline; /* when it rings; set back by its signal, in this thread */

	struct soft_tlb tlb[TLBS];
	uint64_t tlb_stamp;         /* of the last fill with code */
	struct soft_blocks *blocks; /* owned */
	struct soft_user *user;     /* owned; NULL: ring 3 is interpreted, too */
};

/* ---- what stops an instruction ---- */

__attribute__((noreturn)) void soft_raise(struct soft_vcpu *v, enum vector vector);
__attribute__((noreturn)) void soft_raise_error(struct soft_vcpu *v, enum vector vector,
	uint32_t error);
/* #PF: sets CR2. */
__attribute__((noreturn)) void soft_raise_fault(struct soft_vcpu *v, uint64_t linear,
	uint32_t error);

/* ---- small readers ---- */

static inline uint64_t soft_rip(const struct soft_vcpu *v) /* of the instruction being run */
{
	return v->op != NULL ? v->gpr[GPR_BLOCK] + v->op->start : v->rip;
}

static inline uint64_t soft_next_rip(const struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t next = v->gpr[GPR_BLOCK] + op->start + op->len;
	return v->code_size == 8 ? next : v->code_size == 4 ? (uint32_t)next : (uint16_t)next;
}

static inline bool soft_flag(const struct soft_vcpu *v, uint32_t flag)
{
	return (v->other_flags & flag) != 0;
}

/* The whole of RFLAGS; and set (reserved bits are put right, RF and VM as given). */
uint64_t soft_flags(const struct soft_vcpu *v);
void soft_set_flags(struct soft_vcpu *v, uint64_t flags);
/* Derived fields anew. */
void soft_settle(struct soft_vcpu *v);
/* What of them depends on AC. */
void soft_settle_view(struct soft_vcpu *v);

/* ---- memory, by linear address: soft_mem.h has the fast ways ---- */

/* Words of 1 .. 8 bytes. */
uint64_t soft_read_slow(struct soft_vcpu *v, uint64_t linear, unsigned size, enum soft_view view);
void soft_write_slow(struct soft_vcpu *v, uint64_t linear, unsigned size, uint64_t value,
	enum soft_view view);
/* Any length up to 4096 bytes, also across pages; raises what it meets before it changes anything.
 */
void soft_read_bytes(struct soft_vcpu *v, uint64_t linear, void *bytes, size_t len,
	enum soft_view view);
void soft_write_bytes(struct soft_vcpu *v, uint64_t linear, const void *bytes, size_t len,
	enum soft_view view);
/* Raises what an access of that kind would raise. */
void soft_touch(struct soft_vcpu *v, uint64_t linear, size_t len, enum soft_access access,
	enum soft_view view);
/* Guest-physical RAM, for page tables and the like; false where there is none. */
MUST_CHECK bool soft_physical(struct soft_vcpu *v, uint64_t gpa, size_t len, void **ret_host);

/* From zeros. */
void soft_tlb_init(struct soft_vcpu *v);
/* All pages; all but global ones; one page. */
void soft_tlb_flush(struct soft_vcpu *v, bool with_global);
void soft_tlb_flush_page(struct soft_vcpu *v, uint64_t linear);

/* Linear address of segment:offset: with the checks of limits, rights and canonical form, raising
 * #GP or #SS.  The way for everything outside 64-bit mode. */
uint64_t soft_linear(struct soft_vcpu *v, unsigned segment, uint64_t offset, size_t len,
	enum soft_access access);
