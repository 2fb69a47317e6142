#include "world.h"

#include <net/if.h>

#include "base/fd.h"

static void ensure_makes_a_bridge_that_is_up_and_forwards(void **state)
{
	(void)state;
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	assert_true(if_nametoindex("moat0") != 0);
	AUTO_DONE(text) forward = { 0 };
	assert_int_equal(file_read_at(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", 16, &forward,
				 &err),
		0);
	assert_string_equal(text_string(&forward), "1\n");
	/* again, from a caller that would have liked another address */
	struct net_bridge other = bridge_of("10.87.0.1");
	assert_int_equal(net_bridge_ensure(&other, &err), 0);
	assert_true(other.address.s_addr == bridge.address.s_addr);
	assert_int_equal(other.prefix_len, 16);
	assert_int_equal(net_bridge_remove("moat0", &err), 0);
	assert_int_equal(net_bridge_remove("moat0", &err), 0);
	assert_int_equal(if_nametoindex("moat0"), 0);
}

static void ensure_mends_a_bridge_without_address_or_down(void **state)
{
	(void)state;
	assert_int_equal(RUN("ip", "link", "add", "moat0", "type", "bridge"), 0);
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	assert_int_equal(RUN("ip", "link", "set", "moat0", "down"), 0);
	assert_int_equal(net_bridge_ensure(&bridge, &err), 0);
	assert_int_equal(RUN("sh", "-c", "ip addr show moat0 up | grep -q 172.30.0.1/16"), 0);
}

static void racing_callers_get_one_bridge_and_one_address(void **state)
{
	(void)state;
	enum { CALLERS = 12, ROUNDS = 5 };
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[CALLERS];
		for (int i = 0; i < CALLERS; i++) {
			pids[i] = fork();
			if (pids[i] == 0) {
				struct net_bridge bridge =
					bridge_of(i % 2 == 0 ? "172.30.0.1" : "10.87.0.1");
				struct err err = { 0 };
				int r = net_bridge_ensure(&bridge, &err);
				if (r < 0)
					(void)fprintf(stderr, "%s\n", err.message);
				_exit(r < 0 ? 1 : 0);
			}
		}
		for (int i = 0; i < CALLERS; i++) {
			int status = -1;
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_int_equal(status, 0);
		}
		/* one address: two would make the subnet of the other reachable too */
		assert_int_equal(RUN("sh", "-c",
					 "test $(ip -4 addr show moat0 | grep -c 'inet ') = 1"),
			0);
		assert_int_equal(net_bridge_remove("moat0", NULL), 0);
	}
}

static void bridge_without_an_address_is_refused(void **state)
{
	(void)state;
	struct net_bridge bridge = { .name = "moat0" };
	struct err err = { 0 };
	assert_error(net_bridge_ensure(&bridge, &err), ERR_INVALID, "moat0");
	assert_int_equal(if_nametoindex("moat0"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NETNS(ensure_makes_a_bridge_that_is_up_and_forwards),
		IN_NETNS(ensure_mends_a_bridge_without_address_or_down),
		IN_NETNS(racing_callers_get_one_bridge_and_one_address),
		IN_NETNS(bridge_without_an_address_is_refused),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
