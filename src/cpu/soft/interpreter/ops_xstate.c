/* ops_xstate - saving and restoring the state of x87, SSE, AVX and AVX-512, and their control words
 * (Intel SDM 1, 10.5 and 13).  Instructions that compute are soft_native's. */
#include <string.h>

#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_xstate.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_user.h"

#define X87 XCR0_X87
#define SSE XCR0_SSE
#define AVX XCR0_AVX
#define FSW_CLEARED 0x80ffu /* by FNCLEX: the exceptions, ES, B */

static uint64_t in_use(const struct soft_vcpu *v)
{
	return soft_load64(v->xstate + XSTATE_LEGACY);
}

static void set_in_use(struct soft_vcpu *v, uint64_t components)
{
	soft_store64(v->xstate + XSTATE_LEGACY, components);
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
		memset(image, 0, XSTATE_MXCSR);
		memset(image + XSTATE_ST, 0, XSTATE_XMM - XSTATE_ST);
		soft_store16(image + XSTATE_FCW, FCW_INITIAL);
	}
	if ((components & SSE) != 0)
		memset(image + XSTATE_XMM, 0, XSTATE_XMM_END - XSTATE_XMM);
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++) {
		const struct soft_component *c = &v->machine->model.component[i];
		if ((components >> i & 1) != 0)
			memset(image + c->at, 0, c->len);
	}
}

void soft_x87_use(struct soft_vcpu *v)
{
	soft_user_write_xstate(v);
	if ((in_use(v) & X87) == 0)
		initialise(v, v->xstate, X87);
	set_in_use(v, in_use(v) | X87);
}

static size_t xmm_bytes(const struct soft_vcpu *v)
{
	return v->is_long ? XSTATE_XMM_END - XSTATE_XMM : (XSTATE_XMM_END - XSTATE_XMM) / 2;
}

/* The short form of the two pointers is an offset of 32 bits and a selector, which the long form's
 * upper half then is not. */
static void shorten_pointers(uint8_t *image)
{
	soft_store32(image + XSTATE_FIP + 4, 0);
	soft_store32(image + XSTATE_FDP + 4, 0);
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
	soft_store32(image + XSTATE_MXCSR + 4, v->machine->model.mxcsr_mask);
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
	uint64_t old = soft_read64(v, linear + XSTATE_LEGACY);
	soft_user_read_xstate(v);
	make_image(v, op, image);
	soft_store64(image + XSTATE_LEGACY, (old & ~asked) | (in_use(v) & asked));

	struct soft_component pieces[5 + SOFT_COMPONENTS];
	size_t count = 0;
	if ((asked & X87) != 0) {
		pieces[count++] = (struct soft_component){ 0, XSTATE_MXCSR };
		pieces[count++] = (struct soft_component){ XSTATE_ST, XSTATE_XMM - XSTATE_ST };
	}
	if ((asked & (SSE | AVX)) != 0)
		pieces[count++] = (struct soft_component){ XSTATE_MXCSR, XSTATE_ST - XSTATE_MXCSR };
	if ((asked & SSE) != 0)
		pieces[count++] = (struct soft_component){ XSTATE_XMM, (uint16_t)xmm_bytes(v) };
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++)
		if ((asked >> i & 1) != 0)
			pieces[count++] = component_of(v, i);
	pieces[count++] = (struct soft_component){ XSTATE_LEGACY, 8 };
	write_pieces(v, linear, image, pieces, count);
}

static void fxsave(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t image[SOFT_XSTATE_MAX];
	need_x87(v);
	uint64_t linear = aligned_address(v, op, XSTATE_LEGACY, 16, ACCESS_WRITE);
	soft_touch(v, linear, XSTATE_LEGACY, ACCESS_WRITE, v->view);
	soft_user_read_xstate(v);
	make_image(v, op, image);
	const struct soft_component all = { 0, (uint16_t)(XSTATE_XMM + xmm_bytes(v)) };
	write_pieces(v, linear, image, &all, 1);
}

/* ---- restore ---- */

