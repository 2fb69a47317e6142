/* bench_monitor - what a monitor costs: memory of many, and a gigabyte through one.  Prints, judges
 * nothing.  The workload alone (its output to a file that is thrown away) is the floor. */
#include "test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/proc.h"
#include "rig.h"

#define GIGABYTE "1000000000"
#define MANY 20

/* User and system time of the children reaped meanwhile, in milliseconds. */
static double children_ms(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static void measure(const char *name, const char *script, uint32_t attach)
{
	void *state;
	(void)rig_make(&state);
	struct rig *rig = state;

	rig_start(rig, &(struct rig_options){ .attach = attach, .script = script });
	uint64_t start_ns = clock_monotonic_ns();
	double before_ms = children_ms();
	rig_go(rig);
	if (attach != 0)
		(void)rig_collect(rig, rig->client, MONITOR_STDOUT, NULL);
	int r = proc_wait_end(rig->monitor_pidfd, -1);
	(void)r;
	rig_await_end(rig);
	double wall_ms = (double)(clock_monotonic_ns() - start_ns) / 1e6;
	/* The monitor's children, the workload, count with it once it is reaped. */
	printf("%-44s %7.0f ms wall %7.0f ms CPU (workload and monitor)\n", name, wall_ms,
		children_ms() - before_ms);
	(void)rig_remove(&state);
}

static void measure_memory(void)
{
	void *states[MANY];
	unsigned pss = 0, anonymous = 0;

	for (int i = 0; i < MANY; i++) {
		(void)rig_make(&states[i]);
		rig_start(states[i], &(struct rig_options){ .script = "echo hello; exec busybox "
								      "sleep 1000" });
		rig_go(states[i]);
		free(rig_await_file(((struct rig *)states[i])->data_dir, MONITOR_LOG, "hello\n"));
	}
	for (int i = 0; i < MANY; i++) {
		pss += rig_memory_kib(states[i], "Pss");
		anonymous += rig_memory_kib(states[i], "Pss_Anon");
	}
	printf("%d idle monitors: each %u KiB PSS, of these %u anonymous\n", MANY, pss / MANY,
		anonymous / MANY);
	for (int i = 0; i < MANY; i++)
		(void)rig_remove(&states[i]);
}

int main(void)
{
	measure_memory();
	measure("floor: 1 GB of 100-byte lines to /dev/null",
		"busybox yes $(busybox printf '%099d' 1) | busybox head -c " GIGABYTE
		" > /dev/null",
		0);
	measure("1 GB of 100-byte lines, log only",
		"busybox yes $(busybox printf '%099d' 1) | busybox head -c " GIGABYTE, 0);
	measure("1 GB of 100-byte lines, log and client",
		"busybox yes $(busybox printf '%099d' 1) | busybox head -c " GIGABYTE,
		MONITOR_STDOUT);
	measure("1 GB without newlines, log only", "exec busybox head -c " GIGABYTE " /dev/zero",
		0);
	measure("100 MB of 2-byte lines, log only", "busybox yes | busybox head -c 100000000", 0);
	return 0;
}
