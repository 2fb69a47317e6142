#include "engine/extract.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/durable.h"
#include "base/fd.h"
#include "base/jail.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "vm/vm.h"

#define ROLE "@extract"
/* A user that owns nothing: in the range Debian keeps for such (60000-64999). */
#define EXTRACT_UID 64990

static const int syscalls[] = {
#define SYSCALL(name) SYS_##name,
#include "engine/extract_syscalls.def"
#undef SYSCALL
#ifdef __SANITIZE_ADDRESS__ /* what the sanitizer's own runtime needs */
	SYS_clock_gettime,
	SYS_getpid,
	SYS_gettid,
	SYS_openat,
	SYS_prctl,
	SYS_readlink,
	SYS_sched_getaffinity,
	SYS_sched_yield,
	SYS_sigaltstack,
#endif
};

/* ---- the worker's side: each row is one job; its numbers come as arguments ---- */

#define NUMBERS_MAX (LIMIT_LAYERS + 8)

struct job {
	uint64_t numbers[NUMBERS_MAX];
	size_t len;
	struct text answer;
};

static int job_fd(const struct job *job, size_t i)
{
	return i < job->len && job->numbers[i] <= INT32_MAX ? (int)job->numbers[i] : -1;
}

static int add_member(void *context, const struct layer_member *member, struct err *err)
{
	(void)err;
	struct text *answer = context;
	size_t name_len = strlen(member->name), link_len = strlen(member->link_name);
	text_printf(answer, "%ju %ju %d %zu %zu\n", (uintmax_t)member->offset,
		(uintmax_t)member->size, member->type, name_len, link_len);
	text_add(answer, member->name, name_len);
	text_add(answer, member->link_name, link_len);
	return 0;
}

static int job_scan(struct job *job, struct err *err)
{
	return layer_scan(job_fd(job, 0), add_member, &job->answer, err);
}

static int job_detect(struct job *job, struct err *err)
{
	enum layer_compression compression;
	int r = layer_detect(job_fd(job, 0), 0, &compression, err);
	if (r == 0)
		text_printf(&job->answer, "%d", (int)compression);
	return r;
}

static int job_decompress(struct job *job, struct err *err)
{
	uint64_t bytes;
	return layer_decompress(job_fd(job, 0), (enum layer_compression)job->numbers[1],
		job_fd(job, 2), &bytes, err);
}

static int job_convert(struct job *job, struct err *err)
{
	struct layer_job layer = {
		.source_fd = job_fd(job, 0),
		.offset = job->numbers[1],
		.size = job->numbers[2],
		.compression = (enum layer_compression)job->numbers[3],
		.erofs_fd = job_fd(job, 4),
		.blob_fd = job_fd(job, 6),
	};
	if (job->numbers[5] != 0) {
		int r = layer_detect(layer.source_fd, layer.offset, &layer.compression, err);
		if (r < 0)
			return r;
	}
	struct layer_result result;
	int r = layer_convert(&layer, &result, err);
	/* Here, where other workers go on meanwhile.  Whoever gives the names syncs again: a worker
	 * is not believed. */
	if (r == 0 && layer.blob_fd >= 0)
		r = durable_sync(layer.blob_fd, err);
	if (r == 0)
		r = durable_sync(layer.erofs_fd, err);
	if (r == 0)
		text_printf(&job->answer, "%s %s %ju %ju %ju %ju %d", result.blob.hex,
			result.diff_id.hex, (uintmax_t)result.blob_bytes,
			(uintmax_t)result.tar_bytes, (uintmax_t)result.erofs_bytes,
			(uintmax_t)result.entries, (int)layer.compression);
	return r;
}

