/* clock - monotonic for decisions, wall clock for people. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/text.h"

uint64_t clock_monotonic_ns(void);
int64_t clock_wall_ns(void); /* since 1970 */

/* "2026-11-20T19:00:00.123456789Z" (RFC 3339, UTC, always nine decimals). */
#define CLOCK_RFC3339_MAX 40
const char *clock_rfc3339(int64_t wall_ns, char buffer[CLOCK_RFC3339_MAX]);
/* A Go duration: "300ms", "1h30m", "1.5h"; no sign. */
MUST_CHECK int clock_parse_duration(struct view text, int64_t *ret_duration_ns);
/* RFC 3339 with any offset and 0-9 decimals (time and zone may be cut short, local time is meant
 * then), seconds since 1970 (with a fraction), or a Go duration meaning that long before now_ns; as
 * docker logs --since takes it. */
MUST_CHECK int clock_parse(struct view text, int64_t now_ns, int64_t *ret_wall_ns);
/* "About a minute", "3 hours": as Docker says it. */
#define CLOCK_HUMAN_MAX 32
const char *clock_human_duration(int64_t duration_ns, char buffer[CLOCK_HUMAN_MAX]);
