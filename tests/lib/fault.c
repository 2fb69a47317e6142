/* fault - see fault.h. */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const functions[] = {
#define FAULT(result, name, parameters, arguments) #name,
#define FAULT_IO FAULT
#include "fault.def"
#undef FAULT
#undef FAULT_IO
	"openat64",
};

static struct {
	const char *function; /* NULL: nothing is to fail */
	unsigned left;
	int errnum;
	bool is_short;
	bool happened;
} fault;

void fault_set(const char *function, unsigned nth, int errnum)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (strcmp(functions[i], function) == 0) {
			fault.function = functions[i];
			fault.left = nth;
			fault.errnum = errnum;
			fault.is_short = false;
			fault.happened = false;
			return;
		}
	}
	(void)fprintf(stderr, "fault.def has no %s\n", function);
	abort();
}

void fault_set_short(const char *function)
{
	fault_set(function, 1, 0);
	fault.is_short = true;
}

bool fault_clear(void)
{
	fault.function = NULL;
	return fault.happened;
}

static bool is_due(const char *function)
{
	if (fault.function == NULL || strcmp(fault.function, function) != 0 || --fault.left > 0)
		return false;
	fault.function = NULL;
	fault.happened = true;
	return true;
}

static bool fails(const char *function)
{
	if (fault.is_short || !is_due(function))
		return false;
	errno = fault.errnum;
	return true;
}

/* The length that a transfer gets to see. */
static size_t shorten(const char *function, size_t len)
{
	return fault.is_short && is_due(function) ? 1 : len;
}

/* The linker leads calls of NAME to __wrap_NAME and calls of __real_NAME to libc. */
#define FAULT(result, name, parameters, arguments) \
	result __real_##name parameters;           \
	result __wrap_##name parameters;           \
	result __wrap_##name parameters            \
	{                                          \
		if (fails(#name))                  \
			return -1;                 \
		return __real_##name arguments;    \
	}
#define FAULT_IO(result, name, parameters, arguments) \
	result __real_##name parameters;              \
	result __wrap_##name parameters;              \
	result __wrap_##name parameters               \
	{                                             \
		if (fails(#name))                     \
			return -1;                    \
		len = shorten(#name, len);            \
		return __real_##name arguments;       \
	}
#include "fault.def"
#undef FAULT
#undef FAULT_IO

int __real_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (fails("openat64"))
		return -1;
	return __real_openat64(dirfd, path, flags, mode);
}
