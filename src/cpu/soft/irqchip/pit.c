/* pit - see pit.h (Intel 8254 data sheet).
 *
 * Nothing ticks: a channel remembers when its count began, and count and output are computed from
 * the time that has gone by.  A period's n-th end is computed from its first start, so that no
 * rounding adds up. */
#include "cpu/soft/irqchip/pit.h"

#include "cpu/soft/irqchip/ticks.h"

enum { PORT_CONTROL = 0x43, PORT_FIRST = 0x40, PORT_SPEAKER = 0x61, CHANNEL_SPEAKER = 2 };
/* The access field of the control word; reading and writing a word go on from the last to the next.
 */
enum { ACCESS_LATCH = 0, ACCESS_LOW = 1, ACCESS_HIGH = 2, ACCESS_WORD = 3, ACCESS_WORD_HIGH = 4 };
enum { READ_BACK = 3, READ_BACK_NO_COUNT = 0x20, READ_BACK_NO_STATUS = 0x10 };
enum { STATUS_OUTPUT = 0x80, STATUS_NULL = 0x40 };
enum { SPEAKER_GATE = 1, SPEAKER_ON = 2, SPEAKER_REFRESH = 0x10, SPEAKER_OUTPUT = 0x20 };

#define FULL_COUNT 0x10000u
/* Half a period of the refresh toggle, about 15 microseconds: what reads it wants to see it change.
 */
#define REFRESH_TICKS 18

static const struct {
	bool is_periodic; /* starts again by itself */
	bool gate_holds;  /* a low gate stops it */
	bool gate_starts; /* a rising gate starts it again */
	bool is_one_shot; /* channel 0's output rises once after the count was written */
} modes[] = {
	{ false, true, false, true },
	{ false, false, true, false },
	{ true, true, true, false },
	{ true, true, true, false },
	{ false, true, false, true },
	{ false, false, true, false },
};

static uint64_t hz(const struct pit *pit)
{
	return (uint64_t)pit->tsc_khz * 1000;
}

static uint64_t elapsed(const struct pit *pit, unsigned channel, uint64_t now)
{
	const struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	if (c->gate == 0 && modes[c->mode].gate_holds)
		return pit->held[channel];
	uint64_t load = pit->load[channel];
	return now > load ? ticks_scale(now - load, PIT_HZ, hz(pit)) : 0;
}

static uint16_t count_at(const struct pit *pit, unsigned channel, uint64_t now)
{
	const struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	uint64_t ticks = elapsed(pit, channel, now);
	switch (c->mode) {
	case 2: return (uint16_t)(c->count - ticks % c->count);
	/* It counts by two, twice a period. */
	case 3: return (uint16_t)(c->count - 2 * ticks % c->count);
	default: return (uint16_t)(c->count - ticks);
	}
}

static bool output_at(const struct pit *pit, unsigned channel, uint64_t now)
{
	const struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	uint64_t ticks = elapsed(pit, channel, now);
	switch (c->mode) {
	case 0: return ticks >= c->count;
	case 1: return ticks >= c->count || pit->load[channel] == PIT_NEVER;
	/* Low for the last tick of a period, or for its second half; high while the gate is low. */
	case 2: return c->gate == 0 || ticks % c->count != c->count - 1;
	case 3: return c->gate == 0 || ticks % c->count < (c->count + 1) / 2;
	default: return ticks != c->count;
	}
}

/* ---- channel 0's interrupt ---- */

static void schedule(struct pit *pit, uint64_t now)
{
	const struct kvm_pit_channel_state *c = &pit->state.channels[0];
	uint64_t periods = modes[c->mode].is_periodic ? elapsed(pit, 0, now) / c->count + 1 : 1;
	uint64_t ticks = ticks_scale(periods, c->count, 1);
	pit->expiry = ticks_add(pit->load[0], ticks_scale_up(ticks, hz(pit), PIT_HZ));
}

bool pit_expire(struct pit *pit, uint64_t now)
{
	if (pit->expiry == PIT_NEVER || pit->expiry > now)
		return false;
	pit->expiry = PIT_NEVER;
	if (modes[pit->state.channels[0].mode].is_periodic)
		schedule(pit, now);
	return true;
}

/* ---- counts ---- */

static void start(struct pit *pit, unsigned channel, uint64_t now)
{
	pit->load[channel] = now;
	pit->held[channel] = 0;
	const struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	if (channel == 0 && (modes[c->mode].is_periodic || modes[c->mode].is_one_shot))
		schedule(pit, now);
}

