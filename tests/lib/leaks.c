/* leaks - what an engine may leave behind, seen from outside: it asks the kernel and the disk,
 * never moat.
 *
 * `leaks look` prints one line for each mount, link, firewall table, cgroup, loop device, process,
 * and file below MOAT_RUN and MOAT_ROOT, sorted.
 *
 * `leaks compare FILE` waits until a look is as FILE says (at most LEAKS_WAIT_S, 10 seconds), else
 * prints the difference and fails.
 *
 * Made for tests/lib/world, where all of these belong to the tests.  It runs twice for each test,
 * also where the processor is emulated: one small program that starts no other. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct lines {
	char **items; /* owned */
	size_t len, capacity;
};

static void add_text(struct lines *lines, char *take_text)
{
	if (lines->len == lines->capacity) {
		lines->capacity = lines->capacity > 0 ? lines->capacity * 2 : 64;
		lines->items = realloc(lines->items, lines->capacity * sizeof(char *));
	}
	if (lines->items == NULL || take_text == NULL)
		abort();
	lines->items[lines->len++] = take_text;
}

__attribute__((format(printf, 2, 3))) static void add(struct lines *lines, const char *format, ...)
{
	va_list arguments;
	char *text = NULL;
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);
	add_text(lines, text);
}

static void lines_done(struct lines *lines)
{
	for (size_t i = 0; i < lines->len; i++)
		free(lines->items[i]);
	free(lines->items);
	*lines = (struct lines){ 0 };
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Calls use with each line of a file; a file that is not there has none. */
static void each_line(const char *path, void (*use)(struct lines *lines, char *line),
	struct lines *lines)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	if (file == NULL)
		return;
	while (getline(&line, &size, file) >= 0) {
		line[strcspn(line, "\n")] = 0;
		use(lines, line);
	}
	free(line);
	(void)fclose(file);
}

/* The mount table without ids (proc_pid_mountinfo(5)). */
static void add_mount(struct lines *lines, char *line)
{
	char *rest = line, *point = NULL;
	for (int i = 0; i < 5; i++)
		point = strsep(&rest, " ");
	char *type = rest != NULL ? strstr(rest, " - ") : NULL;
	if (point == NULL || type == NULL)
		return;
	type += 3;
	add(lines, "mount %s %.*s", point, (int)strcspn(type, " "), type);
}

static void add_links(struct lines *lines)
{
	struct if_nameindex *links = if_nameindex();
	for (struct if_nameindex *l = links; l != NULL && l->if_index != 0; l++)
		add(lines, "link %s", l->if_name);
	if_freenameindex(links);
}

/* The first attribute of a table is its name. */
static bool add_tables_of(struct lines *lines, struct nlmsghdr *message, size_t len)
{
	for (; NLMSG_OK(message, len); message = NLMSG_NEXT(message, len)) {
		if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
			return false; /* the end, or an error */
		const struct nfgenmsg *table = NLMSG_DATA(message);
		const struct nlattr *name = (const void *)(table + 1);
		add(lines, "table %d %s", table->nfgen_family, (const char *)(name + 1));
	}
	return true;
}

static void add_tables(struct lines *lines)
{
	struct {
		struct nlmsghdr header;
		struct nfgenmsg all;
	} ask = { { sizeof(ask), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
			  NLM_F_REQUEST | NLM_F_DUMP, 1, 0 },
		{ 0 } };
	static union {
		struct nlmsghdr header;
		char bytes[65536];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0)
		return;
	ssize_t n = send(fd, &ask, sizeof(ask), 0);
	do
		n = n < 0 ? n : recv(fd, &answer, sizeof(answer), 0);
	while (n > 0 && add_tables_of(lines, &answer.header, (size_t)n));
	(void)close(fd);
}

/* The first group of moat's among the hierarchies' (cgroups(7): "ID:CONTROLLERS:PATH"). */
static void find_group(struct lines *group, char *line)
{
	char *path = strstr(line, ":/moat");
	if (path != NULL && group->len == 0)
		add(group, "%s", path);
}

/* The tests' own shells come and go; what counts is moat's programs and what it started. */
static void add_process(struct lines *lines, const char *pid)
{
	char path[64], exe[4096];
	(void)snprintf(path, sizeof(path), "/proc/%.16s/exe", pid);
	ssize_t len = readlink(path, exe, sizeof(exe) - 1);
	if (len <= 0)
		return; /* gone, or not yet reaped */
	exe[len] = 0;
	struct lines group = { 0 };
	(void)snprintf(path, sizeof(path), "/proc/%.16s/cgroup", pid);
	each_line(path, find_group, &group);
	const char *name = strrchr(exe, '/') != NULL ? strrchr(exe, '/') + 1 : exe;
	const char *end = strstr(name, " (deleted)");
	bool is_moat =
		strncmp(name, "moat", 4) == 0 && (name[4] == 0 || name[4] == '-' || end != NULL);
	if (is_moat || group.len > 0 || strncmp(exe, "/memfd:", 7) == 0)
		add(lines, "process %s %s", name, group.len > 0 ? group.items[0] : "");
	lines_done(&group);
}

