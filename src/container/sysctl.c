/* sysctl - a table says which settings are the container's own.
 *
 * CVE-2022-0811: a value with '+' or a newline carried a second key to a helper that split it.  No
 * helper here, one write to one file opened below the container's own procfs without following
 * links; a value must still be one printable line so that nothing later can split it. */
#include "container/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"

#define SYSCTL_VALUE_MAX 4096

struct sysctl_row {
	const char *name;
	bool is_prefix;
	int namespace_flag;
};

static const struct sysctl_row sysctls[] = {
#define SYSCTL(name, is_prefix, namespace_flag) { name, is_prefix, namespace_flag },
#include "container/sysctls.def"
#undef SYSCTL
};

static const struct sysctl_row *sysctl_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(sysctls); i++) {
		const struct sysctl_row *row = &sysctls[i];
		bool is_match = row->is_prefix ? strncmp(name, row->name, strlen(row->name)) == 0
					       : strcmp(name, row->name) == 0;
		if (is_match)
			return row;
	}
	return NULL;
}

static bool name_is_safe(const char *name)
{
	/* The name becomes a path: dots become slashes, so no part may be empty ("..") and no
	 * slash may hide in one.  The kernel's names are letters, digits, '_' and '-'. */
	bool is_part_empty = true;
	for (const char *c = name; *c != '\0'; c++) {
		if (*c == '.') {
			if (is_part_empty)
				return false;
			is_part_empty = true;
			continue;
		}
		bool is_word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			       (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
		if (!is_word)
			return false;
		is_part_empty = false;
	}
	return !is_part_empty;
}

static bool value_is_one_line(const char *value)
{
	size_t len = 0;
	for (; value[len] != '\0'; len++) {
		unsigned char c = (unsigned char)value[len];
		if ((c < ' ' && c != '\t') || c == 0x7f || len > SYSCTL_VALUE_MAX)
			return false;
	}
	return len > 0;
}

int sysctl_check(const char *name, const char *value, int namespaces, struct err *err)
{
	const struct sysctl_row *row = sysctl_find(name);
	if (row == NULL || !name_is_safe(name))
		return err_set(err, ERR_INVALID,
			"sysctl \"%.80s\" is not kept per container; set it on the host", name);
	if (!(namespaces & row->namespace_flag))
		return err_set(err, ERR_INVALID,
			"sysctl \"%.80s\" needs a namespace of the container's own", name);
	if (!value_is_one_line(value))
		return err_set(err, ERR_INVALID, "sysctl \"%.80s\": its value is not one line",
			name);
	return 0;
}

int sysctl_write(int proc_fd, const char *entry, struct err *err)
{
	struct view value = view_of(entry);
	struct view name = view_cut(&value, '=');
	AUTO_FREE char *path = text_format("sys/%.*s", (int)name.len, name.data);
	for (char *c = path; *c != '\0'; c++)
		if (*c == '.')
			*c = '/';
	AUTO_CLOSE int fd = path_at_open_beneath(proc_fd, path, O_WRONLY, 0);
	if (fd < 0)
		return err_sys(err, -fd, "set sysctl %.*s", (int)name.len, name.data);
	int r = fd_write_all(fd, value.data, value.len);
	if (r < 0)
		return err_sys(err, -r, "set sysctl %s", entry);
	return 0;
}
