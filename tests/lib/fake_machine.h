/* fake_machine - doubles of the machine, its accelerator and its memory, for tests of what is on
 * the bus: they keep what they were asked for.  One source of a program includes it; nothing of vm/
 * or cpu/ that it stands in for is then linked. */
#pragma once

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/loop.h"
#include "base/mem.h"
#include "cpu/cpu.h"
#include "vm/guest_mem.h"
#include "vm/machine.h"
#include "vm/pci/pci.h"

enum {
	FAKE_LOW_BYTES = 1 << 21,
	FAKE_HIGH_BYTES = 1 << 18,
	FAKE_EVENTS_MAX = 64,
	FAKE_ROUTES_MAX = 64,
	FAKE_MAPS_MAX = 8
};

/* RAM in two parts, as in a machine with more of it than fits below the hole. */
struct guest_mem {
	uint8_t *low, *high;
	/* One window is enough. */
	uint8_t *window;
	uint64_t window_gpa, window_size;
	bool is_window_read_only;
	unsigned discards;
	uint64_t discarded_bytes, last_gpa;
};

struct cpu_machine {
	struct {
		int fd; /* -1: free */
		uint64_t address;
	} events[FAKE_EVENTS_MAX];
	struct {
		uint64_t address;
		uint32_t data;
		unsigned sets;
		atomic_uint messages;
	} routes[FAKE_ROUTES_MAX];
	struct cpu_memory maps[FAKE_MAPS_MAX];
	unsigned maps_len;
	bool refuses_events, refuses_routes;
};

struct machine {
	struct cpu_machine cpu;
	struct guest_mem mem;
	struct loop *loop;
	struct pci_bus *bus;
	int next_route, routes_end;
	uint64_t next_window;
};

