/* seccomp_filter - compiles the "linux.seccomp" part of an OCI config.json to the BPF that the
 * kernel takes, once, before anything is measured: moat, too, keeps compiled filters.
 *
 * usage: seccomp_filter CONFIG.json > FILTER.bpf */
#include <errno.h>
#include <json-c/json.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct word {
	const char *name;
	uint32_t value;
};

static const struct word operators[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
	{ "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE },
	{ "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static const struct word arches[] = {
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
	{ "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
	{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM },
};

static void die(const char *what, int r)
{
	(void)fprintf(stderr, "seccomp_filter: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint32_t word_find(const struct word *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return list[i].value;
	die(name, -EINVAL);
	return 0;
}

static json_object *get(json_object *o, const char *key)
{
	json_object *value = NULL;
	(void)json_object_object_get_ex(o, key, &value);
	return value;
}

static uint32_t action(json_object *rule, const char *key, const char *errno_key)
{
	const char *name = json_object_get_string(get(rule, key));
	json_object *number = get(rule, errno_key);
	if (strcmp(name, "SCMP_ACT_ALLOW") == 0)
		return SCMP_ACT_ALLOW;
	if (strcmp(name, "SCMP_ACT_ERRNO") != 0)
		die(name, -EINVAL);
	return SCMP_ACT_ERRNO((uint32_t)(number == NULL ? EPERM : json_object_get_int(number)));
}

static void rule_add(scmp_filter_ctx filter, json_object *rule, uint32_t fallback)
{
	struct scmp_arg_cmp args[6];
	json_object *list = get(rule, "args"), *names = get(rule, "names");
	size_t n = list == NULL ? 0 : json_object_array_length(list);
	uint32_t act = action(rule, "action", "errnoRet");
	if (act == fallback)
		return;
	for (size_t i = 0; i < n && i < 6; i++) {
		json_object *a = json_object_array_get_idx(list, i);
		args[i] = (struct scmp_arg_cmp){
			.arg = (unsigned)json_object_get_int(get(a, "index")),
			.op = (enum scmp_compare)word_find(operators,
				sizeof(operators) / sizeof(operators[0]),
				json_object_get_string(get(a, "op"))),
			.datum_a = json_object_get_uint64(get(a, "value")),
			.datum_b = json_object_get_uint64(get(a, "valueTwo")),
		};
	}
	for (size_t i = 0; i < json_object_array_length(names); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));
		int number = seccomp_syscall_resolve_name(name);
		if (number == __NR_SCMP_ERROR)
			continue; /* newer than this libseccomp: the default action holds */
		int r = seccomp_rule_add_array(filter, act, number, (unsigned)n, args);
		if (r < 0 && r != -EDOM)
			die(name, r);
	}
}

int main(int argc, char **argv)
{
	json_object *config = argc == 2 ? json_object_from_file(argv[1]) : NULL;
	json_object *seccomp = get(get(config, "linux"), "seccomp");
	if (seccomp == NULL) {
		(void)fprintf(stderr, "usage: seccomp_filter CONFIG.json > FILTER.bpf\n");
		return 2;
	}
	uint32_t fallback = action(seccomp, "defaultAction", "defaultErrnoRet");
	scmp_filter_ctx filter = seccomp_init(fallback);
	json_object *list = get(seccomp, "architectures"), *rules = get(seccomp, "syscalls");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		uint32_t arch = word_find(arches, sizeof(arches) / sizeof(arches[0]),
			json_object_get_string(json_object_array_get_idx(list, i)));
		int r = seccomp_arch_add(filter, arch);
		if (r < 0 && r != -EEXIST)
			die("add an architecture", r);
	}
	for (size_t i = 0; i < json_object_array_length(rules); i++)
		rule_add(filter, json_object_array_get_idx(rules, i), fallback);
	int r = seccomp_export_bpf(filter, STDOUT_FILENO);
	seccomp_release(filter);
	json_object_put(config);
	if (r < 0)
		die("export", r);
	return 0;
}
