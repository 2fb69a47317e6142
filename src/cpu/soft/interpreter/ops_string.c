/* ops_string - movs, stos, lods, scas, cmps, alone and repeated.
 *
 * A repeated one may take long, so it looks for attention every few thousand elements and leaves
 * with its registers as they are: the instruction then starts again where it was, as on the real
 * processor.  Forward copies and fills go by pieces of pages where both ends are memory at hand. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"

enum { ELEMENTS_AT_ONCE = 4096 };

/* One address register, as wide as addresses are. */
static uint64_t get(const struct soft_vcpu *v, const struct soft_op *op, unsigned reg)
{
	uint64_t value = v->gpr[reg];
	return op->address_size == 8   ? value
	       : op->address_size == 4 ? (uint32_t)value
				       : (uint16_t)value;
}

static void set(struct soft_vcpu *v, const struct soft_op *op, unsigned reg, uint64_t value)
{
	soft_set_reg(v, reg * 8, op->address_size, value);
}

static uint64_t linear_of(struct soft_vcpu *v, const struct soft_op *op, unsigned segment,
	uint64_t offset, enum soft_access access)
{
	if (v->is_long)
		return segment < SEG_FS ? offset : offset + v->seg[segment].base;
	return soft_linear(v, segment, offset, op->size, access);
}

static uint64_t from_address(struct soft_vcpu *v, const struct soft_op *op)
{
	return linear_of(v, op, op->segment, get(v, op, RSI), ACCESS_READ);
}

static uint64_t to_address(struct soft_vcpu *v, const struct soft_op *op, enum soft_access access)
{
	return linear_of(v, op, SEG_ES, get(v, op, RDI), access);
}

static void advance(struct soft_vcpu *v, const struct soft_op *op, unsigned reg, uint64_t elements)
{
	uint64_t step = elements * op->size;
	uint64_t now = get(v, op, reg);
	set(v, op, reg, soft_flag(v, FLAG_DF) ? now - step : now + step);
}

/* ---- one element of each ---- */

static void compare(struct soft_vcpu *v, uint64_t a, uint64_t b, unsigned size)
{
	unsigned shift = 64 - 8 * size;
	uint16_t arith;
	/* AF is of bit 4, so it is not the shifted values' and comes from the bytes. */
	__asm__("cmpq %2, %1" ARITH_SAVE : "=&a"(arith) : "r"(a << shift), "r"(b << shift) : "cc");
	uint16_t low;
	__asm__("cmpb %2, %1" ARITH_SAVE : "=&a"(low) : "q"((uint8_t)a), "q"((uint8_t)b) : "cc");
	/* So does PF, of the result's low byte. */
	const uint16_t from_low = ARITH_AF | ARITH_PF;
	v->arith = (uint16_t)((arith & ~from_low) | (low & from_low));
}

static void movs_one(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = soft_read_size(v, from_address(v, op), op->size, v->view);
	soft_write_size(v, to_address(v, op, ACCESS_WRITE), op->size, value, v->view);
	advance(v, op, RSI, 1);
	advance(v, op, RDI, 1);
}

static void stos_one(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_write_size(v, to_address(v, op, ACCESS_WRITE), op->size, v->gpr[RAX], v->view);
	advance(v, op, RDI, 1);
}

static void lods_one(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = soft_read_size(v, from_address(v, op), op->size, v->view);
	soft_set_reg(v, RAX * 8, op->size, value);
	advance(v, op, RSI, 1);
}

static void scas_one(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = soft_read_size(v, to_address(v, op, ACCESS_READ), op->size, v->view);
	compare(v, soft_get_reg(v, RAX * 8, op->size), value, op->size);
	advance(v, op, RDI, 1);
}

static void cmps_one(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t a = soft_read_size(v, from_address(v, op), op->size, v->view);
	uint64_t b = soft_read_size(v, to_address(v, op, ACCESS_READ), op->size, v->view);
	compare(v, a, b, op->size);
	advance(v, op, RSI, 1);
	advance(v, op, RDI, 1);
}

/* ---- many at once: as many elements as were done, 0 where it has to be one by one ---- */

static size_t in_page(uint64_t linear)
{
	return (size_t)(SOFT_PAGE - (linear & (SOFT_PAGE - 1)));
}

