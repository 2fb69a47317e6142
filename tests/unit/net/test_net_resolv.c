#include "test.h"

#include "net/net_resolv.h"

static void only_reachable_servers_and_known_lines_stay(void **state)
{
	(void)state;
	AUTO_DONE(text) out = { 0 };
	size_t servers = net_resolv_filter(V("# made by someone\n"
					     "nameserver 127.0.0.53\n"
					     "nameserver\t192.0.2.53\n"
					     "nameserver ::1\n"
					     "nameserver fe80::1%eth0\n"
					     "nameserver 0.0.0.0\n"
					     "nameserver\n"
					     "nameserver not-an-address\n"
					     "  options edns0 trust-ad\n"
					     "search example.org\n"
					     "sortlist 10.0.0.0\n"
					     "nameserver 198.51.100.1 # second"),
		&out);
	assert_int_equal(servers, 2);
	assert_string_equal(text_string(&out), "nameserver\t192.0.2.53\n"
					       "options edns0 trust-ad\n"
					       "search example.org\n"
					       "nameserver 198.51.100.1 # second\n");
}

static void file_with_loopback_only_has_no_server(void **state)
{
	(void)state;
	AUTO_DONE(text) out = { 0 };
	assert_int_equal(net_resolv_filter(V("nameserver 127.0.0.53\nsearch lan\n"), &out), 0);
	assert_string_equal(text_string(&out), "search lan\n");
	text_clear(&out);
	assert_int_equal(net_resolv_filter(V(""), &out), 0);
	assert_int_equal(net_resolv_filter(V("\n\n \n"), &out), 0);
	assert_int_equal(out.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_reachable_servers_and_known_lines_stay),
		cmocka_unit_test(file_with_loopback_only_has_no_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
