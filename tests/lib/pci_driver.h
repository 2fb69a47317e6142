/* pci_driver - a driver of one virtio device on a fake machine's bus, for tests: it finds the
 * device's parts by its capabilities, as virtio 1.2, 4.1 has it, and keeps rings with a few buffers
 * each. */
#pragma once

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "fake_machine.h"
#include "ring_driver.h"
#include "vm/virtio/virtio.h"

enum {
	PCI_DRIVER_RINGS = 0x20000,    /* guest address; a page pair for each queue */
	PCI_DRIVER_BUFFERS = 0x100000, /* a part for each queue, a piece of it for each request */
	PCI_DRIVER_PART = 0x20000,
	PCI_DRIVER_PIECE = 0x2000 /* its first half is what the device reads */
};

struct pci_driver {
	struct machine *machine;
	uint64_t config; /* address of the function's configuration space */
	uint8_t capability[VIRTIO_PCI_CAP_PCI_CFG + 1], msix;
	uint64_t common, notify, isr, device; /* addresses of the parts */
	unsigned queues;
	struct ring_driver rings[VIRTIO_QUEUES_MAX];
	unsigned offered[VIRTIO_QUEUES_MAX];
	uint32_t last[VIRTIO_QUEUES_MAX]; /* descriptor of the last answer */
};

static inline uint64_t pci_driver_get(const struct pci_driver *driver, uint64_t offset,
	uint32_t len)
{
	return fake_machine_read(driver->machine, driver->common + offset, len);
}

static inline void pci_driver_set(const struct pci_driver *driver, uint64_t offset, uint64_t value,
	uint32_t len)
{
	fake_machine_write(driver->machine, driver->common + offset, value, len);
}

static inline uint64_t pci_driver_part(const struct pci_driver *driver, unsigned type)
{
	uint64_t at = driver->config + driver->capability[type];
	uint64_t bar = fake_machine_read(driver->machine, at + VIRTIO_PCI_CAP_BAR, 1);
	return (fake_machine_read(driver->machine, driver->config + PCI_BASE_ADDRESS_0 + bar * 4,
			4) &
		       ~UINT64_C(15)) +
	       fake_machine_read(driver->machine, at + VIRTIO_PCI_CAP_OFFSET, 4);
}

/* Where the parts are now. */
static inline void pci_driver_map(struct pci_driver *driver)
{
	driver->common = pci_driver_part(driver, VIRTIO_PCI_CAP_COMMON_CFG);
	driver->notify = pci_driver_part(driver, VIRTIO_PCI_CAP_NOTIFY_CFG);
	driver->isr = pci_driver_part(driver, VIRTIO_PCI_CAP_ISR_CFG);
	driver->device = pci_driver_part(driver, VIRTIO_PCI_CAP_DEVICE_CFG);
}

