/* machine - see machine.h: the parts of a machine, made by a table of steps.
 *
 *   machine_new()   loop, memory, cpu, bus, serial, devices, threads   before the jail is closed
 *   machine_load()  kernel, tables                                     after it
 *   machine_run()   the gate opens; the caller's thread becomes the device thread
 *
 * The order of the first steps follows cost: memory is mapped into the accelerator before anything
 * needs its interrupt controllers.
 *
 * The end may come from any thread, also twice at once: the first to claim it writes the outcome,
 * then an event that the device thread waits for. */
#include "vm/machine.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/mem.h"
#include "base/step.h"
#include "vm/boot/boot.h"
#include "vm/device.h"
#include "vm/layout.h"
#include "vm/machine_parts.h"
#include "vm/pci/pci.h"
#include "vm/platform/acpi.h"

#define GIB (UINT64_C(1) << 30)
#define ADDRESSES_END (UINT64_C(1) << 46) /* what Linux and four-level page tables reach */

/* What the steps work on: the accelerator is needed by one of them only. */
struct making {
	struct machine *machine;
	const struct cpu_accel *accel;
	int accel_fd;
};

struct cpu_machine *machine_cpu(const struct machine *machine)
{
	return machine->cpu;
}

struct guest_mem *machine_mem(const struct machine *machine)
{
	return machine->mem;
}

struct loop *machine_loop(const struct machine *machine)
{
	return machine->loop;
}

struct pci_bus *machine_bus(const struct machine *machine)
{
	return machine->bus;
}

int machine_take_route(struct machine *machine)
{
	if (machine->next_route >= CPU_ROUTES_MAX)
		return -ENOSPC;
	return (int)machine->next_route++;
}

int machine_take_window(struct machine *machine, uint64_t size, uint64_t alignment,
	uint64_t *ret_gpa, struct err *err)
{
	uint64_t start, end;
	CHECK(alignment != 0 && (alignment & (alignment - 1)) == 0);
	if (__builtin_add_overflow(machine->next_window, alignment - 1, &start))
		return err_set(err, ERR_LIMIT, "no addresses are left");
	start &= ~(alignment - 1);
	if (__builtin_add_overflow(start, size, &end) || end > ADDRESSES_END)
		return err_set(err, ERR_LIMIT, "no %ju bytes of addresses are left",
			(uintmax_t)size);
	machine->next_window = end;
	*ret_gpa = start;
	return 0;
}

void machine_end(struct machine *machine, enum machine_end end, int status, const char *why,
	const struct err *err)
{
	if (atomic_exchange(&machine->is_ended, true))
		return;
	machine->outcome.end = end;
	machine->outcome.status = status;
	machine->outcome.why = why;
	if (err != NULL)
		machine->outcome.err = *err;
	/* A counter that holds nothing yet takes one more. */
	const uint64_t one = 1;
	CHECK(write(machine->stop_event, &one, sizeof(one)) == sizeof(one));
}

void machine_stop(struct machine *machine, enum machine_end end, int status)
{
	machine_end(machine, end, status, NULL, NULL);
}

void machine_on_failure(struct machine *machine, machine_failed_fn *failed, void *context)
{
	machine->failed = failed;
	machine->failed_context = context;
}

void machine_tell_failure(const struct machine *machine, const struct err *why)
{
	if (machine != NULL && machine->failed != NULL)
		machine->failed(machine->failed_context, why);
}

/* ---- steps ---- */

static void on_stop(void *context, int fd, uint32_t events)
{
	(void)events;
	struct machine *machine = context;
	uint64_t count;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		loop_stop(machine->loop, 0);
}

static int make_loop(void *context, struct err *err)
{
	struct machine *machine = ((struct making *)context)->machine;
	machine->stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->stop_event < 0)
		return err_sys(err, errno, "make an event");
	int r = loop_new(&machine->loop, err);
	if (r == 0)
		r = loop_watch_fd(machine->loop, machine->stop_event, EPOLLIN, on_stop, machine,
			&machine->stop_watch, err);
	return r;
}

static int make_memory(void *context, struct err *err)
{
	struct making *making = context;
	struct machine *machine = making->machine;
	int r = guest_mem_new(machine->config->memory_bytes,
		cpu_accel_wants_shared_memory(making->accel), &machine->mem, err);
	if (r == 0)
		machine->next_window = GUEST_MEM_HIGH + guest_mem_high(machine->mem);
	return r;
}

static int map_ram(struct machine *machine, uint64_t gpa, uint64_t size, uint64_t offset,
	struct err *err)
{
	const struct cpu_memory memory = {
		.gpa = gpa,
		.size = size,
		.host = guest_mem_at(machine->mem, gpa, size),
		.fd = guest_mem_fd(machine->mem),
		.offset = offset,
		.file_size = size,
	};
	return cpu_machine_map(machine->cpu, &memory, err);
}

