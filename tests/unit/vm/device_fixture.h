/* device_fixture - one device behind the real transport on a fake machine, and its driver. */
#pragma once

#include "test.h"

#include "pci_driver.h"
#include "vm/device.h"

struct device_fixture {
	struct machine machine;
	struct pci_driver driver;
	unsigned queue; /* that request() uses */
};

static inline int device_fixture_make(void **state)
{
	struct device_fixture *f = calloc(1, sizeof(*f));
	fake_machine_init(&f->machine);
	*state = f;
	return 0;
}

static inline int device_fixture_destroy(void **state)
{
	struct device_fixture *f = *state;
	fake_machine_done(&f->machine);
	free(f);
	return 0;
}

#define IN_DEVICE(test) \
	cmocka_unit_test_setup_teardown(test, device_fixture_make, device_fixture_destroy)

static inline int device_fixture_add(struct device_fixture *f, const char *text, struct err *err)
{
	json *config = NULL;
	assert_int_equal(json_parse(view_of(text), "a test's device", &config, NULL), 0);
	int r = device_add(config, &f->machine, err);
	json_object_put(config);
	return r;
}

/* The device of a configuration, started with these features. */
static inline void device_fixture_start(struct device_fixture *f, const char *text,
	uint64_t features)
{
	assert_int_equal(device_fixture_add(f, text, NULL), 0);
	pci_driver_find(&f->driver, &f->machine, 1);
	pci_driver_start(&f->driver, features, 32);
	fake_machine_settle(&f->machine);
}

static inline bool device_fixture_is_failed(const struct device_fixture *f)
{
	return (pci_driver_get(&f->driver, VIRTIO_PCI_COMMON_STATUS, 1) &
		       VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}

/* One request and its answer; returns how many bytes the device says it has written, -1 when it did
 * not answer. */
static inline int64_t device_fixture_ask(struct device_fixture *f, const void *in, uint32_t in_len,
	uint32_t out_len)
{
	pci_driver_offer(&f->driver, f->queue, in, in_len, out_len);
	pci_driver_kick(&f->driver, f->queue);
	fake_machine_settle(&f->machine);
	return pci_driver_take(&f->driver, f->queue);
}

static inline const uint8_t *device_fixture_answer(const struct device_fixture *f)
{
	return pci_driver_answer(&f->driver, f->queue);
}
