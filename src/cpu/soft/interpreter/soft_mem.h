/* soft_mem - memory as instructions use it: the fast way through the software TLB, inlined, and the
 * slow way of soft_mmu.c for what is not there, crosses a page, or is a device's.
 *
 * Naturally aligned accesses of up to 8 bytes are one access of the host's, as on the real
 * processor, whose order of loads and stores is also the host's. */
#pragma once

#include <string.h>

#include "cpu/soft/soft_vcpu.h"

/* Little words at host addresses of any alignment. */
#define SOFT_MEM_WIDTHS(X) X(8, uint8_t) X(16, uint16_t) X(32, uint32_t) X(64, uint64_t)

static inline unsigned soft_tlb_index(uint64_t linear)
{
	return (unsigned)(linear >> 63) * SOFT_TLB_HALF +
	       (unsigned)(linear / SOFT_PAGE % SOFT_TLB_HALF);
}

static inline struct soft_tlb_entry *soft_tlb_at(struct soft_tlb *tlb, uint64_t linear)
{
	return &tlb->entry[soft_tlb_index(linear)];
}

/* Whether all of an access is in that page: page is a tag of linear's own entry, where the page
 * behind it cannot be. */
static inline bool soft_is_within(uint64_t page, uint64_t linear, size_t len)
{
	return page == ((linear + len - 1) & ~(SOFT_PAGE - 1));
}

#define SOFT_MEM_WIDTH(bits, type)                                                                 \
	static inline type soft_load##bits(const void *host)                                       \
	{                                                                                          \
		typedef type __attribute__((aligned(1), may_alias)) word;                          \
		return *(const volatile word *)host;                                               \
	}                                                                                          \
	static inline void soft_store##bits(void *host, type value)                                \
	{                                                                                          \
		typedef type __attribute__((aligned(1), may_alias)) word;                          \
		*(volatile word *)host = value;                                                    \
	}                                                                                          \
	static inline type soft_read##bits##_in(struct soft_vcpu *v, struct soft_tlb *tlb,         \
		uint64_t linear, enum soft_view view)                                              \
	{                                                                                          \
		struct soft_tlb_entry *e = soft_tlb_at(tlb, linear);                               \
		if (__builtin_expect(soft_is_within(e->read, linear, sizeof(type)), 1))            \
			return soft_load##bits((void *)(linear + e->addend));                      \
		return (type)soft_read_slow(v, linear, sizeof(type), view);                        \
	}                                                                                          \
	static inline void soft_write##bits##_in(struct soft_vcpu *v, struct soft_tlb *tlb,        \
		uint64_t linear, type value, enum soft_view view)                                  \
	{                                                                                          \
		struct soft_tlb_entry *e = soft_tlb_at(tlb, linear);                               \
		if (__builtin_expect(soft_is_within(e->write, linear, sizeof(type)), 1))           \
			soft_store##bits((void *)(linear + e->addend), value);                     \
		else                                                                               \
			soft_write_slow(v, linear, sizeof(type), value, view);                     \
	}                                                                                          \
	static inline type soft_read##bits(struct soft_vcpu *v, uint64_t linear)                   \
	{                                                                                          \
		return soft_read##bits##_in(v, v->data_tlb, linear, v->view);                      \
	}                                                                                          \
	static inline void soft_write##bits(struct soft_vcpu *v, uint64_t linear, type value)      \
	{                                                                                          \
		soft_write##bits##_in(v, v->data_tlb, linear, value, v->view);                     \
	}                                                                                          \
	static inline type soft_read##bits##_as(struct soft_vcpu *v, uint64_t linear,              \
		enum soft_view view)                                                               \
	{                                                                                          \
		return soft_read##bits##_in(v, &v->tlb[view], linear, view);                       \
	}                                                                                          \
	static inline void soft_write##bits##_as(struct soft_vcpu *v, uint64_t linear, type value, \
		enum soft_view view)                                                               \
	{                                                                                          \
		soft_write##bits##_in(v, &v->tlb[view], linear, value, view);                      \
	}
