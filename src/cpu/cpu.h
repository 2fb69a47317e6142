/* cpu - accelerators: what runs a guest's instructions.  One table of verbs (accelerators.def), one
 * format of the architectural state; the machine around it (vm/) does not know which one runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

/* ---- the table ---- */

struct cpu_accel;
/* The accelerator of a name in accelerators.def; "auto" is the first that this host offers.
 * ERR_INVALID for an unknown name, ERR_UNSUPPORTED with the reason of each row when none is usable.
 */
MUST_CHECK int cpu_accel_find(const char *name, const struct cpu_accel **ret_accel,
	struct err *err);
const char *cpu_accel_name(const struct cpu_accel *accel);
/* Rows of the table, in order of preference; NULL behind the last one. */
const struct cpu_accel *cpu_accel_at(size_t index);
/* Whether it really runs guest code here: it runs timed ring-0 code (cmpxchg16b included) in a tiny
 * guest, in a few milliseconds, and never believes flags alone.  why_not tells a person what is
 * missing and what would help. */
MUST_CHECK bool cpu_accel_probe(const struct cpu_accel *accel, struct text *why_not);
/* What keeps its guests inside: the processor's virtualization, or seccomp and a jail; and in a
 * word for people, "hardware" or "seccomp". */
bool cpu_accel_is_hardware(const struct cpu_accel *accel);
const char *cpu_accel_boundary(const struct cpu_accel *accel);
/* What the kernel of a guest should be told on its command line; "" where there is nothing. */
const char *cpu_accel_kernel_parameters(const struct cpu_accel *accel);
/* The numbers of the system calls that it makes while a guest runs, for the list of those that are
 * allowed then; static. */
const int *cpu_accel_syscalls(const struct cpu_accel *accel, size_t *ret_len);
/* Whether a guest's RAM has to be a file that others can map. */
bool cpu_accel_wants_shared_memory(const struct cpu_accel *accel);
/* Opens what the accelerator needs of the host (/dev/kvm), before the jail closes.  The descriptor
 * is the caller's; -1 where none is needed. */
MUST_CHECK int cpu_accel_open(const struct cpu_accel *accel, int *ret_fd, struct err *err);

/* ---- one machine ---- */

struct cpu_machine;
/* What answers the guest's accesses that are neither memory's nor the interrupt controllers':
 * called from the vCPU's thread.  size: 1, 2, 4 or 8 bytes, of which a read fills in all. */
struct cpu_bus {
	void (*io)(void *context, uint16_t port, void *bytes, uint32_t size, bool is_write);
	void (*mmio)(void *context, uint64_t gpa, void *bytes, uint32_t size, bool is_write);
	void *context; /* borrowed */
};
/* accel_fd is from cpu_accel_open(); bus is copied.  The machine has an interrupt controller for
 * `cpus` vCPUs: local APICs, an IOAPIC with 24 pins (and the legacy PIC and PIT, which Linux still
 * probes). */
MUST_CHECK int cpu_machine_new(const struct cpu_accel *accel, int take_accel_fd, unsigned cpus,
	const struct cpu_bus *bus, struct cpu_machine **ret_machine, struct err *err);
void cpu_machine_free(struct cpu_machine *machine); /* NULL is fine; after all its vCPUs */
DEFINE_AUTO(cpu_machine)

/* Memory of the host's that becomes the guest's: page aligned, owned by the caller, which keeps it
 * mapped for the machine's life. */
struct cpu_memory {
	uint64_t gpa, size;
	void *host;
	bool is_read_only;
	/* The file that is mapped there (shared), for an accelerator that wants to map it
	 * elsewhere, too; -1: none.  Borrowed, for the machine's life. */
	int fd;
	uint64_t offset, file_size; /* what lies beyond file_size bytes is zeros, and in no file */
};
MUST_CHECK int cpu_machine_map(struct cpu_machine *machine, const struct cpu_memory *memory,
	struct err *err);

/* A write of len bytes (0: any) at guest address makes fd (an eventfd, borrowed) readable, and the
 * vCPU does not exit.  is_pio: an I/O port, else memory. */
MUST_CHECK int cpu_machine_ioeventfd(struct cpu_machine *machine, int fd, uint64_t address,
	unsigned len, bool is_pio, bool add, struct err *err);
/* Message-signalled interrupts: route number gsi (24 .. CPU_ROUTES_MAX - 1) sends this message. Set
 * again to change it. */
#define CPU_ROUTES_FIRST 24
#define CPU_ROUTES_MAX 1024
MUST_CHECK int cpu_machine_route_msi(struct cpu_machine *machine, unsigned gsi, uint64_t address,
	uint32_t data, struct err *err);
/* Sends the message of a route that has been set; from any thread, without a lock and without
 * stopping the guest. */
void cpu_machine_interrupt(struct cpu_machine *machine, unsigned gsi);
/* A level on an IOAPIC pin, for the few devices that have no messages (serial port). */
MUST_CHECK int cpu_machine_irq_line(struct cpu_machine *machine, unsigned pin, bool level,
	struct err *err);

/* ---- one virtual processor ---- */

struct cpu_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector,
		attributes; /* attributes as in VMCB/VT-x: type, S, DPL, P, AVL, L, DB, G */
};
struct cpu_table {
	uint64_t base;
	uint16_t limit;
};
/* What starting a kernel sets; everything else is as after reset (or as INIT left it). */
struct cpu_state {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	struct cpu_segment cs, ds, es, fs, gs, ss, tr, ldt;
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer;
};

enum cpu_exit {
	CPU_EXIT_KICKED, /* by cpu_vcpu_kick() or a signal: look around and go on */
	CPU_EXIT_RESET,  /* triple fault or the like: the guest wants to start again */
};

struct cpu_vcpu;
/* vCPU 0 runs from the given state, the others wait for INIT and SIPI.  Created and run in the
 * thread that will run it. */
MUST_CHECK int cpu_vcpu_new(struct cpu_machine *machine, unsigned index, struct cpu_vcpu **ret_vcpu,
	struct err *err);
void cpu_vcpu_free(struct cpu_vcpu *vcpu);
DEFINE_AUTO(cpu_vcpu)
MUST_CHECK int cpu_vcpu_set_state(struct cpu_vcpu *vcpu, const struct cpu_state *state,
	struct err *err);
MUST_CHECK int cpu_vcpu_get_state(struct cpu_vcpu *vcpu, struct cpu_state *ret_state,
	struct err *err);
/* Runs the guest, and calls the machine's bus for what it accesses.  An error: the accelerator
 * cannot go on. */
MUST_CHECK int cpu_vcpu_run(struct cpu_vcpu *vcpu, enum cpu_exit *ret_exit, struct err *err);
/* From any thread: the running (or next) cpu_vcpu_run() returns soon with CPU_EXIT_KICKED. */
void cpu_vcpu_kick(struct cpu_vcpu *vcpu);
