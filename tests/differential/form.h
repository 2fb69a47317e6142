/* form - which operands an instruction takes: found by asking the encoder, not written down. */
#pragma once

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

enum operand_kind {
	OPERAND_NONE,
	OPERAND_R8,
	OPERAND_HIGH,
	OPERAND_R16,
	OPERAND_R32,
	OPERAND_R64,
	OPERAND_M8,
	OPERAND_M16,
	OPERAND_M32,
	OPERAND_M64,
	OPERAND_M128,
	OPERAND_I8,
	OPERAND_I32,
	OPERAND_I64,
	OPERAND_CL,
	OPERAND_KINDS
};
enum { OPERANDS_MAX = 3 };

struct form {
	enum operand_kind operand[OPERANDS_MAX];
};

static inline bool form_is_memory(enum operand_kind kind)
{
	return kind >= OPERAND_M8 && kind <= OPERAND_M128;
}

MUST_CHECK int form_load(struct err *err); /* the encoder */
/* All forms of a mnemonic in code of that size (8, 4), at most max of them: how many. */
size_t form_find(ZydisMnemonic mnemonic, unsigned code_size, struct form *ret_forms, size_t max);

/* One instruction of that form; what varies comes from `random`, whose bits choose registers,
 * scale, displacement, immediate and prefixes.  0: not to be had this way. */
struct form_choice {
	uint64_t random;
	uint64_t immediate;
	uint32_t displacement;
	bool wants_lock, wants_repeat, wants_repeat_not, is_rip_relative, has_index,
		has_short_address;
	ZydisRegister base;
};
size_t form_encode(ZydisMnemonic mnemonic, unsigned code_size, const struct form *form,
	const struct form_choice *choice, uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH]);
