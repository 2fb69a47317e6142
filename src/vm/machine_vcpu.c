/* machine_vcpu - the threads of the virtual processors: made, held at the gate, run, brought back.
 *
 *   made -> ready -> (gate opens) running -> left
 *               \--> (gate cancelled) ------> left
 *
 * A thread makes its own vCPU, because the accelerator wants it so, and says whether it could.  At
 * the end each is kicked until it has left: one kick may fall into the moment before a blocking
 * write. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "vm/machine_parts.h"

enum { STACK_SIZE = 256 << 10, KICK_MS = 10, KICKS_MAX = 100 };

static void run(struct machine_thread *self)
{
	struct machine *machine = self->machine;
	struct err err = { 0 };
	int r = self->index == 0 ? cpu_vcpu_set_state(self->vcpu, &machine->start, &err) : 0;
	while (r == 0 && !atomic_load(&machine->is_stopping)) {
		enum cpu_exit e;
		r = cpu_vcpu_run(self->vcpu, &e, &err);
		if (r == 0 && e == CPU_EXIT_RESET)
			machine_end(machine, MACHINE_RESET, 125,
				"the guest has crashed (triple fault)", NULL);
	}
	if (r < 0)
		machine_end(machine, MACHINE_FAILED, 125, NULL, &err);
}

static void *thread_main(void *context)
{
	struct machine_thread *self = context;
	struct machine *machine = self->machine;
	struct err err = { 0 };
	int r = cpu_vcpu_new(machine->cpu, self->index, &self->vcpu, &err);

	(void)pthread_mutex_lock(&machine->gate_lock);
	machine->ready++;
	if (r < 0 && machine->start_error == 0) {
		machine->start_error = r;
		machine->start_err = err;
	}
	(void)pthread_cond_broadcast(&machine->gate);
	while (machine->gate_state == GATE_SHUT)
		(void)pthread_cond_wait(&machine->gate, &machine->gate_lock);
	bool is_open = machine->gate_state == GATE_OPEN;
	(void)pthread_mutex_unlock(&machine->gate_lock);

	if (is_open)
		run(self);
	(void)pthread_mutex_lock(&machine->gate_lock);
	machine->left++;
	(void)pthread_cond_broadcast(&machine->gate);
	(void)pthread_mutex_unlock(&machine->gate_lock);
	return NULL;
}

static int start_one(struct machine_thread *thread, const pthread_attr_t *attributes,
	struct err *err)
{
	int r = pthread_create(&thread->thread, attributes, thread_main, thread);
	return r != 0 ? err_sys(err, r, "start the thread of vCPU %u", thread->index) : 0;
}

int machine_threads_start(struct machine *machine, struct err *err)
{
	unsigned cpus = machine->config->cpus;
	pthread_attr_t attributes;
	machine->threads = NEW_ARRAY(machine_thread, cpus);
	if (pthread_attr_init(&attributes) != 0 ||
		pthread_attr_setstacksize(&attributes, STACK_SIZE) != 0)
		return err_set(err, ERR_SYSTEM, "set the size of a thread's stack");
	int r = 0;
	for (unsigned i = 0; r == 0 && i < cpus; i++) {
		machine->threads[i] = (struct machine_thread){ .machine = machine, .index = i };
		r = start_one(&machine->threads[i], &attributes, err);
		if (r == 0)
			machine->threads_len++;
	}
	(void)pthread_attr_destroy(&attributes);

	(void)pthread_mutex_lock(&machine->gate_lock);
	while (machine->ready < machine->threads_len)
		(void)pthread_cond_wait(&machine->gate, &machine->gate_lock);
	if (r == 0 && machine->start_error < 0)
		r = err_copy(err, &machine->start_err);
	(void)pthread_mutex_unlock(&machine->gate_lock);
	/* A step that fails cleans up after itself (base/step.h). */
	if (r < 0)
		CHECK(machine_threads_stop(machine));
	return r;
}

static void set_gate(struct machine *machine, int state)
{
	(void)pthread_mutex_lock(&machine->gate_lock);
	if (machine->gate_state == GATE_SHUT)
		machine->gate_state = state;
	(void)pthread_cond_broadcast(&machine->gate);
	(void)pthread_mutex_unlock(&machine->gate_lock);
}

void machine_threads_open(struct machine *machine)
{
	set_gate(machine, GATE_OPEN);
}

/* Kicks until all have left or patience ends. */
static bool wait_left(struct machine *machine)
{
	bool has_left = false;
	for (int kicks = 0; !has_left && kicks < KICKS_MAX; kicks++) {
		for (unsigned i = 0; i < machine->threads_len; i++) {
			if (machine->threads[i].vcpu != NULL)
				cpu_vcpu_kick(machine->threads[i].vcpu);
		}
		struct timespec until;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += KICK_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		(void)pthread_mutex_lock(&machine->gate_lock);
		while (machine->left < machine->threads_len &&
			pthread_cond_timedwait(&machine->gate, &machine->gate_lock, &until) == 0)
			;
		has_left = machine->left == machine->threads_len;
		(void)pthread_mutex_unlock(&machine->gate_lock);
	}
	return has_left;
}

bool machine_threads_stop(struct machine *machine)
{
	if (machine->threads == NULL)
		return true;
	atomic_store(&machine->is_stopping, true);
	set_gate(machine, GATE_CANCELLED);
	if (!wait_left(machine))
		return false;
	for (unsigned i = 0; i < machine->threads_len; i++) {
		(void)pthread_join(machine->threads[i].thread, NULL);
		cpu_vcpu_free(machine->threads[i].vcpu);
	}
	free(TAKE(machine->threads));
	machine->threads_len = 0;
	return true;
}
