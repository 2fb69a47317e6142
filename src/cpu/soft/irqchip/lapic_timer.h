/* lapic_timer - the timer of a local APIC (Intel SDM volume 3, 11.5.4).  It counts nanoseconds
 * (1 GHz, as KVM's does) times its divisor; all times are ticks of the guest's TSC, and the caller
 * says what time it is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* As bits 17 and 18 of the timer's LVT entry number them; the fourth is reserved and stands still.
 */
enum lapic_timer_mode { LAPIC_ONE_SHOT, LAPIC_PERIODIC, LAPIC_DEADLINE, LAPIC_NO_TIMER };

#define LAPIC_NEVER UINT64_MAX

struct lapic_timer {
	uint32_t tsc_khz;
	enum lapic_timer_mode mode;
	uint32_t initial; /* count it starts from; 0: stopped */
	uint32_t divisor;
	uint64_t expiry; /* LAPIC_NEVER: not running */
};

void lapic_timer_reset(struct lapic_timer *timer);
/* A change to or from the deadline mode stops it. */
void lapic_timer_set_mode(struct lapic_timer *timer, enum lapic_timer_mode mode);
void lapic_timer_start(struct lapic_timer *timer, uint32_t count, uint64_t now);
/* As if `count` of `initial` were left; for state that comes back. */
void lapic_timer_resume(struct lapic_timer *timer, uint32_t initial, uint32_t count, uint64_t now);
/* What is left of the count stays; it goes on at the new speed. */
void lapic_timer_set_divide(struct lapic_timer *timer, uint32_t divide, uint64_t now);
uint32_t lapic_timer_count(const struct lapic_timer *timer, uint64_t now);

uint64_t lapic_timer_deadline(const struct lapic_timer *timer); /* the MSR's value */
void lapic_timer_set_deadline(struct lapic_timer *timer, uint64_t deadline);

/* Whether it ran out since the last call: once, however many periods have gone by. */
bool lapic_timer_expire(struct lapic_timer *timer, uint64_t now);
