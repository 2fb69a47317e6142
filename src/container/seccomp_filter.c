/* seccomp_filter - the compiled filter from a cache, loaded by one system call.
 *
 * Compiling takes longer than all else of a start, so the result is kept in a file whose name says
 * all it depends on: moat's version, the kernel, the capabilities (rows of the profile depend on
 * them) and a fingerprint of the profile.  The built-in profile needs no SHA-256 for that (loading
 * the library for it would cost 1 ms); a profile from outside gets one.  The directory is root's
 * own; a file that is not, or has no whole instructions, is not used but compiled again. */
#include "container/seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "container/container_spec.h"

#define BPF_BYTES_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))

void seccomp_filter_done(struct seccomp_filter *filter)
{
	free(filter->insns);
	*filter = (struct seccomp_filter){ 0 };
}

static int cache_name(const struct container_spec *spec, char **ret_name, struct err *err)
{
	struct utsname host;
	if (uname(&host) < 0)
		return err_sys(err, errno, "ask for the kernel's release");
	if (spec->seccomp == SECCOMP_DEFAULT) {
		*ret_name = text_format("seccomp-%s-%s-%016jx-%016jx", MOAT_VERSION, host.release,
			(uintmax_t)spec->process.capabilities.bounding,
			(uintmax_t)seccomp_default_fingerprint());
		return 0;
	}
	AUTO_FREE char *text = json_text(spec->seccomp_profile, false);
	struct digest digest;
	int r = digest_of(view_of(text), &digest, err);
	if (r < 0)
		return r;
	*ret_name = text_format("seccomp-%s-%s-%s", MOAT_VERSION, host.release, digest.hex);
	return 0;
}

static bool bytes_are_program(const struct text *bytes)
{
	return bytes->len > 0 && bytes->len % sizeof(struct sock_filter) == 0 &&
	       bytes->len <= BPF_BYTES_MAX;
}

static bool cache_read(const char *path, struct text *bpf)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		(st.st_mode & 022) != 0)
		return false;
	text_clear(bpf);
	return fd_read_text(fd, BPF_BYTES_MAX, "a cached seccomp filter", bpf, NULL) == 0 &&
	       bytes_are_program(bpf);
}

static int compile(const struct container_spec *spec, struct text *bpf, struct err *err)
{
	int r = spec->seccomp == SECCOMP_DEFAULT
			? seccomp_compile_default(spec->process.capabilities.bounding, bpf, err)
			: seccomp_compile_profile(spec->seccomp_profile, bpf, err);
	if (r == 0 && !bytes_are_program(bpf))
		return err_set(err, ERR_LIMIT,
			"the seccomp profile needs %zu instructions, at most %d",
			bpf->len / sizeof(struct sock_filter), BPF_MAXINSNS);
	return r;
}

int seccomp_filter_get(const struct container_spec *spec, const char *cache_dir,
	struct seccomp_filter *ret_filter, struct err *err)
{
	struct seccomp_filter filter = { 0 };
	if (spec->seccomp == SECCOMP_NONE) {
		*ret_filter = filter;
		return 0;
	}
	int r = 0;
	if (spec->seccomp == SECCOMP_CUSTOM)
		r = seccomp_profile_flags(spec->seccomp_profile, &filter.flags, err);
	AUTO_FREE char *name = NULL;
	AUTO_FREE char *path = NULL;
	if (r == 0 && cache_dir != NULL) {
		r = cache_name(spec, &name, err);
		if (r == 0)
			path = text_format("%s/%s", cache_dir, name);
	}
	if (r < 0)
		return r;

	AUTO_DONE(text) bpf = { 0 };
	if (path == NULL || !cache_read(path, &bpf)) {
		r = compile(spec, &bpf, err);
		if (r < 0)
			return r;
		/* A cache that cannot be written costs time, not safety. */
		if (path != NULL &&
			file_write_at(AT_FDCWD, path, 0600, view_of_text(&bpf), NULL) < 0)
			log_debug("cannot keep the compiled seccomp filter in %s", cache_dir);
	}
	filter.len = bpf.len / sizeof(struct sock_filter);
	filter.insns = NEW_ARRAY(sock_filter, filter.len);
	memcpy(filter.insns, bpf.data, bpf.len);
	*ret_filter = filter;
	return 0;
}

int seccomp_filter_load(const struct seccomp_filter *filter, struct err *err)
{
	if (filter->insns == NULL)
		return 0;
	const struct sock_fprog program = { .len = (unsigned short)filter->len,
		.filter = filter->insns };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program) < 0)
		return err_sys(err, errno, "load the seccomp filter");
	return 0;
}