static int job_merge(struct job *job, struct err *err)
{
	int fds[LIMIT_LAYERS];
	size_t len = job->len - 1;
	for (size_t i = 0; i < len && i < LIMIT_LAYERS; i++)
		fds[i] = job_fd(job, i + 1);
	uint64_t bytes;
	int r = layer_merge(fds, len, job_fd(job, 0), &bytes, err);
	if (r == 0)
		text_printf(&job->answer, "%ju", (uintmax_t)bytes);
	return r;
}

static int job_deb(struct job *job, struct err *err)
{
	uint64_t offset, size;
	enum layer_compression compression;
	int r = layer_deb_data(job_fd(job, 0), &offset, &size, &compression, err);
	return r < 0 ? r
		     : layer_expand(job_fd(job, 0), offset, size, compression, job_fd(job, 1),
			       LIMIT_KERNEL_PACKAGE_BYTES, err);
}

static const struct {
	const char *name;
	enum layer_compression compression;
} payloads[] = {
	{ "gzip", LAYER_GZIP },
	{ "lz4", LAYER_LZ4 },
	{ "xz", LAYER_XZ },
	{ "zstd", LAYER_ZSTD },
};

/* What is in a bzImage, if it can be started; out_fd stays empty if not. */
static int unpack_kernel(int fd, int out_fd, struct text *what, struct err *err)
{
	struct vm_payload payload;
	AUTO_DONE(text) inner = { 0 };
	int r = vm_kernel_payload(fd, &payload, err);
	if (r < 0 || payload.size == 0)
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(payloads); i++) {
		if (strcmp(payloads[i].name, payload.compression) == 0)
			r = layer_expand(fd, payload.offset, payload.size, payloads[i].compression,
				out_fd, LIMIT_KERNEL_BYTES, err);
	}
	if (r < 0)
		return err_wrap(err, r, "unpack the kernel");
	if (vm_kernel_check(out_fd, &inner, NULL) == 0)
		text_printf(what, "; unpacked: %s", text_string(&inner));
	else if (ftruncate(out_fd, 0) < 0)
		return err_sys(err, errno, "empty a file");
	return 0;
}

static int job_kernel(struct job *job, struct err *err)
{
	AUTO_DONE(text) what = { 0 };
	int r = vm_kernel_check(job_fd(job, 0), &what, err);
	if (r == 0)
		r = vm_kernel_release(job_fd(job, 0), &job->answer, err);
	if (r == 0)
		r = unpack_kernel(job_fd(job, 0), job_fd(job, 1), &what, err);
	if (r == 0)
		text_printf(&job->answer, "\n%s", text_string(&what));
	return r;
}

static int job_module(struct job *job, struct err *err)
{
	int out_fd = job_fd(job, 4);
	int r = layer_expand(job_fd(job, 0), job->numbers[1], job->numbers[2],
		(enum layer_compression)job->numbers[3], out_fd, LIMIT_MODULE_BYTES, err);
	if (r < 0)
		return r;
	struct stat st;
	void *bytes;
	if (fstat(out_fd, &st) < 0)
		return err_sys(err, errno, "look at a module");
	r = mem_try((uint64_t)st.st_size, LIMIT_MODULE_BYTES, &bytes, err);
	if (r < 0)
		return r;
	AUTO_FREE void *owned = bytes;
	struct vm_module module;
	r = fd_pread_exact(out_fd, bytes, (size_t)st.st_size, 0);
	if (r < 0)
		return err_sys(err, -r, "read a module");
	r = vm_module_read((struct view){ bytes, (size_t)st.st_size }, &module, err);
	if (r < 0)
		return r;
	text_printf(&job->answer, "%zu\n", module.body_len);
	text_add(&job->answer, module.vermagic.data, module.vermagic.len);
	text_puts(&job->answer, "\n");
	text_add(&job->answer, module.depends.data, module.depends.len);
	return 0;
}

