/* soft_native - see soft_native.h.
 *
 * Kernels use few of these, in few places (hashes, checksums, parity), and programs that no stub
 * can run all of them; what they compute should be what ring 3 computes: so the instruction itself
 * runs, here, on the guest's registers.  It can do nothing but compute: it has no address of its
 * own, no stack, no branch.  It runs in 64-bit mode, also where the guest does not: encoded anew
 * with the same operands.
 *
 *   push  [rdi + 8]; popfq   for those that look at flags
 *   mov   rax, [rdi]         the general register, where there is one
 *   INSTRUCTION              with [rdi + 64] as its memory operand
 *   mov   [rdi], rax
 *   pushfq; pop [rdi + 8]    for those that compare
 *   ret
 *
 * Exceptions of SSE are masked while it runs; one that the guest has not masked becomes #XF
 * afterwards, when the result has been written: later than on the real processor.  Those of x87
 * wait for the next instruction of x87 anyway: so none runs while one waits. */
#include "cpu/soft/interpreter/soft_native.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/library.h"
#include "base/mem.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_xstate.h"
#include "cpu/soft/soft_cpuid.h"
#include "cpu/soft/soft_user.h"

enum { CODE_BYTES = 1 << 20, SNIPPET_MAX = 48, MEMORY_MAX = 128 };
#define VECTORS (XCR0_SSE | XCR0_AVX)

struct soft_native {
	uint8_t *writable; /* owned: two mappings of one file */
	uint8_t *executable;
	size_t used;
};

/* What an instruction sees; rdi points to it. */
struct native_frame {
	uint64_t rax, flags;
	uint8_t unused[48];
	uint8_t memory[MEMORY_MAX]; /* of fnsave: 108 bytes */
} __attribute__((aligned(64)));
static_assert(offsetof(struct native_frame, memory) == 64, "the snippets say so");

typedef void native_code(struct native_frame *frame);

static struct {
	ZyanStatus (*to_request)(const ZydisDecodedInstruction *, const ZydisDecodedOperand *,
		ZyanU8, ZydisEncoderRequest *);
	ZyanStatus (*encode)(const ZydisEncoderRequest *, void *, ZyanUSize *);
} encoder;

int soft_native_load(struct err *err)
{
	static const struct library library = {
		.name = "libZydis.so.4.0",
		.package = "libzydis4.0",
		.purpose = "for machines without KVM",
	};
	const struct library_symbol symbols[] = {
		{ "ZydisEncoderDecodedInstructionToEncoderRequest", &encoder.to_request },
		{ "ZydisEncoderEncodeInstruction", &encoder.encode },
	};
	return library_load(&library, symbols, ARRAY_LEN(symbols), err);
}

