/* stub_code - what runs in a stub besides the guest: position-independent, addressed relative to
 * rip only, so that it does the same whatever registers it is entered with.  It keeps nothing in
 * registers across a system call but where it is in the list of calls.
 *
 * The guest may jump to any byte of it.  What that can do is said in stub.h. */
#include <asm/unistd_64.h>

#include "cpu/soft/stub/stub_code.h"

#define CONTROL(field) (stub_code_start + STUB_CONTROL + field)(%rip)
#define FUTEX_WAIT 0 /* linux/futex.h is not for the assembler */
#define FUTEX_WAKE 1

	.section .rodata
	.balign STUB_PAGE
	.globl stub_code_start, stub_code_handler, stub_code_order, stub_code_hand_over
	.globl stub_code_cpuid, stub_code_rdtsc
	.hidden stub_code_start, stub_code_handler, stub_code_order, stub_code_hand_over
	.hidden stub_code_cpuid, stub_code_rdtsc
	.type stub_code_start, @object
stub_code_start:

/* ---- every signal: the frame that the kernel made holds the guest's registers ---- */
stub_code_handler:
	/* Signals that come while it sleeps go under here, each over the one before it. */
	leaq	(stub_code_start + STUB_RESUME)(%rip), %rsp
	movq	%rsi, CONTROL(STUB_SIGINFO)
	movq	%rdx, CONTROL(STUB_UCONTEXT)
	movw	%ds, CONTROL(STUB_DS)
	movw	%es, CONTROL(STUB_ES)
	movw	%fs, CONTROL(STUB_FS)
	movw	%gs, CONTROL(STUB_GS)
	testl	$STUB_FLAG_FSGSBASE, CONTROL(STUB_FLAGS)
	jz	stub_code_hand_over
	rdfsbase %rax
	rdgsbase %rcx
	movq	%rax, CONTROL(STUB_FS_BASE)
	movq	%rcx, CONTROL(STUB_GS_BASE)

stub_code_hand_over:
	movl	$STUB_TURN_VMM, CONTROL(STUB_TURN)
	leaq	CONTROL(STUB_TURN), %rdi
	movl	$FUTEX_WAKE, %esi
	/* Nothing of a call that was made or interrupted stays in registers: a signal that comes while
	 * it sleeps writes them into the shared stack. */
	movl	$1, %edx
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	movl	$__NR_futex, %eax
	syscall
.Lwait:
	leaq	CONTROL(STUB_TURN), %rdi
	movl	$FUTEX_WAIT, %esi
	movl	$STUB_TURN_VMM, %edx
	xorl	%r10d, %r10d
	movl	$__NR_futex, %eax
	syscall
	cmpl	$STUB_TURN_VMM, CONTROL(STUB_TURN)
	je	.Lwait

/* ---- the VMM's order: first the list of calls, each wiped before it is made ---- */
stub_code_order:
	leaq	CONTROL(STUB_CALLS), %rbx
	movq	CONTROL(STUB_CALLS_LEN), %rbp
	/* Again: a guest may have jumped to somewhere in between. */
	leaq	(stub_code_start + STUB_RESUME)(%rip), %rsp
.Lcall:
	testq	%rbp, %rbp
	jz	.Lresume
	movq	0(%rbx), %rax
	movq	8(%rbx), %rdi
	movq	16(%rbx), %rsi
	movq	24(%rbx), %rdx
	movq	32(%rbx), %r10
	movq	40(%rbx), %r8
	movq	48(%rbx), %r9
	movq	56(%rbx), %r12
	xorl	%ecx, %ecx
	movq	%rcx, 0(%rbx)
	movq	%rcx, 8(%rbx)
	movq	%rcx, 16(%rbx)
	movq	%rcx, 24(%rbx)
	movq	%rcx, 32(%rbx)
	movq	%rcx, 40(%rbx)
	movq	%rcx, 48(%rbx)
	movq	%rcx, 56(%rbx)
	cmpq	$STUB_BY_INT80, %r12
	je	.Lint80
	syscall
.Lmade:
	cmpq	$-4095, %rax
	jae	.Lreport
	addq	$STUB_CALL_SIZE, %rbx
	decq	%rbp
	movq	%rbp, CONTROL(STUB_CALLS_LEN)
	cmpq	$STUB_THEN_NEXT, %r12
	je	.Lcall
	cmpq	$STUB_THEN_REPORT, %r12
	je	.Lreport_nonzero
	cmpq	$STUB_THEN_PARENT, %r12
	je	.Lparent
	cmpq	$STUB_BY_INT80, %r12
	je	.Lcall
	jmp	*%r12
.Lint80:
	movq	%rbx, %r13
	movl	%edi, %ebx
	movl	%esi, %ecx
	int	$0x80
	movq	%r13, %rbx
	jmp	.Lmade
.Lreport_nonzero:
	testq	%rax, %rax
	jz	.Lcall
.Lreport:
	movq	%rax, CONTROL(STUB_RESULT)
	jmp	stub_code_hand_over
.Lparent:
	cmpq	%rax, CONTROL(STUB_PARENT)
	je	.Lcall
	movl	$__NR_exit_group, %eax
	syscall
	ud2

/* ---- then the guest ---- */
.Lresume:
	movl	CONTROL(STUB_FLAGS), %edx
	testl	$STUB_FLAG_SELECTORS, %edx
	jz	1f
	movw	CONTROL(STUB_DS), %ds
	movw	CONTROL(STUB_ES), %es
	movw	CONTROL(STUB_FS), %fs
	movw	CONTROL(STUB_GS), %gs
1:	andl	$(STUB_FLAG_FSGSBASE | STUB_FLAG_32BIT), %edx
	cmpl	$STUB_FLAG_FSGSBASE, %edx
	jne	2f
	movq	CONTROL(STUB_FS_BASE), %rax
	movq	CONTROL(STUB_GS_BASE), %rcx
	wrfsbase %rax
	wrgsbase %rcx
2:	movq	CONTROL(STUB_FPU), %rcx
	movl	$-1, %eax
	movl	$-1, %edx
	xrstor64 (%rcx)
	popfq		/* the guest may have left NT, with which iretq faults */
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	iretq

/* ---- run as if they were guests, to see what the host lets come out ---- */
stub_code_cpuid:
	cpuid
	ud2
stub_code_rdtsc:
	rdtsc
	ud2
	.size stub_code_start, . - stub_code_start

	/* Room up to the page's end, so that the data addresses above are of this object. */
	.org	stub_code_start + STUB_PAGE, 0xcc
	.section .note.GNU-stack, "", @progbits
