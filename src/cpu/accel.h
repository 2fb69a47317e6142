/* accel - what an accelerator is: a name and verbs.  cpu.c checks nothing and only passes on, so
 * the meaning of each verb is that of the function of cpu.h with its name.
 *
 * An accelerator's own struct begins with struct cpu_machine or struct cpu_vcpu. */
#pragma once

#include "cpu/cpu.h"

struct cpu_accel {
	const char *name;
	bool is_hardware; /* what keeps the guest inside */
	bool wants_shared_memory;
	const char *kernel_parameters;
	/* System calls that its threads make while a guest runs, beside what every machine needs.
	 */
	const int *syscalls;
	size_t syscalls_len;
	bool (*probe)(struct text *why_not);
	int (*open)(int *ret_fd, struct err *err);

	int (*machine_new)(int take_fd, unsigned cpus, const struct cpu_bus *bus,
		struct cpu_machine **ret_machine, struct err *err);
	void (*machine_free)(struct cpu_machine *machine);
	int (*machine_map)(struct cpu_machine *machine, const struct cpu_memory *memory,
		struct err *err);
	int (*machine_ioeventfd)(struct cpu_machine *machine, int fd, uint64_t address,
		unsigned len, bool is_pio, bool add, struct err *err);
	int (*machine_route_msi)(struct cpu_machine *machine, unsigned gsi, uint64_t address,
		uint32_t data, struct err *err);
	void (*machine_interrupt)(struct cpu_machine *machine, unsigned gsi);
	int (*machine_irq_line)(struct cpu_machine *machine, unsigned pin, bool level,
		struct err *err);

	int (*vcpu_new)(struct cpu_machine *machine, unsigned index, struct cpu_vcpu **ret_vcpu,
		struct err *err);
	void (*vcpu_free)(struct cpu_vcpu *vcpu);
	int (*vcpu_set_state)(struct cpu_vcpu *vcpu, const struct cpu_state *state,
		struct err *err);
	int (*vcpu_get_state)(struct cpu_vcpu *vcpu, struct cpu_state *ret_state, struct err *err);
	int (*vcpu_run)(struct cpu_vcpu *vcpu, enum cpu_exit *ret_exit, struct err *err);
	void (*vcpu_kick)(struct cpu_vcpu *vcpu);
};

struct cpu_machine {
	const struct cpu_accel *accel;
	struct cpu_bus bus;
};
struct cpu_vcpu {
	const struct cpu_accel *accel;
};

#define ACCELERATOR(verbs) extern const struct cpu_accel verbs;
#include "cpu/accelerators.def"
#undef ACCELERATOR
