/* vmm - the role "@vmm": one virtual machine's process.  Its rights go in this order, and nothing
 * of the guest or its kernel is read before the last stage:
 *
 * - configuration: read from descriptor 3, from the engine, which is trusted.
 *
 * - descriptors: all closed but stdio and those that the configuration names.
 *
 * - jail: own mount, network, ipc and uts namespaces, an empty root, the machine's own user, no
 *   capabilities, no new privileges (base/jail.c, 1 to 6).
 *
 * - machine: memory, accelerator, bus, devices from their descriptors, vCPU threads that wait: what
 *   needs system calls that nobody needs later.
 *
 * - list: the system calls of vmm_syscalls.c, for all threads at once.
 *
 * - kernel: read into memory, its parameters and tables made; then the guest runs.
 *
 * A process namespace of its own is the caller's to make (a process cannot enter one with threads);
 * without it there is still no call in the list that names another process. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/jail.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "vm/config.h"
#include "vm/machine_parts.h"
#include "vm/vm.h"
#include "vm/vmm_syscalls.h"

enum { CONFIG_FD = 3, STATUS_FAILED = 125 };

static int read_config(struct config *ret_config, struct err *err)
{
	AUTO_DONE(text) bytes = { 0 };
	AUTO_CLOSE int fd = CONFIG_FD;
	int r = fd_read_text(fd, LIMIT_JSON_BYTES, "the machine's configuration", &bytes, err);
	return r < 0 ? r : config_parse(view_of_text(&bytes), ret_config, err);
}

static int keep_descriptors(const struct config *config, struct err *err)
{
	int r = fd_close_others(config->fds, config->fds_len);
	return r < 0 ? err_wrap(err, r, "close what this machine does not need") : 0;
}

/* One arena, since only the device thread allocates; no core file; a reader of the serial port that
 * has gone is no reason to end. */
static int settle(struct err *err)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	(void)mallopt(M_ARENA_MAX, 1);
	(void)prctl(PR_SET_NAME, "moat-vmm");
	if (sigaction(SIGPIPE, &ignore, NULL) < 0)
		return err_sys(err, errno, "ignore SIGPIPE");
	if (setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 }) < 0)
		return err_sys(err, errno, "forbid core files");
	return 0;
}

static int take_accel(struct config *config, const struct cpu_accel **ret_accel, int *ret_fd,
	struct err *err)
{
	int r = cpu_accel_find(config->accel, ret_accel, err);
	if (r == 0 && config->accel_fd < 0)
		return cpu_accel_open(*ret_accel, ret_fd, err);
	*ret_fd = TAKE_FD(config->accel_fd);
	return r;
}

/* What there is to tell, for people: errors have no control characters, whoever made their text. */
static int report(struct machine *machine, const struct machine_outcome *outcome, struct err *err)
{
	char panic[SERIAL_PANIC_MAX];
	serial_panic(machine->serial, panic);
	if (outcome->end == MACHINE_POWER_OFF)
		return outcome->status;
	if (outcome->end == MACHINE_FAILED && outcome->err.kind != ERR_NONE) {
		(void)err_copy(err, &outcome->err);
	} else if (panic[0] != 0) {
		(void)err_set(err, ERR_SYSTEM, "the guest's kernel panicked: %s", panic);
	} else if (outcome->why != NULL) {
		(void)err_set(err, ERR_SYSTEM, "%s", outcome->why);
	}
	return outcome->status;
}

/* The exit status, or a negative errno; in both cases err may have something to tell. */
static int run_machine(struct config *config, struct err *err)
{
	const struct cpu_accel *accel = NULL;
	AUTO(machine) machine = NULL;
	struct machine_outcome outcome;
	const struct jail jail = { .uid = config->uid };
	AUTO_CLOSE int accel_fd = -1;
	int r = keep_descriptors(config, err);
	if (r == 0)
		r = settle(err);
	if (r == 0)
		r = take_accel(config, &accel, &accel_fd, err);
	if (r == 0)
		r = jail_leave(&jail, err);
	if (r == 0)
		r = machine_new(config, TAKE_FD(accel_fd), accel, &machine, err);
	if (r == 0)
		r = vmm_syscalls_close(accel, err);
	if (r == 0)
		r = machine_load(machine, err);
	if (r == 0)
		r = machine_run(machine, &outcome, err);
	if (r == 0)
		r = report(machine, &outcome, err);
	if (err->kind != ERR_NONE)
		machine_tell_failure(machine, err);
	return r;
}

int vm_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	struct err err = { 0 };
	struct config config = { 0 };
	int r = read_config(&config, &err);
	if (r == 0)
		r = run_machine(&config, &err);
	if (err.kind != ERR_NONE)
		log_error("%s", err.message);
	config_done(&config);
	return r < 0 ? STATUS_FAILED : r;
}