int soft_native_new(struct soft_native **ret_native, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = fd_executable_memory("moat-code", CODE_BYTES, &fd, err);
	if (r < 0)
		return r;
	void *writable = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *executable = mmap(NULL, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	struct soft_native *native = NEW(soft_native);
	native->writable = writable;
	native->executable = executable;
	if (writable == MAP_FAILED || executable == MAP_FAILED) {
		r = err_sys(err, errno, "map memory for code");
		soft_native_free(native);
		return r;
	}
	*ret_native = native;
	return 0;
}

void soft_native_free(struct soft_native *native)
{
	if (native == NULL)
		return;
	if (native->writable != MAP_FAILED)
		(void)munmap(native->writable, CODE_BYTES);
	if (native->executable != MAP_FAILED)
		(void)munmap(native->executable, CODE_BYTES);
	free(native);
}

void soft_native_reset(struct soft_native *native)
{
	native->used = 0;
}

/* ---- which ---- */

/* The guest may execute what its CPUID does not show: the host has to have it. */
static bool host_has(ZydisISAExt extension)
{
	switch ((int)extension) {
	case ZYDIS_ISA_EXT_X87:
	case ZYDIS_ISA_EXT_MMX:
	case ZYDIS_ISA_EXT_SSE:
	case ZYDIS_ISA_EXT_SSE2: return true;
	case ZYDIS_ISA_EXT_SSE3: return __builtin_cpu_supports("sse3");
	case ZYDIS_ISA_EXT_SSSE3: return __builtin_cpu_supports("ssse3");
	case ZYDIS_ISA_EXT_SSE4: return __builtin_cpu_supports("sse4.2");
	case ZYDIS_ISA_EXT_AES: return __builtin_cpu_supports("aes");
	case ZYDIS_ISA_EXT_PCLMULQDQ: return __builtin_cpu_supports("pclmul");
	case ZYDIS_ISA_EXT_AVX: return __builtin_cpu_supports("avx");
	case ZYDIS_ISA_EXT_AVX2: return __builtin_cpu_supports("avx2");
	case ZYDIS_ISA_EXT_FMA: return __builtin_cpu_supports("fma");
	case ZYDIS_ISA_EXT_AVXAES:
		return __builtin_cpu_supports("avx") && __builtin_cpu_supports("aes");
	default: return false;
	}
}

static bool is_vex(const struct soft_insn *in)
{
	return in->info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
}

/* Legacy SSE wants its 16 bytes aligned, but for those that say not; AVX only where it says so. */
static bool wants_alignment(const struct soft_insn *in, const ZydisDecodedOperand *o)
{
	switch ((int)in->info.mnemonic) {
	case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD:
	case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
	case ZYDIS_MNEMONIC_VMOVNTPD:
	case ZYDIS_MNEMONIC_VMOVNTPS: return true;
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU: return false;
	default: return !is_vex(in) && o->size == 128;
	}
}

/* Whose registers it works on, and so what it needs, and what stops it. */
enum unit { UNIT_SSE, UNIT_AVX, UNIT_X87, UNIT_X87_CONTROL, UNIT_MMX, UNIT_SSE_AND_MMX };
static const struct {
	uint8_t components; /* of the state, that it may read or change */
	uint8_t vector_em;  /* what CR0.EM makes of it; 0: nothing */
	bool needs_osfxsr, needs_osxsave;
	bool looks; /* at what x87 has pending */
} units[] = {
	[UNIT_SSE] = { .components = VECTORS, .vector_em = VECTOR_UD, .needs_osfxsr = true },
	[UNIT_AVX] = { .components = VECTORS, .needs_osxsave = true },
	[UNIT_X87] = { .components = XCR0_X87, .vector_em = VECTOR_NM, .looks = true },
	[UNIT_X87_CONTROL] = { .components = XCR0_X87, .vector_em = VECTOR_NM },
	[UNIT_MMX] = { .components = XCR0_X87, .vector_em = VECTOR_UD, .looks = true },
	[UNIT_SSE_AND_MMX] = { .components = XCR0_X87 | VECTORS,
		.vector_em = VECTOR_UD,
		.needs_osfxsr = true,
		.looks = true },
};

static bool has_operand(const struct soft_insn *in, ZydisRegister first, ZydisRegister last)
{
	for (unsigned i = 0; i < in->info.operand_count; i++) {
		const ZydisDecodedOperand *o = &in->operand[i];
		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= first &&
			o->reg.value <= last)
			return true;
	}
	return false;
}

static enum unit unit_of(const struct soft_insn *in)
{
	if (is_vex(in))
		return UNIT_AVX;
	/* Of those that do not look, what ops_xstate.c leaves. */
	if (in->info.mnemonic == ZYDIS_MNEMONIC_FNSTENV ||
		in->info.mnemonic == ZYDIS_MNEMONIC_FNSAVE)
		return UNIT_X87_CONTROL;
	if (in->info.meta.isa_ext == ZYDIS_ISA_EXT_X87 ||
		has_operand(in, ZYDIS_REGISTER_ST0, ZYDIS_REGISTER_ST7))
		return UNIT_X87;
	if (in->info.meta.isa_ext == ZYDIS_ISA_EXT_MMX)
		return UNIT_MMX;
	return has_operand(in, ZYDIS_REGISTER_MM0, ZYDIS_REGISTER_MM7) ? UNIT_SSE_AND_MMX
								       : UNIT_SSE;
}

/* ---- the op: base, index, disp as ever; dst: the general register; src: the unit; src_size: bytes
 * in memory; reg: the bits below ---- */

enum {
	DOES_READ = 1,
	DOES_WRITE = 2,
	IS_ALIGNED = 4,
	HAS_REGISTER = 8,
	SETS_FLAGS = 16,
};

/* Notes what the operands are, and what they become in the encoder's request. */
static bool take_operands(const struct soft_insn *in, struct soft_op *op,
	ZydisEncoderRequest *request)
{
	for (unsigned i = 0; i < in->info.operand_count; i++) {
		const ZydisDecodedOperand *o = &in->operand[i];
		bool is_visible = i < in->info.operand_count_visible;
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (!is_visible || o->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
				o->size > 8 * MEMORY_MAX)
				return false;
			op->src_size = (uint8_t)(o->size / 8);
			op->reg |=
				(o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0 ? DOES_READ : 0;
			op->reg |= (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0 ? DOES_WRITE
										       : 0;
			op->reg |= wants_alignment(in, o) ? IS_ALIGNED : 0;
			request->operands[i].mem.base = ZYDIS_REGISTER_RDI;
			request->operands[i].mem.index = ZYDIS_REGISTER_NONE;
			request->operands[i].mem.scale = 0;
			request->operands[i].mem.displacement =
				offsetof(struct native_frame, memory);
		} else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			   soft_register_offset(o->reg.value) < GPR_ZERO * 8) {
			if (!is_visible || (op->reg & HAS_REGISTER) != 0)
				return false;
			op->dst = soft_register_offset(o->reg.value);
			op->reg |= HAS_REGISTER;
			request->operands[i].reg.value =
				o->size == 64 ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX;
		}
	}
	return true;
}

