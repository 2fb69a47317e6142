/* mount_option - two tables and a loop: an option is an attribute, a propagation, a bind, or else
 * a parameter of the file system, which checks it itself (an unknown one fails the mount). */
#include "container/mount_option.h"

#include <string.h>
#include <sys/mount.h>

#include "container/container_spec.h"

struct mount_option_row {
	const char *name;
	uint64_t set, cleared;
	bool is_recursive;
};

static const struct mount_option_row options[] = {
#define MOUNT_OPTION(name, set, cleared, is_recursive) { name, set, cleared, is_recursive },
#include "container/mount_options.def"
#undef MOUNT_OPTION
};

struct mount_propagation_row {
	const char *name;
	unsigned long flag;
	bool is_recursive;
};

static const struct mount_propagation_row propagations[] = {
#define MOUNT_PROPAGATION(name, flag, is_recursive) { name, flag, is_recursive },
#include "container/mount_propagations.def"
#undef MOUNT_PROPAGATION
};

bool mount_propagation_find(const char *name, unsigned long *ret_flag, bool *ret_is_recursive)
{
	for (size_t i = 0; i < ARRAY_LEN(propagations); i++) {
		if (strcmp(propagations[i].name, name) != 0)
			continue;
		*ret_flag = propagations[i].flag;
		*ret_is_recursive = propagations[i].is_recursive;
		return true;
	}
	return false;
}

static void attributes_change(uint64_t *set, uint64_t *cleared, uint64_t on, uint64_t off)
{
	/* A later option wins over an earlier one ("ro" after "rw"). */
	*set = (*set & ~off) | on;
	*cleared = (*cleared & ~on) | off;
}

void mount_option_apply(struct spec_mount *mount, const char *option)
{
	if (strcmp(option, "bind") == 0 || strcmp(option, "rbind") == 0) {
		mount->is_bind = true;
		mount->is_recursive = option[0] == 'r';
		return;
	}
	if (mount_propagation_find(option, &mount->propagation, &mount->is_propagation_recursive))
		return;
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		const struct mount_option_row *row = &options[i];
		if (strcmp(row->name, option) != 0)
			continue;
		attributes_change(&mount->attributes, &mount->attributes_cleared, row->set,
			row->cleared);
		if (row->is_recursive)
			attributes_change(&mount->tree_attributes, &mount->tree_attributes_cleared,
				row->set, row->cleared);
		return;
	}
	strv_add(&mount->data, option);
}
