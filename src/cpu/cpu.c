/* cpu - see cpu.h: the table of accelerators, and each verb passed on to the one that a machine was
 * made with. */
#include "cpu/cpu.h"

#include <string.h>

#include "cpu/accel.h"

static const struct cpu_accel *const accels[] = {
#define ACCELERATOR(verbs) &(verbs),
#include "cpu/accelerators.def"
#undef ACCELERATOR
};

static int find_usable(const struct cpu_accel **ret_accel, struct err *err)
{
	AUTO_DONE(text) reasons = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(accels); i++) {
		AUTO_DONE(text) why_not = { 0 };
		if (accels[i]->probe(&why_not)) {
			*ret_accel = accels[i];
			return 0;
		}
		text_printf(&reasons, "%s%s: %s", reasons.len > 0 ? "; " : "", accels[i]->name,
			text_string(&why_not));
	}
	return err_set(err, ERR_UNSUPPORTED, "this host runs no virtual machines (%s)",
		text_string(&reasons));
}

int cpu_accel_find(const char *name, const struct cpu_accel **ret_accel, struct err *err)
{
	if (strcmp(name, "auto") == 0)
		return find_usable(ret_accel, err);
	for (size_t i = 0; i < ARRAY_LEN(accels); i++) {
		if (strcmp(name, accels[i]->name) == 0) {
			*ret_accel = accels[i];
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "no accelerator has the name \"%s\"", name);
}

const char *cpu_accel_name(const struct cpu_accel *accel)
{
	return accel->name;
}

const struct cpu_accel *cpu_accel_at(size_t index)
{
	return index < ARRAY_LEN(accels) ? accels[index] : NULL;
}

bool cpu_accel_probe(const struct cpu_accel *accel, struct text *why_not)
{
	return accel->probe(why_not);
}

bool cpu_accel_is_hardware(const struct cpu_accel *accel)
{
	return accel->is_hardware;
}

const char *cpu_accel_boundary(const struct cpu_accel *accel)
{
	return accel->is_hardware ? "hardware" : "seccomp";
}

const char *cpu_accel_kernel_parameters(const struct cpu_accel *accel)
{
	return accel->kernel_parameters;
}

const int *cpu_accel_syscalls(const struct cpu_accel *accel, size_t *ret_len)
{
	*ret_len = accel->syscalls_len;
	return accel->syscalls;
}

bool cpu_accel_wants_shared_memory(const struct cpu_accel *accel)
{
	return accel->wants_shared_memory;
}

int cpu_accel_open(const struct cpu_accel *accel, int *ret_fd, struct err *err)
{
	return accel->open(ret_fd, err);
}

int cpu_machine_new(const struct cpu_accel *accel, int take_accel_fd, unsigned cpus,
	const struct cpu_bus *bus, struct cpu_machine **ret_machine, struct err *err)
{
	return accel->machine_new(take_accel_fd, cpus, bus, ret_machine, err);
}

void cpu_machine_free(struct cpu_machine *machine)
{
	if (machine != NULL)
		machine->accel->machine_free(machine);
}

int cpu_machine_map(struct cpu_machine *machine, const struct cpu_memory *memory, struct err *err)
{
	return machine->accel->machine_map(machine, memory, err);
}

int cpu_machine_ioeventfd(struct cpu_machine *machine, int fd, uint64_t address, unsigned len,
	bool is_pio, bool add, struct err *err)
{
	return machine->accel->machine_ioeventfd(machine, fd, address, len, is_pio, add, err);
}

int cpu_machine_route_msi(struct cpu_machine *machine, unsigned gsi, uint64_t address,
	uint32_t data, struct err *err)
{
	return machine->accel->machine_route_msi(machine, gsi, address, data, err);
}

void cpu_machine_interrupt(struct cpu_machine *machine, unsigned gsi)
{
	machine->accel->machine_interrupt(machine, gsi);
}

int cpu_machine_irq_line(struct cpu_machine *machine, unsigned pin, bool level, struct err *err)
{
	return machine->accel->machine_irq_line(machine, pin, level, err);
}

int cpu_vcpu_new(struct cpu_machine *machine, unsigned index, struct cpu_vcpu **ret_vcpu,
	struct err *err)
{
	return machine->accel->vcpu_new(machine, index, ret_vcpu, err);
}

void cpu_vcpu_free(struct cpu_vcpu *vcpu)
{
	if (vcpu != NULL)
		vcpu->accel->vcpu_free(vcpu);
}

int cpu_vcpu_set_state(struct cpu_vcpu *vcpu, const struct cpu_state *state, struct err *err)
{
	return vcpu->accel->vcpu_set_state(vcpu, state, err);
}

int cpu_vcpu_get_state(struct cpu_vcpu *vcpu, struct cpu_state *ret_state, struct err *err)
{
	return vcpu->accel->vcpu_get_state(vcpu, ret_state, err);
}

int cpu_vcpu_run(struct cpu_vcpu *vcpu, enum cpu_exit *ret_exit, struct err *err)
{
	return vcpu->accel->vcpu_run(vcpu, ret_exit, err);
}

void cpu_vcpu_kick(struct cpu_vcpu *vcpu)
{
	vcpu->accel->vcpu_kick(vcpu);
}
