/* ops_syscall - the fast ways between rings, and the bases of FS and GS (Intel SDM 2 and AMD APM 3,
 * which differ: what the model's vendor says holds, as its ring 3 really is that vendor's). */
#include "cpu/soft/interpreter/soft_syscall.h"

#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/soft_machine.h"

#define CODE_FLAT 0xc9bu /* 4 GiB, present, ring 0, accessed, readable, 32 bits */
#define CODE_LONG 0xa9bu
#define STACK_FLAT 0xc93u

static bool is_amd(const struct soft_vcpu *v)
{
	return v->machine->model.is_amd;
}

static struct cpu_segment flat(uint16_t selector, unsigned attributes, unsigned cpl)
{
	return (struct cpu_segment){
		.limit = UINT32_MAX,
		.selector = (uint16_t)((selector & ~SELECTOR_RPL) | cpl),
		.attributes = (uint16_t)(attributes | cpl << SEG_DPL_SHIFT),
	};
}

static void enter(struct soft_vcpu *v, uint16_t cs, uint16_t ss, bool is_long, unsigned cpl)
{
	v->seg[SEG_CS] = flat(cs, is_long ? CODE_LONG : CODE_FLAT, cpl);
	v->seg[SEG_SS] = flat(ss, STACK_FLAT, cpl);
	soft_settle(v);
}

static void need_ring0(struct soft_vcpu *v)
{
	if (v->cpl != 0)
		soft_raise_error(v, VECTOR_GP, 0);
}

/* ---- syscall, sysret ---- */

/* Intel has them in 64-bit mode only. */
static void need_syscall(struct soft_vcpu *v)
{
	bool has = is_amd(v) ? soft_is_protected(v) : v->is_long;
	if ((v->efer & EFER_SCE) == 0 || !has)
		soft_raise(v, VECTOR_UD);
}

void soft_syscall(struct soft_vcpu *v, uint64_t next_rip)
{
	need_syscall(v);
	uint16_t cs = (uint16_t)(v->msr.star >> 32);
	v->gpr[RCX] = next_rip;
	if ((v->efer & EFER_LMA) == 0) {
		enter(v, cs, (uint16_t)(cs + 8), false, 0);
		v->rip = (uint32_t)v->msr.star;
		v->other_flags &= ~(FLAG_IF | FLAG_VM | FLAG_RF);
		return;
	}
	uint64_t flags = soft_flags(v) & ~(uint64_t)FLAG_RF;
	v->gpr[R11] = flags;
	v->rip = v->is_long ? v->msr.lstar : v->msr.cstar;
	enter(v, cs, (uint16_t)(cs + 8), true, 0);
	soft_set_flags(v, flags & ~v->msr.sfmask);
}

static void syscall_here(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_syscall(v, soft_next_rip(v, op));
}

/* From 64-bit mode all flags come back, from others only IF is set (AMD's). */
static void sysret(struct soft_vcpu *v, const struct soft_op *op)
{
	const uint64_t flags = FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
			       FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
	need_syscall(v);
	need_ring0(v);
	bool to_long = op->size == 8, was_long = v->is_long;
	uint64_t rip = to_long ? v->gpr[RCX] : (uint32_t)v->gpr[RCX];
	/* AMD's goes there, and it is the fetch that fails, in ring 3. */
	if (to_long && !is_amd(v) && !soft_is_canonical(rip))
		soft_raise_error(v, VECTOR_GP, 0);
	uint16_t base = (uint16_t)(v->msr.star >> 48);
	enter(v, to_long ? (uint16_t)(base + 16) : base, (uint16_t)(base + 8), to_long, 3);
	v->rip = rip;
	soft_set_flags(v, was_long ? v->gpr[R11] & flags : soft_flags(v) | FLAG_IF);
}

/* ---- sysenter, sysexit ---- */

/* AMD has them outside long mode only. */
static void need_sysenter(struct soft_vcpu *v)
{
	if (is_amd(v) && (v->efer & EFER_LMA) != 0)
		soft_raise(v, VECTOR_UD);
	if (!soft_is_protected(v) || soft_is_null((uint16_t)v->msr.sysenter_cs))
		soft_raise_error(v, VECTOR_GP, 0);
}

void soft_sysenter(struct soft_vcpu *v)
{
	need_sysenter(v);
	bool is_lma = (v->efer & EFER_LMA) != 0;
	uint16_t cs = (uint16_t)v->msr.sysenter_cs;
	v->other_flags &= ~(FLAG_VM | FLAG_IF | FLAG_RF);
	enter(v, cs, (uint16_t)((cs & ~SELECTOR_RPL) + 8), is_lma, 0);
	v->gpr[RSP] = is_lma ? v->msr.sysenter_esp : (uint32_t)v->msr.sysenter_esp;
	v->rip = is_lma ? v->msr.sysenter_eip : (uint32_t)v->msr.sysenter_eip;
}

static void sysenter(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	soft_sysenter(v);
}

static void sysexit(struct soft_vcpu *v, const struct soft_op *op)
{
	need_sysenter(v);
	need_ring0(v);
	bool to_long = op->size == 8;
	uint64_t rip = v->gpr[RDX], sp = v->gpr[RCX];
	if (to_long && (!soft_is_canonical(rip) || !soft_is_canonical(sp)))
		soft_raise_error(v, VECTOR_GP, 0);
	uint16_t base = (uint16_t)((v->msr.sysenter_cs & ~SELECTOR_RPL) + (to_long ? 32 : 16));
	enter(v, base, (uint16_t)(base + 8), to_long, 3);
	v->rip = to_long ? rip : (uint32_t)rip;
	v->gpr[RSP] = to_long ? sp : (uint32_t)sp;
}

/* ---- bases ---- */

static void swapgs(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_ring0(v);
	uint64_t base = v->seg[SEG_GS].base;
	v->seg[SEG_GS].base = v->msr.kernel_gs_base;
	v->msr.kernel_gs_base = base;
}

static void need_bases(struct soft_vcpu *v)
{
	if ((v->cr4 & CR4_FSGSBASE) == 0)
		soft_raise(v, VECTOR_UD);
}

static void read_base(struct soft_vcpu *v, const struct soft_op *op)
{
	need_bases(v);
	soft_set_reg(v, op->dst, op->size, v->seg[op->reg].base);
}

static void write_base(struct soft_vcpu *v, const struct soft_op *op)
{
	need_bases(v);
	uint64_t base = soft_get_reg(v, op->dst, op->size);
	if (!soft_is_canonical(base))
		soft_raise_error(v, VECTOR_GP, 0);
	v->seg[op->reg].base = base;
}

/* what: SEG_FS, SEG_GS */
soft_handler *build_read_base(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->reg = (uint8_t)what;
	return read_base;
}

soft_handler *build_write_base(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->reg = (uint8_t)what;
	return write_base;
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_SWAPGS, swapgs, false },
	{ ZYDIS_MNEMONIC_SYSCALL, syscall_here, true },
	{ ZYDIS_MNEMONIC_SYSENTER, sysenter, true },
	{ ZYDIS_MNEMONIC_SYSEXIT, sysexit, true },
	{ ZYDIS_MNEMONIC_SYSRET, sysret, true },
};

soft_handler *build_syscall(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	op->size = (uint8_t)(in->info.operand_width / 8);
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}
