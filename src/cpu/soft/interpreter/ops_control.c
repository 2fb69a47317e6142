/* ops_control - moves to and from control and debug registers, and what else changes how memory
 * looks. Debug registers keep what is written, but nothing stops at an address: hardware
 * breakpoints are not offered. */
#include "cpu/soft/interpreter/soft_control.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/irqchip/irqchip.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_user.h"

#define DR6_ONES UINT64_C(0xffff0ff0)
#define DR6_KNOWN UINT64_C(0x0000e00f)
#define DR6_DETECTED (UINT64_C(1) << 13)
#define DR7_ONES UINT64_C(0x00000400)
#define DR7_KNOWN UINT64_C(0xffff2bff)
#define DR7_GENERAL_DETECT (UINT64_C(1) << 13)

static void need_ring0(struct soft_vcpu *v)
{
	if (v->cpl != 0)
		soft_raise_error(v, VECTOR_GP, 0);
}

/* ---- control registers ---- */

static void mov_from_control(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = 0;
	need_ring0(v);
	switch (op->reg) {
	case 0: value = v->cr0; break;
	case 2: value = v->cr2; break;
	case 3: value = v->cr3; break;
	case 4: value = v->cr4; break;
	default: value = irqchip_tpr(v->machine->irqchip, v->index); break;
	}
	soft_set_reg(v, op->dst, op->size, value);
}

static void set_tpr(struct soft_vcpu *v, uint64_t value)
{
	if (value > 15)
		soft_raise_error(v, VECTOR_GP, 0);
	irqchip_set_tpr(v->machine->irqchip, v->index, (unsigned)value);
}

static void mov_to_control(struct soft_vcpu *v, const struct soft_op *op)
{
	need_ring0(v);
	uint64_t value = soft_get_reg(v, op->src, op->size);
	uint64_t next = soft_next_rip(v, op);
	switch (op->reg) {
	case 0: soft_set_cr0(v, value); break;
	case 2: v->cr2 = value; break;
	case 3: soft_set_cr3(v, value); break;
	case 4: soft_set_cr4(v, value); break;
	default: set_tpr(v, value); break;
	}
	v->rip = next;
}

static bool is_control(const ZydisDecodedOperand *o)
{
	return o->reg.value >= ZYDIS_REGISTER_CR0 && o->reg.value <= ZYDIS_REGISTER_CR15;
}

soft_handler *build_mov_control(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	bool is_load = is_control(&in->operand[0]);
	op->reg = (uint8_t)(in->operand[is_load ? 0 : 1].reg.value - ZYDIS_REGISTER_CR0);
	op->size = in->code_size == 8 ? 8 : 4;
	const unsigned known = 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 8;
	if (op->reg > 8 || ((known >> op->reg) & 1) == 0)
		return NULL;
	in->ends_block = is_load;
	return is_load ? mov_to_control : mov_from_control;
}

static void clts(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_ring0(v);
	v->cr0 &= ~(uint64_t)CR0_TS;
}

/* PE can be set so, but not cleared. */
static void lmsw(struct soft_vcpu *v, const struct soft_op *op)
{
	const uint64_t bits = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
	need_ring0(v);
	uint64_t value = op->is_memory ? soft_read16(v, soft_address(v, op, 2, ACCESS_READ))
				       : soft_get_reg(v, op->dst, 2);
	uint64_t next = soft_next_rip(v, op);
	soft_set_cr0(v, (v->cr0 & ~bits) | (v->cr0 & CR0_PE) | (value & bits));
	v->rip = next;
}

static void smsw(struct soft_vcpu *v, const struct soft_op *op)
{
	if (op->is_memory)
		soft_write16(v, soft_address(v, op, 2, ACCESS_WRITE), (uint16_t)v->cr0);
	else
		soft_set_reg(v, op->dst, op->size, v->cr0);
}

/* ---- debug registers ---- */

/* DR4 and DR5 are old names of DR6 and DR7. */
static unsigned debug_register(struct soft_vcpu *v, const struct soft_op *op)
{
	unsigned reg = op->reg;
	if (reg == 4 || reg == 5) {
		if ((v->cr4 & CR4_DE) != 0)
			soft_raise(v, VECTOR_UD);
		reg += 2;
	}
	need_ring0(v);
	if ((v->dr[7] & DR7_GENERAL_DETECT) != 0) {
		v->dr[6] |= DR6_DETECTED;
		soft_raise(v, VECTOR_DB);
	}
	return reg;
}

static void mov_from_debug(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_set_reg(v, op->dst, op->size, v->dr[debug_register(v, op)]);
}

