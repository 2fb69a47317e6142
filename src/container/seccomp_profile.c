/* seccomp_profile - linux.seccomp of a document to BPF by libseccomp.
 *
 * libseccomp takes 1.5 to 11 ms for a profile of usual size, so this runs on a miss of the cache
 * only.  The built-in profile has a compiler of its own (seccomp_default.c). */
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "container/seccomp_filter.h"

#define BPF_BYTES_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))
#define PROFILE_RULES_MAX 4096

static void context_release(scmp_filter_ctx *context)
{
	if (*context != NULL)
		seccomp_release(*context);
}
#define AUTO_CONTEXT __attribute__((cleanup(context_release))) scmp_filter_ctx

static int context_new(uint32_t default_action, scmp_filter_ctx *ret_context, struct err *err)
{
	scmp_filter_ctx context = seccomp_init(default_action);
	if (context == NULL)
		return err_set(err, ERR_INVALID, "seccomp: default action 0x%x is unknown",
			default_action);
	/* A binary tree instead of a list: about 9 comparisons instead of 170. */
	(void)seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	*ret_context = context;
	return 0;
}

static int context_export(scmp_filter_ctx context, struct text *bpf, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "seccomp: make a buffer");
	int r = seccomp_export_bpf(context, fd);
	if (r < 0)
		return err_sys(err, -r, "seccomp: compile the profile");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "seccomp: read the compiled profile");
	return fd_read_text(fd, BPF_BYTES_MAX, "the compiled seccomp profile", bpf, err);
}

static int add_arch(scmp_filter_ctx context, uint32_t arch, struct err *err)
{
	int r = seccomp_arch_add(context, arch);
	return r == 0 || r == -EEXIST ? 0 : err_sys(err, -r, "seccomp: add architecture %u", arch);
}

struct word {
	const char *name;
	uint32_t value;
};

static const struct word actions[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
	{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0) },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0) },
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
	{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
};

