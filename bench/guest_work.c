/* guest_work - what a machine's processor is measured with, the same program on the host, in moat's
 * machine and in QEMU's: `guest_work`.  Prints a line "NAME NANOSECONDS" for each part, of one turn
 * of it (a call, a fault, a whole command).  Linked statically, so that all run the same code. */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "guest_work: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- user code ---- */

static void integer_loop(unsigned turns)
{
	uint64_t x = 88172645463325252;
	for (uint64_t i = 0; i < turns * UINT64_C(50000000); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	volatile uint64_t result = x;
	(void)result;
}

static void n_body(unsigned turns)
{
	enum { BODIES = 5, STEPS = 200000 };
	double place[BODIES][3], speed[BODIES][3] = { 0 };
	for (int i = 0; i < BODIES; i++)
		for (int k = 0; k < 3; k++)
			place[i][k] = (i * 7 + k * 3 + 1) % 11;
	for (unsigned step = 0; step < turns * STEPS; step++)
		for (int i = 0; i < BODIES; i++) {
			for (int j = i + 1; j < BODIES; j++) {
				double d[3], square = 1e-2;
				for (int k = 0; k < 3; k++) {
					d[k] = place[i][k] - place[j][k];
					square += d[k] * d[k];
				}
				double pull = 1e-3 / (square * __builtin_sqrt(square));
				for (int k = 0; k < 3; k++) {
					speed[i][k] -= d[k] * pull;
					speed[j][k] += d[k] * pull;
				}
			}
			for (int k = 0; k < 3; k++)
				place[i][k] += speed[i][k] * 1e-3;
		}
	volatile double result = place[0][0];
	(void)result;
}

/* ---- system ---- */

static void getppid_calls(unsigned turns)
{
	for (unsigned i = 0; i < turns; i++)
		(void)syscall(SYS_getppid);
}

/* There and back. */
static void pipe_ping_pong(unsigned turns)
{
	int there[2], back[2];
	char byte = 0;
	if (pipe(there) < 0 || pipe(back) < 0)
		fail("pipe");
	pid_t child = fork();
	if (child == 0) {
		while (turns-- > 0)
			if (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	for (unsigned i = 0; i < turns; i++)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("a pipe");
	(void)waitpid(child, NULL, 0);
	for (int i = 0; i < 2; i++) {
		(void)close(there[i]);
		(void)close(back[i]);
	}
}

/* Two that yield to each other on one processor: turns of each. */
static void context_switch(unsigned turns)
{
	pid_t child = fork();
	for (unsigned i = 0; i < turns / 2; i++)
		(void)sched_yield();
	if (child == 0)
		_exit(0);
	(void)waitpid(child, NULL, 0);
}

static void fork_exec(unsigned turns)
{
	for (unsigned i = 0; i < turns; i++) {
		pid_t child = fork();
		if (child == 0) {
			execl("/proc/self/exe", "guest_work", "nothing", (char *)NULL);
			_exit(1);
		}
		int status;
		if (waitpid(child, &status, 0) < 0 || status != 0)
			fail("a child");
	}
}

static void page_fault(unsigned turns)
{
	enum { PAGE = 4096 };
	char *bytes = mmap(NULL, (size_t)turns * PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		fail("mmap");
	(void)madvise(bytes, (size_t)turns * PAGE, MADV_NOHUGEPAGE);
	for (unsigned i = 0; i < turns; i++)
		bytes[(size_t)i * PAGE] = 1;
	(void)munmap(bytes, (size_t)turns * PAGE);
}

static const struct {
	const char *name;
	void (*run)(unsigned turns);
	unsigned turns;
} parts[] = {
	{ "integer loop", integer_loop, 4 },
	{ "n-body, SSE2", n_body, 4 },
	{ "getppid", getppid_calls, 50000 },
	{ "pipe, there and back", pipe_ping_pong, 5000 },
	{ "context switch", context_switch, 10000 },
	{ "fork and exec", fork_exec, 50 },
	{ "page fault", page_fault, 4000 },
};

/* ---- commands ---- */

static const struct {
	const char *name, *command;
	bool says; /* its nanoseconds, on its standard output */
} commands[] = {
	{ "perl", "perl -e 'for (1..1000000) { $x += $_ % 7; $h{$_ % 100} .= 1 if $_ % 10 == 0 }'",
		false },
	{ "python3, start", "python3 -c pass", false },
	{ "gcc -O2 of a small file",
		"echo 'int f(int n) { int s = 0; for (int i = 0; i < n; i++) s += i * i; return s; "
		"}'"
		" >/tmp/f.c; gcc -O2 -c -o /tmp/f.o /tmp/f.c",
		false },
	{ "openssl, a signature of RSA 2048",
		"openssl speed -seconds 1 -mr rsa2048 2>/dev/null |"
		" awk -F: '/^.F2:/ { printf \"%.0f\", 1e9 / $4 }'",
		true },
	{ "openssl, 1 MB of AES-128-CBC",
		"openssl speed -seconds 1 -bytes 16384 -mr -evp aes-128-cbc 2>/dev/null |"
		" awk -F: '/^.F:/ { printf \"%.0f\", 1e15 / $4 }'",
		true },
	{ "openssl, 1 MB of SHA-256",
		"openssl speed -seconds 1 -bytes 16384 -mr -evp sha256 2>/dev/null |"
		" awk -F: '/^.F:/ { printf \"%.0f\", 1e15 / $4 }'",
		true },
};

/* output: of size, what it has printed. */
static void command_run(const char *name, const char *command, char *output, size_t size)
{
	int out[2];
	if (pipe(out) < 0)
		fail("pipe");
	pid_t child = fork();
	if (child == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		(void)close(out[0]);
		(void)close(out[1]);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	(void)close(out[1]);
	ssize_t n = read(out[0], output, size - 1);
	output[n > 0 ? n : 0] = '\0';
	(void)close(out[0]);
	int status;
	if (waitpid(child, &status, 0) < 0 || status != 0)
		fail(name);
}

static double number(const char *digits)
{
	double value = 0;
	for (; *digits >= '0' && *digits <= '9'; digits++)
		value = value * 10 + (*digits - '0');
	return value;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "nothing") == 0)
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		parts[i].run(1); /* warm */
		uint64_t before = now_ns();
		parts[i].run(parts[i].turns);
		printf("%s: %.0f\n", parts[i].name, (double)(now_ns() - before) / parts[i].turns);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		char said[64];
		if (!commands[i].says)
			command_run(commands[i].name, commands[i].command, said, sizeof(said));
		uint64_t before = now_ns();
		command_run(commands[i].name, commands[i].command, said, sizeof(said));
		double took = commands[i].says ? number(said) : (double)(now_ns() - before);
		printf("%s: %.0f\n", commands[i].name, took);
	}
	return 0;
}
