/* seccomp_compile - profiles to BPF by libseccomp, on a miss of the cache only (1.5 to 11 ms).
 *
 * libseccomp builds a tree over the numbers of x86-64, i386 and x32 (half the comparisons and a
 * faster load than its list).  In front of it stands a short program of our own, for what an
 * allow-list of names and whole registers cannot say:
 *
 *  - ioctl TIOCSTI and TIOCLINUX put input into a terminal.  The kernel looks at the low half of
 * the command only, so a comparison of all 64 bits could be passed by (CVE-2019-10063): ours takes
 * the low half.
 *  - i386 socketcall has the address family in memory, out of reach; its SYS_SOCKET is refused,
 * since it would open the families that socket(2) may not (i386 has had socket(2) itself
 * since 4.3).
 *  - system calls younger than libseccomp's names. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "container/seccomp_filter.h"

#define BPF_BYTES_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))
#define PROFILE_RULES_MAX 4096

/* ---- the built-in profile ---- */

enum rule_kind { RULE_ALLOW, RULE_ALLOW_IF, RULE_REFUSE };

struct default_rule {
	enum rule_kind kind;
	const char *name;
	int capability; /* needed for RULE_ALLOW, forbidden for the others; -1: none */
	unsigned argument;
	enum scmp_compare comparison;
	uint64_t value, second;
	uint32_t errnum;
};

static const struct default_rule default_rules[] = {
#define SECCOMP_ALLOW(name, capability) { RULE_ALLOW, name, capability, 0, SCMP_CMP_EQ, 0, 0, 0 },
#define SECCOMP_ALLOW_IF(name, capability, argument, comparison, value, second) \
	{ RULE_ALLOW_IF, name, capability, argument, comparison, value, second, 0 },
#define SECCOMP_REFUSE(name, capability, errnum) \
	{ RULE_REFUSE, name, capability, 0, SCMP_CMP_EQ, 0, 0, errnum },
#include "container/seccomp_default.def"
#undef SECCOMP_ALLOW
#undef SECCOMP_ALLOW_IF
#undef SECCOMP_REFUSE
};

static const uint32_t young_calls[] = {
#define SECCOMP_YOUNG(number, name) number,
#include "container/seccomp_young.def"
#undef SECCOMP_YOUNG
};

static bool rule_applies(const struct default_rule *rule, uint64_t capabilities)
{
	if (rule->capability < 0)
		return true;
	bool has = (capabilities >> rule->capability & 1) != 0;
	return rule->kind == RULE_ALLOW ? has : !has;
}

/* ---- the program in front ---- */

#define X32_BIT UINT32_C(0x40000000)
#define IOCTL_X86_64 16
#define IOCTL_X32 (X32_BIT + 514)
#define IOCTL_I386 54
#define SOCKETCALL_I386 102

/* Where the jumps of the front program lead. */
enum front_label {
	TO_NEXT,
	TO_I386,
	TO_IOCTL,
	TO_SOCKETCALL,
	TO_ALLOW,
	TO_EPERM,
	TO_ENOSYS,
	TO_REST,
	FRONT_LABELS
};

struct front {
	struct sock_filter insns[64];
	enum front_label if_true[64]; /* TO_NEXT: none */
	size_t labels[FRONT_LABELS];
	size_t len;
};

static void front_add(struct front *front, uint16_t code, uint32_t k, enum front_label if_true)
{
	front->if_true[front->len] = if_true;
	front->insns[front->len++] = (struct sock_filter){ .code = code, .k = k };
}

static void front_load(struct front *front, size_t offset)
{
	front_add(front, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, TO_NEXT);
}

static void front_if(struct front *front, uint16_t comparison, uint32_t value,
	enum front_label target)
{
	front_add(front, BPF_JMP | comparison | BPF_K, value, target);
}

static void front_go(struct front *front, enum front_label target)
{
	front_add(front, BPF_JMP | BPF_JA, 0, target);
}

static void front_label(struct front *front, enum front_label label)
{
	front->labels[label] = front->len;
}

/* struct seccomp_data is little endian here: the low half of an argument comes first. */
#define ARGUMENT_LOW(index) (offsetof(struct seccomp_data, args) + (index) * sizeof(uint64_t))