static const struct job_row {
	const char *name;
	size_t min_numbers;
	int (*run)(struct job *job, struct err *err);
} job_rows[] = {
	{ "convert", 6, job_convert },
	{ "deb", 2, job_deb },
	{ "decompress", 3, job_decompress },
	{ "detect", 1, job_detect },
	{ "kernel", 2, job_kernel },
	{ "merge", 2, job_merge },
	{ "module", 5, job_module },
	{ "scan", 1, job_scan },
};

static int run_job(int argc, char **argv, struct job *job, struct err *err)
{
	for (int i = 2; i < argc && job->len < NUMBERS_MAX; i++) {
		if (num_parse_u64(view_of(argv[i]), UINT64_MAX, &job->numbers[job->len++]) < 0)
			return err_set(err, ERR_INVALID, "not a number: \"%s\"", argv[i]);
	}
	const struct jail jail = { .syscalls = syscalls,
		.syscalls_len = ARRAY_LEN(syscalls),
		.uid = EXTRACT_UID };
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(job_rows); i++) {
		const struct job_row *row = &job_rows[i];
		if (strcmp(argv[1], row->name) != 0 || job->len < row->min_numbers)
			continue;
		/* Libraries first, rights away next, hostile bytes last. */
		int r = layer_init(err);
		if (r == 0)
			r = jail_enter(&jail, err);
		return r < 0 ? r : row->run(job, err);
	}
	return err_set(err, ERR_INVALID, "no such job");
}

int engine_extract_main(int argc, char **argv)
{
	struct job *job = NEW(job);
	struct err err = { 0 };
	int r = run_job(argc, argv, job, &err);
	int status = worker_answer(r, &err, view_of_text(&job->answer));
	/* At once: what runs at an ordinary exit wants more than the jail allows. */
	_exit(status);
}

/* ---- the caller's side ---- */

static int start(const char *job, const struct strv *numbers, const int *fds, size_t fds_len,
	struct worker *ret_worker, struct err *err)
{
	AUTO_DONE(strv) arguments = { 0 };
	strv_add(&arguments, job);
	strv_extend(&arguments, numbers);
	return worker_start(ROLE, &arguments, fds, fds_len, ret_worker, err);
}

static int run(const char *job, const struct strv *numbers, const int *fds, size_t fds_len,
	struct text *ret_answer, struct err *err)
{
	struct worker worker;
	int r = start(job, numbers, fds, fds_len, &worker, err);
	return r < 0 ? r : worker_finish(&worker, ret_answer, err);
}

static int cut_number(struct view *rest, char end, uint64_t *ret)
{
	return num_parse_u64(view_cut(rest, end), UINT64_MAX, ret);
}

/* "./a" and "/a" are a: archives write all three. */
static struct view normalise(struct view name)
{
	for (;;) {
		if (view_starts(name, "./"))
			name = (struct view){ name.data + 2, name.len - 2 };
		else if (view_starts(name, "/"))
			name = (struct view){ name.data + 1, name.len - 1 };
		else
			return name;
	}
}

static int compare_members(const void *a, const void *b)
{
	const struct layer_member *x = a, *y = b;
	int r = strcmp(x->name, y->name);
	return r != 0 ? r : x->offset < y->offset ? -1 : x->offset > y->offset;
}

void member_list_done(struct member_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		free((void *)(uintptr_t)list->members[i].name);
		free((void *)(uintptr_t)list->members[i].link_name);
	}
	free(list->members);
	*list = (struct member_list){ 0 };
}

static int parse_member(struct view *rest, struct layer_member *ret_member)
{
	uint64_t type, name_len, link_len;
	if (cut_number(rest, ' ', &ret_member->offset) < 0 ||
		cut_number(rest, ' ', &ret_member->size) < 0 || cut_number(rest, ' ', &type) < 0 ||
		cut_number(rest, ' ', &name_len) < 0 || cut_number(rest, '\n', &link_len) < 0 ||
		name_len > rest->len || link_len > rest->len - name_len)
		return -EBADMSG;
	ret_member->type = (char)type;
	ret_member->name = view_dup(normalise((struct view){ rest->data, name_len }));
	ret_member->link_name = view_dup((struct view){ rest->data + name_len, link_len });
	*rest = (struct view){ rest->data + name_len + link_len, rest->len - name_len - link_len };
	return 0;
}

