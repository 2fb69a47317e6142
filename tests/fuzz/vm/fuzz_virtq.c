/* fuzz_virtq - any bytes as rings, tables and buffers of a driver: what the queue yields lies in
 * memory and within its limits, and nothing but the used ring is written.
 *
 * The first bytes choose the queue's size and addresses, the rest is guest memory from 0 on. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/fake_machine.h"
#include "vm/virtio/virtq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 8, MEMORY = 0x8000, STEPS = 64 };

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void check(const struct guest_mem *mem, const struct iovec *iov, unsigned len,
	uint64_t bytes)
{
	uint64_t sum = 0;
	must(len <= VIRTQ_CHAIN_MAX, "a chain is too long");
	for (unsigned i = 0; i < len; i++) {
		uintptr_t at = (uintptr_t)iov[i].iov_base;
		uint64_t low = at - (uintptr_t)mem->low, high = at - (uintptr_t)mem->high;
		bool is_low = low <= FAKE_LOW_BYTES && iov[i].iov_len <= FAKE_LOW_BYTES - low;
		bool is_high = high <= FAKE_HIGH_BYTES && iov[i].iov_len <= FAKE_HIGH_BYTES - high;
		must(is_low || is_high, "a buffer is not in memory");
		must(iov[i].iov_len > 0, "an empty buffer");
		sum += iov[i].iov_len;
	}
	must(sum == bytes, "lengths do not add up");
}

static void step(struct virtq *queue, const struct guest_mem *mem, struct virtq_chain *chain)
{
	int r = virtq_next(queue, chain);
	must(r == 1 || r == 0 || r == -EPROTO, "an odd answer");
	must((r < 0) == queue->is_broken, "broken or not");
	if (r != 1)
		return;
	must(chain->head < queue->size, "a head beyond the queue");
	check(mem, chain->in, chain->in_len, chain->in_bytes);
	check(mem, chain->out, chain->out_len, chain->out_bytes);
	uint8_t bytes[64];
	uint64_t offset = chain->in_bytes > 8 ? chain->in_bytes - 8 : 0;
	size_t n = virtq_copy_in(chain, offset, bytes, sizeof(bytes));
	must(n == chain->in_bytes - offset, "bytes are missing");
	virtq_done(queue, chain->head, (uint32_t)n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEAD)
		return 0;
	struct machine machine;
	fake_machine_init(&machine);
	uint8_t *low = machine.mem.low;
	size_t len = size - HEAD < MEMORY ? size - HEAD : MEMORY;
	memcpy(low, data + HEAD, len);

	struct virtq queue = {
		.size = (uint16_t)((data[0] & 0x80) != 0 ? data[0] : 1u << (data[0] % 10)),
		.desc = (uint64_t)data[1] << 4,
		.avail = (uint64_t)data[2] << 6,
		.used = ((uint64_t)data[4] << 8 | data[3]) << 6,
	};
	struct virtq_chain chain;
	if (virtq_activate(&queue, &machine.mem, (data[5] & 1) != 0) == 0) {
		for (unsigned i = 0; i < STEPS; i++) {
			step(&queue, &machine.mem, &chain);
			virtq_set_notify(&queue, i % 2 != 0);
			(void)!virtq_wants_interrupt(&queue);
		}
		/* The used ring may lie over what follows it; beyond it nothing has changed. */
		uint64_t first = queue.used, last = queue.used + 6 + queue.size * 8u;
		for (size_t i = 0; i < len; i++)
			must((i >= first && i < last) || low[i] == data[HEAD + i],
				"memory was written");
	}
	fake_machine_done(&machine);
	return 0;
}