static void front_build(struct front *front)
{
	front_load(front, offsetof(struct seccomp_data, arch));
	front_if(front, BPF_JEQ, AUDIT_ARCH_I386, TO_I386);
	front_load(front, offsetof(struct seccomp_data, nr));
	front_if(front, BPF_JEQ, IOCTL_X86_64, TO_IOCTL);
	front_if(front, BPF_JEQ, IOCTL_X32, TO_IOCTL);
	front_if(front, BPF_JGE, X32_BIT, TO_REST);
	for (size_t i = 0; i < ARRAY_LEN(young_calls); i++)
		front_if(front, BPF_JEQ, young_calls[i], TO_ALLOW);
	front_if(front, BPF_JGE, SECCOMP_YOUNG_FIRST, TO_ENOSYS);
	front_go(front, TO_REST);

	front_label(front, TO_I386);
	front_load(front, offsetof(struct seccomp_data, nr));
	front_if(front, BPF_JEQ, IOCTL_I386, TO_IOCTL);
	front_if(front, BPF_JEQ, SOCKETCALL_I386, TO_SOCKETCALL);
	for (size_t i = 0; i < ARRAY_LEN(young_calls); i++)
		front_if(front, BPF_JEQ, young_calls[i], TO_ALLOW);
	front_if(front, BPF_JGE, SECCOMP_YOUNG_FIRST, TO_ENOSYS);
	front_go(front, TO_REST);

	front_label(front, TO_IOCTL);
	front_load(front, ARGUMENT_LOW(1));
	front_if(front, BPF_JEQ, TIOCSTI, TO_EPERM);
	front_if(front, BPF_JEQ, TIOCLINUX, TO_EPERM);
	front_go(front, TO_REST);

	front_label(front, TO_SOCKETCALL);
	front_load(front, ARGUMENT_LOW(0));
	front_if(front, BPF_JEQ, SYS_SOCKET, TO_EPERM);
	front_go(front, TO_REST);

	front_label(front, TO_ALLOW);
	front_add(front, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, TO_NEXT);
	front_label(front, TO_EPERM);
	front_add(front, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, TO_NEXT);
	front_label(front, TO_ENOSYS);
	front_add(front, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, TO_NEXT);
	front_label(front, TO_REST);

	for (size_t i = 0; i < front->len; i++) {
		if (front->if_true[i] == TO_NEXT)
			continue;
		uint32_t distance = (uint32_t)(front->labels[front->if_true[i]] - i - 1);
		if (BPF_OP(front->insns[i].code) == BPF_JA)
			front->insns[i].k = distance;
		else
			front->insns[i].jt = (uint8_t)distance;
	}
}

/* ---- libseccomp ---- */

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

static int add_default_rule(scmp_filter_ctx context, const struct default_rule *rule,
	struct err *err)
{
	int number = seccomp_syscall_resolve_name(rule->name);
	if (number == __NR_SCMP_ERROR)
		return 0; /* no architecture of ours has it: nothing to allow */
	uint32_t action = rule->kind == RULE_REFUSE ? SCMP_ACT_ERRNO(rule->errnum) : SCMP_ACT_ALLOW;
	const struct scmp_arg_cmp condition = { .arg = rule->argument,
		.op = rule->comparison,
		.datum_a = rule->value,
		.datum_b = rule->second };
	int r = seccomp_rule_add_array(context, action, number, rule->kind == RULE_ALLOW_IF ? 1 : 0,
		&condition);
	if (r < 0)
		return err_sys(err, -r, "seccomp: rule for %s", rule->name);
	return 0;
}

int seccomp_compile_default(uint64_t capabilities, struct text *ret_bpf, struct err *err)
{
	AUTO_CONTEXT context = NULL;
	int r = context_new(SCMP_ACT_ERRNO(EPERM), &context, err);
	if (r == 0)
		r = add_arch(context, SCMP_ARCH_X86, err);
	if (r == 0)
		r = add_arch(context, SCMP_ARCH_X32, err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(default_rules); i++)
		if (rule_applies(&default_rules[i], capabilities))
			r = add_default_rule(context, &default_rules[i], err);
	if (r < 0)
		return r;

	struct front front = { .len = 0 };
	front_build(&front);
	text_clear(ret_bpf);
	text_add(ret_bpf, (const char *)front.insns, front.len * sizeof(front.insns[0]));
	return context_export(context, ret_bpf, err);
}

/* FNV-1a over what the tables say.  It guards against a stale cache of an earlier build, not
 * against an attacker: the cache is root's. */
static uint64_t fingerprint_add(uint64_t hash, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

uint64_t seccomp_default_fingerprint(void)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < ARRAY_LEN(default_rules); i++) {
		const struct default_rule *rule = &default_rules[i];
		const uint64_t fields[] = { rule->kind, (uint64_t)rule->capability, rule->argument,
			rule->comparison, rule->value, rule->second, rule->errnum };
		hash = fingerprint_add(hash, rule->name, strlen(rule->name));
		hash = fingerprint_add(hash, fields, sizeof(fields));
	}
	struct front front = { .len = 0 };
	front_build(&front);
	return fingerprint_add(hash, front.insns, front.len * sizeof(front.insns[0]));
}

/* ---- linux.seccomp ---- */

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
