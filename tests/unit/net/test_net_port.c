#include "world.h"

#include <net/if.h>

static int ping_from(int netns, const char *target)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(setns(netns, CLONE_NEWNET) < 0 ||
			RUN("busybox", "ping", "-c1", "-W2", target) != 0);
	int status = -1;
	(void)waitpid(pid, &status, 0);
	return status;
}

static void two_ports_of_one_bridge_reach_each_other_and_the_host(void **state)
{
	(void)state;
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	int a = make_netns(), b = make_netns();
	struct net_port pa = { .host_name = "mt000000000000", .address = ip("172.30.0.2") };
	struct net_port pb = { .host_name = "mt000000000001", .address = ip("172.30.255.254") };
	if (net_port_connect(&bridge, &pa, a, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(net_port_connect(&bridge, &pb, b, &err), 0);
	assert_memory_equal(pa.mac, "\x02\x42\xac\x1e\x00\x02", 6);
	assert_int_equal(ping_from(a, "172.30.255.254"), 0);
	assert_int_equal(ping_from(b, "172.30.0.2"), 0);
	assert_int_equal(ping_from(a, "172.30.0.1"), 0);
	/* by the default route */
	assert_int_equal(RUN("ip", "addr", "add", "203.0.113.1/32", "dev", "moat0"), 0);
	assert_int_equal(ping_from(a, "203.0.113.1"), 0);
	assert_int_equal(net_port_remove(pa.host_name, &err), 0);
	assert_int_equal(net_port_remove(pa.host_name, &err), 0);
	assert_true(ping_from(b, "172.30.0.2") != 0);
	(void)close(a);
	(void)close(b);
}

static void port_left_from_a_cut_start_is_replaced(void **state)
{
	(void)state;
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	struct net_port port = { .host_name = "mt000000000000", .address = ip("172.30.0.2") };
	int a = make_netns(), b = make_netns();
	assert_int_equal(net_port_connect(&bridge, &port, a, &err), 0);
	assert_int_equal(net_port_connect(&bridge, &port, b, &err), 0);
	assert_int_equal(ping_from(b, "172.30.0.1"), 0);
	(void)close(a);
	(void)close(b);
}

static void failing_connect_leaves_no_port(void **state)
{
	(void)state;
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	struct net_port port = { .host_name = "mt000000000000", .address = ip("172.30.0.2") };
	int a = make_netns();
	assert_error(net_port_connect(&bridge, &port, a, &err), ERR_SYSTEM, "find bridge moat0");
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	port.address.s_addr = 0; /* the kernel refuses it, once the pair is there */
	bridge.address = ip("192.0.2.1");
	assert_true(net_port_connect(&bridge, &port, a, &err) < 0);
	assert_int_equal(if_nametoindex(port.host_name), 0);
	port.host_name = "mt00000000000000";
	assert_error(net_port_connect(&bridge, &port, a, &err), ERR_INVALID, "longer than 15");
	(void)close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NETNS(two_ports_of_one_bridge_reach_each_other_and_the_host),
		IN_NETNS(port_left_from_a_cut_start_is_replaced),
		IN_NETNS(failing_connect_leaves_no_port),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
