/* device - what a row of devices.def makes. */
#pragma once

#include "base/cleanup.h"
#include "vm/virtio/virtio.h"

struct machine;

/* Made from one object of the configuration's "devices" list, in the device thread before the guest
 * runs.  Descriptors that the object names by number are taken. */
struct device_row {
	const char *type; /* "block", "pmem", "net", "vsock", "console", "rng", "balloon" */
	const struct virtio_ops *ops;
	int (*create)(json *config, struct machine *machine, void **ret_device, struct err *err);
};

/* Every row of devices.def; *ret_len of them. */
const struct device_row *device_rows(size_t *ret_len);

/* Makes the device of one object of the configuration's list and puts it behind its transport on
 * the machine's bus, which frees both. */
MUST_CHECK int device_add(json *config, struct machine *machine, struct err *err);
/* The open descriptor that config names by number: the caller's from here on. */
MUST_CHECK int device_take_fd(json *config, const char *key, int *ret_fd, struct err *err);
