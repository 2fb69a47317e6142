/* pair - measures contenders side by side: one sample of each per round, the order rotating.
 *
 * usage: pair CASE ROUNDS SAMPLES.csv OUTPUT_DIR < PLAN
 *
 * Figures of a shared machine hold only as ratios within one run, so contenders alternate.  A
 * sample is one command: wall time is CLOCK_MONOTONIC around posix_spawn and wait4; CPU time is
 * what the contender's world (world.h) used from before the command until the world is quiet again,
 * so that daemons, monitors and whatever cleans up later are counted, and nobody's parent matters.
 * What pair does between the samples happens outside of the worlds.
 *
 * The plan is lines of tab-separated words; "{n}" in them becomes the sample's number:
 *   contender NAME WORLD ROUNDS   ROUNDS caps how many rounds a slow one takes part in
 *   before CMD...                 untimed, in the world, may repeat
 *   run CMD...                    the timed command
 *   after CMD...                  untimed, may repeat
 *   expect REGEX                  the timed command's standard output must match, may repeat
 * Round 0 warms up and is not recorded, but its output is kept in OUTPUT_DIR/CASE-NAME.txt. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <regex.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

enum {
	CONTENDERS_MAX = 16,
	COMMANDS_MAX = 8,
	WORDS_MAX = 64,
	OUTPUT_MAX = 64 * 1024,
	/* Quiet: a window this long in which less than this was used (an idle daemon uses some). */
	QUIET_WINDOW_MS = 100,
	QUIET_NS = 500 * 1000,
	QUIET_TIMEOUT_MS = 10 * 1000,
};

struct command {
	char *words[WORDS_MAX + 1]; /* owned, NULL-terminated */
};

struct contender {
	const char *name, *world;
	int rounds;
	struct command before[COMMANDS_MAX], run, after[COMMANDS_MAX];
	int n_before, n_after, n_expect;
	regex_t expect[COMMANDS_MAX];
	int go, done; /* pipes to and from the runner, which lives in the world */
};

struct result {
	int64_t wall_ns;
	int64_t rusage_ns; /* the direct child and what it waited for, to compare with the world's
			    */
	int status;
};

extern char **environ;

static int fail(const char *what, const char *name, int r)
{
	(void)fprintf(stderr, "pair: %s %s: %s\n", what, name, strerror(-r));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t timeval_ns(const struct timeval *t)
{
	return t->tv_sec * INT64_C(1000000000) + t->tv_usec * INT64_C(1000);
}

/* ---- the plan ---- */

static void words_take(struct command *c, char *line)
{
	int n = 0;
	for (char *word; (word = strsep(&line, "\t")) != NULL;) {
		if (n == WORDS_MAX)
			fail("too many words after", c->words[0], -E2BIG);
		c->words[n++] = strdup(word);
	}
	c->words[n] = NULL;
}

static struct command *slot(struct command *list, int *n, const char *name)
{
	if (*n == COMMANDS_MAX)
		fail("too many commands for", name, -E2BIG);
	return &list[(*n)++];
}

static void contender_start(struct contender *c, char *line)
{
	struct command head = { 0 };
	words_take(&head, line);
	if (head.words[0] == NULL || head.words[1] == NULL || head.words[2] == NULL)
		fail("contender needs NAME WORLD ROUNDS:", line, -EINVAL);
	c->name = head.words[0];
	c->world = head.words[1];
	if (sscanf(head.words[2], "%d", &c->rounds) != 1)
		fail("not a number of rounds:", head.words[2], -EINVAL);
}

static int plan_read(struct contender *list)
{
	int n = 0;
	char *line = NULL;
	size_t size = 0;
	for (ssize_t len; (len = getline(&line, &size, stdin)) > 0;) {
		line[strcspn(line, "\n")] = '\0';
		char *rest = line, *key = strsep(&rest, "\t");
		struct contender *c = n > 0 ? &list[n - 1] : NULL;
		if (strcmp(key, "contender") == 0 && rest != NULL && n < CONTENDERS_MAX)
			contender_start(&list[n++], rest);
		else if (rest == NULL || c == NULL)
			fail("bad line in the plan:", line, -EINVAL);
		else if (strcmp(key, "before") == 0)
			words_take(slot(c->before, &c->n_before, c->name), rest);
		else if (strcmp(key, "run") == 0)
			words_take(&c->run, rest);
		else if (strcmp(key, "after") == 0)
			words_take(slot(c->after, &c->n_after, c->name), rest);
		else if (strcmp(key, "expect") != 0 || c->n_expect == COMMANDS_MAX ||
			 regcomp(&c->expect[c->n_expect++], rest,
				 REG_EXTENDED | REG_NEWLINE | REG_NOSUB) != 0)
			fail("bad line in the plan:", line, -EINVAL);
	}
	free(line);
	return n;
}

/* "{n}" becomes the sample's number, so that names can be new each time. */
static char *word_expand(const char *word, int sample)
{
	char *out;
	const char *mark = strstr(word, "{n}");
	int r = mark == NULL
			? asprintf(&out, "%s", word)
			: asprintf(&out, "%.*s%d%s", (int)(mark - word), word, sample, mark + 3);
	if (r < 0)
		abort();
	return out;
}

/* ---- the runner: one process per contender, inside its world ---- */

static void command_expand(const struct command *in, int sample, struct command *out)
{
	int i = 0;
	for (; in->words[i] != NULL; i++)
		out->words[i] = word_expand(in->words[i], sample);
	out->words[i] = NULL;
}

static void command_free(struct command *c)
{
	for (int i = 0; c->words[i] != NULL; i++)
		free(c->words[i]);
}

/* Standard output is a file, as it never blocks whoever inherits it. */
static int spawn_timed(const struct command *c, int out, struct result *ret)
{
	posix_spawn_file_actions_t files;
	pid_t pid;
	struct rusage used;
	if (posix_spawn_file_actions_init(&files) != 0 ||
		posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0) != 0 ||
		posix_spawn_file_actions_adddup2(&files, out, 1) != 0 ||
		posix_spawn_file_actions_adddup2(&files, out, 2) != 0)
		abort();
	int64_t start = now_ns();
	int r = posix_spawnp(&pid, c->words[0], &files, NULL, c->words, environ);
	if (r == 0 && wait4(pid, &ret->status, 0, &used) != pid)
		r = errno;
	ret->wall_ns = now_ns() - start;
	ret->rusage_ns = timeval_ns(&used.ru_utime) + timeval_ns(&used.ru_stime);
	(void)posix_spawn_file_actions_destroy(&files);
	return -r;
}

