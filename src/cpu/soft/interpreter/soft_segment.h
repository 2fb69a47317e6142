/* soft_segment - descriptors, and what a processor checks before it loads one (Intel SDM 3, 3.4 and
 * 5).  Hardware task switches and call gates are not offered: who uses them gets #GP. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

#define TYPE_ACCESSED 1u
#define TYPE_WRITABLE 2u /* data */
#define TYPE_READABLE 2u /* code */
#define TYPE_DOWN 4u     /* data */
#define TYPE_CONFORMING 4u
#define TYPE_CODE 8u
enum {
	SYSTEM_TSS16 = 1,
	SYSTEM_LDT = 2,
	SYSTEM_TSS16_BUSY = 3,
	SYSTEM_CALL16 = 4,
	SYSTEM_TASK = 5,
	SYSTEM_TSS = 9,
	SYSTEM_TSS_BUSY = 11,
	SYSTEM_CALL = 12
};
#define SELECTOR_TABLE 4u /* in the LDT */
#define SELECTOR_RPL 3u

static inline unsigned soft_dpl(const struct cpu_segment *s)
{
	return (s->attributes >> SEG_DPL_SHIFT) & 3;
}

static inline bool soft_is_null(uint16_t selector)
{
	return (selector & ~SELECTOR_RPL) == 0;
}

static inline bool soft_is_code(const struct cpu_segment *s)
{
	return (s->attributes & SEG_S) != 0 && (s->attributes & TYPE_CODE) != 0;
}

static inline bool soft_is_conforming(const struct cpu_segment *s)
{
	return soft_is_code(s) && (s->attributes & TYPE_CONFORMING) != 0;
}

static inline bool soft_is_stack(const struct cpu_segment *s)
{
	return (s->attributes & (SEG_S | TYPE_CODE | TYPE_WRITABLE)) == (SEG_S | TYPE_WRITABLE);
}

static inline bool soft_is_canonical(uint64_t linear)
{
	return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

static inline bool soft_is_protected(const struct soft_vcpu *v)
{
	return (v->cr0 & CR0_PE) != 0;
}

/* An error code that names a selector. */
static inline uint32_t soft_selector_error(uint16_t selector)
{
	return selector & ~SELECTOR_RPL;
}

/* The descriptor of a selector; false where its table has none.  System descriptors of long mode
 * are two entries; with a bad second one their type is none. */
MUST_CHECK bool soft_descriptor_read(struct soft_vcpu *v, uint16_t selector,
	struct cpu_segment *ret_segment);
/* Sets bits of the type (accessed, busy) in the descriptor, in memory. */
void soft_descriptor_mark(struct soft_vcpu *v, uint16_t selector, unsigned type_bits);

/* Whether [offset, offset + len) is within the limit, also of one that grows down. */
bool soft_segment_holds(const struct cpu_segment *s, uint64_t offset, size_t len);

/* MOV, POP, LDS and their like: ES, SS, DS, FS, GS.  Raises what there is. */
void soft_load_segment(struct soft_vcpu *v, unsigned segment, uint16_t selector);

/* A code segment that a far jump or call (to_outer false), or a return, names: checked, with CS's
 * future RPL in its selector, not yet loaded. */
struct cpu_segment soft_code_segment(struct soft_vcpu *v, uint16_t selector, bool is_return);
/* The stack segment that goes with privilege cpl; what is wrong is `vector` with `ext` in its code.
 */
struct cpu_segment soft_stack_segment(struct soft_vcpu *v, uint16_t selector, unsigned cpl,
	enum vector vector, uint32_t ext);
/* #GP(ext) where rip is no place in cs. */
void soft_check_rip(struct soft_vcpu *v, const struct cpu_segment *cs, uint64_t rip, uint32_t ext);
/* No segment, but the stack of 64-bit code of that privilege. */
struct cpu_segment soft_null_stack(unsigned cpl);
/* Sets the accessed bit; may raise.  Then nothing else can. */
void soft_mark_accessed(struct soft_vcpu *v, struct cpu_segment *s);