static uint64_t stos_many(struct soft_vcpu *v, const struct soft_op *op, uint64_t elements)
{
	if (soft_flag(v, FLAG_DF) || !v->is_long)
		return 0;
	uint64_t to = to_address(v, op, ACCESS_WRITE);
	uint64_t most = in_page(to) / op->size;
	uint64_t n = elements < most ? elements : most;
	uint8_t *bytes = n > 0 ? soft_writable(v, to, (size_t)n * op->size) : NULL;
	if (bytes == NULL)
		return 0;
	uint64_t value = v->gpr[RAX], count = n;
	switch (op->size) {
	case 1: memset(bytes, (int)(value & 0xff), (size_t)n); break;
	case 2:
		__asm__ volatile("rep stosw" : "+D"(bytes), "+c"(count) : "a"(value) : "memory");
		break;
	case 4:
		__asm__ volatile("rep stosl" : "+D"(bytes), "+c"(count) : "a"(value) : "memory");
		break;
	default:
		__asm__ volatile("rep stosq" : "+D"(bytes), "+c"(count) : "a"(value) : "memory");
		break;
	}
	advance(v, op, RDI, n);
	return n;
}

/* The source only if it is in the TLB, or comes there by this touch. */
static const uint8_t *readable(struct soft_vcpu *v, uint64_t linear, size_t len)
{
	struct soft_tlb_entry *e = soft_tlb_at(v->data_tlb, linear);
	if (!soft_is_within(e->read, linear, len))
		soft_touch(v, linear, len, ACCESS_READ, v->view);
	return soft_is_within(e->read, linear, len) ? (const uint8_t *)(linear + e->addend) : NULL;
}

static uint64_t movs_many(struct soft_vcpu *v, const struct soft_op *op, uint64_t elements)
{
	if (soft_flag(v, FLAG_DF) || !v->is_long)
		return 0;
	uint64_t from = from_address(v, op), to = to_address(v, op, ACCESS_WRITE);
	size_t most = in_page(from) < in_page(to) ? in_page(from) : in_page(to);
	uint64_t n = elements < most / op->size ? elements : most / op->size;
	size_t len = (size_t)n * op->size;
	if (n == 0)
		return 0;
	const uint8_t *source = readable(v, from, len);
	uint8_t *target = source != NULL ? soft_writable(v, to, len) : NULL;
	if (target == NULL)
		return 0;
	/* Overlapping in one's own way is a pattern that people use: element by element. */
	if (target > source && target < source + len)
		return 0;
	memmove(target, source, len);
	advance(v, op, RSI, n);
	advance(v, op, RDI, n);
	return n;
}

/* ---- repeated ---- */

/* What a repetition tests: nothing, or ZF after each. */
static bool goes_on(const struct soft_vcpu *v, const struct soft_op *op, bool tests)
{
	return !tests || ((v->arith & ARITH_ZF) != 0) == (op->repeat == REPEAT_REP);
}

typedef void one_element(struct soft_vcpu *v, const struct soft_op *op);
typedef uint64_t many_elements(struct soft_vcpu *v, const struct soft_op *op, uint64_t elements);

/* It ends its block: the next instruction, or itself again. */
static void repeated(struct soft_vcpu *v, const struct soft_op *op, one_element *one,
	many_elements *many, bool tests)
{
	uint64_t left = get(v, op, RCX);
	unsigned budget = ELEMENTS_AT_ONCE;
	bool is_over = left == 0;
	while (!is_over && budget > 0) {
		uint64_t done = many != NULL ? many(v, op, left) : 0;
		if (done == 0) {
			one(v, op);
			done = 1;
		}
		left -= done;
		set(v, op, RCX, left);
		is_over = left == 0 || !goes_on(v, op, tests);
		budget--;
	}
	v->rip = is_over ? soft_next_rip(v, op) : soft_rip(v);
}

#define STRING(name, many, tests)                                                  \
	static void name##_repeated(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                          \
		repeated(v, op, name##_one, many, tests);                          \
	}
STRING(movs, movs_many, false)
STRING(stos, stos_many, false)
STRING(lods, NULL, false)
STRING(scas, NULL, true)
STRING(cmps, NULL, true)

static soft_handler *const handlers[][2] = {
	{ movs_one, movs_repeated },
	{ stos_one, stos_repeated },
	{ lods_one, lods_repeated },
	{ scas_one, scas_repeated },
	{ cmps_one, cmps_repeated },
};

/* what: row, and the element's size in the upper bits. */
soft_handler *build_string(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	/* MOVSD and CMPSD are names of SSE's, too. */
	if (in->info.meta.category != ZYDIS_CATEGORY_STRINGOP)
		return NULL;
	op->size = (uint8_t)(what >> 4);
	op->segment = SEG_DS;
	for (unsigned i = 0; i < in->info.operand_count; i++) {
		const ZydisDecodedOperand *o = &in->operand[i];
		/* An override is of the source. */
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
			(o->mem.base == ZYDIS_REGISTER_RSI || o->mem.base == ZYDIS_REGISTER_ESI ||
				o->mem.base == ZYDIS_REGISTER_SI))
			op->segment = soft_segment_number(o->mem.segment);
	}
	in->ends_block = op->repeat != REPEAT_NONE;
	return handlers[what & 15][op->repeat != REPEAT_NONE];
}
