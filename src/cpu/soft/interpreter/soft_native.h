/* soft_native - vector instructions of ring 0, run by the real processor: each is encoded anew with
 * its memory operand in a buffer and its general register in rax, and then called. */
#pragma once

#include "cpu/soft/interpreter/soft_ops.h"

struct soft_native;

/* Memory for code, which has to be mapped before the jail closes. */
MUST_CHECK int soft_native_new(struct soft_native **ret_native, struct err *err);
void soft_native_free(struct soft_native *native); /* NULL is fine */
/* Forgets all code: with the blocks that call it. */
void soft_native_reset(struct soft_native *native);

/* Loads the encoder. */
MUST_CHECK int soft_native_load(struct err *err);
/* As a builder: NULL for what is no vector instruction of this host's, or not one that can be run
 * so. */
soft_handler *soft_native_build(struct soft_insn *in, struct soft_op *op);
