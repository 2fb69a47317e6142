/* machine_config - a workload as a machine: the configuration of the role "@vmm" (vm/vm.h) and what
 * moat-guest is told at the start (wire/guest_msg.h). */
#pragma once

#include "base/json.h"
#include "engine/launch.h"

#define VM_MEMORY_DEFAULT_MIB 512
#define VM_MEMORY_MIN_MIB 80 /* below it Debian's kernel does not reach its init */
#define VM_DEVICE_FDS_MAX 160
/* What a workload may write at most.  The file is sparse, so the real bound is the host's disk. */
#define VM_UPPER_BYTES (UINT64_C(64) << 30)

/* Descriptors that the machine's process inherits under their own numbers. */
struct machine_fds {
	int fds[VM_DEVICE_FDS_MAX]; /* owned */
	size_t len;
};
void machine_fds_init(struct machine_fds *all);
void machine_fds_done(struct machine_fds *all);
/* Takes fd even on failure; ERR_LIMIT when there are too many. */
MUST_CHECK int machine_fds_add(struct machine_fds *all, int take_fd, struct err *err);

/* Refuses by name what a machine cannot honour (yet): bind mounts, the host's network, more CPUs or
 * less memory than can be. */
MUST_CHECK int machine_config_check(const struct workload_spec *spec, struct err *err);

uint64_t machine_memory_mib(const struct workload_spec *spec);
/* As many as --cpus covers; 1 without it. */
unsigned machine_cpus(const struct workload_spec *spec);

/* What moat-guest is told: the text of START.  mac: of the interface on launch's bridge, NULL
 * without one. */
MUST_CHECK int machine_start_text(const struct launch *launch, const uint8_t *mac,
	struct text *ret_text, struct err *err);

/* The disk for what the workload writes, an empty one, in its data directory; nothing with --rm,
 * where all is lost with the machine. */
MUST_CHECK int machine_make_upper(struct launch *launch, struct err *err);
/* The device that shows it. */
MUST_CHECK int machine_upper_device(const struct launch *launch, json *devices,
	struct machine_fds *all, struct err *err);

/* The devices that show the image: its merged metadata first, then its layers. */
MUST_CHECK int machine_image_devices(const struct launch *launch, json *devices,
	struct machine_fds *all, struct err *err);
