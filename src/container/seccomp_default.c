/* seccomp_default - the built-in profile: rows of seccomp_default.def to a verdict per number.
 *
 * libseccomp only tells the numbers of the names on x86-64, i386 and x32, which the C library's
 * headers give for one of them at a time; the program is made by seccomp_tree.c. */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "container/capability.h"
#include "container/container.h"
#include "container/seccomp_filter.h"
#include "container/seccomp_tree.h"

#define ALL_BITS UINT64_MAX
#define LOW_BITS UINT64_C(0xffffffff)

/* Above the largest number of any table, below the next table in the same space. */
#define NUMBERS_MAX 1024
#define X32_FIRST UINT32_C(0x40000000)
#define YOUNG_FIRST 451

#define REFUSE(errnum) (SECCOMP_RET_ERRNO | (errnum))

enum rule_kind { RULE_ALLOW, RULE_ALLOW_IF, RULE_REFUSE, RULE_REFUSE_IF };

struct rule {
	const char *name;
	enum rule_kind kind;
	int capability; /* needed for RULE_ALLOW, forbidden for the others; -1: none */
	uint64_t mask, value;
	unsigned argument;
	uint32_t errnum;
};

static const struct rule rules[] = {
#define SECCOMP_ALLOW(name, capability) { name, RULE_ALLOW, capability, 0, 0, 0, 0 },
#define SECCOMP_ALLOW_IF(name, capability, argument, mask, value) \
	{ name, RULE_ALLOW_IF, capability, mask, value, argument, 0 },
#define SECCOMP_REFUSE(name, capability, errnum) { name, RULE_REFUSE, capability, 0, 0, 0, errnum },
#define SECCOMP_REFUSE_IF(name, argument, mask, value, errnum) \
	{ name, RULE_REFUSE_IF, -1, mask, value, argument, errnum },
#include "container/seccomp_default.def"
#undef SECCOMP_ALLOW
#undef SECCOMP_ALLOW_IF
#undef SECCOMP_REFUSE
#undef SECCOMP_REFUSE_IF
};

struct numbered {
	const char *name;
	uint32_t number;
};

static const struct numbered young[] = {
#define SECCOMP_YOUNG(number, name) { name, number },
#include "container/seccomp_young.def"
#undef SECCOMP_YOUNG
};

static const struct numbered i386_direct[] = {
#define SECCOMP_I386(name, number) { name, number },
#include "container/seccomp_i386.def"
#undef SECCOMP_I386
};

/* One table of numbers: those from first on in the space of one AUDIT_ARCH. */
struct abi {
	uint32_t libseccomp_arch;
	uint32_t first;
};

static const struct abi x86_64 = { SCMP_ARCH_X86_64, 0 };
static const struct abi x32 = { SCMP_ARCH_X32, X32_FIRST };
static const struct abi i386 = { SCMP_ARCH_X86, 0 };

struct verdicts {
	struct seccomp_verdict of[NUMBERS_MAX];
};

static void verdict_add(struct seccomp_verdict *verdict, const struct rule *rule)
{
	switch (rule->kind) {
	case RULE_ALLOW: verdict->action = SECCOMP_RET_ALLOW; return;
	case RULE_REFUSE: verdict->action = REFUSE(rule->errnum); return;
	case RULE_ALLOW_IF:
	case RULE_REFUSE_IF:
		CHECK(verdict->checks_len < SECCOMP_CHECKS_MAX);
		verdict->checks[verdict->checks_len++] = (struct seccomp_check){
			.argument = rule->argument,
			.mask = rule->mask,
			.value = rule->value,
			.action = rule->kind == RULE_ALLOW_IF ? SECCOMP_RET_ALLOW
							      : REFUSE(rule->errnum),
		};
		return;
	}
}

/* The number of a name within its table, or -1. */
static int number_find(const struct abi *abi, const char *name)
{
	for (size_t i = 0; abi == &i386 && i < ARRAY_LEN(i386_direct); i++)
		if (strcmp(i386_direct[i].name, name) == 0)
			return (int)i386_direct[i].number;
	int number = seccomp_syscall_resolve_name_arch(abi->libseccomp_arch, name);
	if (number < 0)
		return -1; /* not on this one, or only behind another call */
	/* libseccomp gives x32 numbers with their bit. */
	uint32_t index = (uint32_t)number & ~X32_FIRST;
	return index < NUMBERS_MAX ? (int)index : -1;
}

static bool rule_applies(const struct rule *rule, uint64_t capabilities)
{
	if (rule->capability < 0)
		return true;
	bool has = (capabilities >> rule->capability & 1) != 0;
	return rule->kind == RULE_ALLOW ? has : !has;
}

