/* world - a private machine for one contender: its own cgroups, mounts, network and processes.
 *
 * Engines that run side by side disturb each other (two Docker daemons flush each other's
 * firewall), hide costs (a monitor is re-parented, a daemon was started long before) and leave
 * things behind.  A world answers all three: every process of a contender lives below one cgroup,
 * so that cgroup's CPU time is everything involved; its network, /run and mounts are its own; and
 * when it ends, its PID namespace ends every process in it. */
#pragma once

#include <stdint.h>

enum { WORLD_NAME_MAX = 32 };

/* Makes the world NAME and leaves its PID 1 behind.  Returns that process's pid or -errno. */
int world_make(const char *name);

/* Moves the calling process into the world; the next child is inside its PID namespace too. */
int world_enter(const char *name);

/* Ends every process of the world and removes its cgroups. */
int world_end(const char *name);

/* CPU nanoseconds used so far by all that ever ran in the world, or -errno. */
int64_t world_cpu_ns(const char *name);

/* The same for the whole machine, kernel threads included. */
int64_t world_machine_cpu_ns(void);
