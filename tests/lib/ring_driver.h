/* ring_driver - the driver's side of a split virtqueue (virtio 1.2, 2.7), for tests: it fills rings
 * in a fake machine's memory as a driver does, or as one does that breaks the rules. */
#pragma once

#include <linux/virtio_ring.h>
#include <string.h>

#include "base/mem.h"
#include "vm/guest_mem.h"
#include "vm/virtio/virtq.h"

struct ring_driver {
	const struct guest_mem *mem;
	uint64_t desc, avail, used; /* guest addresses */
	uint16_t size;
	uint16_t next_avail, seen_used;
};

/* A test that misses the guest's memory is wrong. */
static inline void *ring_driver_at(const struct ring_driver *driver, uint64_t gpa, uint64_t len)
{
	void *host = guest_mem_at(driver->mem, gpa, len);
	CHECK(host != NULL);
	return host;
}

/* Puts the three parts at guest address at, one behind the other; returns what is behind them. */
static inline uint64_t ring_driver_init(struct ring_driver *driver, const struct guest_mem *mem,
	uint64_t at, uint16_t size)
{
	*driver = (struct ring_driver){ .mem = mem, .size = size };
	driver->desc = at;
	driver->avail = at + size * 16u;
	driver->used = (driver->avail + 6 + size * 2u + 3) & ~UINT64_C(3);
	uint64_t end = driver->used + 6 + size * 8u;
	memset(ring_driver_at(driver, at, end - at), 0, end - at);
	return (end + 15) & ~UINT64_C(15);
}

static inline void ring_driver_set(const struct ring_driver *driver, uint64_t table, unsigned at,
	uint64_t address, uint32_t len, uint16_t flags, uint16_t next)
{
	const struct vring_desc desc = { address, len, flags, next };
	memcpy(ring_driver_at(driver, table + at * sizeof(desc), sizeof(desc)), &desc,
		sizeof(desc));
}

static inline uint16_t *ring_driver_word(const struct ring_driver *driver, uint64_t gpa)
{
	return ring_driver_at(driver, gpa, sizeof(uint16_t));
}

static inline void ring_driver_offer(struct ring_driver *driver, uint16_t head)
{
	*ring_driver_word(driver,
		driver->avail + 4 + (driver->next_avail & (driver->size - 1u)) * 2u) = head;
	driver->next_avail++;
	__atomic_store_n(ring_driver_word(driver, driver->avail + 2), driver->next_avail,
		__ATOMIC_RELEASE);
}

/* The next request that came back: false when there is none. */
static inline bool ring_driver_take(struct ring_driver *driver, uint32_t *ret_head,
	uint32_t *ret_written)
{
	uint16_t used =
		__atomic_load_n(ring_driver_word(driver, driver->used + 2), __ATOMIC_ACQUIRE);
	if (used == driver->seen_used)
		return false;
	const uint32_t *entry = ring_driver_at(driver,
		driver->used + 4 + (driver->seen_used & (driver->size - 1u)) * 8u, 8);
	*ret_head = entry[0];
	*ret_written = entry[1];
	driver->seen_used++;
	return true;
}

static inline uint16_t *ring_driver_used_event(const struct ring_driver *driver)
{
	return ring_driver_word(driver, driver->avail + 4 + driver->size * 2u);
}

static inline uint16_t *ring_driver_avail_event(const struct ring_driver *driver)
{
	return ring_driver_word(driver, driver->used + 4 + driver->size * 8u);
}
