/* pin - moat's own mount namespace, kept alive by a file: RUN/mnt. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Where a process came from, while it is inside. */
struct pin_visit {
	int home_ns, home_root, home_cwd; /* owned */
};

/* Moves the calling single-threaded process into the namespace; its root and working directory are
 * then the namespace's, an empty tmpfs but for the image mounts.  -ENOENT, and err untouched, when
 * there is none. */
MUST_CHECK int pin_enter(int run_fd, struct pin_visit *ret_visit, struct err *err);
/* Back to where it came from, with the same root and working directory. */
MUST_CHECK int pin_leave(struct pin_visit *visit, struct err *err);

/* Makes the namespace where it is missing.  lock_fd: its flock serialises the makers. */
MUST_CHECK int pin_create(int run_fd, int lock_fd, struct err *err);
/* Takes it away with all that is mounted there; 0 when there is none. */
MUST_CHECK int pin_remove(int run_fd, struct err *err);
