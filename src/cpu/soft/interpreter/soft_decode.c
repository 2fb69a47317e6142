/* soft_decode - Zydis' view of an instruction, made small: what handlers need and no more.
 *
 * Each op is written once and run many times, so all that can be decided beforehand is: which
 * handler for this form and size, which register (as a byte offset), where a branch goes. */
#include "cpu/soft/interpreter/soft_decode.h"

#include <endian.h>
#include <string.h>

#include "base/library.h"
#include "base/log.h"
#include "cpu/soft/interpreter/soft_native.h"

static const struct row {
	soft_builder *build;
	unsigned what;
} rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define OP(mnemonic, builder, what) [ZYDIS_MNEMONIC_##mnemonic] = { builder, what },
#include "cpu/soft/interpreter/ops.def"
#undef OP
};

/* What is loaded: written once, before any thread decodes. */
static struct {
	ZyanStatus (*init)(ZydisDecoder *, ZydisMachineMode, ZydisStackWidth);
	ZyanStatus (*decode)(const ZydisDecoder *, const void *, ZyanUSize,
		ZydisDecodedInstruction *, ZydisDecodedOperand *);
	ZydisDecoder decoder[3]; /* 16, 32, 64 bits */
} zydis;

int soft_decode_load(struct err *err)
{
	static const struct library library = {
		.name = "libZydis.so.4.0",
		.package = "libzydis4.0",
		.purpose = "for machines without KVM",
	};
	const struct library_symbol symbols[] = {
		{ "ZydisDecoderInit", &zydis.init },
		{ "ZydisDecoderDecodeFull", &zydis.decode },
	};
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} modes[] = {
		{ ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
		{ ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		{ ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
	};
	int r = library_load(&library, symbols, ARRAY_LEN(symbols), err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(modes); i++) {
		if (!ZYAN_SUCCESS(zydis.init(&zydis.decoder[i], modes[i].mode, modes[i].stack)))
			r = err_set(err, ERR_UNSUPPORTED, "%s cannot decode", library.name);
	}
	return r;
}

/* ---- operands ---- */

uint8_t soft_register_offset(ZydisRegister reg)
{
	unsigned number = 0, high = 0;
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
		number = (unsigned)(reg - ZYDIS_REGISTER_AH);
		high = 1;
	} else if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL) {
		number = (unsigned)(reg - ZYDIS_REGISTER_AL);
	} else if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B) {
		number = (unsigned)(reg - ZYDIS_REGISTER_SPL) + 4;
	} else if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W) {
		number = (unsigned)(reg - ZYDIS_REGISTER_AX);
	} else if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D) {
		number = (unsigned)(reg - ZYDIS_REGISTER_EAX);
	} else if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15) {
		number = (unsigned)(reg - ZYDIS_REGISTER_RAX);
	} else if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) {
		number = GPR_BLOCK;
	} else {
		number = GPR_ZERO;
	}
	return (uint8_t)(number * 8 + high);
}

uint8_t soft_segment_number(ZydisRegister reg)
{
	switch ((int)reg) {
	case ZYDIS_REGISTER_ES: return SEG_ES;
	case ZYDIS_REGISTER_CS: return SEG_CS;
	case ZYDIS_REGISTER_SS: return SEG_SS;
	case ZYDIS_REGISTER_FS: return SEG_FS;
	case ZYDIS_REGISTER_GS: return SEG_GS;
	default: return SEG_DS;
	}
}

static void take_memory(const struct soft_insn *in, const ZydisDecodedOperand *o,
	struct soft_op *op)
{
	op->is_memory = true;
	op->base = soft_register_offset(o->mem.base);
	op->index = soft_register_offset(o->mem.index);
	op->scale = (uint8_t)(o->mem.scale == 8 ? 3 : o->mem.scale / 2);
	op->disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
	op->segment = soft_segment_number(o->mem.segment);
	op->address_size = (uint8_t)(in->info.address_width / 8);
	/* The op's own start is added when it takes its place in a block. */
	if (op->base == GPR_BLOCK * 8)
		op->disp += in->info.length;
}

static enum soft_form form_of(const struct soft_insn *in)
{
	static const enum soft_form pairs[3][3] = {
		{ FORM_RR, FORM_RM, FORM_RI },
		{ FORM_MR, FORM_OTHER, FORM_MI },
		{ FORM_OTHER, FORM_OTHER, FORM_OTHER },
	};
	static const enum soft_form singles[3] = { FORM_R, FORM_M, FORM_I };
	unsigned kind[2] = { 0 };
	unsigned count = in->info.operand_count_visible < 2 ? in->info.operand_count_visible : 2;
	for (unsigned i = 0; i < count; i++) {
		switch (in->operand[i].type) {
		case ZYDIS_OPERAND_TYPE_REGISTER: kind[i] = 0; break;
		case ZYDIS_OPERAND_TYPE_MEMORY: kind[i] = 1; break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE: kind[i] = 2; break;
		case ZYDIS_OPERAND_TYPE_POINTER:
		case ZYDIS_OPERAND_TYPE_UNUSED: return FORM_OTHER;
		}
	}
	return count == 0 ? FORM_NONE : count == 1 ? singles[kind[0]] : pairs[kind[0]][kind[1]];
}