static void load_count(struct pit *pit, unsigned channel, uint16_t value, uint64_t now)
{
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	c->count = value == 0 ? FULL_COUNT : value;
	/* Modes 1 and 5 wait for their gate. */
	if (modes[c->mode].is_periodic || modes[c->mode].is_one_shot)
		start(pit, channel, now);
}

static void write_count(struct pit *pit, unsigned channel, uint8_t value, uint64_t now)
{
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	switch (c->write_state) {
	case ACCESS_LOW: load_count(pit, channel, value, now); return;
	case ACCESS_HIGH: load_count(pit, channel, (uint16_t)(value << 8), now); return;
	case ACCESS_WORD:
		c->write_latch = value;
		c->write_state = ACCESS_WORD_HIGH;
		return;
	case ACCESS_WORD_HIGH:
		c->write_state = ACCESS_WORD;
		load_count(pit, channel, (uint16_t)(value << 8 | c->write_latch), now);
		return;
	default: return;
	}
}

/* One byte of a 16-bit value, and what comes after it. */
static uint8_t next_byte(uint8_t *state, uint16_t value)
{
	bool is_high = *state == ACCESS_HIGH || *state == ACCESS_WORD_HIGH;
	if (*state == ACCESS_WORD)
		*state = ACCESS_WORD_HIGH;
	else if (*state == ACCESS_WORD_HIGH)
		*state = ACCESS_WORD;
	return (uint8_t)(is_high ? value >> 8 : value);
}

static uint8_t read_count(struct pit *pit, unsigned channel, uint64_t now)
{
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	if (c->status_latched != 0) {
		c->status_latched = 0;
		return c->status;
	}
	if (c->count_latched == 0)
		return next_byte(&c->read_state, count_at(pit, channel, now));
	uint8_t value = next_byte(&c->count_latched, c->latched_count);
	/* The latch is open again after its last byte. */
	if (c->count_latched != ACCESS_WORD_HIGH)
		c->count_latched = 0;
	return value;
}

/* ---- control ---- */

static void latch_count(struct pit *pit, unsigned channel, uint64_t now)
{
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	if (c->count_latched != 0)
		return;
	c->latched_count = count_at(pit, channel, now);
	c->count_latched = c->rw_mode;
}

static void latch_status(struct pit *pit, unsigned channel, uint64_t now)
{
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	if (c->status_latched != 0)
		return;
	/* Half a count written is a count that is not in the counter yet. */
	c->status = (uint8_t)((output_at(pit, channel, now) ? STATUS_OUTPUT : 0) |
			      (c->write_state == ACCESS_WORD_HIGH ? STATUS_NULL : 0) |
			      c->rw_mode << 4 | c->mode << 1 | c->bcd);
	c->status_latched = 1;
}

static void read_back(struct pit *pit, uint8_t value, uint64_t now)
{
	for (unsigned channel = 0; channel < PIT_CHANNELS; channel++) {
		if ((value >> (channel + 1) & 1) == 0)
			continue;
		if ((value & READ_BACK_NO_COUNT) == 0)
			latch_count(pit, channel, now);
		if ((value & READ_BACK_NO_STATUS) == 0)
			latch_status(pit, channel, now);
	}
}

static void control(struct pit *pit, uint8_t value, uint64_t now)
{
	unsigned channel = value >> 6, access = (value >> 4) & 3;
	if (channel == READ_BACK) {
		read_back(pit, value, now);
		return;
	}
	if (access == ACCESS_LATCH) {
		latch_count(pit, channel, now);
		return;
	}
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	uint8_t mode = (value >> 1) & 7;
	/* Modes 6 and 7 are 2 and 3: their highest bit is not looked at. */
	c->mode = mode > 5 ? mode & 3 : mode;
	c->rw_mode = c->read_state = c->write_state = (uint8_t)access;
	c->bcd = value & 1;
	c->count_latched = c->status_latched = 0;
	/* Nothing counts before the count is written; the output is as at the start of the mode. */
	c->count = FULL_COUNT;
	pit->load[channel] = PIT_NEVER;
	pit->held[channel] = 0;
	if (channel == 0)
		pit->expiry = PIT_NEVER;
}

/* ---- port 0x61 ---- */

static void set_gate(struct pit *pit, unsigned channel, bool gate, uint64_t now)
{
	struct kvm_pit_channel_state *c = &pit->state.channels[channel];
	if (gate == (c->gate != 0))
		return;
	uint64_t ticks = elapsed(pit, channel, now);
	bool is_loaded = pit->load[channel] != PIT_NEVER;
	c->gate = gate;
	if (!gate)
		pit->held[channel] = ticks;
	else if (modes[c->mode].gate_starts)
		start(pit, channel, now);
	else if (is_loaded)
		pit->load[channel] = now - ticks_scale_up(ticks, hz(pit), PIT_HZ);
}

