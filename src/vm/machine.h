/* machine - one virtual machine while it runs: memory, processors, bus, devices.
 *
 * Threads: one for each vCPU, one for all devices (a base/loop).  Fields of a device belong to the
 * device thread.  The lock guards what vCPU threads do to PCI and virtio configuration; no queue
 * and no interrupt takes it. */
#pragma once

#include "base/loop.h"
#include "cpu/cpu.h"
#include "vm/guest_mem.h"

struct machine;
struct pci_bus;

struct cpu_machine *machine_cpu(const struct machine *machine);
struct guest_mem *machine_mem(const struct machine *machine);
struct loop *machine_loop(const struct machine *machine);
struct pci_bus *machine_bus(const struct machine *machine);

/* A free route for a message-signalled interrupt, or -ENOSPC. */
MUST_CHECK int machine_take_route(struct machine *machine);
/* Reserves guest addresses above RAM for memory that a device maps itself (pmem), aligned to its
 * power-of-two alignment; mapped by the caller with cpu_machine_map(). */
MUST_CHECK int machine_take_window(struct machine *machine, uint64_t size, uint64_t alignment,
	uint64_t *ret_gpa, struct err *err);

/* How the machine ends: the first call wins.  status is the exit status of the process (the
 * workload's own, 0 for a clean power-off).  From any thread. */
enum machine_end { MACHINE_POWER_OFF, MACHINE_RESET, MACHINE_PANIC, MACHINE_FAILED };
void machine_stop(struct machine *machine, enum machine_end end, int status);
/* Told why the machine failed, if it did: once, by the thread that runs the loop, when that has
 * ended and before anything is freed.  One listener; NULL: none. */
typedef void machine_failed_fn(void *context, const struct err *why);
void machine_on_failure(struct machine *machine, machine_failed_fn *failed, void *context);
