/* ops_xstate - saving and restoring the state of x87, SSE, AVX and AVX-512, and what kernels do to
 * x87 besides (Intel SDM 1, 10.5 and 13).
 *
 * v->xstate has the state of ring 3 in XSAVE's standard form; a component whose bit in its header
 * is clear is in its initial state, whatever its bytes are. */
#include <string.h>

#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/soft_ops.h"
#include "cpu/soft/soft_user.h"

enum {
	FCW_AT = 0,
	FSW_AT = 2,
	FTW_AT = 4,
	FIP_AT = 8,
	FDP_AT = 16,
	MXCSR_AT = 24,
	ST_AT = 32,
	XMM_AT = 160,
	XMM_END = 416,
	LEGACY_BYTES = 512
};
#define X87 XCR0_X87
#define SSE XCR0_SSE
#define AVX XCR0_AVX
#define FCW_INITIAL 0x37fu
#define FSW_CLEARED 0x80ffu /* by FNCLEX: the exceptions, ES, B */

static uint64_t in_use(const struct soft_vcpu *v)
{
	return soft_load64(v->xstate + LEGACY_BYTES);
}

static void set_in_use(struct soft_vcpu *v, uint64_t components)
{
	soft_store64(v->xstate + LEGACY_BYTES, components);
}

/* One of the components that have a place of their own: all of it, or as much as code outside
 * 64-bit mode reaches. */
static struct soft_component component_of(const struct soft_vcpu *v, unsigned number)
{
	struct soft_component c = v->machine->model.component[number];
	const uint64_t bit = UINT64_C(1) << number;
	if (!v->is_long && (bit & (XCR0_AVX | XCR0_ZMM_HIGH)) != 0)
		c.len /= 2;
	if (!v->is_long && bit == XCR0_ZMM_MORE)
		c.len = 0;
	return c;
}

static void initialise(const struct soft_vcpu *v, uint8_t *image, uint64_t components)
{
	if ((components & X87) != 0) {
		memset(image, 0, MXCSR_AT);
		memset(image + ST_AT, 0, XMM_AT - ST_AT);
		soft_store16(image + FCW_AT, FCW_INITIAL);
	}
	if ((components & SSE) != 0)
		memset(image + XMM_AT, 0, XMM_END - XMM_AT);
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++) {
		const struct soft_component *c = &v->machine->model.component[i];
		if ((components >> i & 1) != 0)
			memset(image + c->at, 0, c->len);
	}
}

/* Gives x87's bytes their meaning, for what works on them. */
static void use_x87(struct soft_vcpu *v)
{
	soft_user_write_xstate(v);
	if ((in_use(v) & X87) == 0)
		initialise(v, v->xstate, X87);
	set_in_use(v, in_use(v) | X87);
}

static size_t xmm_bytes(const struct soft_vcpu *v)
{
	return v->is_long ? XMM_END - XMM_AT : (XMM_END - XMM_AT) / 2;
}

/* The short form of the two pointers is an offset of 32 bits and a selector, which the long form's
 * upper half then is not. */
static void shorten_pointers(uint8_t *image)
{
	soft_store32(image + FIP_AT + 4, 0);
	soft_store32(image + FDP_AT + 4, 0);
}

/* ---- who may ---- */

static void need_xsave(struct soft_vcpu *v)
{
	if ((v->cr4 & CR4_OSXSAVE) == 0)
		soft_raise(v, VECTOR_UD);
	if ((v->cr0 & CR0_TS) != 0)
		soft_raise(v, VECTOR_NM);
}

static void need_x87(struct soft_vcpu *v)
{
	if ((v->cr0 & (CR0_TS | CR0_EM)) != 0)
		soft_raise(v, VECTOR_NM);
}

static void need_sse(struct soft_vcpu *v)
{
	if ((v->cr0 & CR0_EM) != 0 || (v->cr4 & CR4_OSFXSR) == 0)
		soft_raise(v, VECTOR_UD);
	if ((v->cr0 & CR0_TS) != 0)
		soft_raise(v, VECTOR_NM);
}

static uint64_t aligned_address(struct soft_vcpu *v, const struct soft_op *op, size_t len,
	size_t alignment, enum soft_access access)
{
	uint64_t linear = soft_address(v, op, len, access);
	if (linear % alignment != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	return linear;
}

static void check_mxcsr(struct soft_vcpu *v, uint32_t mxcsr)
{
	if ((mxcsr & ~v->machine->model.mxcsr_mask) != 0)
		soft_raise_error(v, VECTOR_GP, 0);
}

/* ---- save ---- */

static void write_pieces(struct soft_vcpu *v, uint64_t linear, const uint8_t *image,
	const struct soft_component *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++)
		soft_write_bytes(v, linear + pieces[i].at, image + pieces[i].at, pieces[i].len,
			v->view);
}