static void command_run(const struct command *in, int sample, int out, struct result *ret)
{
	struct command c;
	command_expand(in, sample, &c);
	int r = ftruncate(out, 0) < 0 ? -errno : 0;
	(void)lseek(out, 0, SEEK_SET);
	if (r == 0)
		r = spawn_timed(&c, out, ret);
	if (r < 0) {
		(void)fprintf(stderr, "pair: start %s: %s\n", c.words[0], strerror(-r));
		ret->status = 127 << 8;
	}
	command_free(&c);
}

/* A request is the number of the command: before first, then run, then after. */
struct request {
	int command, sample;
};

static void runner_loop(const struct contender *c, int go, int done, int out)
{
	struct request q;
	while (read(go, &q, sizeof(q)) == sizeof(q)) {
		struct result res = { 0 };
		const struct command *cmd = q.command < c->n_before ? &c->before[q.command]
					    : q.command == c->n_before
						    ? &c->run
						    : &c->after[q.command - c->n_before - 1];
		command_run(cmd, q.sample, out, &res);
		if (write(done, &res, sizeof(res)) != sizeof(res))
			break;
	}
	_exit(0);
}

static void runner_start(struct contender *c, int out)
{
	int go[2], done[2];
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(done, O_CLOEXEC) < 0)
		fail("pipe for", c->name, -errno);
	pid_t pid = fork();
	if (pid < 0)
		fail("fork for", c->name, -errno);
	if (pid > 0) {
		(void)close(go[0]);
		(void)close(done[1]);
		c->go = go[1];
		c->done = done[0];
		return;
	}
	(void)close(go[1]);
	(void)close(done[0]);
	int r = world_enter(c->world);
	if (r < 0)
		fail("enter the world", c->world, r);
	/* Only a child is inside the PID namespace; the parent holds nothing that blocks an end. */
	pid_t inner = fork();
	if (inner == 0)
		runner_loop(c, go[0], done[1], out);
	_exit(inner < 0);
}

static struct result runner_ask(const struct contender *c, int command, int sample)
{
	struct request q = { .command = command, .sample = sample };
	struct result res;
	if (write(c->go, &q, sizeof(q)) != sizeof(q) ||
		read(c->done, &res, sizeof(res)) != sizeof(res))
		fail("lost the runner of", c->name, -EPIPE);
	return res;
}

/* ---- one sample ---- */

