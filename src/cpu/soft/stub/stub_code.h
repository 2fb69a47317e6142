/* stub_code - the trampoline: the only page of ours that a stub can execute (stub_code.S), and the
 * data pages behind it, which the stub and the VMM share.  Included by the assembler too.
 *
 * One window of STUB_SIZE bytes: code | control page | signal stack.  Signals come to the end of
 * the stack; below, at STUB_RESUME, lies what the trampoline loads to run the guest.  A signal that
 * interrupts the trampoline itself finds the stack pointer at or under STUB_RESUME, so its frame
 * never overwrites the one at the top. */
#pragma once

#define STUB_PAGE 0x1000
#define STUB_CONTROL 0x1000
#define STUB_STACK 0x2000
#define STUB_RESUME 0x5000
#define STUB_RESUME_SIZE 0x100
#define STUB_SIZE 0x7000

/* struct stub_control */
#define STUB_TURN 0
#define STUB_FLAGS 4
#define STUB_RESULT 8
#define STUB_CALLS_LEN 16
#define STUB_FPU 24
#define STUB_FS_BASE 32
#define STUB_GS_BASE 40
#define STUB_SIGINFO 48
#define STUB_UCONTEXT 56
#define STUB_PARENT 64
#define STUB_DS 72
#define STUB_ES 74
#define STUB_FS 76
#define STUB_GS 78
#define STUB_CALLS 128

/* Whose turn it is: the value of the futex word at STUB_TURN. */
#define STUB_TURN_VMM 1
#define STUB_TURN_STUB 2

#define STUB_FLAG_FSGSBASE 1  /* the kernel allows rdfsbase and its kin */
#define STUB_FLAG_SELECTORS 2 /* load data segments' selectors */
#define STUB_FLAG_32BIT 4     /* bases come with them */

/* One system call to make: number, six arguments, and what comes then. */
#define STUB_CALL_SIZE 64
#define STUB_THEN_NEXT 0
#define STUB_THEN_REPORT 1 /* hand over the result unless it is 0 (the parent after clone) */
#define STUB_THEN_PARENT 2 /* exit unless the result is STUB_PARENT */
#define STUB_BY_INT80 3    /* a call of 32-bit programs, with three arguments; then the next */
/* any other value: the address to go on at */

#ifndef __ASSEMBLER__

#include <stdint.h>

#define STUB_CALLS_MAX 60

struct stub_call {
	uint64_t number, args[6], then;
};

struct stub_control {
	uint32_t turn, flags;
	int64_t result;
	uint64_t calls_len;
	uint64_t fpu;
	uint64_t fs_base, gs_base;
	uint64_t siginfo, ucontext; /* where the kernel put the last frame */
	uint64_t parent;
	uint16_t ds, es, fs, gs;
	uint64_t unused[6];
	struct stub_call calls[STUB_CALLS_MAX];
};

/* As the trampoline pops it. */
struct stub_resume {
	uint64_t clean_rflags;
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* The code as it lies in this program: to be copied, never called. */
extern const uint8_t stub_code_start[], stub_code_handler[], stub_code_order[],
	stub_code_hand_over[], stub_code_cpuid[], stub_code_rdtsc[];

static inline uint64_t stub_code_at(uint64_t place, const uint8_t *symbol)
{
	return place + (uint64_t)(symbol - stub_code_start);
}

#endif
