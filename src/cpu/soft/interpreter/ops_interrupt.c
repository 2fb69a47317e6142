/* ops_interrupt - interrupts that code asks for, whether others may come, and waiting for one. */
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"

/* ---- int ---- */

static __attribute__((noreturn)) void software_interrupt(struct soft_vcpu *v,
	const struct soft_op *op, unsigned vector)
{
	v->exception = (struct soft_exception){ .vector = (int)vector,
		.is_software = true,
		.len = op->len };
	siglongjmp(v->trap, 1);
}

static void int_n(struct soft_vcpu *v, const struct soft_op *op)
{
	software_interrupt(v, op, op->imm & UINT8_MAX);
}

static void int3(struct soft_vcpu *v, const struct soft_op *op)
{
	software_interrupt(v, op, VECTOR_BP);
}

static void into(struct soft_vcpu *v, const struct soft_op *op)
{
	if ((v->arith & 1) != 0)
		software_interrupt(v, op, VECTOR_OF);
	v->rip = soft_next_rip(v, op);
}

/* A debugger's, not the program's: no look at the gate's privilege. */
static void int1(struct soft_vcpu *v, const struct soft_op *op)
{
	v->exception = (struct soft_exception){ .vector = VECTOR_DB, .len = op->len };
	siglongjmp(v->trap, 1);
}

/* ---- IF ---- */

static void need_iopl(struct soft_vcpu *v)
{
	if (v->cpl > (v->other_flags & FLAG_IOPL) >> 12)
		soft_raise_error(v, VECTOR_GP, 0);
}

static void cli(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_iopl(v);
	v->other_flags &= ~FLAG_IF;
}

/* "sti; hlt" and "sti; ret" are one to interrupts. */
static void sti(struct soft_vcpu *v, const struct soft_op *op)
{
	need_iopl(v);
	v->is_inhibited = !soft_flag(v, FLAG_IF);
	v->other_flags |= FLAG_IF;
	v->rip = soft_next_rip(v, op);
}

static void hlt(struct soft_vcpu *v, const struct soft_op *op)
{
	if (v->cpl != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	v->is_halted = true;
	v->rip = soft_next_rip(v, op);
}

/* ---- AC, for SMAP ---- */

static void set_ac(struct soft_vcpu *v, bool is_set)
{
	if (v->cpl != 0)
		soft_raise(v, VECTOR_UD);
	v->other_flags = is_set ? v->other_flags | FLAG_AC : v->other_flags & ~FLAG_AC;
	soft_settle_view(v);
}

static void stac(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	set_ac(v, true);
}

static void clac(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	set_ac(v, false);
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_CLAC, clac, false },
	{ ZYDIS_MNEMONIC_CLI, cli, false },
	{ ZYDIS_MNEMONIC_HLT, hlt, true },
	{ ZYDIS_MNEMONIC_INT, int_n, true },
	{ ZYDIS_MNEMONIC_INT1, int1, true },
	{ ZYDIS_MNEMONIC_INT3, int3, true },
	{ ZYDIS_MNEMONIC_INTO, into, true },
	{ ZYDIS_MNEMONIC_STAC, stac, false },
	{ ZYDIS_MNEMONIC_STI, sti, true },
};

soft_handler *build_interrupt(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)op;
	(void)what;
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}
