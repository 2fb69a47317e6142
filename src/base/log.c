/* log - see log.h.  A line is built on the stack and written by one write(2), so lines of several
 * processes on one descriptor do not mix, and logging works without memory.
 *
 * This file holds moat's only settings that are process-wide and writable: whom they concern (a
 * person before a terminal) is process-wide too.  They are set while there is one thread. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/quote.h"

static struct {
	enum log_level level;
	int fd;
	bool trace;
} settings = { .level = LOG_INFO, .fd = STDERR_FILENO };

static const char *const level_names[] = { [LOG_ERROR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug" };

enum { LINE_MAX_BYTES = 1024 };

void log_set_level(enum log_level level)
{
	settings.level = level;
}

void log_set_fd(int fd)
{
	settings.fd = fd;
}

void log_set_trace(bool on)
{
	settings.trace = on;
}

/* line holds a message of at most LINE_MAX_BYTES - 2 bytes; there is nobody to tell if writing
 * fails. */
static void emit(char *line)
{
	quote_flatten(line);
	size_t len = strlen(line);
	line[len] = '\n';
	(void)!fd_write_all(settings.fd, line, len + 1);
}

void log_write(enum log_level level, const char *format, ...)
{
	if (level > settings.level)
		return;
	char line[LINE_MAX_BYTES];
	int len = snprintf(line, sizeof(line), "moat: %s: ", level_names[level]);
	va_list args;
	va_start(args, format);
	(void)vsnprintf(line + len, sizeof(line) - 1 - (size_t)len, format, args);
	va_end(args);
	emit(line);
}

void log_trace_step(const char *what, const char *step, long microseconds)
{
	if (!settings.trace)
		return;
	char line[LINE_MAX_BYTES];
	(void)snprintf(line, sizeof(line) - 1, "moat: trace: %s %s %ld us", what, step,
		microseconds);
	emit(line);
}