static int make_cpu(void *context, struct err *err)
{
	struct making *making = context;
	struct machine *machine = making->machine;
	uint64_t low = guest_mem_low(machine->mem), high = guest_mem_high(machine->mem);
	const struct cpu_bus bus = machine_cpu_bus(machine);
	int r = cpu_machine_new(making->accel, TAKE_FD(making->accel_fd), machine->config->cpus,
		&bus, &machine->cpu, err);
	if (r == 0)
		r = map_ram(machine, 0, low, 0, err);
	if (r == 0 && high > 0)
		r = map_ram(machine, GUEST_MEM_HIGH, high, low, err);
	return r;
}

static int make_bus(void *context, struct err *err)
{
	struct machine *machine = ((struct making *)context)->machine;
	return pci_bus_new(machine, &machine->bus, err);
}

static void set_serial_irq(void *context, bool level)
{
	struct machine *machine = context;
	struct err err = { 0 };
	if (cpu_machine_irq_line(machine->cpu, LAYOUT_SERIAL_PIN, level, &err) < 0)
		machine_end(machine, MACHINE_FAILED, 125, NULL, &err);
}

static int make_serial(void *context, struct err *err)
{
	(void)err;
	struct machine *machine = ((struct making *)context)->machine;
	machine->serial = serial_new(machine->config->serial_fd, set_serial_irq, machine);
	return 0;
}

static int make_devices(void *context, struct err *err)
{
	struct machine *machine = ((struct making *)context)->machine;
	json *list = machine->config->devices;
	for (size_t i = 0; i < json_array_len(list); i++) {
		int r = device_add(json_object_array_get_idx(list, i), machine, err);
		if (r < 0)
			return err_wrap(err, r, "device %zu", i);
	}
	return 0;
}

static int make_threads(void *context, struct err *err)
{
	return machine_threads_start(((struct making *)context)->machine, err);
}

/* No undo: what was made by half, too, is released by machine_free(). */
static const struct step machine_steps[] = {
	{ "loop", make_loop, NULL },
	{ "memory", make_memory, NULL },
	{ "cpu", make_cpu, NULL },
	{ "bus", make_bus, NULL },
	{ "serial", make_serial, NULL },
	{ "devices", make_devices, NULL },
	{ "threads", make_threads, NULL },
};

static int load_kernel(void *context, struct err *err)
{
	struct machine *machine = context;
	const struct boot boot = {
		.kernel_fd = machine->config->kernel_fd,
		.initrd_fds = machine->config->initrd_fds,
		.initrds = machine->config->initrds,
		.cmdline = machine->config->cmdline,
	};
	return boot_load(&boot, machine->mem, &machine->start, err);
}

static int write_tables(void *context, struct err *err)
{
	struct machine *machine = context;
	struct acpi_machine acpi = { .cpus = machine->config->cpus };
	/* Without room for it only the window below 4 GiB is left. */
	if (machine_take_window(machine, PCI_MMIO64_SIZE, GIB, &acpi.window_base, NULL) == 0)
		acpi.window_size = PCI_MMIO64_SIZE;
	return acpi_write(&acpi, machine->mem, err);
}

static const struct step load_steps[] = {
	{ "kernel", load_kernel, NULL },
	{ "tables", write_tables, NULL },
};

/* ---- life ---- */

int machine_new(const struct config *config, int take_accel_fd, const struct cpu_accel *accel,
	struct machine **ret_machine, struct err *err)
{
	struct machine *machine = NEW(machine);
	struct making making = { .machine = machine, .accel = accel, .accel_fd = take_accel_fd };
	machine->config = config;
	machine->stop_event = -1;
	machine->next_route = CPU_ROUTES_FIRST;
	(void)pthread_mutex_init(&machine->lock, NULL);
	(void)pthread_mutex_init(&machine->gate_lock, NULL);
	pthread_condattr_t attributes;
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&machine->gate, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	int r = step_run("machine", machine_steps, ARRAY_LEN(machine_steps), &making, err);
	if (making.accel_fd >= 0)
		(void)close(making.accel_fd);
	if (r < 0) {
		machine_tell_failure(machine, err);
		machine_free(machine);
		return r;
	}
	*ret_machine = machine;
	return 0;
}

int machine_load(struct machine *machine, struct err *err)
{
	return step_run("machine load", load_steps, ARRAY_LEN(load_steps), machine, err);
}

int machine_run(struct machine *machine, struct machine_outcome *ret_outcome, struct err *err)
{
	machine_threads_open(machine);
	int r = loop_run(machine->loop, err);
	if (r < 0)
		return r;
	*ret_outcome = machine->outcome;
	return 0;
}

void machine_free(struct machine *machine)
{
	if (machine == NULL)
		return;
	/* A thread that is stuck still uses all of it: the process ends soon, and that frees it. */
	if (!machine_threads_stop(machine))
		return;
	pci_bus_free(machine->bus);
	serial_free(machine->serial);
	cpu_machine_free(machine->cpu);
	guest_mem_free(machine->mem);
	loop_free(machine->loop);
	if (machine->stop_event >= 0)
		(void)close(machine->stop_event);
	(void)pthread_mutex_destroy(&machine->lock);
	(void)pthread_mutex_destroy(&machine->gate_lock);
	(void)pthread_cond_destroy(&machine->gate);
	free(machine);
}