/* Zeros between two pages that nobody may touch. */
static inline uint8_t *fake_machine_ram(size_t len)
{
	uint8_t *bytes = mmap(NULL, len + 8192, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(bytes != MAP_FAILED && mprotect(bytes + 4096, len, PROT_READ | PROT_WRITE) == 0);
	return bytes + 4096;
}

static inline void fake_machine_init(struct machine *machine)
{
	*machine =
		(struct machine){ .routes_end = FAKE_ROUTES_MAX, .next_window = UINT64_C(1) << 36 };
	for (int i = 0; i < FAKE_EVENTS_MAX; i++)
		machine->cpu.events[i].fd = -1;
	machine->mem.low = fake_machine_ram(FAKE_LOW_BYTES);
	machine->mem.high = fake_machine_ram(FAKE_HIGH_BYTES);
	CHECK(loop_new(&machine->loop, NULL) == 0);
	CHECK(pci_bus_new(machine, &machine->bus, NULL) == 0);
}

static inline void fake_machine_done(struct machine *machine)
{
	pci_bus_free(machine->bus);
	loop_free(machine->loop);
	(void)munmap(machine->mem.low - 4096, FAKE_LOW_BYTES + 8192);
	(void)munmap(machine->mem.high - 4096, FAKE_HIGH_BYTES + 8192);
}

static inline void fake_machine_stop_loop(void *context)
{
	loop_stop(context, 0);
}

/* Runs the device thread until what is ready has been looked at, twice over. */
static inline void fake_machine_settle(struct machine *machine)
{
	for (int i = 0; i < 2; i++) {
		struct loop_watch *timer = NULL;
		CHECK(loop_watch_timer(machine->loop, 0, fake_machine_stop_loop, machine->loop,
			      &timer, NULL) == 0);
		CHECK(loop_run(machine->loop, NULL) == 0);
		loop_remove(timer);
	}
}

/* ---- machine.h ---- */

struct cpu_machine *machine_cpu(const struct machine *machine)
{
	return (struct cpu_machine *)(uintptr_t)&machine->cpu;
}

struct guest_mem *machine_mem(const struct machine *machine)
{
	return (struct guest_mem *)(uintptr_t)&machine->mem;
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
	return machine->next_route < machine->routes_end ? machine->next_route++ : -ENOSPC;
}

int machine_take_window(struct machine *machine, uint64_t size, uint64_t alignment,
	uint64_t *ret_gpa, struct err *err)
{
	(void)err;
	uint64_t start = (machine->next_window + alignment - 1) & ~(alignment - 1);
	machine->next_window = start + size;
	*ret_gpa = start;
	return 0;
}

void machine_on_failure(struct machine *machine, machine_failed_fn *failed, void *context)
{
	(void)machine;
	(void)failed;
	(void)context;
}

void machine_stop(struct machine *machine, enum machine_end end, int status)
{
	(void)end;
	loop_stop(machine->loop, status);
}

/* ---- cpu.h ---- */

int cpu_machine_map(struct cpu_machine *machine, const struct cpu_memory *memory, struct err *err)
{
	if (machine->maps_len == FAKE_MAPS_MAX)
		return err_set(err, ERR_LIMIT, "no more mappings");
	machine->maps[machine->maps_len++] = *memory;
	return 0;
}

int cpu_machine_ioeventfd(struct cpu_machine *machine, int fd, uint64_t address, unsigned len,
	bool is_pio, bool add, struct err *err)
{
	CHECK(len == 0 && !is_pio);
	if (machine->refuses_events && add)
		return err_set(err, ERR_UNSUPPORTED, "no events here");
	for (int i = 0; i < FAKE_EVENTS_MAX; i++) {
		bool is_found =
			add ? machine->events[i].fd < 0
			    : machine->events[i].fd == fd && machine->events[i].address == address;
		if (!is_found)
			continue;
		machine->events[i].fd = add ? fd : -1;
		machine->events[i].address = address;
		return 0;
	}
	return err_set(err, add ? ERR_LIMIT : ERR_NOT_FOUND, "events");
}

int cpu_machine_route_msi(struct cpu_machine *machine, unsigned gsi, uint64_t address,
	uint32_t data, struct err *err)
{
	CHECK(gsi < FAKE_ROUTES_MAX);
	if (machine->refuses_routes)
		return err_set(err, ERR_INVALID, "no such message");
	machine->routes[gsi].address = address;
	machine->routes[gsi].data = data;
	machine->routes[gsi].sets++;
	return 0;
}

void cpu_machine_interrupt(struct cpu_machine *machine, unsigned gsi)
{
	CHECK(gsi < FAKE_ROUTES_MAX && machine->routes[gsi].sets > 0);
	(void)atomic_fetch_add(&machine->routes[gsi].messages, 1);
}

/* The messages that have come on a route since the last look. */
static inline uint64_t fake_machine_messages(struct machine *machine, unsigned gsi)
{
	return atomic_exchange(&machine->cpu.routes[gsi].messages, 0);
}

/* A write of the guest: the accelerator's event if there is one at the address, else an exit. */
static inline void fake_machine_write(struct machine *machine, uint64_t address, uint64_t value,
	uint32_t len)
{
	for (int i = 0; i < FAKE_EVENTS_MAX; i++) {
		if (machine->cpu.events[i].fd < 0 || machine->cpu.events[i].address != address)
			continue;
		(void)eventfd_write(machine->cpu.events[i].fd, 1);
		return;
	}
	(void)pci_mmio(machine->bus, address, &value, len, true);
}

static inline uint64_t fake_machine_read(struct machine *machine, uint64_t address, uint32_t len)
{
	uint64_t value = 0;
	(void)pci_mmio(machine->bus, address, &value, len, false);
	return value;
}

/* ---- guest_mem.h ---- */

void *guest_mem_at(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	if (gpa <= FAKE_LOW_BYTES && len <= FAKE_LOW_BYTES - gpa)
		return mem->low + gpa;
	if (gpa < GUEST_MEM_HIGH || gpa - GUEST_MEM_HIGH > FAKE_HIGH_BYTES ||
		len > FAKE_HIGH_BYTES - (gpa - GUEST_MEM_HIGH))
		return NULL;
	return mem->high + (gpa - GUEST_MEM_HIGH);
}

void guest_mem_add_window(struct guest_mem *mem, uint64_t gpa, void *host, uint64_t size,
	bool is_read_only)
{
	mem->window = host;
	mem->window_gpa = gpa;
	mem->window_size = size;
	mem->is_window_read_only = is_read_only;
}

void *guest_mem_payload(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool is_written)
{
	uint64_t offset = gpa - mem->window_gpa;
	if (offset > mem->window_size || len > mem->window_size - offset || mem->window == NULL)
		return guest_mem_at(mem, gpa, len);
	return is_written && mem->is_window_read_only ? NULL : mem->window + offset;
}

int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *bytes, uint64_t len)
{
	const void *from = guest_mem_at(mem, gpa, len);
	if (from == NULL)
		return -EFAULT;
	memcpy(bytes, from, len);
	return 0;
}

int guest_mem_write(const struct guest_mem *mem, uint64_t gpa, const void *bytes, uint64_t len)
{
	void *to = guest_mem_at(mem, gpa, len);
	if (to == NULL)
		return -EFAULT;
	memcpy(to, bytes, len);
	return 0;
}

uint64_t guest_mem_low(const struct guest_mem *mem)
{
	(void)mem;
	return FAKE_LOW_BYTES;
}

uint64_t guest_mem_high(const struct guest_mem *mem)
{
	(void)mem;
	return FAKE_HIGH_BYTES;
}

int guest_mem_discard(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	struct guest_mem *counted = (struct guest_mem *)(uintptr_t)mem;
	uint8_t *host = guest_mem_at(mem, gpa, len);
	if (host == NULL)
		return -EFAULT;
	if (gpa % 4096 != 0 || len % 4096 != 0)
		return -EINVAL;
	memset(host, 0, len);
	counted->discards++;
	counted->discarded_bytes += len;
	counted->last_gpa = gpa;
	return 0;
}
