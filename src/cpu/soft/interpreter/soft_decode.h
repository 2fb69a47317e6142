/* soft_decode - one instruction from its bytes to a struct soft_op. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

struct soft_native;

/* Loads the decoder (libZydis); once, before the jail closes. */
MUST_CHECK int soft_decode_load(struct err *err);

enum soft_decoded {
	SOFT_DECODED,       /* go on behind it */
	SOFT_DECODED_LAST,  /* it ends its block */
	SOFT_DECODED_SHORT, /* more bytes are needed; with 15 it is #GP */
	SOFT_DECODED_FULL,  /* native has no room left: to be done again behind soft_native_reset()
			     */
};
/* len: bytes there are, 1 .. 15.  code_size: 2, 4, 8.  What is no instruction becomes an op that
 * raises #UD.  op->start is the caller's. */
enum soft_decoded soft_decode(const uint8_t *bytes, size_t len, unsigned code_size,
	struct soft_native *native, struct soft_op *ret_op);
