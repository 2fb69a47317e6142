/* world make|end NAME..., world in NAME CMD ARG...: the worlds of world.h for scripts. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

static int usage(void)
{
	(void)fprintf(stderr,
		"usage: world make NAME... | end NAME... | cpu NAME | in NAME CMD...\n");
	return 2;
}

static int report(const char *verb, const char *name, int r)
{
	if (r < 0)
		(void)fprintf(stderr, "world: %s %s: %s\n", verb, name, strerror(-r));
	return r < 0 ? 1 : 0;
}

static int run_in(const char *name, char **argv)
{
	int r = world_enter(name);
	if (r < 0)
		return report("enter", name, r);
	/* Only a child is inside the PID namespace. */
	pid_t child = fork();
	if (child < 0)
		return report("fork in", name, -errno);
	if (child == 0) {
		(void)execvp(argv[0], argv);
		_exit(report("execute in", name, -errno) + 125);
	}
	int status;
	if (waitpid(child, &status, 0) < 0)
		return report("wait in", name, -errno);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return usage();
	if (strcmp(argv[1], "in") == 0 && argc > 3)
		return run_in(argv[2], argv + 3);
	int failed = 0;
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[1], "make") == 0)
			failed |= report("make", argv[i], world_make(argv[i]));
		else if (strcmp(argv[1], "end") == 0)
			failed |= report("end", argv[i], world_end(argv[i]));
		else
			return usage();
	}
	return failed;
}
