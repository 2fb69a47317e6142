/* capability - names from one table, sets as 64-bit masks, raw system calls to put them on.
 *
 * libcap would be a library for three system calls and a table.  Invariant: the inheritable set is
 * what the document says and Docker's document says nothing (CVE-2022-24769: a non-empty one made
 * file capabilities of the image come alive for other users). */
#include "container/capability.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct capability_row {
	const char *name;
	int number;
	bool is_default;
};

static const struct capability_row capabilities[] = {
#define CAPABILITY(number, name, is_default) { name, number, is_default },
#include "container/capabilities.def"
#undef CAPABILITY
};
static_assert(ARRAY_LEN(capabilities) == CAP_LAST_CAP + 1, "one row per capability");

int capability_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
		if (strcmp(capabilities[i].name, name) == 0)
			return capabilities[i].number;
	return -1;
}

json *capability_defaults(void)
{
	json *names = json_new_array();
	for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
		if (capabilities[i].is_default)
			json_push_string(names, capabilities[i].name);
	return names;
}

uint64_t capability_default_bits(void)
{
	uint64_t bits = 0;
	for (size_t i = 0; i < ARRAY_LEN(capabilities); i++)
		if (capabilities[i].is_default)
			bits |= CAPABILITY_BIT(capabilities[i].number);
	return bits;
}

static int parse_set(json *object, const char *key, uint64_t *ret_set, struct err *err)
{
	AUTO_DONE(strv) names = { 0 };
	int r = json_get_strv(object, key, &names, err);
	if (r < 0)
		return r;
	uint64_t set = 0;
	for (size_t i = 0; i < names.len; i++) {
		int number = capability_find(names.items[i]);
		if (number < 0)
			return err_set(err, ERR_INVALID,
				"process.capabilities.%s: no capability \"%.64s\"", key,
				names.items[i]);
		set |= CAPABILITY_BIT(number);
	}
	*ret_set = set;
	return 0;
}

int capability_parse(json *object, struct capability_sets *ret_sets, struct err *err)
{
	struct capability_sets sets = { 0 };
	const struct {
		const char *key;
		uint64_t *set;
	} rows[] = {
		{ "bounding", &sets.bounding },
		{ "effective", &sets.effective },
		{ "permitted", &sets.permitted },
		{ "inheritable", &sets.inheritable },
		{ "ambient", &sets.ambient },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = parse_set(object, rows[i].key, rows[i].set, err);
		if (r < 0)
			return r;
	}
	*ret_sets = sets;
	return 0;
}

static int set_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

int capability_clamp(struct capability_sets *sets, struct err *err)
{
	struct __user_cap_data_struct data[2];
	int r = set_get(data);
	if (r < 0)
		return err_sys(err, -r, "read own capabilities");
	uint64_t own = data[0].permitted | (uint64_t)data[1].permitted << 32;
	sets->bounding &= own;
	sets->permitted &= own;
	sets->effective &= sets->permitted;
	sets->inheritable &= own;
	sets->ambient &= sets->permitted & sets->inheritable;
	return 0;
}

int capability_bound(const struct capability_sets *sets, struct err *err)
{
	for (int number = 0; number < 64; number++) {
		if (sets->bounding & CAPABILITY_BIT(number))
			continue;
		if (prctl(PR_CAPBSET_DROP, (unsigned long)number, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL && number > 0)
			return 0; /* past the last one this kernel has */
		return err_sys(err, errno, "drop capability %d from the bounding set", number);
	}
	return 0;
}

int capability_apply(const struct capability_sets *sets, struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[2] = {
		{ (uint32_t)sets->effective, (uint32_t)sets->permitted,
			(uint32_t)sets->inheritable },
		{ (uint32_t)(sets->effective >> 32), (uint32_t)(sets->permitted >> 32),
			(uint32_t)(sets->inheritable >> 32) },
	};
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, errno, "set capabilities");

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(err, errno, "clear ambient capabilities");
	for (int number = 0; number < 64; number++) {
		if (!(sets->ambient & CAPABILITY_BIT(number)))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (unsigned long)number, 0, 0) < 0)
			return err_sys(err, errno, "raise ambient capability %d", number);
	}
	return 0;
}