static void add_processes(struct lines *lines)
{
	DIR *dir = opendir("/proc");
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
		if (isdigit((unsigned char)entry->d_name[0]))
			add_process(lines, entry->d_name);
	if (dir != NULL)
		(void)closedir(dir);
}

/* Everything below folder; name is what stands for it. */
static void add_files(struct lines *lines, const char *word, const char *folder, const char *name)
{
	DIR *dir = opendir(folder);
	if (dir == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		const char *file = entry->d_name;
		size_t len = strlen(file);
		/* SQLite's side files come and go with its readers. */
		if (strcmp(file, ".") == 0 || strcmp(file, "..") == 0 ||
			(len > 4 && (strcmp(file + len - 4, "-wal") == 0 ||
					    strcmp(file + len - 4, "-shm") == 0)))
			continue;
		bool is_cgroup = strcmp(word, "cgroup") == 0;
		bool is_dir = entry->d_type == DT_DIR;
		char *path = NULL, *below = NULL;
		if (asprintf(&path, "%s/%s", folder, file) < 0 ||
			asprintf(&below, "%s%s%s", name, name[0] != 0 ? "/" : "", file) < 0)
			abort();
		if (!is_cgroup || (is_dir && strstr(path, "/moat") != NULL))
			add(lines, "%s %s %d", word, below, entry->d_type);
		if (is_dir)
			add_files(lines, word, path, below);
		free(path);
		free(below);
	}
	(void)closedir(dir);
}

static const char *folder_named(const char *variable)
{
	const char *folder = getenv(variable);
	return folder != NULL ? folder : "/nowhere";
}

/* Loop devices are the host's, shared by all: only those of our files. */
static void add_loop(struct lines *lines, char *line)
{
	if (strstr(line, folder_named("MOAT_ROOT")) != NULL)
		add(lines, "loop %s", line);
}

static void add_loops(struct lines *lines)
{
	DIR *dir = opendir("/sys/block");
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		char path[512];
		(void)snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file",
			entry->d_name);
		each_line(path, add_loop, lines);
	}
	if (dir != NULL)
		(void)closedir(dir);
}

static void look(struct lines *lines)
{
	each_line("/proc/self/mountinfo", add_mount, lines);
	add_links(lines);
	add_tables(lines);
	add_loops(lines);
	add_processes(lines);
	add_files(lines, "cgroup", "/sys/fs/cgroup", "");
	add_files(lines, "run", folder_named("MOAT_RUN"), "");
	add_files(lines, "root", folder_named("MOAT_ROOT"), "");
	if (lines->len > 0)
		qsort(lines->items, lines->len, sizeof(char *), compare_text);
}

static void add_line(struct lines *lines, char *line)
{
	add(lines, "%s", line);
}

/* Prints what differs between two sorted lists; returns how many lines. */
static size_t differ(const struct lines *before, const struct lines *now, bool print)
{
	size_t count = 0;
	for (size_t i = 0, j = 0; i < before->len || j < now->len;) {
		int order = i == before->len ? 1
			    : j == now->len  ? -1
					     : strcmp(before->items[i], now->items[j]);
		if (order != 0) {
			count++;
			if (print)
				printf("%c %s\n", order < 0 ? '<' : '>',
					order < 0 ? before->items[i] : now->items[j]);
		}
		i += order <= 0;
		j += order >= 0;
	}
	return count;
}

static int compare(const char *file)
{
	struct lines before = { 0 };
	each_line(file, add_line, &before);
	const char *wait = getenv("LEAKS_WAIT_S");
	struct timespec start, now, pause = { .tv_nsec = 50000000 };
	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	time_t limit = wait != NULL ? 0 : 10;
	for (; wait != NULL && isdigit((unsigned char)*wait); wait++)
		limit = limit * 10 + (*wait - '0');
	for (;;) {
		struct lines lines = { 0 };
		look(&lines);
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		bool is_over = now.tv_sec - start.tv_sec >= limit;
		size_t count = differ(&before, &lines, false);
		if (count > 0 && is_over) {
			puts("left over (>) or lost (<):");
			(void)differ(&before, &lines, true);
		}
		lines_done(&lines);
		if (count == 0 || is_over) {
			lines_done(&before);
			return count > 0;
		}
		(void)nanosleep(&pause, NULL);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "compare") == 0)
		return compare(argv[2]);
	if (argc == 2 && strcmp(argv[1], "look") == 0) {
		struct lines lines = { 0 };
		look(&lines);
		for (size_t i = 0; i < lines.len; i++)
			puts(lines.items[i]);
		lines_done(&lines);
		return 0;
	}
	fputs("usage: leaks look | compare FILE\n", stderr);
	return 2;
}
