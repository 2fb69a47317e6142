/* err - why something failed, in a value the caller owns.
 *
 * A function that can fail returns 0 or a negative errno; where a person may have to read why, its
 * last parameter is a struct err *, which may be NULL.  Nothing here allocates, so it works out of
 * memory, after fork and in the guest. */
#pragma once

#include "base/cleanup.h"

enum err_kind {
	ERR_NONE,
#define KIND(symbol, errnum, status, http, meaning) symbol,
#include "base/err_kinds.def"
#undef KIND
	ERR_KIND_COUNT
};

struct err {
	enum err_kind kind;
	int code;          /* negative errno */
	char message[480]; /* one line, complete, without a final period */
};

/* Our own refusal.  Returns the kind's negative errno. */
int err_set(struct err *err, enum err_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The kernel's refusal: errnum is a positive errno, its text is appended after ": ".
 * The kind is derived from errnum (ENOSPC and EDQUOT: ERR_NO_SPACE, EACCES and EPERM: ERR_DENIED,
 * else ERR_SYSTEM).  Returns -errnum. */
int err_sys(struct err *err, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts context in front of what err already says ("pull x: ...").  Where it says nothing (kind is
 * ERR_NONE, as after a function that returns only a code) the text of code stands in, and the kind
 * is derived as by err_sys().  So a struct err starts as { 0 }.  Returns code unchanged. */
int err_wrap(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time: it must be told that failing is never 0, else it follows
 * failures into code that relies on outputs. */
static inline int err_negative(int code)
{
	if (code >= 0)
		__builtin_unreachable();
	return code;
}
#define err_set(...) err_negative(err_set(__VA_ARGS__))
#define err_sys(...) err_negative(err_sys(__VA_ARGS__))
#define err_wrap(...) err_negative(err_wrap(__VA_ARGS__))
#endif

/* Copies from into err if err is not NULL.  Returns from->code. */
int err_copy(struct err *err, const struct err *from);

/* The process exit status and the HTTP status of a kind. */
int err_exit_status(enum err_kind kind);
int err_http_status(enum err_kind kind);

/* The name of a kind as in err_kinds.def, for machines ("ERR_NOT_FOUND"). */
const char *err_kind_name(enum err_kind kind);
