/* cleanup - release on every path: AUTO variables, and TAKE to give away what they hold. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define MUST_CHECK __attribute__((warn_unused_result))

/* AUTO(thing) t = NULL;  frees with thing_free() at the end of the scope.
 * DEFINE_AUTO(thing) stands after the declaration of thing_free() in thing's header. */
#define AUTO(type) __attribute__((cleanup(type##_auto_free))) struct type *
#define DEFINE_AUTO(type)                                      \
	static inline void type##_auto_free(struct type **ref) \
	{                                                      \
		type##_free(*ref);                             \
	}

/* AUTO_DONE(thing) t = ...;  the same for a struct in place, released by thing_done(). */
#define AUTO_DONE(type) __attribute__((cleanup(type##_done))) struct type

#define AUTO_FREE __attribute__((cleanup(cleanup_free), unused))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_close), unused))

/* The value, leaving nothing behind for the AUTO variable to release. */
#define TAKE(pointer)                           \
	({                                      \
		__auto_type taken_ = (pointer); \
		(pointer) = NULL;               \
		taken_;                         \
	})
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

static inline void cleanup_free(void *ref)
{
	free(*(void **)ref);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
