/* machine_parts - a machine from the inside, and its life as the role sees it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "vm/config.h"
#include "vm/machine.h"
#include "vm/platform/serial.h"

struct machine_thread {
	struct machine *machine;
	unsigned index;
	pthread_t thread;
	struct cpu_vcpu *vcpu; /* owned; set by the thread before it says that it is ready */
};

struct machine_outcome {
	enum machine_end end;
	int status;      /* exit status of the process */
	const char *why; /* NULL, or what to tell (static text) */
	struct err err;  /* MACHINE_FAILED: why */
};

struct machine {
	const struct config *config; /* borrowed */
	struct loop *loop;           /* owned */
	struct guest_mem *mem;       /* owned */
	struct cpu_machine *cpu;     /* owned */
	struct pci_bus *bus;         /* owned */
	struct serial *serial;       /* owned */
	struct loop_watch *stop_watch;
	machine_failed_fn *failed; /* NULL: nobody asks */
	void *failed_context;      /* borrowed */
	int stop_event;            /* owned */
	unsigned next_route;
	uint64_t next_window;
	struct cpu_state start; /* of vCPU 0; written before the gate opens */

	pthread_mutex_t lock; /* PCI and virtio configuration */

	/* The gate: vCPU threads are made before the jail closes and run after it. */
	pthread_mutex_t gate_lock; /* guards all below */
	pthread_cond_t gate;       /* on the monotonic clock */
	enum { GATE_SHUT, GATE_OPEN, GATE_CANCELLED } gate_state;
	unsigned threads_len, ready, left;
	int start_error; /* negative errno of the first thread that could not start */
	struct err start_err;
	struct machine_thread *threads; /* owned */

	/* The end: who turns is_ended first fills in the outcome and then writes the event. */
	atomic_bool is_ended, is_stopping;
	struct machine_outcome outcome;
};

/* ---- the role ---- */

/* Everything but the guest's software; vCPU threads wait.  config is borrowed. */
MUST_CHECK int machine_new(const struct config *config, int take_accel_fd,
	const struct cpu_accel *accel, struct machine **ret_machine, struct err *err);
/* Kernel, initial file systems and tables into the guest's memory. */
MUST_CHECK int machine_load(struct machine *machine, struct err *err);
/* Runs the guest to its end. */
MUST_CHECK int machine_run(struct machine *machine, struct machine_outcome *ret_outcome,
	struct err *err);
/* Passes on why it failed to whoever asked for that; NULL is fine. */
void machine_tell_failure(const struct machine *machine, const struct err *why);
void machine_free(struct machine *machine); /* NULL is fine */
DEFINE_AUTO(machine)

/* ---- between its files ---- */

/* machine_stop() with a reason: why is static text, err is copied; both may be NULL. */
void machine_end(struct machine *machine, enum machine_end end, int status, const char *why,
	const struct err *err);
MUST_CHECK int machine_threads_start(struct machine *machine, struct err *err);
void machine_threads_open(struct machine *machine);
/* False when one does not come back within a second: then the process has to end as it is. */
MUST_CHECK bool machine_threads_stop(struct machine *machine);
/* What answers the guest's accesses: all ones where nothing is. */
struct cpu_bus machine_cpu_bus(struct machine *machine);
