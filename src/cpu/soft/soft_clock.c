/* soft_clock - see soft_clock.h.
 *
 * The time is the guest's TSC in nanoseconds, from the counter's zero: so it is one line for all
 * processors and needs no base that would have to be kept the same for them ("stable"), and it is
 * written once, not before each entry.  What is written has an odd version while it is incomplete.
 */
#include "cpu/soft/soft_clock.h"

#include <assert.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "cpu/soft/soft_machine.h"

#define CLOCK_ENABLED UINT64_C(1)
#define NS_PER_S UINT64_C(1000000000)

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
};
static_assert(sizeof(struct time_info) == 32, "pvclock-abi.h: pvclock_vcpu_time_info");
#define TSC_STABLE 1u

struct wall_clock {
	uint32_t version, sec, nsec;
};
static_assert(sizeof(struct wall_clock) == 12, "pvclock-abi.h: pvclock_wall_clock");

uint64_t soft_tsc(const struct soft_vcpu *v)
{
	return __rdtsc() + v->tsc_offset;
}

/* ns = ((ticks << shift) * mul) >> 32, with mul of 32 bits. */
static void find_scale(uint64_t tsc_khz, uint32_t *ret_mul, int8_t *ret_shift)
{
	unsigned __int128 base = (unsigned __int128)(tsc_khz != 0 ? tsc_khz : 1) * 1000;
	unsigned __int128 mul = ((unsigned __int128)NS_PER_S << 32) / base;
	int shift = 0;
	while (mul >> 32 != 0 && shift < 31)
		mul = ((unsigned __int128)NS_PER_S << 32 >> ++shift) / base;
	while (mul >> 31 == 0 && shift > -31)
		mul = ((unsigned __int128)NS_PER_S << (32 - --shift)) / base;
	*ret_mul = (uint32_t)mul;
	*ret_shift = (int8_t)shift;
}

static uint64_t ticks_to_ns(uint64_t ticks, uint32_t mul, int8_t shift)
{
	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return (uint64_t)((unsigned __int128)ticks * mul >> 32);
}

/* The processor shows stores in their order: only the compiler has to keep it. */
static void keep_order(void)
{
	__asm__ volatile("" ::: "memory");
}

/* The rest, between two versions of which the first is odd. */
static void publish(uint8_t *host, const void *info, size_t len)
{
	uint32_t version;
	memcpy(&version, host, sizeof(version));
	/* What was there may be anything. */
	version += 1 + (version & 1);
	memcpy(host, &version, sizeof(version));
	keep_order();
	memcpy(host + sizeof(version), (const uint8_t *)info + sizeof(version),
		len - sizeof(version));
	keep_order();
	version++;
	memcpy(host, &version, sizeof(version));
}

void soft_clock_set(struct soft_vcpu *v, uint64_t value)
{
	void *host;
	struct time_info info = { .flags = TSC_STABLE };
	v->msr.clock = value;
	if ((value & CLOCK_ENABLED) == 0 ||
		!soft_physical(v, value & ~CLOCK_ENABLED, sizeof(info), &host))
		return;
	find_scale(v->machine->tsc_khz, &info.tsc_to_system_mul, &info.tsc_shift);
	publish(host, &info, sizeof(info));
}

void soft_clock_set_wall(struct soft_vcpu *v, uint64_t value)
{
	void *host;
	uint32_t mul;
	int8_t shift;
	struct timespec now;
	struct wall_clock wall = { 0 };
	v->msr.wall_clock = value;
	if (!soft_physical(v, value, sizeof(wall), &host))
		return;
	find_scale(v->machine->tsc_khz, &mul, &shift);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	/* When the clock was 0. */
	uint64_t ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec -
		      ticks_to_ns(soft_tsc(v), mul, shift);
	wall.sec = (uint32_t)(ns / NS_PER_S);
	wall.nsec = (uint32_t)(ns % NS_PER_S);
	publish(host, &wall, sizeof(wall));
}