/* Waits until the world is quiet, returns what it has used until then. */
static int64_t quiet_wait(const char *world, bool *ret_quiet)
{
	static const struct timespec window = { .tv_nsec = QUIET_WINDOW_MS * 1000 * 1000 };
	int64_t last = world_cpu_ns(world);
	*ret_quiet = false;
	for (int waited = 0; waited < QUIET_TIMEOUT_MS; waited += QUIET_WINDOW_MS) {
		(void)nanosleep(&window, NULL);
		int64_t now = world_cpu_ns(world);
		if (now < 0)
			fail("read the CPU time of", world, (int)now);
		*ret_quiet = now - last < QUIET_NS;
		/* The idle part of the last window belongs to nobody. */
		if (*ret_quiet)
			return last;
		last = now;
	}
	return last;
}

static void output_show(int out)
{
	off_t at = 0;
	(void)sendfile(STDERR_FILENO, out, &at, OUTPUT_MAX);
}

static void must_succeed(const struct contender *c, const char *word, struct result res, int out)
{
	if (WIFEXITED(res.status) && WEXITSTATUS(res.status) == 0)
		return;
	(void)fprintf(stderr, "pair: %s: %s: status 0x%x, its output:\n", c->name, word,
		res.status);
	output_show(out);
	exit(1);
}

static void must_match(struct contender *c, int out)
{
	char *text = calloc(1, OUTPUT_MAX + 1);
	if (text == NULL || pread(out, text, OUTPUT_MAX, 0) < 0)
		fail("read the output of", c->name, -errno);
	for (int i = 0; i < c->n_expect; i++)
		if (regexec(&c->expect[i], text, 0, NULL, 0) != 0) {
			(void)fprintf(stderr, "pair: %s: expectation %d not met by:\n%s", c->name,
				i + 1, text);
			exit(1);
		}
	free(text);
}

static void output_keep(int out, const char *dir, const char *name, const char *contender)
{
	char *path;
	if (asprintf(&path, "%s/%s-%s.txt", dir, name, contender) < 0)
		abort();
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	off_t at = 0;
	if (fd < 0 || sendfile(fd, out, &at, OUTPUT_MAX) < 0)
		fail("write", path, -errno);
	(void)close(fd);
	free(path);
}

struct sample {
	struct result res;
	int64_t cpu_ns, machine_ns;
	bool quiet;
};

static struct sample sample_take(struct contender *c, int sample, int out)
{
	struct sample s;
	bool quiet;
	for (int i = 0; i < c->n_before; i++)
		must_succeed(c, c->before[i].words[0], runner_ask(c, i, sample), out);
	(void)quiet_wait(c->world, &quiet);
	int64_t cpu = world_cpu_ns(c->world);
	int64_t machine = world_machine_cpu_ns();
	s.res = runner_ask(c, c->n_before, sample);
	s.cpu_ns = quiet_wait(c->world, &s.quiet) - cpu;
	s.machine_ns = world_machine_cpu_ns() - machine;
	s.quiet &= quiet;
	must_succeed(c, c->run.words[0], s.res, out);
	must_match(c, out);
	return s;
}

static void sample_clean(const struct contender *c, int sample, int out)
{
	for (int i = 0; i < c->n_after; i++)
		must_succeed(c, c->after[i].words[0], runner_ask(c, c->n_before + 1 + i, sample),
			out);
}

int main(int argc, char **argv)
{
	static struct contender list[CONTENDERS_MAX];
	int rounds;
	if (argc != 5 || sscanf(argv[2], "%d", &rounds) != 1) {
		(void)fprintf(stderr, "usage: pair CASE ROUNDS SAMPLES.csv OUTPUT_DIR < PLAN\n");
		return 2;
	}
	/* Nobody else would end it when `run` is killed. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	FILE *csv = fopen(argv[3], "ae");
	int n = plan_read(list), outs[CONTENDERS_MAX];
	if (csv == NULL || n == 0)
		fail("open the samples or the plan of", argv[1], csv == NULL ? -errno : -EINVAL);
	for (int i = 0; i < n; i++) {
		outs[i] = memfd_create(list[i].name, MFD_CLOEXEC);
		runner_start(&list[i], outs[i]);
	}
	for (int round = 0; round <= rounds; round++)
		for (int turn = 0; turn < n; turn++) {
			int i = (turn + round) % n;
			struct contender *c = &list[i];
			if (round > c->rounds)
				continue;
			struct sample s = sample_take(c, round, outs[i]);
			if (round == 0)
				output_keep(outs[i], argv[4], argv[1], c->name);
			else
				(void)fprintf(csv,
					"%s,%s,%d,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
					",%d\n",
					argv[1], c->name, round, s.res.wall_ns, s.cpu_ns,
					s.res.rusage_ns, s.machine_ns, s.quiet);
			(void)fflush(csv);
			sample_clean(c, round, outs[i]);
		}
	return fclose(csv) == 0 ? 0 : 1;
}