static void take_operands(const struct soft_insn *in, struct soft_op *op)
{
	for (unsigned i = 0; i < in->info.operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &in->operand[i];
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
			take_memory(in, o, op);
		else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			op->imm = o->imm.value.u;
		else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && i == 0)
			op->dst = soft_register_offset(o->reg.value);
		else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && i == 1)
			op->src = soft_register_offset(o->reg.value);
	}
}

static void take_prefixes(const struct soft_insn *in, struct soft_op *op)
{
	ZydisInstructionAttributes has = in->info.attributes;
	op->is_locked = (has & ZYDIS_ATTRIB_HAS_LOCK) != 0;
	if ((has & ZYDIS_ATTRIB_HAS_REPNE) != 0)
		op->repeat = REPEAT_REPNE;
	else if ((has & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0)
		op->repeat = REPEAT_REP;
}

static void undefined(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	soft_raise(v, VECTOR_UD);
}

static void too_long(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	soft_raise_error(v, VECTOR_GP, 0);
}

/* What may be our lack.  Each is told about once or twice, so that a guest cannot fill a log. */
static void unknown(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t bit = UINT64_C(1) << (op->imm * 0x9e3779b97f4a7c15u >> 58);
	if ((v->unknown_code & bit) == 0)
		log_warning("vCPU %u: no such instruction: %0*jx", v->index, 2 * op->size,
			(uintmax_t)htobe64(op->imm) >> (64 - 8 * op->size));
	v->unknown_code |= bit;
	undefined(v, op);
}

/* Kernels raise #UD themselves, by an instruction that is meant for it. */
static bool is_meant(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_UD0 || mnemonic == ZYDIS_MNEMONIC_UD1 ||
	       mnemonic == ZYDIS_MNEMONIC_UD2;
}

/* len: of what there is at bytes. */
static enum soft_decoded give_unknown(const uint8_t *bytes, size_t len, struct soft_op *ret_op)
{
	*ret_op = (struct soft_op){ .run = unknown, .len = 1 };
	ret_op->size = (uint8_t)(len < sizeof(ret_op->imm) ? len : sizeof(ret_op->imm));
	memcpy(&ret_op->imm, bytes, ret_op->size);
	return SOFT_DECODED_LAST;
}

enum soft_decoded soft_decode(const uint8_t *bytes, size_t len, unsigned code_size,
	struct soft_native *native, struct soft_op *ret_op)
{
	struct soft_insn in;
	const ZydisDecoder *decoder = &zydis.decoder[code_size == 2 ? 0 : code_size == 4 ? 1 : 2];
	ZyanStatus status = zydis.decode(decoder, bytes, len, &in.info, in.operand);
	if (status == ZYDIS_STATUS_NO_MORE_DATA)
		return SOFT_DECODED_SHORT;
	if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) {
		*ret_op = (struct soft_op){ .run = too_long, .len = 1 };
		return SOFT_DECODED_LAST;
	}
	/* Encodings of other processors have names that these have, too (XOP's bextr). */
	if (!ZYAN_SUCCESS(status) || (in.info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
					     in.info.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX))
		return give_unknown(bytes, len, ret_op);
	in.form = form_of(&in);
	in.code_size = (uint8_t)code_size;
	in.native = native;
	in.is_full = in.ends_block = false;
	struct soft_op op = {
		.len = in.info.length,
		.base = GPR_ZERO * 8,
		.index = GPR_ZERO * 8,
		.segment = SEG_DS,
		.size = (uint8_t)(in.info.operand_width / 8),
		.address_size = (uint8_t)(in.info.address_width / 8),
		.is_flat = code_size == 8 && in.info.address_width == 64,
	};
	if (in.info.operand_count_visible > 0 && in.operand[0].size >= 8 &&
		in.operand[0].size <= 64 && in.operand[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		op.size = (uint8_t)(in.operand[0].size / 8);
	take_operands(&in, &op);
	take_prefixes(&in, &op);
	const struct row *row = &rows[in.info.mnemonic];
	if (row->build != NULL)
		op.run = row->build(&in, &op, row->what);
	/* Names that vector instructions have, too: movsd. */
	if (op.run == NULL)
		op.run = soft_native_build(&in, &op);
	if (in.is_full)
		return SOFT_DECODED_FULL;
	if (op.run == NULL && is_meant(in.info.mnemonic)) {
		op.run = undefined;
		in.ends_block = true;
	}
	if (op.run == NULL)
		return give_unknown(bytes, in.info.length, ret_op);
	*ret_op = op;
	return in.ends_block ? SOFT_DECODED_LAST : SOFT_DECODED;
}
