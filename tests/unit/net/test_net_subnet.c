#include "world.h"

static struct in_addr choose(void)
{
	struct in_addr address = { 0 };
	unsigned prefix_len = 0;
	struct err err = { 0 };
	assert_int_equal(net_subnet_choose(&address, &prefix_len, &err), 0);
	assert_int_equal(prefix_len, 16);
	return address;
}

static void choice_avoids_addresses_and_routes_in_every_table(void **state)
{
	(void)state;
	assert_true(choose().s_addr == ip("172.30.0.1").s_addr);
	assert_int_equal(RUN("ip", "link", "add", "d0", "type", "bridge"), 0);
	/* a down interface has no route, only an address */
	assert_int_equal(RUN("ip", "addr", "add", "172.30.7.7/24", "dev", "d0"), 0);
	assert_true(choose().s_addr == ip("172.29.0.1").s_addr);
	assert_int_equal(RUN("ip", "link", "set", "d0", "up"), 0);
	assert_int_equal(RUN("ip", "route", "add", "172.29.1.0/24", "dev", "d0", "table", "77"), 0);
	assert_true(choose().s_addr == ip("172.28.0.1").s_addr);
	assert_int_equal(RUN("ip", "route", "add", "default", "dev", "d0"), 0);
	assert_true(choose().s_addr == ip("172.28.0.1").s_addr);
	assert_int_equal(RUN("ip", "route", "add", "172.16.0.0/12", "dev", "d0"), 0);
	assert_true(choose().s_addr == ip("10.87.0.1").s_addr);
}

static void host_that_uses_everything_is_told(void **state)
{
	(void)state;
	assert_int_equal(RUN("ip", "link", "add", "d0", "type", "bridge"), 0);
	assert_int_equal(RUN("ip", "link", "set", "d0", "up"), 0);
	static const char *const routes[] = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16" };
	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		assert_int_equal(RUN("ip", "route", "add", routes[i], "dev", "d0"), 0);
	struct in_addr address;
	unsigned prefix_len;
	struct err err = { 0 };
	assert_error(net_subnet_choose(&address, &prefix_len, &err), ERR_CONFLICT, "free one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NETNS(choice_avoids_addresses_and_routes_in_every_table),
		IN_NETNS(host_that_uses_everything_is_told),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