static int parse_members(struct view rest, struct member_list *list, struct err *err)
{
	while (rest.len > 0) {
		if (list->len == LIMIT_ARCHIVE_MEMBERS)
			return err_set(err, ERR_LIMIT, "the archive has more than %d members",
				(int)LIMIT_ARCHIVE_MEMBERS);
		if (list->len % 256 == 0)
			list->members =
				mem_grow(list->members, list->len + 256, sizeof(*list->members));
		if (parse_member(&rest, &list->members[list->len]) < 0)
			return err_set(err, ERR_SYSTEM, "the list of the archive cannot be read");
		list->len++;
	}
	if (list->len > 0)
		qsort(list->members, list->len, sizeof(*list->members), compare_members);
	return 0;
}

int extract_scan(int fd, struct member_list *ret_list, struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	AUTO_DONE(text) answer = { 0 };
	strv_printf(&numbers, "%d", fd);
	int r = run("scan", &numbers, &fd, 1, &answer, err);
	if (r < 0)
		return r;
	AUTO_DONE(member_list) list = { 0 };
	r = parse_members(view_of_text(&answer), &list, err);
	if (r < 0)
		return r;
	*ret_list = list;
	list = (struct member_list){ 0 };
	return 0;
}

int extract_detect(int fd, enum layer_compression *ret_compression, struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	AUTO_DONE(text) answer = { 0 };
	strv_printf(&numbers, "%d", fd);
	int r = run("detect", &numbers, &fd, 1, &answer, err);
	int64_t number;
	if (r == 0 && num_parse(view_of_text(&answer), LAYER_PLAIN, LAYER_ZSTD, &number) < 0)
		r = err_set(err, ERR_SYSTEM, "a worker's answer cannot be read");
	if (r == 0)
		*ret_compression = (enum layer_compression)number;
	return r;
}

int extract_decompress(int source_fd, enum layer_compression compression, int out_fd,
	struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	strv_printf(&numbers, "%d", source_fd);
	strv_printf(&numbers, "%d", (int)compression);
	strv_printf(&numbers, "%d", out_fd);
	const int fds[] = { source_fd, out_fd };
	return run("decompress", &numbers, fds, ARRAY_LEN(fds), NULL, err);
}

int extract_convert_start(const struct layer_job *job, bool detect, struct worker *ret_worker,
	struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	strv_printf(&numbers, "%d", job->source_fd);
	strv_printf(&numbers, "%ju", (uintmax_t)job->offset);
	strv_printf(&numbers, "%ju", (uintmax_t)job->size);
	strv_printf(&numbers, "%d", (int)job->compression);
	strv_printf(&numbers, "%d", job->erofs_fd);
	strv_printf(&numbers, "%d", (int)detect);
	if (job->blob_fd >= 0)
		strv_printf(&numbers, "%d", job->blob_fd);
	const int fds[] = { job->source_fd, job->erofs_fd, job->blob_fd };
	return start("convert", &numbers, fds, job->blob_fd >= 0 ? 3 : 2, ret_worker, err);
}

