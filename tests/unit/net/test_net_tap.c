#include "world.h"

#include <linux/if_ether.h>
#include <net/if.h>
#include <poll.h>

enum { HEADER = 12, FRAME_MAX = 2048 };

/* The ARP request for the port's address that the host sends out by the bridge. */
static bool receives_arp(int fd)
{
	uint8_t frame[FRAME_MAX];
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	while (poll(&ready, 1, 5000) == 1) {
		ssize_t n = read(fd, frame, sizeof(frame));
		/* The ethernet type stands behind two addresses. */
		if (n >= HEADER + 14 && frame[HEADER + 12] == ETH_P_ARP >> 8 &&
			frame[HEADER + 13] == (ETH_P_ARP & 0xff))
			return true;
	}
	return false;
}

static void tap_on_the_bridge_gets_its_frames_and_goes_with_its_descriptor(void **state)
{
	(void)state;
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	struct net_port port = { .host_name = "mt000000000000", .address = ip("172.30.0.2") };
	int fd = -1;
	if (net_tap_open(&bridge, &port, &fd, &err) < 0)
		fail_msg("%s", err.message);
	assert_memory_equal(port.mac, "\x02\x42\xac\x1e\x00\x02", 6);
	assert_int_not_equal(if_nametoindex(port.host_name), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(RUN("busybox", "ping", "-c1", "-W1", "172.30.0.2"));
	assert_true(receives_arp(fd));
	(void)waitpid(pid, NULL, 0);
	(void)close(fd);
	assert_int_equal(if_nametoindex(port.host_name), 0);
}

static void failing_tap_leaves_no_interface(void **state)
{
	(void)state;
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	struct net_port port = { .host_name = "mt000000000000", .address = ip("172.30.0.2") };
	int fd = -1;
	assert_error(net_tap_open(&bridge, &port, &fd, &err), ERR_SYSTEM, "find bridge moat0");
	assert_int_equal(fd, -1);
	assert_int_equal(if_nametoindex(port.host_name), 0);
	port.host_name = "mt00000000000000";
	assert_error(net_tap_open(&bridge, &port, &fd, &err), ERR_INVALID, "longer than 15");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NETNS(tap_on_the_bridge_gets_its_frames_and_goes_with_its_descriptor),
		IN_NETNS(failing_tap_leaves_no_interface),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
