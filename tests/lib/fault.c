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
#include "fault.def"
#undef FAULT
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
	if (!is_due(function))
		return false;
	errno = fault.errnum;
	return true;
}

/* The length that a transfer gets to see. */
static size_t shorten(const char *function, size_t len)
{
	return fault.is_short && len > 1 && is_due(function) ? 1 : len;
}

/* Functions with a length in "len" take the short case; the others have none to shorten. */
#define len_of_fchmod
#define FAULT(result, name, parameters, arguments) \
	result __real_##name parameters;           \
	result __wrap_##name parameters;           \
	result __wrap_##name parameters            \
	{                                          \
		if (!fault.is_short && fails(#name)) \
			return -1;                 \
		return __real_##name arguments;    \
	}
#include "fault.def"
#undef FAULT
