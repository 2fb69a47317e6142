/* world - what the network tests share: a private network namespace with its own /proc/sys/net. */
#pragma once

#include "test.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/wait.h>

#include "net/net.h"

enum { TEST_SKIPPED = 77 }; /* meson's exit status for it */

/* The whole test program moves; what it makes goes with it. */
static inline int world_enter(void)
{
	if (geteuid() != 0) {
		puts("1..0 # SKIP network interfaces need root");
		return TEST_SKIPPED;
	}
	if (unshare(CLONE_NEWNET) < 0) {
		printf("1..0 # SKIP no network namespace: %s\n", strerror(errno));
		return TEST_SKIPPED;
	}
	return 0;
}

/* A fresh network namespace for one test, whatever the last one left. */
static inline int fresh_netns(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET);
}
#define IN_NETNS(test) cmocka_unit_test_setup(test, fresh_netns)

static inline int run_program(const char *const argv[])
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	int status = -1;
	(void)waitpid(pid, &status, 0);
	return status;
}
#define RUN(...) run_program((const char *const[]){ __VA_ARGS__, NULL })

/* A namespace of its own, as a workload has: its descriptor. */
static inline int make_netns(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	int made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	(void)close(home);
	return made;
}

static inline struct in_addr ip(const char *text)
{
	struct in_addr address = { 0 };
	assert_int_equal(inet_pton(AF_INET, text, &address), 1);
	return address;
}

static inline struct net_bridge bridge_of(const char *address)
{
	return (struct net_bridge){ .name = "moat0", .address = ip(address), .prefix_len = 16 };
}
