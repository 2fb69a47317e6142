/* soft_stack - the guest's stack: addresses as wide as SS (or 64-bit mode) makes them. */
#pragma once

#include "cpu/soft/interpreter/soft_mem.h"

/* Bytes of the stack pointer. */
static inline unsigned soft_stack_width(const struct soft_vcpu *v)
{
	return v->is_long ? 8 : (v->seg[SEG_SS].attributes & SEG_DB) != 0 ? 4 : 2;
}

static inline uint64_t soft_stack_mask(const struct soft_vcpu *v)
{
	return v->is_long                                  ? UINT64_MAX
	       : (v->seg[SEG_SS].attributes & SEG_DB) != 0 ? UINT32_MAX
							   : UINT16_MAX;
}

/* The linear address of stack offset sp. */
static inline uint64_t soft_stack_address(struct soft_vcpu *v, uint64_t sp, size_t len,
	enum soft_access access)
{
	if (!v->is_long)
		return soft_linear(v, SEG_SS, sp & soft_stack_mask(v), len, access);
	/* What is not canonical is #SS here, whatever segment the instruction names for its
	 * operand. */
	if ((uint64_t)((int64_t)(sp << 16) >> 16) != sp)
		soft_raise_error(v, VECTOR_SS, 0);
	return sp;
}

static inline void soft_set_sp(struct soft_vcpu *v, uint64_t sp)
{
	uint64_t mask = soft_stack_mask(v);
	v->gpr[RSP] = (v->gpr[RSP] & ~mask) | (sp & mask);
}

/* Writes first: what faults has changed nothing. */
static inline void soft_push(struct soft_vcpu *v, unsigned size, uint64_t value)
{
	uint64_t sp = v->gpr[RSP] - size;
	soft_write_size(v, soft_stack_address(v, sp, size, ACCESS_WRITE), size, value, v->view);
	soft_set_sp(v, sp);
}

/* The value at offset bytes above the stack pointer, which stays. */
static inline uint64_t soft_peek(struct soft_vcpu *v, unsigned size, uint64_t offset)
{
	uint64_t sp = v->gpr[RSP] + offset;
	return soft_read_size(v, soft_stack_address(v, sp, size, ACCESS_READ), size, v->view);
}
