/* device - the rows of devices.def, and what becomes of one object of the configuration. */
#include "vm/device.h"

#include <string.h>

#include "base/quote.h"

#define DEVICE(type, ops, create)           \
	extern const struct virtio_ops ops; \
	int create(json *config, struct machine *machine, void **ret_device, struct err *err);
#include "vm/devices.def"
#undef DEVICE

static const struct device_row rows[] = {
#define DEVICE(type, ops, create) { type, &(ops), create },
#include "vm/devices.def"
#undef DEVICE
};

const struct device_row *device_rows(size_t *ret_len)
{
	*ret_len = ARRAY_LEN(rows);
	return rows;
}

int device_add(json *config, struct machine *machine, struct err *err)
{
	const char *type = json_get_string(config, "type");
	for (size_t i = 0; type != NULL && i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].type, type) != 0)
			continue;
		void *device = NULL;
		int r = rows[i].create(config, machine, &device, err);
		if (r == 0)
			r = virtio_new(machine, rows[i].ops, device, err);
		return r < 0 ? err_wrap(err, r, "device %s", type) : 0;
	}
	if (type == NULL)
		return err_set(err, ERR_INVALID, "a device has no type");
	AUTO_FREE char *quoted = quote_string(type);
	return err_set(err, ERR_INVALID, "there is no device %s", quoted);
}
