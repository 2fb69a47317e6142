/* ops_table - the registers that say where descriptors are: GDTR, IDTR, LDTR, TR. */
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"

/* ---- GDTR, IDTR: a limit of 16 bits, and a base ---- */

static struct cpu_table *table_of(struct soft_vcpu *v, const struct soft_op *op)
{
	return op->reg == 0 ? &v->gdt : &v->idt;
}

static void load(struct soft_vcpu *v, const struct soft_op *op)
{
	unsigned width = v->is_long ? 8 : 4;
	if (v->cpl != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	uint64_t linear = soft_address(v, op, width + 2, ACCESS_READ);
	uint16_t limit = soft_read16(v, linear);
	uint64_t base = soft_read_size(v, linear + 2, width, v->view);
	if (op->size == 2)
		base &= 0xffffff;
	if (!soft_is_canonical(base) && v->is_long)
		soft_raise_error(v, VECTOR_GP, 0);
	*table_of(v, op) = (struct cpu_table){ .base = base, .limit = limit };
}

static void store(struct soft_vcpu *v, const struct soft_op *op)
{
	unsigned width = v->is_long ? 8 : 4;
	const struct cpu_table *table = table_of(v, op);
	uint8_t bytes[10];
	memcpy(bytes, &table->limit, 2);
	memcpy(bytes + 2, &table->base, width);
	uint64_t linear = soft_address(v, op, width + 2, ACCESS_WRITE);
	soft_write_bytes(v, linear, bytes, width + 2, v->view);
}

/* what: 0 GDTR, 1 IDTR */
soft_handler *build_load_table(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	op->size = (uint8_t)(in->info.operand_width / 8);
	op->reg = (uint8_t)what;
	return load;
}

soft_handler *build_store_table(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)build_load_table(in, op, what);
	return store;
}

/* ---- LDTR, TR: a selector in the GDT ---- */

static uint16_t selector_operand(struct soft_vcpu *v, const struct soft_op *op)
{
	if (!soft_is_protected(v))
		soft_raise(v, VECTOR_UD);
	if (v->cpl != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	return op->is_memory ? soft_read16(v, soft_address(v, op, 2, ACCESS_READ))
			     : soft_load16(soft_reg(v, op->dst));
}

/* A present system descriptor of one of these types. */
static struct cpu_segment system_segment(struct soft_vcpu *v, uint16_t selector, uint32_t types)
{
	struct cpu_segment s;
	uint32_t error = soft_selector_error(selector);
	if ((selector & SELECTOR_TABLE) != 0 || !soft_descriptor_read(v, selector, &s) ||
		(s.attributes & SEG_S) != 0 || ((types >> (s.attributes & SEG_TYPE)) & 1) == 0)
		soft_raise_error(v, VECTOR_GP, error);
	if ((s.attributes & SEG_P) == 0)
		soft_raise_error(v, VECTOR_NP, error);
	return s;
}

static void lldt(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t selector = selector_operand(v, op);
	struct cpu_segment none = { .selector = selector };
	v->seg[SEG_LDT] =
		soft_is_null(selector) ? none : system_segment(v, selector, 1u << SYSTEM_LDT);
}

static void ltr(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t selector = selector_operand(v, op);
	bool is_lma = (v->efer & EFER_LMA) != 0;
	if (soft_is_null(selector))
		soft_raise_error(v, VECTOR_GP, 0);
	struct cpu_segment s =
		system_segment(v, selector, 1u << SYSTEM_TSS | (is_lma ? 0 : 1u << SYSTEM_TSS16));
	const unsigned busy = SYSTEM_TSS_BUSY & ~SYSTEM_TSS;
	soft_descriptor_mark(v, selector, busy);
	s.attributes |= busy;
	v->seg[SEG_TR] = s;
}

/* what: 0 LLDT, 1 LTR */
soft_handler *build_load_selector(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	(void)op;
	return what == 0 ? lldt : ltr;
}

static void store_selector(struct soft_vcpu *v, const struct soft_op *op)
{
	if (!soft_is_protected(v))
		soft_raise(v, VECTOR_UD);
	uint16_t selector = v->seg[op->reg].selector;
	if (op->is_memory)
		soft_write16(v, soft_address(v, op, 2, ACCESS_WRITE), selector);
	else
		soft_set_reg(v, op->dst, op->size, selector);
}

/* what: SEG_LDT, SEG_TR */
soft_handler *build_store_selector(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->reg = (uint8_t)what;
	return store_selector;
}