static void verdicts_fill(struct verdicts *verdicts, const struct abi *abi, uint64_t capabilities)
{
	for (uint32_t n = 0; n < NUMBERS_MAX; n++)
		verdicts->of[n].action = REFUSE(n < YOUNG_FIRST ? EPERM : ENOSYS);
	/* x32 has numbers of its own from 512 on, which are not young. */
	for (uint32_t n = 512; abi == &x32 && n < NUMBERS_MAX; n++)
		verdicts->of[n].action = REFUSE(EPERM);
	for (size_t i = 0; i < ARRAY_LEN(young); i++)
		verdicts->of[young[i].number].action = SECCOMP_RET_ALLOW;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		int number = rule_applies(&rules[i], capabilities) ? number_find(abi, rules[i].name)
								   : -1;
		if (number >= 0)
			verdict_add(&verdicts->of[number], &rules[i]);
	}
}

struct ranges {
	struct seccomp_range items[2 * NUMBERS_MAX + 1];
	size_t len;
};

static void ranges_add(struct ranges *ranges, const struct abi *abi,
	const struct verdicts *verdicts)
{
	for (uint32_t n = 0; n < NUMBERS_MAX; n++) {
		const struct seccomp_verdict *verdict = &verdicts->of[n];
		const struct seccomp_range *last =
			ranges->len > 0 ? &ranges->items[ranges->len - 1] : NULL;
		bool is_same = last != NULL && last->verdict->checks_len == 0 &&
			       verdict->checks_len == 0 && last->verdict->action == verdict->action;
		if (!is_same)
			ranges->items[ranges->len++] =
				(struct seccomp_range){ abi->first + n, verdict };
	}
}

int seccomp_compile_default(uint64_t capabilities, struct text *ret_bpf, struct err *err)
{
	(void)err;
	AUTO_FREE struct verdicts *all = NEW_ARRAY(verdicts, 3);
	verdicts_fill(&all[0], &x86_64, capabilities);
	verdicts_fill(&all[1], &x32, capabilities);
	verdicts_fill(&all[2], &i386, capabilities);

	AUTO_FREE struct ranges *ranges = NEW_ARRAY(ranges, 2);
	ranges_add(&ranges[0], &x86_64, &all[0]);
	ranges_add(&ranges[0], &x32, &all[1]);
	ranges_add(&ranges[1], &i386, &all[2]);

	const struct seccomp_arch archs[] = {
		{ AUDIT_ARCH_X86_64, ranges[0].items, ranges[0].len },
		{ AUDIT_ARCH_I386, ranges[1].items, ranges[1].len },
	};
	text_clear(ret_bpf);
	seccomp_tree_compile(archs, ARRAY_LEN(archs), ret_bpf);
	return 0;
}

static bool verdict_allows_any(const struct seccomp_verdict *verdict)
{
	if (verdict->action == SECCOMP_RET_ALLOW)
		return true;
	for (size_t i = 0; i < verdict->checks_len; i++)
		if (verdict->checks[i].action == SECCOMP_RET_ALLOW)
			return true;
	return false;
}

unsigned container_syscalls_count(void)
{
	AUTO_FREE struct verdicts *verdicts = NEW(verdicts);
	unsigned count = 0;
	verdicts_fill(verdicts, &x86_64, capability_default_bits());
	for (uint32_t n = 0; n < NUMBERS_MAX; n++)
		count += verdict_allows_any(&verdicts->of[n]);
	return count;
}

/* A hash of what the tables say, by words.  It guards against the cache of an earlier build, not
 * against an attacker: the cache is root's. */
static uint64_t fingerprint_add(uint64_t hash, uint64_t word)
{
	return (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

uint64_t seccomp_default_fingerprint(void)
{
	uint64_t hash = ARRAY_LEN(young) << 16 | ARRAY_LEN(i386_direct);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct rule *rule = &rules[i];
		for (const char *c = rule->name; *c != '\0'; c++)
			hash = hash * 31 + (uint8_t)*c;
		hash = fingerprint_add(hash, (uint64_t)rule->kind << 48 ^
						     (uint64_t)(rule->capability + 1) << 32 ^
						     (uint64_t)rule->argument << 24 ^ rule->errnum);
		hash = fingerprint_add(hash, rule->mask);
		hash = fingerprint_add(hash, rule->value);
	}
	for (size_t i = 0; i < ARRAY_LEN(young); i++)
		hash = fingerprint_add(hash, young[i].number);
	for (size_t i = 0; i < ARRAY_LEN(i386_direct); i++)
		hash = fingerprint_add(hash, i386_direct[i].number);
	return hash;
}
