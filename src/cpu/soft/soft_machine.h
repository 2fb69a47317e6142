/* soft_machine - what the virtual processors of one machine share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "cpu/soft/soft_cpuid.h"
#include "cpu/soft/soft_vcpu.h"
#include "cpu/soft/stub/stub.h"

enum { SOFT_VCPUS_MAX = 254, SOFT_RANGES_MAX = 64, SOFT_EVENTS_MAX = 256, SOFT_PHYSICAL_BITS = 46 };

#define SOFT_NO_MEMORY UINT32_MAX

/* Guest-physical memory that is the host's; sorted by nothing: there are few. */
struct soft_range {
	uint64_t gpa, size;
	uint8_t *host;
	bool read_only;
	/* The file behind it, for stubs; what is beyond file_size is zeros and in no file. */
	unsigned memory; /* its number in `files`; SOFT_NO_MEMORY: stubs cannot map it */
	uint64_t file_offset, file_size;
	/* Of each page: how often code that was decoded from it has been written over, the lowest
	 * bit saying that there is such code at all, so that writes take the slow way. */
	_Atomic uint32_t *code; /* owned */
};

/* A write there makes fd readable, and that is all. */
struct soft_event {
	uint64_t address;
	unsigned len; /* of the write; 0: any */
	bool is_pio;
	int fd; /* borrowed */
};

struct soft_machine {
	struct cpu_machine base; /* with the bus */
	unsigned cpus;
	uint64_t tsc_khz;
	struct soft_model model; /* what CPUID shows */
	struct irqchip *irqchip; /* owned */
	struct soft_range range[SOFT_RANGES_MAX];
	unsigned ranges;
	int files[STUB_MEMORIES_MAX]; /* borrowed: those of the ranges, each once */
	unsigned files_len;
	struct soft_vcpu *_Atomic vcpu[SOFT_VCPUS_MAX]; /* borrowed; set by their own threads */
	/* Messages by route: address and data, in two atomic words; data last. */
	struct soft_route {
		_Atomic uint64_t address;
		_Atomic uint32_t data;
	} route[CPU_ROUTES_MAX];

	pthread_mutex_t lock; /* guards all below */
	struct soft_event event[SOFT_EVENTS_MAX];
	unsigned events;
};

/* The range that has [gpa, gpa + len), or NULL. */
struct soft_range *soft_range_at(struct soft_machine *machine, uint64_t gpa, uint64_t len);

/* The range that has this byte of the host's, or NULL. */
struct soft_range *soft_range_of(struct soft_machine *machine, const uint8_t *host);

/* The host's byte of code at linear, NULL where that is no memory.  Raises what fetching it meets.
 */
const uint8_t *soft_code_at(struct soft_vcpu *v, uint64_t linear);
/* Writes to that page of this processor's take the slow way from now on. */
void soft_tlb_forget_writes(struct soft_vcpu *v, const uint8_t *host_page);

/* What page tables say of an address. */
struct soft_translation {
	uint64_t gpa;
	bool is_global, is_large;
	bool can_write; /* without another walk: the right and the dirty bit are there */
	bool can_execute;
};
/* Where an access would go, setting accessed and dirty bits: false with the error code of the page
 * fault.  linear is canonical. */
MUST_CHECK bool soft_translate(struct soft_vcpu *v, uint64_t linear, enum soft_access access,
	enum soft_view view, struct soft_translation *ret, uint32_t *ret_error);

/* soft_bus.c: an access that is not memory's, or to a port: to the interrupt controllers, else to
 * the machine outside. */
void soft_mmio(struct soft_vcpu *v, uint64_t gpa, void *bytes, uint32_t size, bool is_write);
void soft_io(struct soft_vcpu *v, uint16_t port, void *bytes, uint32_t size, bool is_write);
