/* device_script - what a driver and a host do to a device, as bytes: the input of the devices' fuzz
 * targets.  A step is eight bytes; whatever they are, the device answers or fails, and every loop
 * ends. */
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "device_rig.h"

struct device_step {
	uint8_t what, queue;
	uint16_t at;
	uint32_t value;
};

enum { DEVICE_STEPS_MAX = 256 };

struct device_script {
	struct rig *rig;
	int host; /* the other end of what the device reads and writes; -1: closed */
	/* Fills in a request that is nearly right, from a few bytes; returns its length. */
	size_t (*request)(const struct device_step *step, uint8_t bytes[RIG_BUFFER_BYTES]);
	uint64_t features;
};

static inline void device_script_host(struct device_script *script, const struct device_step *step)
{
	static uint8_t bytes[4096];
	if (script->host < 0)
		return;
	switch (step->at % 4) {
	case 0:
	case 1:
		(void)!send(script->host, bytes, step->value % sizeof(bytes),
			MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 2: (void)!recv(script->host, bytes, step->value % sizeof(bytes), MSG_DONTWAIT); break;
	default:
		if (step->value % 4 == 0)
			(void)close(TAKE_FD(script->host));
		else
			(void)shutdown(script->host, (int)(step->value % 3));
		break;
	}
}

static inline void device_script_step(struct device_script *script, const struct device_step *step)
{
	struct rig *rig = script->rig;
	unsigned queue = step->queue % rig->ops->queues;
	struct rig_queue *q = &rig->queues[queue];
	uint16_t at = step->at % RIG_QUEUE_SIZE, head;
	uint32_t written;
	uint8_t bytes[RIG_BUFFER_BYTES];
	size_t len;
	switch (step->what % 10) {
	case 0: /* a descriptor of any kind, most of them in memory */
		rig_set_desc(rig, queue, at,
			step->value % 8 == 0 ? (uint64_t)step->value << 16
					     : q->buffers + at * (uint64_t)RIG_BUFFER_BYTES,
			step->value >> 8 & 0xffff, step->value & 7, (uint16_t)(step->value >> 24));
		break;
	case 1: rig_offer(rig, queue, step->at); break;
	case 2:
	case 3:
		len = script->request(step, bytes);
		if (len > 0)
			(void)rig_add(rig, queue, bytes, len, 1 + step->at % 3000 + len / 32, 0);
		rig_kick(rig, queue);
		break;
	case 4: (void)rig_add(rig, queue, NULL, 0, 0, 1 + step->value % RIG_BUFFER_BYTES); break;
	case 5: rig_kick(rig, queue); break;
	case 6: device_script_host(script, step); break;
	case 7: rig_settle(rig); break;
	case 8:
		for (unsigned n = 0; n < RIG_QUEUE_SIZE && rig_take(rig, queue, &head, &written);
			n++)
			continue;
		break;
	default:
		if (step->value % 4 == 0)
			rig_restart(rig, script->features);
		else
			rig->ops->config_read(rig->device, step->value, bytes, step->at % 64);
		break;
	}
}

/* The first byte of the input has gone to the caller. */
static inline void device_script_run(struct device_script *script, const uint8_t *data, size_t size)
{
	struct device_step step;
	for (unsigned n = 0; n < DEVICE_STEPS_MAX && size >= sizeof(step); n++) {
		memcpy(&step, data, sizeof(step));
		device_script_step(script, &step);
		data += sizeof(step);
		size -= sizeof(step);
	}
	rig_settle(script->rig);
	rig_close(script->rig);
	if (script->host >= 0)
		(void)close(script->host);
}
