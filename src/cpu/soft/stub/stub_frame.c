/* stub_frame - between the kernel's signal frame and what the VMM knows as registers.
 *
 * The frame is in memory that the guest can write while it runs.  Each value is read once, and only
 * what ring 3 could have made it is taken over. */
#include <linux/audit.h>
#include <string.h>
#include <ucontext.h>

#include "cpu/soft/stub/stub_private.h"

/* CF PF AF ZF SF TF DF OF NT AC ID: what ring 3 can change. */
#define RFLAGS_USER 0x244dd5u
#define RFLAGS_FIXED 0x202u /* interrupts on, and the bit that is always 1 */

#define VECTOR_GP 13
#define VECTOR_PF 14
#define VECTORS 32
#define SYSCALL_URETPROBE 335
#define GP_INT80 (0x80 * 8 + 2) /* the error code of int $0x80: entry 0x80 of the IDT */
#define PF_USER_FETCH 0x14u

/* Registers in the frame (REG_... of ucontext.h) and in ours. */
static const struct {
	int frame;
	size_t ours;
} general[] = {
	{ REG_R8, offsetof(struct stub_regs, r8) },
	{ REG_R9, offsetof(struct stub_regs, r9) },
	{ REG_R10, offsetof(struct stub_regs, r10) },
	{ REG_R11, offsetof(struct stub_regs, r11) },
	{ REG_R12, offsetof(struct stub_regs, r12) },
	{ REG_R13, offsetof(struct stub_regs, r13) },
	{ REG_R14, offsetof(struct stub_regs, r14) },
	{ REG_R15, offsetof(struct stub_regs, r15) },
	{ REG_RDI, offsetof(struct stub_regs, rdi) },
	{ REG_RSI, offsetof(struct stub_regs, rsi) },
	{ REG_RBP, offsetof(struct stub_regs, rbp) },
	{ REG_RBX, offsetof(struct stub_regs, rbx) },
	{ REG_RDX, offsetof(struct stub_regs, rdx) },
	{ REG_RAX, offsetof(struct stub_regs, rax) },
	{ REG_RCX, offsetof(struct stub_regs, rcx) },
	{ REG_RSP, offsetof(struct stub_regs, rsp) },
	{ REG_RIP, offsetof(struct stub_regs, rip) },
};

static uint64_t canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16);
}

void stub_frame_resume(struct stub *stub, const struct stub_regs *regs)
{
	struct stub_control *control = stub_window_control(&stub->window);
	const bool has_fsgsbase = stub->pool->has_fsgsbase;
	/* Without FSGSBASE the kernel takes 32-bit code's selectors back when it sets the bases. */
	const bool sets_selectors = regs->is_32bit || (stub->has_selectors && has_fsgsbase);
	struct stub_resume *resume = stub_window_at(&stub->window, STUB_RESUME);
	*resume = (struct stub_resume){
		.clean_rflags = RFLAGS_FIXED,
		.r15 = regs->r15,
		.r14 = regs->r14,
		.r13 = regs->r13,
		.r12 = regs->r12,
		.r11 = regs->r11,
		.r10 = regs->r10,
		.r9 = regs->r9,
		.r8 = regs->r8,
		.rdi = regs->rdi,
		.rsi = regs->rsi,
		.rbp = regs->rbp,
		.rbx = regs->rbx,
		.rdx = regs->rdx,
		.rcx = regs->rcx,
		.rax = regs->rax,
		.rip = regs->rip,
		.cs = regs->is_32bit ? STUB_CS32 : STUB_CS64,
		.rflags = (regs->rflags & RFLAGS_USER) | RFLAGS_FIXED,
		.rsp = regs->rsp,
		.ss = STUB_DATA,
	};
	control->flags = (has_fsgsbase ? STUB_FLAG_FSGSBASE : 0) |
			 (sets_selectors ? STUB_FLAG_SELECTORS : 0) |
			 (regs->is_32bit ? STUB_FLAG_32BIT : 0);
	control->ds = regs->is_32bit ? regs->ds : 0;
	control->es = regs->is_32bit ? regs->es : 0;
	control->fs = regs->is_32bit ? regs->fs : 0;
	control->gs = regs->is_32bit ? regs->gs : 0;
	control->result = 0;
	control->fs_base = canonical(regs->fs_base);
	control->gs_base = canonical(regs->gs_base);
}

static ucontext_t *frame_context(const struct stub *stub)
{
	return stub_window_at(&stub->window, stub->pool->layout.ucontext);
}

/* The 64-bit registers lie behind each other in struct stub_regs. */
static void take_registers(struct stub *stub, const greg_t *gregs, struct stub_regs *regs)
{
	for (size_t i = 0; i < sizeof(general) / sizeof(general[0]); i++) {
		uint64_t value = (uint64_t)gregs[general[i].frame];
		memcpy((uint8_t *)regs + general[i].ours, &value, sizeof(value));
	}
	regs->rip = canonical(regs->rip);
	regs->rflags =
		(regs->rflags & ~(uint64_t)RFLAGS_USER) | ((uint64_t)gregs[REG_EFL] & RFLAGS_USER);
	const struct stub_control *control = stub_window_control(&stub->window);
	const bool is_32bit = ((uint64_t)gregs[REG_CSGSFS] & 0xffff) == STUB_CS32;
	stub->has_selectors = regs->is_32bit || is_32bit;
	regs->is_32bit = is_32bit;
	regs->ds = control->ds;
	regs->es = control->es;
	regs->fs = control->fs;
	regs->gs = control->gs;
	if (stub->pool->has_fsgsbase) {
		regs->fs_base = canonical(control->fs_base);
		regs->gs_base = canonical(control->gs_base);
	}
}