static const struct word comparisons[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
	{ "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE },
	{ "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

/* Architectures of other machines are in every shipped profile and mean nothing here. */
static const struct word architectures[] = {
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
};

static const struct word profile_flags[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* one thread loads it: nothing to do */
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
};

static const struct word *word_find(const struct word *words, size_t len, const char *name)
{
	for (size_t i = 0; name != NULL && i < len; i++)
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	return NULL;
}

static int parse_action(json *object, const char *key, const char *errno_key, uint32_t *ret_action,
	struct err *err)
{
	const char *name = json_get_string(object, key);
	const struct word *word = word_find(actions, ARRAY_LEN(actions), name);
	if (word == NULL)
		return err_set(err, ERR_UNSUPPORTED, "linux.seccomp: %s \"%.64s\" is not supported",
			key, name != NULL ? name : "");
	uint64_t errnum = json_get_uint(object, errno_key, EPERM);
	if (errnum > 4095)
		return err_set(err, ERR_INVALID, "linux.seccomp: %s %ju is no errno", errno_key,
			(uintmax_t)errnum);
	uint32_t action = word->value;
	if (action == SCMP_ACT_ERRNO(0) || action == SCMP_ACT_TRACE(0))
		action |= (uint32_t)errnum;
	*ret_action = action;
	return 0;
}

#define ARGUMENTS_MAX 6

static int parse_arguments(json *list, struct scmp_arg_cmp arguments[ARGUMENTS_MAX],
	unsigned *ret_len, struct err *err)
{
	size_t len = json_array_len(list);
	if (len > ARGUMENTS_MAX)
		return err_set(err, ERR_INVALID, "linux.seccomp: %zu args of one system call", len);
	for (size_t i = 0; i < len; i++) {
		json *item = json_object_array_get_idx(list, i);
		const char *op = json_get_string(item, "op");
		const struct word *word = word_find(comparisons, ARRAY_LEN(comparisons), op);
		uint64_t index = json_get_uint(item, "index", 0);
		if (word == NULL || index >= ARGUMENTS_MAX)
			return err_set(err, ERR_INVALID,
				"linux.seccomp: args: index %ju, op \"%.64s\"", (uintmax_t)index,
				op != NULL ? op : "");
		arguments[i] = (struct scmp_arg_cmp){ .arg = (unsigned)index,
			.op = (enum scmp_compare)word->value,
			.datum_a = json_get_uint(item, "value", 0),
			.datum_b = json_get_uint(item, "valueTwo", 0) };
	}
	*ret_len = (unsigned)len;
	return 0;
}

static int add_named_rule(scmp_filter_ctx context, const char *name, uint32_t action,
	const struct scmp_arg_cmp *arguments, unsigned len, struct err *err)
{
	int number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 0; /* of another architecture, or younger than libseccomp: the default */
	/* Two conditions on one argument cannot stand in one rule: the runtimes make a rule of
	 * each, so that any of them matches. */
	uint64_t seen = 0;
	bool is_repeated = false;
	for (unsigned i = 0; i < len; i++) {
		is_repeated |= (seen >> arguments[i].arg & 1) != 0;
		seen |= UINT64_C(1) << arguments[i].arg;
	}
	int r = 0;
	if (!is_repeated)
		r = seccomp_rule_add_array(context, action, number, len, arguments);
	for (unsigned i = 0; is_repeated && r == 0 && i < len; i++)
		r = seccomp_rule_add_array(context, action, number, 1, &arguments[i]);
	return r < 0 ? err_sys(err, -r, "linux.seccomp: rule for %.64s", name) : 0;
}

static int add_profile_rule(scmp_filter_ctx context, json *rule, uint32_t default_action,
	struct err *err)
{
	uint32_t action = 0;
	unsigned len = 0;
	struct scmp_arg_cmp arguments[ARGUMENTS_MAX];
	AUTO_DONE(strv) names = { 0 };
	int r = parse_action(rule, "action", "errnoRet", &action, err);
	if (r == 0)
		r = parse_arguments(json_get_array(rule, "args"), arguments, &len, err);
	if (r == 0)
		r = json_get_strv(rule, "names", &names, err);
	if (r < 0)
		return r;
	/* libseccomp refuses what says nothing new. */
	for (size_t i = 0; r == 0 && action != default_action && i < names.len; i++)
		r = add_named_rule(context, names.items[i], action, arguments, len, err);
	return r;
}

int seccomp_compile_profile(json *profile, struct text *ret_bpf, struct err *err)
{
	uint32_t default_action = 0;
	AUTO_CONTEXT context = NULL;
	AUTO_DONE(strv) names = { 0 };
	json *rules = json_get_array(profile, "syscalls");
	if (json_array_len(rules) > PROFILE_RULES_MAX)
		return err_set(err, ERR_LIMIT, "linux.seccomp: more than %d rules",
			PROFILE_RULES_MAX);
	int r = parse_action(profile, "defaultAction", "defaultErrnoRet", &default_action, err);
	if (r == 0)
		r = context_new(default_action, &context, err);
	if (r == 0)
		r = json_get_strv(profile, "architectures", &names, err);
	for (size_t i = 0; r == 0 && i < names.len; i++) {
		const struct word *arch =
			word_find(architectures, ARRAY_LEN(architectures), names.items[i]);
		if (arch != NULL)
			r = add_arch(context, arch->value, err);
	}
	for (size_t i = 0; r == 0 && i < json_array_len(rules); i++)
		r = add_profile_rule(context, json_object_array_get_idx(rules, i), default_action,
			err);
	if (r < 0)
		return r;
	text_clear(ret_bpf);
	return context_export(context, ret_bpf, err);
}

int seccomp_profile_flags(json *profile, unsigned *ret_flags, struct err *err)
{
	AUTO_DONE(strv) names = { 0 };
	int r = json_get_strv(profile, "flags", &names, err);
	if (r < 0)
		return r;
	if (json_get_string(profile, "listenerPath") != NULL)
		return err_set(err, ERR_UNSUPPORTED, "linux.seccomp.listenerPath is not supported");
	unsigned flags = 0;
	for (size_t i = 0; i < names.len; i++) {
		const struct word *word =
			word_find(profile_flags, ARRAY_LEN(profile_flags), names.items[i]);
		if (word == NULL)
			return err_set(err, ERR_UNSUPPORTED,
				"linux.seccomp.flags: \"%.64s\" is not supported", names.items[i]);
		flags |= word->value;
	}
	*ret_flags = flags;
	return 0;
}
