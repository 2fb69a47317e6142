/* pit - the 8254 interval timer and port 0x61, which gates its third channel and shows its output.
 * Times are ticks of the guest's TSC; the owner holds a lock around every call.
 *
 * Counts are binary: the BCD bit is kept and shown, and nobody counts by it. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

enum { PIT_CHANNELS = 3 };

#define PIT_HZ 1193182u
#define PIT_NEVER UINT64_MAX

struct pit {
	uint32_t tsc_khz;
	/* Its count_load_time is filled in by pit_get() only. */
	struct kvm_pit_state2 state;
	uint64_t load[PIT_CHANNELS]; /* when the count began */
	uint64_t held[PIT_CHANNELS]; /* ticks of the PIT counted when a low gate stopped it */
	uint64_t expiry;             /* of channel 0's next interrupt */
	bool is_speaker_on;
};

void pit_init(struct pit *pit, uint32_t tsc_khz);
bool pit_has_port(uint16_t port);
uint8_t pit_read(struct pit *pit, uint16_t port, uint64_t now);
void pit_write(struct pit *pit, uint16_t port, uint8_t value, uint64_t now);
/* Whether channel 0 raised its output since the last call: once, however often it did. */
bool pit_expire(struct pit *pit, uint64_t now);
/* KVM's format, but count_load_time is nanoseconds of the guest's TSC. */
void pit_get(const struct pit *pit, struct kvm_pit_state2 *ret_state);
void pit_set(struct pit *pit, const struct kvm_pit_state2 *state, uint64_t now);