static bool add(uint8_t *code, size_t *len, const void *bytes, size_t count)
{
	memcpy(code + *len, bytes, count);
	*len += count;
	return true;
}

static void run_native(struct soft_vcpu *v, const struct soft_op *op);

soft_handler *soft_native_build(struct soft_insn *in, struct soft_op *op)
{
	static const uint8_t load[] = { 0x48, 0x8b, 0x07 }, store[] = { 0x48, 0x89, 0x07 };
	static const uint8_t load_flags[] = { 0xff, 0x77, 0x08, 0x9d };
	static const uint8_t store_flags[] = { 0x9c, 0x8f, 0x47, 0x08 }, ret[] = { 0xc3 };
	ZydisEncoderRequest request;
	struct soft_native *native = in->native;
	if (!host_has(in->info.meta.isa_ext) ||
		(in->info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 ||
		!ZYAN_SUCCESS(encoder.to_request(&in->info, in->operand,
			in->info.operand_count_visible, &request)))
		return NULL;
	request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
	request.address_size_hint = ZYDIS_ADDRESS_SIZE_HINT_NONE;
	request.prefixes &= ~(ZydisInstructionAttributes)(ZYDIS_ATTRIB_HAS_SEGMENT_FS |
							  ZYDIS_ATTRIB_HAS_SEGMENT_GS);
	op->reg = 0;
	op->src = (uint8_t)unit_of(in);
	if (!take_operands(in, op, &request))
		return NULL;
	uint8_t insn[ZYDIS_MAX_INSTRUCTION_LENGTH], code[SNIPPET_MAX];
	ZyanUSize insn_len = sizeof(insn);
	size_t len = 0;
	if (!ZYAN_SUCCESS(encoder.encode(&request, insn, &insn_len)))
		return NULL;
	if (in->info.cpu_flags != NULL && in->info.cpu_flags->modified != 0)
		op->reg |= SETS_FLAGS;
	if (in->info.cpu_flags != NULL && in->info.cpu_flags->tested != 0)
		(void)add(code, &len, load_flags, sizeof(load_flags));
	(void)add(code, &len, load, sizeof(load));
	(void)add(code, &len, insn, insn_len);
	(void)add(code, &len, store, sizeof(store));
	if ((op->reg & SETS_FLAGS) != 0)
		(void)add(code, &len, store_flags, sizeof(store_flags));
	(void)add(code, &len, ret, sizeof(ret));
	if (native->used + len > CODE_BYTES) {
		in->is_full = true;
		return NULL;
	}
	memcpy(native->writable + native->used, code, len);
	op->imm = (uintptr_t)(native->executable + native->used);
	native->used += len;
	return run_native;
}

/* ---- run ---- */

static void check_enabled(struct soft_vcpu *v, enum unit unit)
{
	if ((units[unit].needs_osxsave &&
		    ((v->cr4 & CR4_OSXSAVE) == 0 || (v->xcr0 & VECTORS) != VECTORS)) ||
		(units[unit].needs_osfxsr && (v->cr4 & CR4_OSFXSR) == 0))
		soft_raise(v, VECTOR_UD);
	if ((v->cr0 & CR0_EM) != 0 && units[unit].vector_em != 0)
		soft_raise(v, (enum vector)units[unit].vector_em);
	if ((v->cr0 & CR0_TS) != 0)
		soft_raise(v, VECTOR_NM);
	/* Also without CR0.NE: the old way, by IRQ 13, nobody offers any more. */
	if (units[unit].looks && soft_x87_is_pending(v))
		soft_raise(v, VECTOR_MF);
}

/* The guest's registers in, the code, and out again; the host's control words as they were.  What
 * x87 raises waits in its state, and there it is left. */
static void call_with_state(uint8_t *xstate, uint32_t components, native_code *code,
	struct native_frame *frame)
{
	const uint32_t host_mxcsr = _mm_getcsr();
	/* Every vector register is the callee's to spoil. */
	__asm__ volatile("movl %[components], %%eax\n\txorl %%edx, %%edx\n\txrstor64 (%[state])\n\t"
			 "movq %[frame], %%rdi\n\tcall *%[code]\n\t"
			 "movl %[components], %%eax\n\txorl %%edx, %%edx\n\txsave64 (%[state])"
			 :
			 : [state] "b"(xstate), [components] "r"(components), [code] "r"(code),
			 [frame] "r"(frame)
			 : "rax", "rdx", "rdi", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
			 "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
			 "xmm13", "xmm14", "xmm15");
	if ((components & XCR0_X87) != 0)
		__asm__ volatile("fninit");
	_mm_setcsr(host_mxcsr);
}

static uint32_t mask_mxcsr(struct soft_vcpu *v)
{
	uint32_t mxcsr = soft_load32(v->xstate + XSTATE_MXCSR);
	soft_store32(v->xstate + XSTATE_MXCSR, (mxcsr | MXCSR_MASKS) & ~MXCSR_EXCEPTIONS);
	return mxcsr;
}

/* What has been raised that the guest does not mask. */
static uint32_t unmask_mxcsr(struct soft_vcpu *v, uint32_t mxcsr)
{
	uint32_t raised = soft_load32(v->xstate + XSTATE_MXCSR) & MXCSR_EXCEPTIONS;
	soft_store32(v->xstate + XSTATE_MXCSR, mxcsr | raised);
	return raised & ~(mxcsr >> 7);
}

/* A summary that a guest has written where nothing is pending would stop the host. */
static void clean_x87(struct soft_vcpu *v)
{
	soft_x87_use(v);
	uint16_t fsw = soft_load16(v->xstate + XSTATE_FSW);
	if (!soft_x87_is_pending(v))
		soft_store16(v->xstate + XSTATE_FSW, (uint16_t)(fsw & ~FSW_SUMMARY));
}

/* x87's pointers shall tell where the guest's instruction and operand are, not where ours. */
static void put_pointers(struct soft_vcpu *v, const struct soft_op *op, uint64_t fip, uint64_t fdp)
{
	if (soft_load64(v->xstate + XSTATE_FIP) != fip)
		soft_store64(v->xstate + XSTATE_FIP, soft_rip(v));
	if (soft_load64(v->xstate + XSTATE_FDP) != fdp)
		soft_store64(v->xstate + XSTATE_FDP, op->is_memory ? soft_offset(v, op) : fdp);
}

/* SSE's exceptions that are not masked. */
static uint32_t call(struct soft_vcpu *v, const struct soft_op *op, struct native_frame *frame)
{
	const uint8_t components = units[op->src].components;
	const bool has_x87 = (components & XCR0_X87) != 0, has_sse = (components & VECTORS) != 0;
	uint32_t mxcsr = has_sse ? mask_mxcsr(v) : 0;
	if (has_x87)
		clean_x87(v);
	const uint64_t fip = soft_load64(v->xstate + XSTATE_FIP);
	const uint64_t fdp = soft_load64(v->xstate + XSTATE_FDP);
	call_with_state(v->xstate, components, (native_code *)(uintptr_t)op->imm, frame);
	if (has_x87)
		put_pointers(v, op, fip, fdp);
	return has_sse ? unmask_mxcsr(v, mxcsr) : 0;
}

static void run_native(struct soft_vcpu *v, const struct soft_op *op)
{
	struct native_frame frame = { 0 };
	uint8_t before[MEMORY_MAX];
	uint64_t linear = 0;
	const bool has_x87 = (units[op->src].components & XCR0_X87) != 0;
	bool does_write = op->is_memory && (op->reg & DOES_WRITE) != 0;
	check_enabled(v, (enum unit)op->src);
	if (op->is_memory) {
		linear = soft_address(v, op, op->src_size, ACCESS_READ);
		if ((op->reg & IS_ALIGNED) != 0 && linear % op->src_size != 0)
			soft_raise_error(v, VECTOR_GP, 0);
		if (does_write)
			soft_touch(v, linear, op->src_size, ACCESS_WRITE, v->view);
		if ((op->reg & DOES_READ) != 0 || has_x87)
			soft_read_bytes(v, linear, frame.memory, op->src_size, v->view);
		memcpy(before, frame.memory, op->src_size);
	}
	soft_user_write_xstate(v);
	frame.rax = (op->reg & HAS_REGISTER) != 0 ? soft_load64(soft_reg(v, op->dst)) : 0;
	frame.flags = soft_flags(v) & FLAGS_ARITH;
	uint32_t unmasked = call(v, op, &frame);
	/* x87 stores nothing where that raises what is not masked. */
	does_write = does_write && (!has_x87 || memcmp(before, frame.memory, op->src_size) != 0);
	if (does_write)
		soft_write_bytes(v, linear, frame.memory, op->src_size, v->view);
	if ((op->reg & HAS_REGISTER) != 0)
		soft_store64(soft_reg(v, op->dst), frame.rax);
	if ((op->reg & SETS_FLAGS) != 0)
		v->arith = (uint16_t)((frame.flags & 0xd5) << 8 | 0x200 | (frame.flags >> 11 & 1));
	if (unmasked != 0)
		soft_raise(v, (v->cr4 & CR4_OSXMMEXCPT) != 0 ? VECTOR_XF : VECTOR_UD);
}
