#include "cpu/soft/irqchip/lapic_timer.h"

#include "cpu/soft/irqchip/ticks.h"

#define NS_PER_MS 1000000u

/* Bits 0, 1 and 3 of the divide register: 2, 4 .. 128, and 1. */
static uint32_t divisor_of(uint32_t divide)
{
	uint32_t code = (divide & 3) | (divide & 8) >> 1;
	return 1u << ((code + 1) & 7);
}

static uint64_t ticks_of(const struct lapic_timer *timer, uint32_t count)
{
	uint64_t ns = (uint64_t)count * timer->divisor;
	return ticks_scale_up(ns, timer->tsc_khz, NS_PER_MS);
}

void lapic_timer_reset(struct lapic_timer *timer)
{
	*timer = (struct lapic_timer){
		.tsc_khz = timer->tsc_khz,
		.mode = LAPIC_ONE_SHOT,
		.divisor = divisor_of(0),
		.expiry = LAPIC_NEVER,
	};
}

static bool is_counting(enum lapic_timer_mode mode)
{
	return mode == LAPIC_ONE_SHOT || mode == LAPIC_PERIODIC;
}

void lapic_timer_set_mode(struct lapic_timer *timer, enum lapic_timer_mode mode)
{
	if (timer->mode != mode && !(is_counting(timer->mode) && is_counting(mode))) {
		timer->initial = 0;
		timer->expiry = LAPIC_NEVER;
	}
	timer->mode = mode;
}

void lapic_timer_resume(struct lapic_timer *timer, uint32_t initial, uint32_t count, uint64_t now)
{
	/* "A write to the initial-count register is ignored in TSC-deadline mode" (11.5.4.1). */
	if (!is_counting(timer->mode))
		return;
	timer->initial = initial;
	bool is_running = initial != 0 && count != 0;
	timer->expiry = is_running ? ticks_add(now, ticks_of(timer, count)) : LAPIC_NEVER;
}

void lapic_timer_start(struct lapic_timer *timer, uint32_t count, uint64_t now)
{
	lapic_timer_resume(timer, count, count, now);
}

uint32_t lapic_timer_count(const struct lapic_timer *timer, uint64_t now)
{
	if (!is_counting(timer->mode) || timer->expiry == LAPIC_NEVER)
		return 0;
	uint64_t left = timer->expiry > now ? timer->expiry - now : 0;
	/* In between a period's end and its interrupt the next period has begun. */
	if (left == 0 && timer->mode == LAPIC_PERIODIC) {
		uint64_t period = ticks_of(timer, timer->initial);
		left = period - (now - timer->expiry) % period;
	}
	uint64_t count = ticks_scale(left, NS_PER_MS, timer->tsc_khz) / timer->divisor;
	return count > timer->initial ? timer->initial : (uint32_t)count;
}

void lapic_timer_set_divide(struct lapic_timer *timer, uint32_t divide, uint64_t now)
{
	uint32_t left = lapic_timer_count(timer, now);
	timer->divisor = divisor_of(divide);
	/* What has run out already stays so until its interrupt is sent. */
	if (is_counting(timer->mode) && timer->expiry > now && timer->expiry != LAPIC_NEVER)
		timer->expiry = ticks_add(now, ticks_of(timer, left));
}

uint64_t lapic_timer_deadline(const struct lapic_timer *timer)
{
	if (timer->mode != LAPIC_DEADLINE || timer->expiry == LAPIC_NEVER)
		return 0;
	return timer->expiry;
}

void lapic_timer_set_deadline(struct lapic_timer *timer, uint64_t deadline)
{
	if (timer->mode == LAPIC_DEADLINE)
		timer->expiry = deadline == 0 ? LAPIC_NEVER : deadline;
}

bool lapic_timer_expire(struct lapic_timer *timer, uint64_t now)
{
	if (timer->expiry == LAPIC_NEVER || timer->expiry > now)
		return false;
	if (timer->mode != LAPIC_PERIODIC || timer->initial == 0) {
		timer->expiry = LAPIC_NEVER;
		return true;
	}
	uint64_t period = ticks_of(timer, timer->initial);
	uint64_t late = now - timer->expiry;
	timer->expiry = ticks_add(now, period - late % period);
	return true;
}
