/* ops_system - what is left: model-specific registers, identification, counters, caches, hints. */
#include <x86intrin.h>

#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_msr.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_cpuid.h"
#include "cpu/soft/soft_machine.h"

/* Of KVM's hypercalls (Documentation/virt/kvm/x86/hypercalls.rst): none is offered. */
#define KVM_ENOSYS 1000
#define KVM_EPERM 1

static void need_ring0(struct soft_vcpu *v)
{
	if (v->cpl != 0)
		soft_raise_error(v, VECTOR_GP, 0);
}

static void set_edx_eax(struct soft_vcpu *v, uint64_t value)
{
	v->gpr[RAX] = (uint32_t)value;
	v->gpr[RDX] = value >> 32;
}

/* ---- model-specific registers ---- */

static void rdmsr(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = 0;
	(void)op;
	need_ring0(v);
	if (!soft_msr_read(v, (uint32_t)v->gpr[RCX], &value))
		soft_raise_error(v, VECTOR_GP, 0);
	set_edx_eax(v, value);
}

static void wrmsr(struct soft_vcpu *v, const struct soft_op *op)
{
	need_ring0(v);
	uint64_t value = v->gpr[RDX] << 32 | (uint32_t)v->gpr[RAX];
	uint64_t next = soft_next_rip(v, op);
	if (!soft_msr_write(v, (uint32_t)v->gpr[RCX], value))
		soft_raise_error(v, VECTOR_GP, 0);
	v->rip = next;
}

/* ---- what it is, what time it is ---- */

static void cpuid(struct soft_vcpu *v, const struct soft_op *op)
{
	uint32_t regs[REGS_CPUID];
	(void)op;
	soft_cpuid(v, (uint32_t)v->gpr[RAX], (uint32_t)v->gpr[RCX], regs);
	v->gpr[RAX] = regs[REG_EAX];
	v->gpr[RBX] = regs[REG_EBX];
	v->gpr[RCX] = regs[REG_ECX];
	v->gpr[RDX] = regs[REG_EDX];
}

static void need_tsc(struct soft_vcpu *v)
{
	if ((v->cr4 & CR4_TSD) != 0)
		need_ring0(v);
}

static void rdtsc(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_tsc(v);
	set_edx_eax(v, soft_tsc(v));
}

static void rdtscp(struct soft_vcpu *v, const struct soft_op *op)
{
	rdtsc(v, op);
	v->gpr[RCX] = (uint32_t)v->msr.tsc_aux;
}

/* There are no counters, so every number is a wrong one. */
static void rdpmc(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	soft_raise_error(v, VECTOR_GP, 0);
}

/* ---- hypercalls ---- */

static void hypercall(struct soft_vcpu *v, const struct soft_op *op)
{
	int64_t result = v->cpl == 0 ? -KVM_ENOSYS : -KVM_EPERM;
	(void)op;
	soft_set_reg(v, RAX * 8, v->is_long ? 8 : 4, (uint64_t)result);
}

/* ---- caches, order, hints ---- */

static void nothing(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)v;
	(void)op;
}

static void privileged_nothing(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	need_ring0(v);
}

/* Loads and stores are the host's, in its order, which the guest's fences then are for. */
static void fence(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)v;
	(void)op;
	_mm_mfence();
}

static void pause_hint(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)v;
	(void)op;
	_mm_pause();
}

/* They fault like loads. */
static void flush_line(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_touch(v, soft_address(v, op, 1, ACCESS_READ), 1, ACCESS_READ, v->view);
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_CLFLUSH, flush_line, false },
	{ ZYDIS_MNEMONIC_CLFLUSHOPT, flush_line, false },
	{ ZYDIS_MNEMONIC_CLWB, flush_line, false },
	{ ZYDIS_MNEMONIC_CPUID, cpuid, false },
	{ ZYDIS_MNEMONIC_ENDBR32, nothing, false },
	{ ZYDIS_MNEMONIC_ENDBR64, nothing, false },
	{ ZYDIS_MNEMONIC_INVD, privileged_nothing, false },
	{ ZYDIS_MNEMONIC_LFENCE, fence, false },
	{ ZYDIS_MNEMONIC_MFENCE, fence, false },
	{ ZYDIS_MNEMONIC_MONITOR, privileged_nothing, false },
	{ ZYDIS_MNEMONIC_MWAIT, privileged_nothing, false },
	{ ZYDIS_MNEMONIC_PAUSE, pause_hint, false },
	{ ZYDIS_MNEMONIC_PREFETCH, nothing, false },
	{ ZYDIS_MNEMONIC_PREFETCHNTA, nothing, false },
	{ ZYDIS_MNEMONIC_PREFETCHT0, nothing, false },
	{ ZYDIS_MNEMONIC_PREFETCHT1, nothing, false },
	{ ZYDIS_MNEMONIC_PREFETCHT2, nothing, false },
	{ ZYDIS_MNEMONIC_PREFETCHW, nothing, false },
	{ ZYDIS_MNEMONIC_RDMSR, rdmsr, false },
	{ ZYDIS_MNEMONIC_RDPMC, rdpmc, false },
	{ ZYDIS_MNEMONIC_RDTSC, rdtsc, false },
	{ ZYDIS_MNEMONIC_RDTSCP, rdtscp, false },
	{ ZYDIS_MNEMONIC_SERIALIZE, fence, false },
	{ ZYDIS_MNEMONIC_SFENCE, fence, false },
	{ ZYDIS_MNEMONIC_VMCALL, hypercall, false },
	{ ZYDIS_MNEMONIC_VMMCALL, hypercall, false },
	{ ZYDIS_MNEMONIC_WBINVD, privileged_nothing, false },
	{ ZYDIS_MNEMONIC_WRMSR, wrmsr, true },
};

soft_handler *build_system(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)op;
	(void)what;
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}

/* ---- random numbers: the host's, if it has any ---- */

static void rdrand(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value;
	bool is_good;
	if (!soft_model_has(&v->machine->model, 1, REG_ECX, 30))
		soft_raise(v, VECTOR_UD);
	__asm__ volatile("rdrand %0" : "=r"(value), "=@ccc"(is_good) : : "cc");
	soft_set_reg(v, op->dst, op->size, is_good ? value : 0);
	v->arith = is_good ? ARITH_CF | 0x0200 : 0x0200;
}

static void rdseed(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value;
	bool is_good;
	if (!soft_model_has(&v->machine->model, 7, REG_EBX, 18))
		soft_raise(v, VECTOR_UD);
	__asm__ volatile("rdseed %0" : "=r"(value), "=@ccc"(is_good) : : "cc");
	soft_set_reg(v, op->dst, op->size, is_good ? value : 0);
	v->arith = is_good ? ARITH_CF | 0x0200 : 0x0200;
}

/* what: 0 RDRAND, 1 RDSEED */
soft_handler *build_random(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	(void)op;
	return what == 0 ? rdrand : rdseed;
}
