/* process_setup - from a process of ours inside the container's namespaces to the workload's own;
 * shared by the init and by exec.  The functions are called in this order. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"
#include "container/container.h"

struct container_spec;
struct seccomp_filter;
struct spec_process;

/* Puts stdio (borrowed) at 0, 1 and 2. */
MUST_CHECK int process_stdio(const int stdio[3], struct err *err);
/* The user to become: user resolved in the root, or where that is NULL the document's. */
MUST_CHECK int process_user(int root_fd, const struct spec_process *process, const char *user,
	struct container_user *ret_user, struct err *err);
/* Makes the working directory, the user's, where the image does not have it. */
MUST_CHECK int process_make_cwd(int root_fd, const struct spec_process *process,
	const struct container_user *user, struct err *err);
/* Enters it; never out of the root. */
MUST_CHECK int process_chdir(int root_fd, const struct spec_process *process, struct err *err);
/* Limits, filter, user, capabilities: after this the process has no more rights than the workload.
 */
MUST_CHECK int process_drop(const struct container_spec *spec, const struct container_user *user,
	const struct seccomp_filter *filter, struct err *err);
/* Finds the command as the workload would and becomes it.  Returns only on failure: ERR_NO_COMMAND,
 * ERR_NOT_EXECUTABLE. */
MUST_CHECK int process_exec(const struct spec_process *process, const struct container_user *user,
	struct err *err);
