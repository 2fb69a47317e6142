/* ops_bit - single bits, counts of bits, fields of bits (BMI1, BMI2), CRC32. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_widths.h"

/* ---- bt, bts, btr, btc ---- */

enum { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

/* A bit number in a register reaches memory on both sides of the operand. */
static uint64_t bit_address(struct soft_vcpu *v, const struct soft_op *op, unsigned bits,
	uint64_t *bit)
{
	struct soft_op at = *op;
	if (op->reg == 0) { /* the number is in a register, signed */
		int64_t number = (int64_t)(*bit << (64 - bits)) >> (64 - bits);
		at.disp += (number >> (bits == 16 ? 4 : bits == 32 ? 5 : 6)) * (bits / 8);
	}
	*bit &= bits - 1;
	return soft_address(v, &at, bits / 8,
		op->src_size == BIT_TEST ? ACCESS_READ : ACCESS_WRITE);
}

#define BIT(name, prefix, insn, bits, type, suffix)                                            \
	static void name##_r_##bits(struct soft_vcpu *v, const struct soft_op *op)             \
	{                                                                                      \
		type b = op->reg != 0 ? (type)op->imm : soft_load##bits(soft_reg(v, op->src)); \
		type a = soft_load##bits(soft_reg(v, op->dst));                                \
		uint16_t arith = v->arith;                                                     \
		__asm__(ARITH_LOAD insn suffix " %2, %0" ARITH_SAVE                            \
			: "+r"(a), "+a"(arith)                                                 \
			: "r"(b)                                                               \
			: "cc");                                                               \
		v->arith = arith;                                                              \
		if (op->src_size != BIT_TEST)                                                  \
			soft_set_reg(v, op->dst, bits / 8, a);                                 \
	}                                                                                      \
	static void name##_m_##bits(struct soft_vcpu *v, const struct soft_op *op)             \
	{                                                                                      \
		uint64_t bit = op->reg != 0 ? op->imm : soft_load##bits(soft_reg(v, op->src)); \
		uint64_t linear = bit_address(v, op, bits, &bit);                              \
		type b = (type)bit, copy = 0;                                                  \
		type *bytes = soft_writable(v, linear, bits / 8);                              \
		if (bytes == NULL) {                                                           \
			copy = soft_read##bits(v, linear);                                     \
			bytes = &copy;                                                         \
		}                                                                              \
		uint16_t arith = v->arith;                                                     \
		if (op->is_locked)                                                             \
			__asm__ volatile(ARITH_LOAD prefix insn suffix " %2, %0" ARITH_SAVE    \
					 : "+m"(*bytes), "+a"(arith)                           \
					 : "r"(b)                                              \
					 : "cc");                                              \
		else                                                                           \
			__asm__ volatile(ARITH_LOAD insn suffix " %2, %0" ARITH_SAVE           \
					 : "+m"(*bytes), "+a"(arith)                           \
					 : "r"(b)                                              \
					 : "cc");                                              \
		if (bytes == &copy)                                                            \
			soft_write##bits(v, linear, copy);                                     \
		v->arith = arith;                                                              \
	}
#define BITS(name, insn)                            \
	BIT(name, "lock ", insn, 16, uint16_t, "w") \
	BIT(name, "lock ", insn, 32, uint32_t, "l") \
	BIT(name, "lock ", insn, 64, uint64_t, "q")

BITS(bts, "bts")
BITS(btr, "btr")
BITS(btc, "btc")

/* A test only reads: on a value. */
#define BIT_TEST_WIDTH(bits, type, suffix, c)                                                  \
	static void bt_of_##bits(struct soft_vcpu *v, type a, type b)                          \
	{                                                                                      \
		uint16_t arith = v->arith;                                                     \
		__asm__(ARITH_LOAD "bt" suffix " %2, %1" ARITH_SAVE                            \
			: "+a"(arith)                                                          \
			: "r"(a), "r"(b)                                                       \
			: "cc");                                                               \
		v->arith = arith;                                                              \
	}                                                                                      \
	static void bt_r_##bits(struct soft_vcpu *v, const struct soft_op *op)                 \
	{                                                                                      \
		type b = op->reg != 0 ? (type)op->imm : soft_load##bits(soft_reg(v, op->src)); \
		bt_of_##bits(v, soft_load##bits(soft_reg(v, op->dst)), b);                     \
	}                                                                                      \
	static void bt_m_##bits(struct soft_vcpu *v, const struct soft_op *op)                 \
	{                                                                                      \
		uint64_t bit = op->reg != 0 ? op->imm : soft_load##bits(soft_reg(v, op->src)); \
		uint64_t linear = bit_address(v, op, bits, &bit);                              \
		bt_of_##bits(v, soft_read##bits(v, linear), (type)bit);                        \
	}
WIDE_WIDTHS(BIT_TEST_WIDTH)

#define BIT_ROWS(name)                                 \
	{                                              \
		WIDE_ROW(name##_r), WIDE_ROW(name##_m) \
	}
static soft_handler *const bit_handlers[][2][4] = { BIT_ROWS(bt), BIT_ROWS(bts), BIT_ROWS(btr),
	BIT_ROWS(btc) };

soft_handler *build_bit(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	op->reg = in->operand[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	op->src_size = (uint8_t)what;
	return bit_handlers[what][op->is_memory][soft_width(op->size)];
}

/* ---- dst from one operand, with flags ---- */

static uint64_t source(struct soft_vcpu *v, const struct soft_op *op, unsigned reg)
{
	if (op->is_memory)
		return soft_read_size(v, soft_address(v, op, op->size, ACCESS_READ), op->size,
			v->view);
	return soft_get_reg(v, reg, op->size);
}

/* All 64 bits of the destination go in and come out: bsf and bsr of 0 leave them, upper half and
 * all. */
#define SCAN(name, insn, bits, type, suffix, width)                              \
	static void name##_##bits(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                        \
		type b = (type)source(v, op, op->src);                           \
		uint64_t a = soft_load64(soft_reg(v, op->dst));                  \
		uint16_t arith = v->arith;                                       \
		__asm__(ARITH_LOAD insn suffix " %2, %" width "0" ARITH_SAVE     \
			: "+r"(a), "+a"(arith)                                   \
			: "r"(b)                                                 \
			: "cc");                                                 \
		v->arith = arith;                                                \
		soft_store64(soft_reg(v, op->dst), a);                           \
	}
#define SCANS(name, insn)                        \
	SCAN(name, insn, 16, uint16_t, "w", "w") \
	SCAN(name, insn, 32, uint32_t, "l", "k") \
	SCAN(name, insn, 64, uint64_t, "q", "q")

SCANS(bsf, "bsf")
SCANS(bsr, "bsr")
SCANS(tzcnt, "tzcnt")
SCANS(lzcnt, "lzcnt")
SCANS(popcnt, "popcnt")

static soft_handler *const scans[][4] = { WIDE_ROW(bsf), WIDE_ROW(bsr), WIDE_ROW(tzcnt),
	WIDE_ROW(lzcnt), WIDE_ROW(popcnt) };

soft_handler *build_scan(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	return scans[what][soft_width(op->size)];
}

/* ---- BMI1 and BMI2: dst from a (register or memory) and b (register or immediate) ---- */

/* In AT&T's order the first operand is the last of Intel's.  Where b is the r/m operand (andn,
 * pdep, pext), op->src and op->reg are told apart by the builder. */
#define FIELD(name, insn, bits, type)                                                              \
	static void name##_##bits(struct soft_vcpu *v, const struct soft_op *op)                   \
	{                                                                                          \
		type rm = (type)source(v, op, op->src), b = soft_load##bits(soft_reg(v, op->reg)); \
		type result;                                                                       \
		uint16_t arith = v->arith;                                                         \
		__asm__(ARITH_LOAD insn ARITH_SAVE                                                 \
			: "=&r"(result), "+&a"(arith)                                              \
			: "r"(rm), "r"(b)                                                          \
			: "cc");                                                                   \
		v->arith = arith;                                                                  \
		soft_set_reg(v, op->dst, bits / 8, result);                                        \
	}
#define FIELDS(name, insn)              \
	FIELD(name, insn, 32, uint32_t) \
	FIELD(name, insn, 64, uint64_t)
#define FIELD_ROW(name)                          \
	{                                        \
		NULL, NULL, name##_32, name##_64 \
	}

FIELDS(andn, "andn %2, %3, %0")
FIELDS(bextr, "bextr %3, %2, %0")
FIELDS(bzhi, "bzhi %3, %2, %0")
FIELDS(sarx, "sarx %3, %2, %0")
FIELDS(shlx, "shlx %3, %2, %0")
FIELDS(shrx, "shrx %3, %2, %0")
FIELDS(pdep, "pdep %2, %3, %0")
FIELDS(pext, "pext %2, %3, %0")
FIELDS(blsi, "blsi %2, %0")
FIELDS(blsmsk, "blsmsk %2, %0")
FIELDS(blsr, "blsr %2, %0")

static soft_handler *const fields[][4] = { FIELD_ROW(andn), FIELD_ROW(bextr), FIELD_ROW(bzhi),
	FIELD_ROW(sarx), FIELD_ROW(shlx), FIELD_ROW(shrx), FIELD_ROW(pdep), FIELD_ROW(pext),
	FIELD_ROW(blsi), FIELD_ROW(blsmsk), FIELD_ROW(blsr) };

/* The r/m operand is the last visible one of andn, pdep, pext, bls*, else the second. */
soft_handler *build_field(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	/* A guest may execute what its CPUID does not show. */
	if (!__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
		return NULL;
	for (unsigned i = 1; i < in->info.operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &in->operand[i];
		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		uint8_t offset = soft_register_offset(o->reg.value);
		if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
			op->src = offset;
		else
			op->reg = offset;
	}
	return fields[what][soft_width(op->size)];
}

static void rorx(struct soft_vcpu *v, const struct soft_op *op)
{
	unsigned bits = 8u * op->size, count = (unsigned)op->imm & (bits - 1);
	uint64_t a = source(v, op, op->src);
	soft_set_reg(v, op->dst, op->size, a >> count | a << ((bits - count) & (bits - 1)));
}

soft_handler *build_rorx(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)op, (void)what;
	return rorx;
}

/* ---- additions that use one flag only (ADX) ---- */

static void add_with(struct soft_vcpu *v, const struct soft_op *op, uint16_t flag)
{
	uint64_t a = soft_get_reg(v, op->dst, op->size), b = source(v, op, op->src);
	unsigned __int128 sum = (unsigned __int128)a + b + ((v->arith & flag) != 0);
	bool carries = (sum >> (8 * op->size)) != 0;
	v->arith = (uint16_t)((v->arith & ~flag) | (carries ? flag : 0));
	soft_set_reg(v, op->dst, op->size, (uint64_t)sum);
}

static void adcx(struct soft_vcpu *v, const struct soft_op *op)
{
	add_with(v, op, ARITH_CF);
}

static void adox(struct soft_vcpu *v, const struct soft_op *op)
{
	add_with(v, op, ARITH_OF);
}

soft_handler *build_adx(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)op;
	return what == 0 ? adcx : adox;
}

/* ---- CRC32 (SSE4.2): polynomial 0x11edc6f41, reflected ---- */

static void crc32(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t data = op->is_memory
				? soft_read_size(v, soft_address(v, op, op->src_size, ACCESS_READ),
					  op->src_size, v->view)
				: soft_get_reg(v, op->src, op->src_size);
	uint32_t crc = soft_load32(soft_reg(v, op->dst));
	for (unsigned i = 0; i < op->src_size * 8u; i++) {
		uint32_t bit = (crc ^ (uint32_t)(data >> i)) & 1;
		crc = crc >> 1 ^ (0x82f63b78u & (0 - bit));
	}
	soft_set_reg(v, op->dst, 8, crc);
}

soft_handler *build_crc32(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	op->src_size = (uint8_t)(in->operand[1].size / 8);
	return crc32;
}
