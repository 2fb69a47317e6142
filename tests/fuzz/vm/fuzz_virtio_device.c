/* fuzz_virtio_device - a driver that does anything, to each of the devices behind the transport:
 * random registers, rings, requests, resets.  The device may fail, and that is all that may happen:
 * its files keep their size, and a reset always ends in status 0.
 *
 * The first byte chooses the device; 8-byte steps follow, each with the bytes that it asks for. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../lib/pci_driver.h"
#include "vm/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES = 1 << 16, STEPS_MAX = 64, SETTLES_MAX = 12, QUEUE_SIZE = 32 };

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct step {
	uint8_t kind, queue;
	uint16_t at;
	uint32_t value;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static bool take(struct input *input, void *bytes, size_t len)
{
	if (input->len < len)
		return false;
	memcpy(bytes, input->bytes, len);
	input->bytes += len;
	input->len -= len;
	return true;
}

/* One descriptor of a request: six bytes of input make an address that is mostly good. */
struct piece {
	uint16_t address, len;
	uint8_t flags, next;
};

static void offer(struct pci_driver *driver, struct input *input, const struct step *step)
{
	unsigned queue = step->queue % driver->queues;
	struct ring_driver *ring = &driver->rings[queue];
	if (ring->size == 0)
		return;
	unsigned count = 1 + (step->at & 7), first = step->value % QUEUE_SIZE;
	for (unsigned i = 0; i < count; i++) {
		struct piece piece;
		if (!take(input, &piece, sizeof(piece)))
			return;
		uint64_t address = PCI_DRIVER_BUFFERS + piece.address;
		uint32_t len = piece.len;
		if ((piece.flags & 0x10) != 0)
			address = (uint64_t)piece.address << 17;
		if ((piece.flags & 0x20) != 0)
			len <<= 12;
		ring_driver_set(ring, ring->desc, (first + i) % QUEUE_SIZE, address, len,
			piece.flags & 7,
			(piece.flags & 0x40) != 0 ? piece.next : (first + i + 1) % QUEUE_SIZE);
	}
	ring_driver_offer(ring, (uint16_t)first);
	pci_driver_kick(driver, queue);
}

static void run(struct pci_driver *driver, struct input *input, const struct step *step,
	unsigned *settles)
{
	static const uint32_t lens[] = { 1, 2, 4, 8 };
	uint64_t value = step->value;
	switch (step->kind % 8) {
	case 0: /* a register, wherever */
		pci_driver_set(driver, step->at % 0x4000, value, lens[step->queue & 3]);
		(void)pci_driver_get(driver, step->at % 0x4000, lens[step->queue & 3]);
		break;
	case 1: /* one of the common ones */
		pci_driver_set(driver, step->at % 64, value, lens[step->queue & 3]);
		break;
	case 2:
	case 3:
	case 4: offer(driver, input, step); break;
	case 5: /* memory: what a request says */
		memcpy(driver->machine->mem.low + PCI_DRIVER_BUFFERS + step->at, &value, 4);
		break;
	case 6:
		if ((*settles)++ < SETTLES_MAX)
			fake_machine_settle(driver->machine);
		break;
	default:
		if ((*settles)++ >= SETTLES_MAX)
			break;
		pci_driver_set(driver, VIRTIO_PCI_COMMON_STATUS, 0, 1);
		fake_machine_settle(driver->machine);
		must(pci_driver_get(driver, VIRTIO_PCI_COMMON_STATUS, 1) == 0, "a reset failed");
		pci_driver_start(driver, step->value, QUEUE_SIZE);
		break;
	}
}

static json *configuration(const struct device_row *row, int fd, bool is_readonly)
{
	json *config = json_new_object();
	json_set_string(config, "type", row->type);
	json_set_string(config, "serial", "serial");
	json_set_int(config, "fd", fd);
	json_set_bool(config, "readonly", is_readonly);
	return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = { "balloon", "block", "pmem", "rng" };
	struct input input = { data, size };
	uint8_t which;
	if (!take(&input, &which, sizeof(which)))
		return 0;
	size_t rows_len;
	const struct device_row *rows = device_rows(&rows_len);
	const struct device_row *row = NULL;
	for (size_t i = 0; i < rows_len; i++)
		row = strcmp(rows[i].type, types[which % ARRAY_LEN(types)]) == 0 ? &rows[i] : row;
	must(row != NULL, "a device is lost");

	struct machine machine;
	fake_machine_init(&machine);
	AUTO_CLOSE int file = memfd_create("file", MFD_CLOEXEC);
	must(ftruncate(file, FILE_BYTES) == 0, "no file");
	int fd = dup(file);
	json *config =
		configuration(row, fd, strcmp(row->type, "pmem") == 0 || (which & 0x80) != 0);
	must(device_add(config, &machine, NULL) == 0, "no device");
	json_object_put(config);
	if (strcmp(row->type, "block") != 0 && strcmp(row->type, "pmem") != 0)
		(void)close(fd);

	struct pci_driver driver;
	pci_driver_find(&driver, &machine, 1);
	pci_driver_start(&driver, UINT64_MAX, QUEUE_SIZE);
	struct step step;
	unsigned settles = 0;
	for (unsigned i = 0; i < STEPS_MAX && take(&input, &step, sizeof(step)); i++)
		run(&driver, &input, &step, &settles);
	fake_machine_settle(&machine);
	struct stat status;
	must(fstat(file, &status) == 0 && status.st_size == FILE_BYTES, "a file changed its size");
	fake_machine_done(&machine);
	return 0;
}
