/* guest - the first process inside a virtual machine (wire/guest_msg.h says what it is told). */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"

/* What differs between a machine and a test of the same code in namespaces. */
struct guest_platform {
	const char *run_dir; /* an existing directory for what the guest mounts and keeps */
	const char *cgroup;  /* the workload's group */
	/* A stream to the machine's port. */
	int (*connect)(unsigned port, struct err *err);
	/* A listening socket, not blocking; and one connection of it whose peer may ask, or a
	 * negative errno. */
	int (*listen)(unsigned port, struct err *err);
	int (*accept)(int listener);
	/* The path of a device as START names it. */
	int (*device_find)(json *device, char **ret_path, struct err *err);
	/* May return only in a test. */
	void (*power_off)(void);
};

/* From HELLO to the end: returns after power_off() did.  The caller is the init of its pid
 * namespace and has one thread. */
MUST_CHECK int guest_run(const struct guest_platform *platform, struct err *err);

/* ---- the machine's own (main.c) ---- */

/* A bare initramfs becomes a system: /dev, /proc, /sys, cgroups, the modules of
 * /lib/moat/modules.list, and a root that can be left by pivot_root(2). */
MUST_CHECK int guest_boot(struct err *err);
extern const struct guest_platform guest_machine;
