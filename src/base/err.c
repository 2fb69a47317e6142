/* err - see err.h.  Messages are built in place with snprintf: no allocation, no locale, and
 * strerrordesc_np() instead of strerror(), which may allocate.
 *
 * A message is one line whatever went into it: control bytes are replaced before it is stored, so a
 * name chosen by an attacker cannot forge a second line (THREATS rule 15). */
#include "base/err.h"

/* What err.h tells the analyzer is for callers. */
#undef err_set
#undef err_sys
#undef err_wrap

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/quote.h"

static const struct kind {
	const char *name;
	int errnum;
	int exit_status;
	int http_status;
} kinds[ERR_KIND_COUNT] = {
	[ERR_NONE] = { "ERR_NONE", 0, 0, 200 },
#define KIND(symbol, errnum, status, http, meaning) [symbol] = { #symbol, errnum, status, http },
#include "base/err_kinds.def"
#undef KIND
};

static enum err_kind kind_of_errnum(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT: return ERR_NO_SPACE;
	case EACCES:
	case EPERM: return ERR_DENIED;
	default: return ERR_SYSTEM;
	}
}

static const char *errnum_text(int errnum)
{
	const char *text = strerrordesc_np(errnum);
	return text != NULL ? text : "unknown error";
}

/* Puts reason behind the context that stands in the message.  Where both are too long the start of
 * the context and the end of the reason are kept. */
static void append_reason(struct err *err, const char *reason)
{
	enum { ROOM = sizeof(err->message) - 1 - 2, CONTEXT = ROOM / 3 };
	size_t context_len = strlen(err->message);
	size_t reason_len = strlen(reason);
	if (context_len + reason_len > ROOM) {
		size_t context_max = reason_len < ROOM - CONTEXT ? ROOM - reason_len : CONTEXT;
		context_len = context_len < context_max ? context_len : context_max;
		if (reason_len > ROOM - context_len)
			reason += reason_len - (ROOM - context_len);
	}
	(void)snprintf(err->message + context_len, sizeof(err->message) - context_len, ": %s",
		reason);
}

int err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
	int code = -kinds[kind].errnum;
	if (err == NULL)
		return code;
	va_list args;
	va_start(args, format);
	(void)vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	quote_flatten(err->message);
	err->kind = kind;
	err->code = code;
	return code;
}

int err_sys(struct err *err, int errnum, const char *format, ...)
{
	if (err == NULL)
		return -errnum;
	va_list args;
	va_start(args, format);
	(void)vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	append_reason(err, errnum_text(errnum));
	quote_flatten(err->message);
	err->kind = kind_of_errnum(errnum);
	err->code = -errnum;
	return -errnum;
}

int err_wrap(struct err *err, int code, const char *format, ...)
{
	if (err == NULL)
		return code;
	/* A callee without a struct err of its own left only its code. */
	if (err->kind == ERR_NONE) {
		(void)snprintf(err->message, sizeof(err->message), "%s", errnum_text(-code));
		err->kind = kind_of_errnum(-code);
		err->code = code;
	}
	struct err inner = *err;
	va_list args;
	va_start(args, format);
	(void)vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
	append_reason(err, inner.message);
	quote_flatten(err->message);
	return code;
}

int err_copy(struct err *err, const struct err *from)
{
	if (err != NULL)
		*err = *from;
	return from->code;
}

int err_exit_status(enum err_kind kind)
{
	return kinds[kind].exit_status;
}

int err_http_status(enum err_kind kind)
{
	return kinds[kind].http_status;
}

const char *err_kind_name(enum err_kind kind)
{
	return kinds[kind].name;
}
