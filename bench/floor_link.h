/* floor_link - what a container's network needs of rtnetlink, and no more. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* All take and return network byte order addresses; 0 or -errno. */

/* A bridge NAME with ADDRESS/PREFIX, up; fine if it is there. */
int link_bridge_ensure(const char *name, uint32_t address, uint8_t prefix);

/* A veth pair: NAME, a port of the bridge, up, and "eth0" in the network namespace of PID. */
int link_veth_make(const char *name, const char *bridge, pid_t pid);

/* In the caller's namespace: the loopback up. */
int link_loopback_up(void);

/* In the caller's namespace: eth0 gets ADDRESS/PREFIX, comes up, GATEWAY is the default route. */
int link_eth0_up(uint32_t address, uint8_t prefix, uint32_t gateway);
