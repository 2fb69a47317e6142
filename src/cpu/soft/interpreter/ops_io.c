/* ops_io - ports.  Ring 3 may use those that IOPL or the TSS's bitmap allow. */
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/soft_machine.h"

enum { ELEMENTS_AT_ONCE = 1024, TSS_BITMAP = 0x66 };

static bool is_in_bitmap(struct soft_vcpu *v, uint16_t port, unsigned size)
{
	const struct cpu_segment *tr = &v->seg[SEG_TR];
	bool is_tss = (tr->attributes & SEG_P) != 0 && (tr->attributes & 8) != 0;
	if (!is_tss || tr->limit < TSS_BITMAP + 1)
		return false;
	unsigned at = soft_read16_as(v, tr->base + TSS_BITMAP, VIEW_KERNEL) + port / 8u;
	/* Two bytes are read, whatever the port: that is why the bitmap ends with one of ones. */
	if (at + 1 > tr->limit)
		return false;
	unsigned bits = soft_read16_as(v, tr->base + at, VIEW_KERNEL);
	return ((bits >> port % 8) & ((1u << size) - 1)) == 0;
}

static void check_port(struct soft_vcpu *v, uint16_t port, unsigned size)
{
	unsigned iopl = (v->other_flags & FLAG_IOPL) >> 12;
	if (soft_is_protected(v) && v->cpl > iopl && !is_in_bitmap(v, port, size))
		soft_raise_error(v, VECTOR_GP, 0);
}

/* ---- in, out ---- */

static uint16_t port_of(const struct soft_vcpu *v, const struct soft_op *op)
{
	return op->reg != 0 ? (uint8_t)op->imm : (uint16_t)v->gpr[RDX];
}

static void in(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t port = port_of(v, op);
	uint64_t value = 0;
	check_port(v, port, op->size);
	soft_io(v, port, &value, op->size, false);
	soft_set_reg(v, RAX * 8, op->size, value);
	v->rip = soft_next_rip(v, op);
}

static void out(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t port = port_of(v, op);
	uint64_t value = v->gpr[RAX];
	check_port(v, port, op->size);
	soft_io(v, port, &value, op->size, true);
	v->rip = soft_next_rip(v, op);
}

/* They end their block: a machine that is reset by one goes no further.  what: 0 in, 1 out */
soft_handler *build_io(struct soft_insn *insn, struct soft_op *op, unsigned what)
{
	const ZydisDecodedOperand *port = &insn->operand[what == 0 ? 1 : 0];
	const ZydisDecodedOperand *value = &insn->operand[what == 0 ? 0 : 1];
	op->size = (uint8_t)(value->size / 8);
	op->reg = port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	insn->ends_block = true;
	return what == 0 ? in : out;
}

/* ---- ins, outs ---- */

static uint64_t address_register(struct soft_vcpu *v, const struct soft_op *op, unsigned reg)
{
	return soft_get_reg(v, reg * 8, op->address_size);
}

static void advance(struct soft_vcpu *v, const struct soft_op *op, unsigned reg)
{
	uint64_t now = address_register(v, op, reg);
	uint64_t next = soft_flag(v, FLAG_DF) ? now - op->size : now + op->size;
	soft_set_reg(v, reg * 8, op->address_size, next);
}

/* All that may fault comes before the port is touched. */
static void ins_one(struct soft_vcpu *v, const struct soft_op *op, uint16_t port)
{
	uint64_t value = 0;
	uint64_t linear =
		soft_linear(v, SEG_ES, address_register(v, op, RDI), op->size, ACCESS_WRITE);
	soft_touch(v, linear, op->size, ACCESS_WRITE, v->view);
	soft_io(v, port, &value, op->size, false);
	soft_write_size(v, linear, op->size, value, v->view);
	advance(v, op, RDI);
}

static void outs_one(struct soft_vcpu *v, const struct soft_op *op, uint16_t port)
{
	uint64_t linear =
		soft_linear(v, op->segment, address_register(v, op, RSI), op->size, ACCESS_READ);
	uint64_t value = soft_read_size(v, linear, op->size, v->view);
	soft_io(v, port, &value, op->size, true);
	advance(v, op, RSI);
}

/* A repeated one leaves after a while, to start again where it was. */
static void string_io(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t port = (uint16_t)v->gpr[RDX];
	bool is_repeated = op->repeat != REPEAT_NONE;
	uint64_t left = is_repeated ? address_register(v, op, RCX) : 1;
	check_port(v, port, op->size);
	for (unsigned i = 0; i < ELEMENTS_AT_ONCE && left > 0; i++) {
		if (op->reg == 0)
			ins_one(v, op, port);
		else
			outs_one(v, op, port);
		left--;
		if (is_repeated)
			soft_set_reg(v, RCX * 8, op->address_size, left);
	}
	v->rip = left == 0 ? soft_next_rip(v, op) : soft_rip(v);
}

/* what: size, and 8 for outs */
soft_handler *build_string_io(struct soft_insn *insn, struct soft_op *op, unsigned what)
{
	op->size = what & 7;
	op->reg = (uint8_t)(what >> 3);
	op->segment = SEG_DS;
	for (unsigned i = 0; i < insn->info.operand_count; i++)
		if (insn->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY && op->reg != 0)
			op->segment = soft_segment_number(insn->operand[i].mem.segment);
	insn->ends_block = true;
	return string_io;
}