static void take_legacy(struct soft_vcpu *v, const struct soft_op *op, uint8_t *image,
	uint64_t components)
{
	if (op->size != 8)
		shorten_pointers(image);
	if ((components & X87) != 0) {
		memcpy(v->xstate, image, XSTATE_MXCSR);
		memcpy(v->xstate + XSTATE_ST, image + XSTATE_ST, XSTATE_XMM - XSTATE_ST);
	}
	if ((components & SSE) == 0)
		return;
	if ((in_use(v) & SSE) == 0)
		initialise(v, v->xstate, SSE);
	memcpy(v->xstate + XSTATE_XMM, image + XSTATE_XMM, xmm_bytes(v));
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
	const uint8_t *header = image + XSTATE_LEGACY;
	uint64_t there = soft_load64(header);
	/* Compacted images (the second word) are not offered. */
	if ((there & ~v->xcr0) != 0 || soft_load64(header + 8) != 0 ||
		soft_load64(header + 16) != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	soft_user_write_xstate(v);
	if ((asked & (SSE | AVX)) != 0) {
		check_mxcsr(v, soft_load32(image + XSTATE_MXCSR));
		memcpy(v->xstate + XSTATE_MXCSR, image + XSTATE_MXCSR, 4);
	}
	take_legacy(v, op, image, asked & there);
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++)
		if (((asked & there) >> i & 1) != 0)
			take_component(v, image, i);
	set_in_use(v, (in_use(v) & ~asked) | (asked & there));
}

static void fxrstor(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t image[XSTATE_LEGACY];
	need_x87(v);
	uint64_t linear = aligned_address(v, op, XSTATE_LEGACY, 16, ACCESS_READ);
	soft_read_bytes(v, linear, image, XSTATE_LEGACY, v->view);
	check_mxcsr(v, soft_load32(image + XSTATE_MXCSR));
	soft_user_write_xstate(v);
	memcpy(v->xstate + XSTATE_MXCSR, image + XSTATE_MXCSR, 4);
	take_legacy(v, op, image, X87 | SSE);
	set_in_use(v, in_use(v) | X87 | SSE);
}

/* ---- x87's own ---- */

bool soft_x87_is_pending(struct soft_vcpu *v)
{
	soft_user_read_xstate(v);
	unsigned fcw = soft_load16(v->xstate + XSTATE_FCW);
	unsigned fsw = soft_load16(v->xstate + XSTATE_FSW);
	return (in_use(v) & X87) != 0 && (fsw & ~fcw & FSW_EXCEPTIONS) != 0;
}

/* Without NE it is the old way by IRQ 13, which nobody offers any more. */
static void check_pending(struct soft_vcpu *v)
{
	if (soft_x87_is_pending(v) && (v->cr0 & CR0_NE) != 0)
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
	soft_x87_use(v);
	memset(v->xstate, 0, XSTATE_MXCSR);
	soft_store16(v->xstate + XSTATE_FCW, FCW_INITIAL);
}

static void fnclex(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_x87(v);
	soft_x87_use(v);
	unsigned fsw = soft_load16(v->xstate + XSTATE_FSW);
	soft_store16(v->xstate + XSTATE_FSW, (uint16_t)(fsw & ~FSW_CLEARED));
}

static void emms(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	if ((v->cr0 & CR0_EM) != 0)
		soft_raise(v, VECTOR_UD);
	need_x87(v);
	check_pending(v);
	soft_x87_use(v);
	soft_store8(v->xstate + XSTATE_FTW, 0);
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
	soft_store32(v->xstate + XSTATE_MXCSR, mxcsr);
}

static void stmxcsr(struct soft_vcpu *v, const struct soft_op *op)
{
	need_sse(v);
	soft_user_read_xstate(v);
	uint32_t mxcsr = soft_load32(v->xstate + XSTATE_MXCSR);
	soft_write32(v, soft_address(v, op, 4, ACCESS_WRITE), mxcsr);
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_EMMS, emms, false },
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
	op->reg = in->info.mnemonic == ZYDIS_MNEMONIC_FNSTSW ? XSTATE_FSW : XSTATE_FCW;
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}
