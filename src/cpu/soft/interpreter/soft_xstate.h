/* soft_xstate - x87, SSE and what came after, as v->xstate holds it: XSAVE's standard form (Intel
 * SDM 1, 10.5 and 13).  A component whose bit in the header is clear is in its initial state,
 * whatever its bytes are. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

enum {
	XSTATE_FCW = 0,
	XSTATE_FSW = 2,
	XSTATE_FTW = 4,
	XSTATE_FIP = 8,
	XSTATE_FDP = 16,
	XSTATE_MXCSR = 24,
	XSTATE_ST = 32,
	XSTATE_XMM = 160,
	XSTATE_XMM_END = 416,
	XSTATE_LEGACY = 512 /* bytes; then the header, which begins with the bits in use */
};
#define FCW_INITIAL 0x37fu
#define FSW_EXCEPTIONS 0x3fu
#define FSW_SUMMARY 0x8080u /* ES and B: one of them is not masked */
#define MXCSR_EXCEPTIONS 0x3fu
#define MXCSR_MASKS 0x1f80u

/* Gives x87's bytes their meaning, for what works on them. */
void soft_x87_use(struct soft_vcpu *v);
/* Whether an exception waits for the next instruction that looks. */
MUST_CHECK bool soft_x87_is_pending(struct soft_vcpu *v);