/* The state as it is, with initial components written out. */
static void make_image(struct soft_vcpu *v, const struct soft_op *op,
	uint8_t image[SOFT_XSTATE_MAX])
{
	memcpy(image, v->xstate, soft_xstate_bytes(&v->machine->model, UINT64_MAX));
	initialise(v, image, ~in_use(v));
	soft_store32(image + MXCSR_AT + 4, v->machine->model.mxcsr_mask);
	if (op->size != 8)
		shorten_pointers(image);
}

/* XSAVEOPT may leave out what is initial or unmodified; it need not. */
static void xsave(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t image[SOFT_XSTATE_MAX];
	need_xsave(v);
	uint64_t asked = v->xcr0 & (v->gpr[RDX] << 32 | (uint32_t)v->gpr[RAX]);
	size_t len = soft_xstate_bytes(&v->machine->model, asked);
	uint64_t linear = aligned_address(v, op, len, 64, ACCESS_WRITE);
	soft_touch(v, linear, len, ACCESS_WRITE, v->view);
	uint64_t old = soft_read64(v, linear + LEGACY_BYTES);
	soft_user_read_xstate(v);
	make_image(v, op, image);
	soft_store64(image + LEGACY_BYTES, (old & ~asked) | (in_use(v) & asked));

	struct soft_component pieces[5 + SOFT_COMPONENTS];
	size_t count = 0;
	if ((asked & X87) != 0) {
		pieces[count++] = (struct soft_component){ 0, MXCSR_AT };
		pieces[count++] = (struct soft_component){ ST_AT, XMM_AT - ST_AT };
	}
	if ((asked & (SSE | AVX)) != 0)
		pieces[count++] = (struct soft_component){ MXCSR_AT, ST_AT - MXCSR_AT };
	if ((asked & SSE) != 0)
		pieces[count++] = (struct soft_component){ XMM_AT, (uint16_t)xmm_bytes(v) };
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++)
		if ((asked >> i & 1) != 0)
			pieces[count++] = component_of(v, i);
	pieces[count++] = (struct soft_component){ LEGACY_BYTES, 8 };
	write_pieces(v, linear, image, pieces, count);
}

static void fxsave(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t image[SOFT_XSTATE_MAX];
	need_x87(v);
	uint64_t linear = aligned_address(v, op, LEGACY_BYTES, 16, ACCESS_WRITE);
	soft_touch(v, linear, LEGACY_BYTES, ACCESS_WRITE, v->view);
	soft_user_read_xstate(v);
	make_image(v, op, image);
	const struct soft_component all = { 0, (uint16_t)(XMM_AT + xmm_bytes(v)) };
	write_pieces(v, linear, image, &all, 1);
}

/* ---- restore ---- */

static void take_legacy(struct soft_vcpu *v, const struct soft_op *op, uint8_t *image,
	uint64_t components)
{
	if (op->size != 8)
		shorten_pointers(image);
	if ((components & X87) != 0) {
		memcpy(v->xstate, image, MXCSR_AT);
		memcpy(v->xstate + ST_AT, image + ST_AT, XMM_AT - ST_AT);
	}
	if ((components & SSE) == 0)
		return;
	if ((in_use(v) & SSE) == 0)
		initialise(v, v->xstate, SSE);
	memcpy(v->xstate + XMM_AT, image + XMM_AT, xmm_bytes(v));
}

static void take_component(struct soft_vcpu *v, const uint8_t *image, unsigned number)
{
	const struct soft_component c = component_of(v, number);
	if ((in_use(v) >> number & 1) == 0)
		initialise(v, v->xstate, UINT64_C(1) << number);
	memcpy(v->xstate + c.at, image + c.at, c.len);
}

static void xrstor(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t image[SOFT_XSTATE_MAX];
	need_xsave(v);
	uint64_t asked = v->xcr0 & (v->gpr[RDX] << 32 | (uint32_t)v->gpr[RAX]);
	size_t len = soft_xstate_bytes(&v->machine->model, asked);
	uint64_t linear = aligned_address(v, op, len, 64, ACCESS_READ);
	soft_read_bytes(v, linear, image, len, v->view);
	const uint8_t *header = image + LEGACY_BYTES;
	uint64_t there = soft_load64(header);
	/* Compacted images (the second word) are not offered. */
	if ((there & ~v->xcr0) != 0 || soft_load64(header + 8) != 0 ||
		soft_load64(header + 16) != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	soft_user_write_xstate(v);
	if ((asked & (SSE | AVX)) != 0) {
		check_mxcsr(v, soft_load32(image + MXCSR_AT));
		memcpy(v->xstate + MXCSR_AT, image + MXCSR_AT, 4);
	}
	take_legacy(v, op, image, asked & there);
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++)
		if (((asked & there) >> i & 1) != 0)
			take_component(v, image, i);
	set_in_use(v, (in_use(v) & ~asked) | (asked & there));
}

static void fxrstor(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t image[LEGACY_BYTES];
	need_x87(v);
	uint64_t linear = aligned_address(v, op, LEGACY_BYTES, 16, ACCESS_READ);
	soft_read_bytes(v, linear, image, LEGACY_BYTES, v->view);
	check_mxcsr(v, soft_load32(image + MXCSR_AT));
	soft_user_write_xstate(v);
	memcpy(v->xstate + MXCSR_AT, image + MXCSR_AT, 4);
	take_legacy(v, op, image, X87 | SSE);
	set_in_use(v, in_use(v) | X87 | SSE);
}