static void mov_to_debug(struct soft_vcpu *v, const struct soft_op *op)
{
	unsigned reg = debug_register(v, op);
	uint64_t value = soft_get_reg(v, op->src, op->size);
	if (reg >= 6 && value >> 32 != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	if (reg == 6)
		value = (value & DR6_KNOWN) | DR6_ONES;
	else if (reg == 7)
		value = (value & DR7_KNOWN) | DR7_ONES;
	v->dr[reg] = value;
}

soft_handler *build_mov_debug(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	ZydisRegister first = in->operand[0].reg.value;
	bool is_load = first >= ZYDIS_REGISTER_DR0 && first <= ZYDIS_REGISTER_DR15;
	op->reg = (uint8_t)(in->operand[is_load ? 0 : 1].reg.value - ZYDIS_REGISTER_DR0);
	op->size = in->code_size == 8 ? 8 : 4;
	if (op->reg > 7)
		return NULL;
	return is_load ? mov_to_debug : mov_from_debug;
}

/* ---- XCR0 ---- */

static void need_xsave(struct soft_vcpu *v)
{
	if ((v->cr4 & CR4_OSXSAVE) == 0)
		soft_raise(v, VECTOR_UD);
}

static void xgetbv(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_xsave(v);
	if ((uint32_t)v->gpr[RCX] != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	v->gpr[RAX] = (uint32_t)v->xcr0;
	v->gpr[RDX] = v->xcr0 >> 32;
}

static void xsetbv(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_xsave(v);
	need_ring0(v);
	if ((uint32_t)v->gpr[RCX] != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	soft_set_xcr0(v, v->gpr[RDX] << 32 | (uint32_t)v->gpr[RAX]);
}

/* ---- the TLB ---- */

/* The address is not accessed: nothing of it is checked. */
static void invlpg(struct soft_vcpu *v, const struct soft_op *op)
{
	need_ring0(v);
	uint64_t linear = soft_offset(v, op);
	if (!v->is_long)
		linear = (uint32_t)(linear + v->seg[op->segment].base);
	else if (op->segment >= SEG_FS)
		linear += v->seg[op->segment].base;
	uint64_t next = soft_next_rip(v, op);
	soft_tlb_flush_page(v, linear);
	soft_user_flush_page(v, (v->cr4 & CR4_PCIDE) != 0 ? v->cr3 & 0xfff : 0, linear);
	v->rip = next;
}

enum { INVPCID_ADDRESS, INVPCID_ONE, INVPCID_ALL_GLOBAL, INVPCID_ALL };

static void invalidate(struct soft_vcpu *v, unsigned type, unsigned pcid, uint64_t linear)
{
	switch (type) {
	case INVPCID_ADDRESS:
		soft_tlb_flush_page(v, linear);
		soft_user_flush_page(v, pcid, linear);
		break;
	case INVPCID_ONE:
		soft_tlb_flush(v, false);
		soft_user_flush(v, pcid);
		break;
	default:
		soft_tlb_flush(v, type == INVPCID_ALL_GLOBAL);
		soft_user_flush_all(v);
		break;
	}
}

static void invpcid(struct soft_vcpu *v, const struct soft_op *op)
{
	need_ring0(v);
	uint64_t type = soft_get_reg(v, op->dst, v->is_long ? 8 : 4);
	uint64_t at = soft_address(v, op, 16, ACCESS_READ);
	uint64_t pcid = soft_read64(v, at), linear = soft_read64(v, at + 8);
	bool needs_pcide = type <= INVPCID_ONE && pcid != 0;
	if (type > INVPCID_ALL || pcid >> 12 != 0 || (needs_pcide && (v->cr4 & CR4_PCIDE) == 0) ||
		(type == INVPCID_ADDRESS && !soft_is_canonical(linear)))
		soft_raise_error(v, VECTOR_GP, 0);
	uint64_t next = soft_next_rip(v, op);
	invalidate(v, (unsigned)type, (unsigned)pcid, linear);
	v->rip = next;
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_CLTS, clts, false },
	{ ZYDIS_MNEMONIC_INVLPG, invlpg, true },
	{ ZYDIS_MNEMONIC_INVPCID, invpcid, true },
	{ ZYDIS_MNEMONIC_LMSW, lmsw, true },
	{ ZYDIS_MNEMONIC_SMSW, smsw, false },
	{ ZYDIS_MNEMONIC_XGETBV, xgetbv, false },
	{ ZYDIS_MNEMONIC_XSETBV, xsetbv, false },
};

soft_handler *build_control(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)op;
	(void)what;
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}