int extract_convert_finish(struct worker *worker, struct layer_result *ret_result,
	enum layer_compression *ret_compression, struct err *err)
{
	AUTO_DONE(text) answer = { 0 };
	int r = worker_finish(worker, &answer, err);
	if (r < 0)
		return r;
	struct layer_result result = { .entries = 0 };
	struct view rest = view_of_text(&answer);
	struct view blob = view_cut(&rest, ' '), diff_id = view_cut(&rest, ' ');
	uint64_t compression;
	if (blob.len != DIGEST_HEX_LEN || diff_id.len != DIGEST_HEX_LEN ||
		cut_number(&rest, ' ', &result.blob_bytes) < 0 ||
		cut_number(&rest, ' ', &result.tar_bytes) < 0 ||
		cut_number(&rest, ' ', &result.erofs_bytes) < 0 ||
		cut_number(&rest, ' ', &result.entries) < 0 ||
		num_parse_u64(rest, LAYER_ZSTD, &compression) < 0)
		return err_set(err, ERR_SYSTEM, "a worker's answer cannot be read");
	memcpy(result.blob.hex, blob.data, blob.len);
	memcpy(result.diff_id.hex, diff_id.data, diff_id.len);
	*ret_compression = (enum layer_compression)compression;
	*ret_result = result;
	return 0;
}

int extract_merge(const int *layer_fds, size_t len, int out_fd, uint64_t *ret_bytes,
	struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	AUTO_DONE(text) answer = { 0 };
	int fds[LIMIT_LAYERS + 1];
	strv_printf(&numbers, "%d", out_fd);
	fds[0] = out_fd;
	for (size_t i = 0; i < len; i++) {
		strv_printf(&numbers, "%d", layer_fds[i]);
		fds[i + 1] = layer_fds[i];
	}
	int r = run("merge", &numbers, fds, len + 1, &answer, err);
	if (r == 0 && num_parse_u64(view_of_text(&answer), UINT64_MAX, ret_bytes) < 0)
		r = err_set(err, ERR_SYSTEM, "a worker's answer cannot be read");
	return r;
}

/* ---- kernels ---- */

int extract_deb(int deb_fd, int out_fd, struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	strv_printf(&numbers, "%d", deb_fd);
	strv_printf(&numbers, "%d", out_fd);
	const int fds[] = { deb_fd, out_fd };
	return run("deb", &numbers, fds, ARRAY_LEN(fds), NULL, err);
}

/* Two lines, the first of which must be something; bytes of a stranger. */
static int two_lines(struct view answer, char **ret_first, char **ret_second, struct err *err)
{
	struct view second = answer;
	struct view first = view_cut(&second, '\n');
	if (first.len == 0 || second.data == NULL)
		return err_set(err, ERR_SYSTEM, "a worker's answer cannot be read");
	*ret_first = view_dup(first);
	*ret_second = view_dup(second);
	return 0;
}

int extract_kernel(int fd, int out_fd, char **ret_release, char **ret_what, struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	AUTO_DONE(text) answer = { 0 };
	strv_printf(&numbers, "%d", fd);
	strv_printf(&numbers, "%d", out_fd);
	const int fds[] = { fd, out_fd };
	int r = run("kernel", &numbers, fds, ARRAY_LEN(fds), &answer, err);
	return r < 0 ? r : two_lines(view_of_text(&answer), ret_release, ret_what, err);
}

int extract_module(const struct extract_module *module, int out_fd,
	struct extract_module_words *ret_words, struct err *err)
{
	AUTO_DONE(strv) numbers = { 0 };
	AUTO_DONE(text) answer = { 0 };
	strv_printf(&numbers, "%d", module->fd);
	strv_printf(&numbers, "%ju", (uintmax_t)module->offset);
	strv_printf(&numbers, "%ju", (uintmax_t)module->size);
	strv_printf(&numbers, "%d", (int)module->compression);
	strv_printf(&numbers, "%d", out_fd);
	const int fds[] = { module->fd, out_fd };
	int r = run("module", &numbers, fds, ARRAY_LEN(fds), &answer, err);
	struct view words = view_of_text(&answer);
	struct view number = view_cut(&words, '\n');
	if (r == 0 && num_parse_u64(number, LIMIT_MODULE_BYTES, &ret_words->body_size) < 0)
		r = err_set(err, ERR_SYSTEM, "a worker's answer cannot be read");
	return r < 0 ? r : two_lines(words, &ret_words->vermagic, &ret_words->depends, err);
}
