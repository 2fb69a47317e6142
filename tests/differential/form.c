/* form - see form.h. */
#include "form.h"

#include <string.h>

#include "base/library.h"
#include "base/mem.h"

static struct {
	ZyanStatus (*encode)(const ZydisEncoderRequest *, void *, ZyanUSize *);
} encoder;

int form_load(struct err *err)
{
	static const struct library library = { "libZydis.so.4.0", "libzydis4.0", "for tests" };
	const struct library_symbol symbols[] = { { "ZydisEncoderEncodeInstruction",
		&encoder.encode } };
	return library_load(&library, symbols, ARRAY_LEN(symbols), err);
}

static unsigned take(uint64_t *random, unsigned bits)
{
	unsigned value = (unsigned)(*random & ((1u << bits) - 1));
	*random >>= bits;
	return value;
}

static void fill_memory(ZydisEncoderOperand *o, const struct form_choice *choice, unsigned bytes,
	uint64_t *random)
{
	o->type = ZYDIS_OPERAND_TYPE_MEMORY;
	o->mem.size = (ZyanU16)bytes;
	if (choice->is_rip_relative) {
		o->mem.base = ZYDIS_REGISTER_RIP;
		o->mem.displacement = (int32_t)choice->displacement;
		return;
	}
	unsigned base = (unsigned)(choice->base - ZYDIS_REGISTER_RAX);
	ZydisRegister first = choice->has_short_address ? ZYDIS_REGISTER_EAX : ZYDIS_REGISTER_RAX;
	o->mem.base = (ZydisRegister)((unsigned)first + base);
	o->mem.displacement = (int32_t)choice->displacement;
	if (!choice->has_index)
		return;
	unsigned index = take(random, 4);
	if (index == 4) /* rsp is none */
		return;
	o->mem.index = (ZydisRegister)((unsigned)first + index);
	o->mem.scale = (ZyanU8)(1u << take(random, 2));
}

static void fill(ZydisEncoderOperand *o, enum operand_kind kind, const struct form_choice *choice,
	uint64_t *random)
{
	static const struct {
		ZydisRegister first;
		unsigned bits; /* how many to choose from */
	} registers[] = {
		[OPERAND_R8] = { ZYDIS_REGISTER_AL, 2 },
		[OPERAND_HIGH] = { ZYDIS_REGISTER_AH, 2 },
		[OPERAND_R16] = { ZYDIS_REGISTER_AX, 4 },
		[OPERAND_R32] = { ZYDIS_REGISTER_EAX, 4 },
		[OPERAND_R64] = { ZYDIS_REGISTER_RAX, 4 },
	};
	if (kind >= OPERAND_R8 && kind <= OPERAND_R64) {
		o->type = ZYDIS_OPERAND_TYPE_REGISTER;
		o->reg.value = (ZydisRegister)((unsigned)registers[kind].first +
					       take(random, registers[kind].bits));
		/* AL .. BL and SPL .. R15B are two rows of the decoder's. */
		if (kind == OPERAND_R8 && take(random, 1) != 0)
			o->reg.value = (ZydisRegister)(ZYDIS_REGISTER_SPL + (int)take(random, 3));
	} else if (form_is_memory(kind)) {
		fill_memory(o, choice, 1u << (kind - OPERAND_M8), random);
	} else if (kind == OPERAND_CL) {
		o->type = ZYDIS_OPERAND_TYPE_REGISTER;
		o->reg.value = ZYDIS_REGISTER_CL;
	} else {
		o->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
		o->imm.s = kind == OPERAND_I8    ? (int8_t)choice->immediate
			   : kind == OPERAND_I32 ? (int32_t)choice->immediate
						 : (int64_t)choice->immediate;
	}
}

size_t form_encode(ZydisMnemonic mnemonic, unsigned code_size, const struct form *form,
	const struct form_choice *choice, uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH])
{
	ZydisEncoderRequest request;
	uint64_t random = choice->random;
	memset(&request, 0, sizeof(request));
	request.machine_mode =
		code_size == 8 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32;
	request.mnemonic = mnemonic;
	if (choice->wants_lock)
		request.prefixes |= ZYDIS_ATTRIB_HAS_LOCK;
	if (choice->wants_repeat)
		request.prefixes |= ZYDIS_ATTRIB_HAS_REP;
	if (choice->wants_repeat_not)
		request.prefixes |= ZYDIS_ATTRIB_HAS_REPNE;
	while (request.operand_count < OPERANDS_MAX &&
		form->operand[request.operand_count] != OPERAND_NONE) {
		fill(&request.operands[request.operand_count], form->operand[request.operand_count],
			choice, &random);
		request.operand_count++;
	}
	ZyanUSize len = ZYDIS_MAX_INSTRUCTION_LENGTH;
	return ZYAN_SUCCESS(encoder.encode(&request, bytes, &len)) ? len : 0;
}

size_t form_find(ZydisMnemonic mnemonic, unsigned code_size, struct form *ret_forms, size_t max)
{
	const struct form_choice choice = { .immediate = 1,
		.base = ZYDIS_REGISTER_RBX,
		.has_short_address = code_size == 4,
		.random = 0x11 };
	uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
	size_t found = 0;
	for (unsigned i = 0; i < OPERAND_KINDS * OPERAND_KINDS * OPERAND_KINDS && found < max;
		i++) {
		struct form form = { { (enum operand_kind)(i / (OPERAND_KINDS * OPERAND_KINDS)),
			(enum operand_kind)(i / OPERAND_KINDS % OPERAND_KINDS),
			(enum operand_kind)(i % OPERAND_KINDS) } };
		bool has_hole =
			(form.operand[0] == OPERAND_NONE && i != 0) ||
			(form.operand[1] == OPERAND_NONE && form.operand[2] != OPERAND_NONE);
		if (!has_hole && form_encode(mnemonic, code_size, &form, &choice, bytes) > 0)
			ret_forms[found++] = form;
	}
	return found;
}