static uint8_t read_speaker(const struct pit *pit, uint64_t now)
{
	uint64_t refresh = ticks_scale(now, PIT_HZ, hz(pit)) / REFRESH_TICKS;
	return (uint8_t)((pit->state.channels[CHANNEL_SPEAKER].gate != 0 ? SPEAKER_GATE : 0) |
			 (pit->is_speaker_on ? SPEAKER_ON : 0) |
			 (refresh % 2 != 0 ? SPEAKER_REFRESH : 0) |
			 (output_at(pit, CHANNEL_SPEAKER, now) ? SPEAKER_OUTPUT : 0));
}

/* ---- ports ---- */

bool pit_has_port(uint16_t port)
{
	return (port >= PORT_FIRST && port <= PORT_CONTROL) || port == PORT_SPEAKER;
}

uint8_t pit_read(struct pit *pit, uint16_t port, uint64_t now)
{
	if (port == PORT_SPEAKER)
		return read_speaker(pit, now);
	if (port >= PORT_FIRST && port < PORT_CONTROL)
		return read_count(pit, port - PORT_FIRST, now);
	return 0xff;
}

void pit_write(struct pit *pit, uint16_t port, uint8_t value, uint64_t now)
{
	if (port == PORT_SPEAKER) {
		set_gate(pit, CHANNEL_SPEAKER, (value & SPEAKER_GATE) != 0, now);
		pit->is_speaker_on = (value & SPEAKER_ON) != 0;
	} else if (port == PORT_CONTROL) {
		control(pit, value, now);
	} else if (port >= PORT_FIRST && port < PORT_CONTROL) {
		write_count(pit, port - PORT_FIRST, value, now);
	}
}

void pit_init(struct pit *pit, uint32_t tsc_khz)
{
	*pit = (struct pit){ .tsc_khz = tsc_khz, .expiry = PIT_NEVER };
	for (unsigned channel = 0; channel < PIT_CHANNELS; channel++) {
		struct kvm_pit_channel_state *c = &pit->state.channels[channel];
		c->mode = 0;
		c->rw_mode = c->read_state = c->write_state = ACCESS_WORD;
		c->gate = channel != CHANNEL_SPEAKER;
		c->count = FULL_COUNT;
		pit->load[channel] = PIT_NEVER;
	}
}

/* ---- state ---- */

#define NS_PER_MS 1000000u

/* A channel whose count is not running has this time.  How far a count came that its gate stopped
 * is not in the format: it starts again. */
#define NOT_LOADED INT64_MAX

void pit_get(const struct pit *pit, struct kvm_pit_state2 *ret_state)
{
	*ret_state = pit->state;
	for (unsigned channel = 0; channel < PIT_CHANNELS; channel++) {
		uint64_t load = pit->load[channel];
		uint64_t ns = ticks_scale(load, NS_PER_MS, pit->tsc_khz);
		ret_state->channels[channel].count_load_time =
			load == PIT_NEVER || ns > INT64_MAX ? NOT_LOADED : (int64_t)ns;
	}
	ret_state->flags = pit->is_speaker_on ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0;
}

void pit_set(struct pit *pit, const struct kvm_pit_state2 *state, uint64_t now)
{
	pit->state = *state;
	pit->is_speaker_on = (state->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON) != 0;
	pit->expiry = PIT_NEVER;
	for (unsigned channel = 0; channel < PIT_CHANNELS; channel++) {
		struct kvm_pit_channel_state *c = &pit->state.channels[channel];
		if (c->mode >= sizeof(modes) / sizeof(modes[0]))
			c->mode = 0;
		if (c->count == 0 || c->count > FULL_COUNT)
			c->count = FULL_COUNT;
		int64_t ns = c->count_load_time;
		bool is_loaded = ns >= 0 && ns != NOT_LOADED;
		pit->load[channel] = is_loaded
					     ? ticks_scale_up((uint64_t)ns, pit->tsc_khz, NS_PER_MS)
					     : PIT_NEVER;
		pit->held[channel] = 0;
	}
	const struct kvm_pit_channel_state *c = &pit->state.channels[0];
	uint64_t past = elapsed(pit, 0, now);
	if (pit->load[0] != PIT_NEVER &&
		(modes[c->mode].is_periodic || (modes[c->mode].is_one_shot && past < c->count)))
		schedule(pit, now);
}