/* ---- x87's own ---- */

static bool has_pending(struct soft_vcpu *v)
{
	soft_user_read_xstate(v);
	unsigned fcw = soft_load16(v->xstate + FCW_AT), fsw = soft_load16(v->xstate + FSW_AT);
	return (in_use(v) & X87) != 0 && (fsw & ~fcw & 0x3f) != 0;
}

/* Without NE it is the old way by IRQ 13, which nobody offers any more. */
static void check_pending(struct soft_vcpu *v)
{
	if (has_pending(v) && (v->cr0 & CR0_NE) != 0)
		soft_raise(v, VECTOR_MF);
}

static void fwait(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	if ((v->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		soft_raise(v, VECTOR_NM);
	check_pending(v);
}

/* The registers stay, but all are tagged empty. */
static void fninit(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_x87(v);
	use_x87(v);
	memset(v->xstate, 0, MXCSR_AT);
	soft_store16(v->xstate + FCW_AT, FCW_INITIAL);
}

static void fnclex(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_x87(v);
	use_x87(v);
	unsigned fsw = soft_load16(v->xstate + FSW_AT);
	soft_store16(v->xstate + FSW_AT, (uint16_t)(fsw & ~FSW_CLEARED));
}

static void emms(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	if ((v->cr0 & CR0_EM) != 0)
		soft_raise(v, VECTOR_UD);
	need_x87(v);
	check_pending(v);
	use_x87(v);
	soft_store8(v->xstate + FTW_AT, 0);
}

static void fldcw(struct soft_vcpu *v, const struct soft_op *op)
{
	need_x87(v);
	check_pending(v);
	uint16_t fcw = soft_read16(v, soft_address(v, op, 2, ACCESS_READ));
	use_x87(v);
	soft_store16(v->xstate + FCW_AT, fcw);
}

/* op->reg: which of the two words */
static void store_word(struct soft_vcpu *v, const struct soft_op *op)
{
	need_x87(v);
	soft_user_read_xstate(v);
	if ((in_use(v) & X87) == 0)
		initialise(v, v->xstate, X87);
	uint16_t word = soft_load16(v->xstate + op->reg);
	if (op->is_memory)
		soft_write16(v, soft_address(v, op, 2, ACCESS_WRITE), word);
	else
		soft_set_reg(v, RAX * 8, 2, word);
}

/* ---- MXCSR ---- */

static void ldmxcsr(struct soft_vcpu *v, const struct soft_op *op)
{
	need_sse(v);
	uint32_t mxcsr = soft_read32(v, soft_address(v, op, 4, ACCESS_READ));
	check_mxcsr(v, mxcsr);
	soft_user_write_xstate(v);
	soft_store32(v->xstate + MXCSR_AT, mxcsr);
}

static void stmxcsr(struct soft_vcpu *v, const struct soft_op *op)
{
	need_sse(v);
	soft_user_read_xstate(v);
	uint32_t mxcsr = soft_load32(v->xstate + MXCSR_AT);
	soft_write32(v, soft_address(v, op, 4, ACCESS_WRITE), mxcsr);
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_EMMS, emms, false },
	{ ZYDIS_MNEMONIC_FLDCW, fldcw, false },
	{ ZYDIS_MNEMONIC_FNCLEX, fnclex, false },
	{ ZYDIS_MNEMONIC_FNINIT, fninit, false },
	{ ZYDIS_MNEMONIC_FNSTCW, store_word, false },
	{ ZYDIS_MNEMONIC_FNSTSW, store_word, false },
	{ ZYDIS_MNEMONIC_FWAIT, fwait, false },
	{ ZYDIS_MNEMONIC_FXRSTOR, fxrstor, false },
	{ ZYDIS_MNEMONIC_FXRSTOR64, fxrstor, false },
	{ ZYDIS_MNEMONIC_FXSAVE, fxsave, false },
	{ ZYDIS_MNEMONIC_FXSAVE64, fxsave, false },
	{ ZYDIS_MNEMONIC_LDMXCSR, ldmxcsr, false },
	{ ZYDIS_MNEMONIC_STMXCSR, stmxcsr, false },
	{ ZYDIS_MNEMONIC_XRSTOR, xrstor, false },
	{ ZYDIS_MNEMONIC_XRSTOR64, xrstor, false },
	{ ZYDIS_MNEMONIC_XSAVE, xsave, false },
	{ ZYDIS_MNEMONIC_XSAVE64, xsave, false },
	{ ZYDIS_MNEMONIC_XSAVEOPT, xsave, false },
	{ ZYDIS_MNEMONIC_XSAVEOPT64, xsave, false },
};

soft_handler *build_xstate(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	op->size = (uint8_t)(in->info.operand_width / 8);
	op->reg = in->info.mnemonic == ZYDIS_MNEMONIC_FNSTSW ? FSW_AT : FCW_AT;
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}