SOFT_MEM_WIDTHS(SOFT_MEM_WIDTH)
#undef SOFT_MEM_WIDTH

/* The host's bytes of an access that reads and then writes, or NULL: then it has to be done by
 * soft_read_size() and soft_write_size(), after soft_writable_slow() has raised what there is. */
void *soft_writable_slow(struct soft_vcpu *v, uint64_t linear, size_t len);
static inline void *soft_writable(struct soft_vcpu *v, uint64_t linear, size_t len)
{
	struct soft_tlb_entry *e = soft_tlb_at(v->data_tlb, linear);
	if (__builtin_expect(soft_is_within(e->write, linear, len), 1))
		return (void *)(linear + e->addend);
	return soft_writable_slow(v, linear, len);
}

/* Registers, by their byte offsets in gpr[]. */
static inline void *soft_reg(struct soft_vcpu *v, unsigned offset)
{
	return (uint8_t *)v->gpr + offset;
}

/* Values of 1, 2, 4, 8 bytes.  Writing 4 clears the upper half, as 64-bit mode has it. */
static inline uint64_t soft_get_reg(struct soft_vcpu *v, unsigned offset, unsigned size)
{
	const void *reg = soft_reg(v, offset);
	switch (size) {
	case 1: return soft_load8(reg);
	case 2: return soft_load16(reg);
	case 4: return soft_load32(reg);
	default: return soft_load64(reg);
	}
}

static inline void soft_set_reg(struct soft_vcpu *v, unsigned offset, unsigned size, uint64_t value)
{
	void *reg = soft_reg(v, offset);
	switch (size) {
	case 1: soft_store8(reg, (uint8_t)value); break;
	case 2: soft_store16(reg, (uint16_t)value); break;
	case 4: soft_store64(reg, (uint32_t)value); break;
	default: soft_store64(reg, value); break;
	}
}

/* The offset part of a memory operand's address. */
static inline uint64_t soft_wide_offset(const struct soft_vcpu *v, const struct soft_op *op)
{
	const uint8_t *gpr = (const uint8_t *)v->gpr;
	return soft_load64(gpr + op->base) + (soft_load64(gpr + op->index) << op->scale) +
	       (uint64_t)op->disp;
}

static inline uint64_t soft_offset(const struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t offset = soft_wide_offset(v, op);
	return op->address_size == 8   ? offset
	       : op->address_size == 4 ? (uint32_t)offset
				       : (uint16_t)offset;
}

/* The linear address of an op's memory operand.  In 64-bit mode what is not canonical is in no TLB
 * and is found out by the slow way, which raises #SS for the stack segment (op->segment). */
uint64_t soft_address_slow(struct soft_vcpu *v, const struct soft_op *op, size_t len,
	enum soft_access access);
static inline uint64_t soft_address(struct soft_vcpu *v, const struct soft_op *op, size_t len,
	enum soft_access access)
{
	if (__builtin_expect(!op->is_flat, 0))
		return soft_address_slow(v, op, len, access);
	uint64_t offset = soft_wide_offset(v, op);
	return op->segment < SEG_FS ? offset : offset + v->seg[op->segment].base;
}

static inline uint64_t soft_read_size(struct soft_vcpu *v, uint64_t linear, unsigned size,
	enum soft_view view)
{
	switch (size) {
	case 1: return soft_read8_as(v, linear, view);
	case 2: return soft_read16_as(v, linear, view);
	case 4: return soft_read32_as(v, linear, view);
	default: return soft_read64_as(v, linear, view);
	}
}

static inline void soft_write_size(struct soft_vcpu *v, uint64_t linear, unsigned size,
	uint64_t value, enum soft_view view)
{
	switch (size) {
	case 1: soft_write8_as(v, linear, (uint8_t)value, view); break;
	case 2: soft_write16_as(v, linear, (uint16_t)value, view); break;
	case 4: soft_write32_as(v, linear, (uint32_t)value, view); break;
	default: soft_write64_as(v, linear, value, view); break;
	}
}
