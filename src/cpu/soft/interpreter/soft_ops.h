/* soft_ops - from a decoded instruction to its handler: a table by mnemonic (ops.def), whose rows
 * name a builder and what it is told.  A builder looks at the instruction's form, may fill in more
 * of the op, and returns the handler; NULL: the processor does not know this form (#UD). */
#pragma once

#include <Zydis/Zydis.h>

#include "cpu/soft/soft_vcpu.h"

/* The visible operands: R register, M memory, I immediate.  soft_decode() has filled in what they
 * say: R first -> dst; R second -> src; M -> is_memory, base, index ...; I -> imm. */
enum soft_form {
	FORM_NONE,
	FORM_R,
	FORM_M,
	FORM_I,
	FORM_RR,
	FORM_RM,
	FORM_MR,
	FORM_RI,
	FORM_MI,
	FORM_OTHER
};

struct soft_insn {
	ZydisDecodedInstruction info;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	enum soft_form form;        /* by the first two visible operands */
	uint8_t code_size;          /* 2, 4, 8: the mode it was decoded in */
	struct soft_native *native; /* borrowed: room for code */
	bool is_full;               /* there is none: all code has to be forgotten first */
	bool ends_block; /* set by a builder whose instruction changes rip, mode or mappings */
};

typedef soft_handler *soft_builder(struct soft_insn *in, struct soft_op *op, unsigned what);

/* For builders that look at operands themselves: a general register's byte offset in gpr[] (that of
 * GPR_ZERO for any other register), a segment's number. */
uint8_t soft_register_offset(ZydisRegister reg);
uint8_t soft_segment_number(ZydisRegister reg);

/* Every builder that ops.def names. */
#define OP(mnemonic, builder, what) soft_builder builder;
#include "cpu/soft/interpreter/ops.def"
#undef OP

/* For builders of instructions that have one form only: their handlers, in a table. */
struct soft_plain {
	ZydisMnemonic mnemonic;
	soft_handler *run;
	bool ends_block;
};

static inline soft_handler *soft_plain_find(const struct soft_plain *table, size_t len,
	struct soft_insn *in)
{
	for (size_t i = 0; i < len; i++) {
		if (table[i].mnemonic != in->info.mnemonic)
			continue;
		in->ends_block = table[i].ends_block;
		return table[i].run;
	}
	return NULL;
}

/* Builders that those of a mnemonic with several meanings pass on to. */
soft_builder build_far;         /* jmp (what 0), call (1), ret (2): ops_segment.c */
soft_builder build_mov_segment; /* to or from a segment register */
soft_builder build_push_segment;
soft_builder build_pop_segment;
soft_builder build_mov_control; /* to or from a control register: ops_control.c */
soft_builder build_mov_debug;