static struct stub_event exception(unsigned vector, uint32_t error_code, uint64_t address)
{
	return (struct stub_event){ .kind = STUB_EXCEPTION,
		.vector = (uint8_t)vector,
		.error_code = error_code,
		.address = address };
}

/* A system call, by the way it was made. */
static struct stub_event take_call(const siginfo_t *info, struct stub_regs *regs)
{
	uint64_t at = (uint64_t)info->si_call_addr;
	if (info->si_arch == AUDIT_ARCH_I386)
		return (struct stub_event){ .kind = at < STUB_ADDRESS_END ? STUB_INT80
									  : STUB_SYSENTER };
	if (at < STUB_ADDRESS_END)
		return (struct stub_event){ .kind = STUB_SYSCALL };
	/* The host's kernel has emulated a call of its vsyscall page: undo its `ret`.  For the
	 * guest it is a jump to an address of its kernel. */
	regs->rip = canonical(at);
	regs->rsp -= 8;
	return exception(VECTOR_PF, PF_USER_FETCH, regs->rip);
}

static struct stub_event take_event(const siginfo_t *info, const greg_t *gregs,
	struct stub_regs *regs)
{
	uint64_t vector = (uint64_t)gregs[REG_TRAPNO];
	switch (info->si_signo) {
	case STUB_KICK_SIGNAL: return (struct stub_event){ .kind = STUB_KICK };
	case SIGSYS: return take_call(info, regs);
	case SIGILL:
		/* Linux 6.14 and later let no filter see this one call (uretprobe), which is only
		 * for a page of the kernel's that no stub has, and kill whoever else makes it.  Its
		 * sister 336 just fails, unseen. */
		if (info->si_code == SI_KERNEL) {
			regs->rax = SYSCALL_URETPROBE;
			return (struct stub_event){ .kind = STUB_SYSCALL };
		}
		break;
	case SIGBUS:
		if (vector == VECTOR_PF)
			return (struct stub_event){ .kind = STUB_BUS,
				.address = (uint64_t)gregs[REG_CR2] };
		break;
	default: break;
	}
	if (vector == VECTOR_PF)
		return exception(VECTOR_PF, (uint32_t)gregs[REG_ERR] & 0xffff,
			(uint64_t)gregs[REG_CR2]);
	/* A host's kernel without 32-bit calls has no gate there. */
	if (vector == VECTOR_GP && ((uint64_t)gregs[REG_ERR] & 0xffff) == GP_INT80) {
		regs->rip += 2;
		return (struct stub_event){ .kind = STUB_INT80 };
	}
	/* Only the guest's own writing makes it something else. */
	if (vector >= VECTORS)
		return exception(VECTOR_GP, 0, 0);
	return exception((unsigned)vector, (uint32_t)gregs[REG_ERR] & 0xffff, 0);
}

bool stub_frame_take(struct stub *stub, struct stub_regs *regs, struct stub_event *ret)
{
	siginfo_t *shared_info = stub_window_at(&stub->window, stub->pool->layout.siginfo);
	ucontext_t *context = frame_context(stub);
	siginfo_t info;
	greg_t gregs[NGREG];
	memcpy(&info, shared_info, sizeof(info));
	if (info.si_signo == 0)
		return false;
	memcpy(gregs, context->uc_mcontext.gregs, sizeof(gregs));
	take_registers(stub, gregs, regs);
	*ret = take_event(&info, gregs, regs);
	/* Nothing of it may be seen by the next program in this address space. */
	memset(shared_info, 0, sizeof(info));
	memset(context->uc_mcontext.gregs, 0, sizeof(gregs));
	return true;
}

void stub_frame_wipe(struct stub *stub)
{
	/* Up to the frame at the top, whose beginning is a little below its context. */
	memset(stub_window_at(&stub->window, STUB_STACK), 0,
		stub->pool->layout.ucontext - 64 - STUB_STACK);
}

/* ---- FPU ---- */

#define XSAVE_MXCSR 24
#define XSAVE_HEADER 512
#define XSAVE_HEADER_SIZE 64
#define MXCSR_MASK 0xffffu

/* What XRSTOR would refuse, or what the guest's processor does not have. */
static void xsave_clean(const struct stub_layout *layout, uint8_t *area)
{
	uint64_t components;
	uint32_t mxcsr;
	memcpy(&components, area + XSAVE_HEADER, sizeof(components));
	memcpy(&mxcsr, area + XSAVE_MXCSR, sizeof(mxcsr));
	components &= layout->xfeatures;
	mxcsr &= MXCSR_MASK;
	memset(area + XSAVE_HEADER, 0, XSAVE_HEADER_SIZE);
	memcpy(area + XSAVE_HEADER, &components, sizeof(components));
	memcpy(area + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
}

void stub_get_xsave(const struct stub *stub, void *ret_xsave)
{
	const struct stub_layout *layout = &stub->pool->layout;
	memcpy(ret_xsave, stub_window_at(&stub->window, layout->fpu), layout->xsave_size);
	xsave_clean(layout, ret_xsave);
}

void stub_set_xsave(struct stub *stub, const void *xsave)
{
	const struct stub_layout *layout = &stub->pool->layout;
	uint8_t *area = stub_window_at(&stub->window, layout->fpu);
	memcpy(area, xsave, layout->xsave_size);
	xsave_clean(layout, area);
}