static inline void pci_driver_find(struct pci_driver *driver, struct machine *machine,
	unsigned slot)
{
	*driver = (struct pci_driver){ .machine = machine,
		.config = PCI_ECAM_BASE + ((uint64_t)slot << 15) };
	uint64_t at = fake_machine_read(machine, driver->config + PCI_CAPABILITY_LIST, 1);
	for (; at != 0; at = fake_machine_read(machine, driver->config + at + 1, 1)) {
		uint64_t id = fake_machine_read(machine, driver->config + at, 1);
		uint64_t type = fake_machine_read(machine, driver->config + at + 3, 1);
		if (id == PCI_CAP_ID_MSIX)
			driver->msix = (uint8_t)at;
		else if (id == PCI_CAP_ID_VNDR && type < ARRAY_LEN(driver->capability))
			driver->capability[type] = (uint8_t)at;
	}
	fake_machine_write(machine, driver->config + PCI_COMMAND,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	pci_driver_map(driver);
	driver->queues = (unsigned)pci_driver_get(driver, VIRTIO_PCI_COMMON_NUMQ, 2);
}

static inline void pci_driver_status(const struct pci_driver *driver, uint8_t bits)
{
	uint64_t now = pci_driver_get(driver, VIRTIO_PCI_COMMON_STATUS, 1);
	pci_driver_set(driver, VIRTIO_PCI_COMMON_STATUS, now | bits, 1);
}

static inline void pci_driver_begin(const struct pci_driver *driver)
{
	pci_driver_status(driver, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	pci_driver_status(driver, VIRTIO_CONFIG_S_DRIVER);
}

static inline uint64_t pci_driver_features(const struct pci_driver *driver)
{
	pci_driver_set(driver, VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	uint64_t low = pci_driver_get(driver, VIRTIO_PCI_COMMON_DF, 4);
	pci_driver_set(driver, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return low | pci_driver_get(driver, VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static inline void pci_driver_accept(const struct pci_driver *driver, uint64_t features)
{
	for (unsigned i = 0; i < 2; i++) {
		pci_driver_set(driver, VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> (32 * i)), 4);
	}
	pci_driver_status(driver, VIRTIO_CONFIG_S_FEATURES_OK);
}

/* Messages on: vector n of each queue n, the last for the configuration; routes in this order. */
static inline void pci_driver_messages(const struct pci_driver *driver)
{
	uint64_t at = driver->config + driver->msix;
	uint64_t where = fake_machine_read(driver->machine, at + PCI_MSIX_TABLE, 4);
	uint64_t table = fake_machine_read(driver->machine,
				 driver->config + PCI_BASE_ADDRESS_0 + (where & 7) * 4, 4) +
			 (where & ~UINT64_C(7));
	fake_machine_write(driver->machine, at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	for (unsigned i = 0; i <= driver->queues; i++) {
		fake_machine_write(driver->machine, table + i * 16, 0xfee00000, 8);
		fake_machine_write(driver->machine, table + i * 16 + 8, 0x40 + i, 8);
	}
	pci_driver_set(driver, VIRTIO_PCI_COMMON_MSIX, driver->queues, 2);
}

/* From nothing to DRIVER_OK, with those of the features that are offered. */
static inline void pci_driver_start(struct pci_driver *driver, uint64_t features, uint16_t size)
{
	pci_driver_begin(driver);
	pci_driver_accept(driver, features & pci_driver_features(driver));
	pci_driver_messages(driver);
	for (unsigned i = 0; i < driver->queues; i++) {
		struct ring_driver *ring = &driver->rings[i];
		(void)ring_driver_init(ring, &driver->machine->mem, PCI_DRIVER_RINGS + i * 0x2000u,
			size);
		driver->offered[i] = 0;
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_SELECT, i, 2);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_SIZE, size, 2);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_MSIX, i, 2);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_DESCLO, ring->desc, 8);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_AVAILLO, ring->avail, 8);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_USEDLO, ring->used, 8);
		pci_driver_set(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	}
	pci_driver_status(driver, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* The memory of a request: what the device reads, and half a piece behind it what it writes. */
static inline uint8_t *pci_driver_buffer(const struct pci_driver *driver, unsigned queue,
	unsigned desc)
{
	return ring_driver_at(&driver->rings[queue],
		PCI_DRIVER_BUFFERS + queue * (uint64_t)PCI_DRIVER_PART +
			desc / 2 % 16 * (uint64_t)PCI_DRIVER_PIECE,
		PCI_DRIVER_PIECE);
}

/* A request of two descriptors at most; there are sixteen places, used in turn. */
static inline void pci_driver_offer(struct pci_driver *driver, unsigned queue, const void *in,
	uint32_t in_len, uint32_t out_len)
{
	struct ring_driver *ring = &driver->rings[queue];
	unsigned places = ring->size / 2u < 16 ? ring->size / 2u : 16;
	unsigned first = driver->offered[queue]++ % places * 2;
	uint8_t *buffer = pci_driver_buffer(driver, queue, first);
	uint64_t gpa = (uint64_t)(buffer - driver->machine->mem.low);
	CHECK(in_len <= PCI_DRIVER_PIECE / 2 && out_len <= PCI_DRIVER_PIECE / 2);
	if (in_len > 0)
		memcpy(buffer, in, in_len);
	ring_driver_set(ring, ring->desc, first, gpa, in_len, out_len > 0 ? VRING_DESC_F_NEXT : 0,
		(uint16_t)(first + 1));
	ring_driver_set(ring, ring->desc, first + 1, gpa + PCI_DRIVER_PIECE / 2, out_len,
		VRING_DESC_F_WRITE, 0);
	ring_driver_offer(ring, (uint16_t)(in_len > 0 ? first : first + 1));
}

static inline void pci_driver_kick(const struct pci_driver *driver, unsigned queue)
{
	fake_machine_write(driver->machine, driver->notify + queue * 4u, queue, 2);
}

/* How many bytes the next answer has; -1: there is none. */
static inline int64_t pci_driver_take(struct pci_driver *driver, unsigned queue)
{
	uint32_t written;
	if (!ring_driver_take(&driver->rings[queue], &driver->last[queue], &written))
		return -1;
	return written;
}

static inline const uint8_t *pci_driver_answer(const struct pci_driver *driver, unsigned queue)
{
	return pci_driver_buffer(driver, queue, driver->last[queue]) + PCI_DRIVER_PIECE / 2;
}

static inline uint64_t pci_driver_interrupts(const struct pci_driver *driver, unsigned vector)
{
	return fake_machine_messages(driver->machine, vector);
}

static inline uint64_t pci_driver_isr(const struct pci_driver *driver)
{
	return fake_machine_read(driver->machine, driver->isr, 1);
}
