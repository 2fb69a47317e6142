/* seccomp_filter - a container's system call filter as classic BPF, ready to be loaded; private to
 * this folder.  seccomp(2), Documentation/userspace-api/seccomp_filter.rst. */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"

struct container_spec;

struct seccomp_filter {
	struct sock_filter *insns; /* owned; NULL: no filter */
	size_t len;
	unsigned flags; /* SECCOMP_FILTER_FLAG_* */
};

void seccomp_filter_done(struct seccomp_filter *filter);

/* The filter a document asks for, from cache_dir or else compiled and put there; cache_dir may be
 * NULL. */
MUST_CHECK int seccomp_filter_get(const struct container_spec *spec, const char *cache_dir,
	struct seccomp_filter *ret_filter, struct err *err);
/* From now on this process is filtered.  Needs CAP_SYS_ADMIN or no_new_privs. */
MUST_CHECK int seccomp_filter_load(const struct seccomp_filter *filter, struct err *err);

/* ---- compiling ---- */

/* seccomp_default.c: the built-in profile for a process that may have these capabilities (bits). */
MUST_CHECK int seccomp_compile_default(uint64_t capabilities, struct text *ret_bpf,
	struct err *err);
/* seccomp_profile.c: linux.seccomp of the runtime specification. */
MUST_CHECK int seccomp_compile_profile(json *profile, struct text *ret_bpf, struct err *err);
/* linux.seccomp.flags; ERR_UNSUPPORTED for what cannot be honoured. */
MUST_CHECK int seccomp_profile_flags(json *profile, unsigned *ret_flags, struct err *err);
/* Changes whenever the built-in tables do. */
uint64_t seccomp_default_fingerprint(void);
