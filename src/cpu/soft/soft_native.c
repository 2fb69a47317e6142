/* soft_native - see soft_native.h.
 *
 * Kernels use few of these, in few places (hashes, checksums, parity), and what they compute should
 * be what ring 3 computes: so the instruction itself runs, here, on the guest's registers.  It can
 * do nothing but compute: it has no address of its own, no stack, no branch.
 *
 *   mov   rax, [rdi]         the general register, where there is one
 *   INSTRUCTION              with [rdi + 64] as its memory operand
 *   mov   [rdi], rax
 *   pushfq; pop [rdi + 8]    for those that compare
 *   ret
 *
 * Floating-point exceptions are masked while it runs; one that the guest has not masked becomes #XF
 * afterwards, when the result has been written: later than on the real processor. */
#include "cpu/soft/soft_native.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/library.h"
#include "base/mem.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/soft_user.h"

enum { CODE_BYTES = 1 << 20, SNIPPET_MAX = 48, MXCSR_AT = 24, MXCSR_MASKS = 0x1f80 };
#define XSTATE_VECTORS 6 /* SSE and AVX */

struct soft_native {
	uint8_t *writable; /* owned: two mappings of one file */
	uint8_t *executable;
	size_t used;
};

/* What an instruction sees; rdi points to it. */
struct native_frame {
	uint64_t rax, flags;
	uint8_t unused[48];
	uint8_t memory[64];
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

/* ---- the op: base, index, disp as ever; dst: the general register; src_size: bytes in memory;
 * reg: the bits below ---- */

enum {
	DOES_READ = 1,
	DOES_WRITE = 2,
	IS_ALIGNED = 4,
	HAS_REGISTER = 8,
	SETS_FLAGS = 16,
	IS_VEX = 32
};

/* Notes what the operands are, and what they become in the encoder's request. */
static bool take_operands(const struct soft_insn *in, struct soft_op *op,
	ZydisEncoderRequest *request)
{
	for (unsigned i = 0; i < in->info.operand_count; i++) {
		const ZydisDecodedOperand *o = &in->operand[i];
		bool is_visible = i < in->info.operand_count_visible;
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (!is_visible || o->mem.type != ZYDIS_MEMOP_TYPE_MEM || o->size > 256)
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
	static const uint8_t flags[] = { 0x9c, 0x8f, 0x47, 0x08 }, ret[] = { 0xc3 };
	ZydisEncoderRequest request;
	struct soft_native *native = in->native;
	if (in->code_size != 8 || !host_has(in->info.meta.isa_ext) ||
		(in->info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0 ||
		!ZYAN_SUCCESS(encoder.to_request(&in->info, in->operand,
			in->info.operand_count_visible, &request)))
		return NULL;
	request.prefixes &= ~(ZydisInstructionAttributes)(ZYDIS_ATTRIB_HAS_SEGMENT_FS |
							  ZYDIS_ATTRIB_HAS_SEGMENT_GS);
	op->reg = is_vex(in) ? IS_VEX : 0;
	if (!take_operands(in, op, &request))
		return NULL;
	uint8_t insn[ZYDIS_MAX_INSTRUCTION_LENGTH], code[SNIPPET_MAX];
	ZyanUSize insn_len = sizeof(insn);
	size_t len = 0;
	if (!ZYAN_SUCCESS(encoder.encode(&request, insn, &insn_len)))
		return NULL;
	if (in->info.cpu_flags != NULL && in->info.cpu_flags->modified != 0)
		op->reg |= SETS_FLAGS;
	(void)add(code, &len, load, sizeof(load));
	(void)add(code, &len, insn, insn_len);
	(void)add(code, &len, store, sizeof(store));
	if ((op->reg & SETS_FLAGS) != 0)
		(void)add(code, &len, flags, sizeof(flags));
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

static void check_enabled(struct soft_vcpu *v, const struct soft_op *op)
{
	bool is_on = (op->reg & IS_VEX) != 0 ? (v->cr4 & CR4_OSXSAVE) != 0 &&
						       (v->xcr0 & XSTATE_VECTORS) == XSTATE_VECTORS
					     : (v->cr4 & CR4_OSFXSR) != 0 && (v->cr0 & CR0_EM) == 0;
	if (!is_on)
		soft_raise(v, VECTOR_UD);
	if ((v->cr0 & CR0_TS) != 0)
		soft_raise(v, VECTOR_NM);
}

/* The guest's vector registers in, the code, and out again; the host's control word as it was. */
static uint32_t call_with_state(uint8_t *xstate, native_code *code, struct native_frame *frame)
{
	uint32_t mxcsr = soft_load32(xstate + MXCSR_AT);
	const uint32_t host_mxcsr = _mm_getcsr();
	soft_store32(xstate + MXCSR_AT, (mxcsr | MXCSR_MASKS) & ~UINT32_C(0x3f));
	/* Every vector register is the callee's to spoil. */
	__asm__ volatile("movl $6, %%eax\n\txorl %%edx, %%edx\n\txrstor64 (%[state])\n\t"
			 "movq %[frame], %%rdi\n\tcall *%[code]\n\t"
			 "movl $6, %%eax\n\txorl %%edx, %%edx\n\txsave64 (%[state])"
			 :
			 : [state] "b"(xstate), [code] "r"(code), [frame] "r"(frame)
			 : "rax", "rdx", "rdi", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",
			 "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
			 "xmm13", "xmm14", "xmm15");
	uint32_t raised = soft_load32(xstate + MXCSR_AT) & 0x3f;
	_mm_setcsr(host_mxcsr);
	soft_store32(xstate + MXCSR_AT, mxcsr | raised);
	return raised & ~(mxcsr >> 7);
}

static void run_native(struct soft_vcpu *v, const struct soft_op *op)
{
	struct native_frame frame = { 0 };
	uint64_t linear = 0;
	check_enabled(v, op);
	if (op->is_memory) {
		linear = soft_address(v, op, op->src_size, ACCESS_READ);
		if ((op->reg & IS_ALIGNED) != 0 && linear % op->src_size != 0)
			soft_raise_error(v, VECTOR_GP, 0);
		if ((op->reg & DOES_READ) != 0)
			soft_read_bytes(v, linear, frame.memory, op->src_size, v->view);
		if ((op->reg & DOES_WRITE) != 0)
			soft_touch(v, linear, op->src_size, ACCESS_WRITE, v->view);
	}
	soft_user_write_xstate(v);
	frame.rax = (op->reg & HAS_REGISTER) != 0 ? soft_load64(soft_reg(v, op->dst)) : 0;
	uint32_t unmasked = call_with_state(v->xstate, (native_code *)(uintptr_t)op->imm, &frame);
	if (op->is_memory && (op->reg & DOES_WRITE) != 0)
		soft_write_bytes(v, linear, frame.memory, op->src_size, v->view);
	if ((op->reg & HAS_REGISTER) != 0)
		soft_store64(soft_reg(v, op->dst), frame.rax);
	if ((op->reg & SETS_FLAGS) != 0)
		v->arith = (uint16_t)((frame.flags & 0xd5) << 8 | 0x200 | (frame.flags >> 11 & 1));
	if (unmasked != 0)
		soft_raise(v, (v->cr4 & CR4_OSXMMEXCPT) != 0 ? VECTOR_XF : VECTOR_UD);
}
