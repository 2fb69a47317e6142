#include "test.h"

#include "guest/guest_order.h"

#define PROCESS "\"process\":{\"args\":[\"sh\"],\"env\":[\"A=1\",\"B=2\"],\"cwd\":\"/\"}"
#define ROOT "\"root\":{\"metadata\":{\"pmem\":0},\"layers\":[{\"pmem\":1}],\"upper\":\"tmpfs\"}"
#define NETWORK(mac, address, prefix)                                                     \
	"\"network\":{\"mac\":\"" mac "\",\"address\":\"" address "\",\"prefix\":" prefix \
	",\"gateway\":\"172.30.0.1\"}"
#define START(rest) "{\"document\":{" PROCESS "}," ROOT rest "}"

static void order_is_read(void **state)
{
	(void)state;
	struct guest_order order;
	struct err err = { 0 };
	assert_int_equal(guest_order_parse(V(START("," NETWORK("02:42:ac:1E:00:02", "172.30.0.2",
						   "16") ",\"tty\":true,\"hostname\":\"h\"")),
				 &order, &err),
		0);
	assert_true(order.has_network && order.has_terminal && !order.is_interactive);
	assert_memory_equal(order.card.mac, "\x02\x42\xac\x1e\x00\x02", 6);
	assert_int_equal(order.card.prefix_len, 16);
	assert_null(order.upper);
	assert_string_equal(json_get_string(order.document, "hostname"), "h");
	assert_true(json_get_bool(json_get_object(order.document, "process"), "terminal", false));
	guest_order_bind(&order, "/run/0", "/etc/hosts");
	assert_int_equal(json_array_len(json_get_array(order.document, "mounts")), 1);
	guest_order_done(&order);
}

static void order_without_its_parts_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *start, *words;
	} rows[] = {
		{ "", "START" },
		{ "[]", "no document" },
		{ "{" ROOT "}", "no document" },
		{ "{\"document\":{}," ROOT "}", "no process" },
		{ "{\"document\":{" PROCESS "}}", "root.metadata" },
		{ "{\"document\":{" PROCESS "},\"root\":{\"metadata\":{}}}", "root.upper" },
		{ "{\"document\":{" PROCESS "},\"root\":{\"metadata\":{},\"upper\":\"x\"}}",
			"root.upper" },
		{ START("," NETWORK("02:42", "1.2.3.4", "16")), "network.mac" },
		{ START("," NETWORK("02:42:ac:1e:00:0g", "1.2.3.4", "16")), "network.mac" },
		{ START("," NETWORK("02:42:ac:1e:00:02:03", "1.2.3.4", "16")), "network.mac" },
		{ START("," NETWORK("02:42:ac:1e:00:02", "1.2.3", "16")), "network.address" },
		{ START("," NETWORK("02:42:ac:1e:00:02", "1.2.3.4", "33")), "network.prefix" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct guest_order order;
		struct err err = { 0 };
		assert_error(guest_order_parse(view_of(rows[i].start), &order, &err), ERR_INVALID,
			rows[i].words);
	}
}

static void exec_lays_its_own_over_the_document(void **state)
{
	(void)state;
	struct guest_order order;
	struct guest_exec_order exec;
	struct err err = { 0 };
	assert_int_equal(guest_order_parse(V(START(",\"user\":\"u\"")), &order, &err), 0);
	assert_int_equal(guest_exec_order_parse(&order,
				 V("{\"args\":[\"ls\",\"-l\"],\"env\":[\"B=3\",\"C=4\"],\"tty\":"
				   "true,"
				   "\"cwd\":\"/tmp\"}"),
				 &exec, &err),
		0);
	AUTO_FREE char *text = json_text(json_get_object(exec.document, "process"), false);
	assert_non_null(strstr(text, "[\"ls\",\"-l\"]"));
	assert_non_null(strstr(text, "[\"A=1\",\"B=3\",\"C=4\",\"TERM=xterm\"]"));
	assert_string_equal(exec.user, "u");
	assert_true(exec.has_terminal);
	guest_exec_order_done(&exec);
	/* The workload's own is as it was. */
	AUTO_FREE char *own = json_text(json_get_object(order.document, "process"), false);
	assert_non_null(strstr(own, "[\"A=1\",\"B=2\"]"));
	assert_error(guest_exec_order_parse(&order, V("{}"), &exec, &err), ERR_INVALID,
		"no command");
	assert_error(guest_exec_order_parse(&order, V("{\"args\":[1]}"), &exec, &err), ERR_INVALID,
		"EXEC");
	guest_order_done(&order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_read),
		cmocka_unit_test(order_without_its_parts_is_refused),
		cmocka_unit_test(exec_lays_its_own_over_the_document),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
