/* clock - see clock.h.  No strptime and no locale: the forms are few and fixed. */
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/num.h"

#define NS_PER_SECOND INT64_C(1000000000)

static int64_t read_clock(clockid_t clock)
{
	struct timespec now = { 0 };
	(void)clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
	return (uint64_t)read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

const char *clock_rfc3339(int64_t wall_ns, char buffer[CLOCK_RFC3339_MAX])
{
	time_t seconds = wall_ns / NS_PER_SECOND;
	int64_t nanos = wall_ns % NS_PER_SECOND;
	/* Rounded down and not towards zero: nanoseconds are never negative. */
	if (nanos < 0) {
		nanos += NS_PER_SECOND;
		seconds--;
	}
	struct tm tm = { 0 };
	(void)gmtime_r(&seconds, &tm);
	/* An int64_t of nanoseconds reaches from 1677 to 2262. */
	(void)snprintf(buffer, CLOCK_RFC3339_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%09" PRId64 "Z",
		(unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		(unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		(unsigned)tm.tm_sec % 100, nanos);
	return buffer;
}

/* Takes exactly len digits off the start of *text. */
static bool take_number(struct view *text, size_t len, int min, int max, int *ret)
{
	int64_t n;
	if (text->len < len || num_parse((struct view){ text->data, len }, min, max, &n) < 0)
		return false;
	*text = (struct view){ text->data + len, text->len - len };
	*ret = (int)n;
	return true;
}

static bool take_char(struct view *text, char c)
{
	if (text->len == 0 || text->data[0] != c)
		return false;
	*text = (struct view){ text->data + 1, text->len - 1 };
	return true;
}

/* The digits after a decimal point as nanoseconds. */
static bool take_fraction(struct view *text, int64_t *ret_nanos)
{
	int64_t nanos = 0, scale = NS_PER_SECOND;
	size_t len = 0;
	while (len < text->len && text->data[len] >= '0' && text->data[len] <= '9') {
		scale /= 10;
		nanos += (text->data[len++] - '0') * scale;
	}
	*text = (struct view){ text->data + len, text->len - len };
	*ret_nanos = nanos;
	return len > 0 && len <= 9;
}

/* "Z", "+02:00", "-0330"; the offset is what local time is ahead of UTC. */
static bool take_zone(struct view *text, int *ret_offset_seconds)
{
	int hours = 0, minutes = 0;
	*ret_offset_seconds = 0;
	if (take_char(text, 'Z') || take_char(text, 'z'))
		return true;
	int sign = take_char(text, '+') ? 1 : take_char(text, '-') ? -1 : 0;
	if (sign == 0 || !take_number(text, 2, 0, 23, &hours))
		return false;
	(void)take_char(text, ':');
	if (!take_number(text, 2, 0, 59, &minutes))
		return false;
	*ret_offset_seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* Docker's forms: a date, then hours, minutes, seconds and a fraction, each only after the one
 * before it, then a zone.  Without a zone the local one is meant, as Docker's client does it. */
static int parse_date(struct view text, int64_t *ret_wall_ns)
{
	struct tm tm = { .tm_isdst = -1 };
	int64_t nanos = 0;
	if (!take_number(&text, 4, 1600, 2300, &tm.tm_year) || !take_char(&text, '-') ||
		!take_number(&text, 2, 1, 12, &tm.tm_mon) || !take_char(&text, '-') ||
		!take_number(&text, 2, 1, 31, &tm.tm_mday))
		return -EINVAL;
	if (take_char(&text, 'T') || take_char(&text, 't') || take_char(&text, ' ')) {
		if (!take_number(&text, 2, 0, 23, &tm.tm_hour))
			return -EINVAL;
		if (take_char(&text, ':')) {
			if (!take_number(&text, 2, 0, 59, &tm.tm_min))
				return -EINVAL;
			if (take_char(&text, ':')) {
				/* 60 is a leap second, which counts as the next minute's first. */
				if (!take_number(&text, 2, 0, 60, &tm.tm_sec))
					return -EINVAL;
				if (take_char(&text, '.') && !take_fraction(&text, &nanos))
					return -EINVAL;
			}
		}
	}
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int day = tm.tm_mday, offset = 0;
	bool local = text.len == 0;
	if (!local && (!take_zone(&text, &offset) || text.len > 0))
		return -EINVAL;
	/* Both normalise: a 31st of a short month becomes another day and is refused by that.  The
	 * day is checked in UTC, where no leap hour can move it. */
	struct tm check = { .tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = day };
	(void)timegm(&check);
	if (check.tm_mday != day)
		return -EINVAL;
	int64_t seconds = local ? mktime(&tm) : timegm(&tm);
	int64_t wall_ns;
	if (__builtin_mul_overflow(seconds - offset, NS_PER_SECOND, &wall_ns) ||
		__builtin_add_overflow(wall_ns, nanos, &wall_ns))
		return -EINVAL;
	*ret_wall_ns = wall_ns;
	return 0;
}

static const struct unit {
	const char *name;
	int64_t ns;
} duration_units[] = {
	/* Longer names first where one starts another: "ms" before "m". */
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\xc2\xb5s", 1000 }, /* micro sign */
	{ "\xce\xbcs", 1000 }, /* Greek mu */
	{ "ms", 1000000 },
	{ "h", 3600 * NS_PER_SECOND },
	{ "m", 60 * NS_PER_SECOND },
	{ "s", NS_PER_SECOND },
};

static const struct unit *take_unit(struct view *text)
{
	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
		const struct unit *unit = &duration_units[i];
		if (!view_starts(*text, unit->name))
			continue;
		size_t len = strlen(unit->name);
		*text = (struct view){ text->data + len, text->len - len };
		return unit;
	}
	return NULL;
}

int clock_parse_duration(struct view text, int64_t *ret_duration_ns)
{
	int64_t sum = 0;
	if (text.len == 0)
		return -EINVAL;
	while (text.len > 0) {
		size_t len = 0;
		while (len < text.len &&
			((text.data[len] >= '0' && text.data[len] <= '9') || text.data[len] == '.'))
			len++;
		/* The amount in billionths of its unit: 128 bits hold it times any unit. */
		int64_t nano;
		if (num_parse_nano((struct view){ text.data, len }, &nano) < 0)
			return -EINVAL;
		bool zero = nano == 0 && len == text.len;
		text = (struct view){ text.data + len, text.len - len };
		if (zero) /* Go: a zero needs no unit */
			break;
		const struct unit *unit = take_unit(&text);
		if (unit == NULL)
			return -EINVAL;
		__int128 part = (__int128)nano * unit->ns / NS_PER_SECOND;
		if (part > INT64_MAX || __builtin_add_overflow(sum, (int64_t)part, &sum))
			return -EINVAL;
	}
	*ret_duration_ns = sum;
	return 0;
}

int clock_parse(struct view text, int64_t now_ns, int64_t *ret_wall_ns)
{
	int64_t duration_ns, wall_ns;
	/* A date starts "YYYY-": nothing else has a dash there. */
	if (text.len > 4 && text.data[4] == '-')
		return parse_date(text, ret_wall_ns);
	if (num_parse_nano(text, ret_wall_ns) == 0)
		return 0;
	if (clock_parse_duration(text, &duration_ns) < 0 ||
		__builtin_sub_overflow(now_ns, duration_ns, &wall_ns))
		return -EINVAL;
	*ret_wall_ns = wall_ns;
	return 0;
}

/* go-units' HumanDuration, row by row: hours are rounded, all else is cut off. */
const char *clock_human_duration(int64_t duration_ns, char buffer[CLOCK_HUMAN_MAX])
{
	int64_t seconds = duration_ns / NS_PER_SECOND;
	int64_t minutes = seconds / 60;
	int64_t hours = (minutes + 30) / 60;
	const struct {
		int64_t value, limit; /* the row is for values below the limit */
		int64_t number;       /* -1: the words alone */
		const char *words;
	} rows[] = {
		{ seconds, 1, -1, "Less than a second" },
		{ seconds, 2, -1, "1 second" },
		{ seconds, 60, seconds, "seconds" },
		{ minutes, 2, -1, "About a minute" },
		{ minutes, 60, minutes, "minutes" },
		{ hours, 2, -1, "About an hour" },
		{ hours, 48, hours, "hours" },
		{ hours, INT64_C(24) * 7 * 2, hours / 24, "days" },
		{ hours, INT64_C(24) * 30 * 2, hours / 24 / 7, "weeks" },
		{ hours, INT64_C(24) * 365 * 2, hours / 24 / 30, "months" },
		{ 0, 1, minutes / 60 / 24 / 365, "years" },
	};
	size_t row = 0;
	while (rows[row].value >= rows[row].limit)
		row++;
	if (rows[row].number < 0)
		(void)snprintf(buffer, CLOCK_HUMAN_MAX, "%s", rows[row].words);
	else
		(void)snprintf(buffer, CLOCK_HUMAN_MAX, "%" PRId64 " %s", rows[row].number,
			rows[row].words);
	return buffer;
}
