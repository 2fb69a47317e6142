/* container_user - users and groups of an image, read from its own files.
 *
 * No NSS: a library or a server named by the image must never run with our rights (THREATS rule
 * 10), so this reads passwd(5) and group(5) itself, through path_at_read, with a limit.  Docker's
 * rules: a number need not exist in the files; a name must; without a group the user's own and all
 * groups that list him; with one, just that. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "base/text.h"
#include "container/container.h"

/* Linux takes 65536 supplementary groups; no image has reason for that many. */
#define GROUPS_MAX 1024

void container_user_done(struct container_user *user)
{
	free(user->groups);
	free(user->home);
	free(user->name);
	*user = (struct container_user){ 0 };
}

struct passwd_entry {
	struct view name, home;
	int64_t uid, gid;
};

struct group_entry {
	struct view name, members;
	int64_t gid;
};

static bool number_of(struct view text, int64_t *ret)
{
	return num_parse(text, 0, INT32_MAX, ret) == 0;
}

/* name:password:uid:gid:gecos:home:shell; false where a line is not of that form. */
static bool passwd_parse(struct view line, struct passwd_entry *ret)
{
	struct passwd_entry entry;
	entry.name = view_cut(&line, ':');
	(void)view_cut(&line, ':');
	struct view uid = view_cut(&line, ':');
	struct view gid = view_cut(&line, ':');
	(void)view_cut(&line, ':');
	entry.home = view_cut(&line, ':');
	if (!number_of(uid, &entry.uid) || !number_of(gid, &entry.gid))
		return false;
	*ret = entry;
	return true;
}

/* name:password:gid:member,member */
static bool group_parse(struct view line, struct group_entry *ret)
{
	struct group_entry entry;
	entry.name = view_cut(&line, ':');
	(void)view_cut(&line, ':');
	struct view gid = view_cut(&line, ':');
	entry.members = line;
	if (!number_of(gid, &entry.gid))
		return false;
	*ret = entry;
	return true;
}

static int file_load(int root_fd, const char *path, struct text *text, struct err *err)
{
	int r = path_at_read(root_fd, path, LIMIT_PASSWD_BYTES, text);
	/* An image without the file (FROM scratch) has no names. */
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	return r < 0 ? err_sys(err, -r, "read %s of the image", path) : 0;
}

/* All digits: a number even when it is too big to be an id, never a name. */
static bool is_numeric(struct view text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	return text.len > 0;
}

static int parse_wanted(struct view text, const char *what, int64_t *ret_number, struct err *err)
{
	*ret_number = -1;
	if (!is_numeric(text) || number_of(text, ret_number))
		return 0;
	return err_set(err, ERR_INVALID, "%s %.*s is above %d", what,
		(int)(text.len > 64 ? 64 : text.len), text.data, INT32_MAX);
}

static bool passwd_find(struct view passwd, struct view name, int64_t uid, struct passwd_entry *ret)
{
	while (passwd.data != NULL) {
		struct passwd_entry entry;
		if (!passwd_parse(view_cut(&passwd, '\n'), &entry))
			continue;
		bool is_match = uid >= 0
					? entry.uid == uid
					: entry.name.len == name.len &&
						  memcmp(entry.name.data, name.data, name.len) == 0;
		if (is_match) {
			*ret = entry;
			return true;
		}
	}
	return false;
}

static bool group_find(struct view groups, struct view name, int64_t *ret_gid)
{
	while (groups.data != NULL) {
		struct group_entry entry;
		if (!group_parse(view_cut(&groups, '\n'), &entry) || entry.name.len != name.len ||
			memcmp(entry.name.data, name.data, name.len) != 0)
			continue;
		*ret_gid = entry.gid;
		return true;
	}
	return false;
}

static void group_add(struct container_user *user, gid_t gid)
{
	for (size_t i = 0; i < user->groups_len; i++)
		if (user->groups[i] == gid)
			return;
	if (user->groups_len < GROUPS_MAX)
		user->groups[user->groups_len++] = gid;
}

static void groups_collect(struct view groups, struct container_user *user)
{
	while (user->name != NULL && groups.data != NULL) {
		struct group_entry entry;
		if (!group_parse(view_cut(&groups, '\n'), &entry))
			continue;
		while (entry.members.data != NULL)
			if (view_is(view_trim(view_cut(&entry.members, ',')), user->name))
				group_add(user, (gid_t)entry.gid);
	}
}

static int resolve_user(struct view passwd, struct view wanted, struct container_user *user,
	struct err *err)
{
	int64_t number;
	int r = parse_wanted(wanted, "user", &number, err);
	if (r < 0)
		return r;
	if (wanted.len == 0)
		number = 0;
	struct passwd_entry entry;
	if (passwd_find(passwd, wanted, number, &entry)) {
		user->uid = (uid_t)entry.uid;
		user->gid = (gid_t)entry.gid;
		user->name = view_dup(entry.name);
		user->home = view_dup(entry.home.len > 0 ? entry.home : view_of("/"));
		return 0;
	}
	if (number < 0)
		return err_set(err, ERR_NOT_FOUND,
			"unable to find user %.*s: no matching entries in passwd file",
			(int)(wanted.len > 200 ? 200 : wanted.len), wanted.data);
	user->uid = (uid_t)number;
	user->gid = 0;
	user->home = mem_strdup("/");
	return 0;
}

static int resolve_group(struct view groups, struct view wanted, struct container_user *user,
	struct err *err)
{
	int64_t number;
	int r = parse_wanted(wanted, "group", &number, err);
	if (r < 0)
		return r;
	if (number < 0 && !group_find(groups, wanted, &number))
		return err_set(err, ERR_NOT_FOUND,
			"unable to find group %.*s: no matching entries in group file",
			(int)(wanted.len > 200 ? 200 : wanted.len), wanted.data);
	user->gid = (gid_t)number;
	return 0;
}

int container_user_resolve(int root_fd, const char *user, struct container_user *ret_user,
	struct err *err)
{
	struct view group_wanted = view_of(user);
	struct view user_wanted = view_cut(&group_wanted, ':');
	if (group_wanted.len > 0 && memchr(group_wanted.data, ':', group_wanted.len) != NULL)
		return err_set(err, ERR_INVALID, "user \"%.200s\" has more than one colon", user);

	AUTO_DONE(text) passwd = { 0 };
	AUTO_DONE(text) groups = { 0 };
	AUTO_DONE(container_user) found = { 0 };
	int r = file_load(root_fd, "/etc/passwd", &passwd, err);
	if (r == 0)
		r = file_load(root_fd, "/etc/group", &groups, err);
	if (r == 0)
		r = resolve_user(view_of_text(&passwd), user_wanted, &found, err);
	if (r == 0 && group_wanted.len > 0)
		r = resolve_group(view_of_text(&groups), group_wanted, &found, err);
	if (r < 0)
		return r;
	/* The primary group stands among the supplementary ones too, or a file that denies it could
	 * be opened by dropping it (CVE-2022-36109). */
	found.groups = mem_new(GROUPS_MAX, sizeof(*found.groups));
	group_add(&found, found.gid);
	if (group_wanted.len == 0)
		groups_collect(view_of_text(&groups), &found);
	*ret_user = found;
	found = (struct container_user){ 0 };
	return 0;
}
