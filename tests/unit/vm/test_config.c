#include "test.h"

#include "vm/config.h"

static int parse(const char *text, struct config *config, struct err *err)
{
	*err = (struct err){ 0 };
	return config_parse(view_of(text), config, err);
}

static void everything_that_is_named_is_read(void **state)
{
	(void)state;
	AUTO_DONE(config) config = { 0 };
	struct err err;
	assert_int_equal(parse("{\"accel\":\"kvm\",\"accel_fd\":9,\"cpus\":4,\"memory_mib\":512,"
			       "\"kernel_fd\":4,\"initrd_fds\":[5,6],\"cmdline\":\"quiet\","
			       "\"uid\":64991,\"serial_fd\":1}",
				 &config, &err),
		0);
	assert_string_equal(config.accel, "kvm");
	assert_int_equal(config.accel_fd, 9);
	assert_int_equal(config.cpus, 4);
	assert_int_equal(config.memory_bytes, UINT64_C(512) << 20);
	assert_int_equal(config.kernel_fd, 4);
	assert_int_equal(config.initrds, 2);
	assert_int_equal(config.initrd_fds[1], 6);
	assert_string_equal(config.cmdline, "quiet");
	assert_int_equal(config.uid, 64991);
	assert_int_equal(config.serial_fd, 1);
}

static void what_is_left_out_has_a_default(void **state)
{
	(void)state;
	AUTO_DONE(config) config = { 0 };
	struct err err;
	assert_int_equal(parse("{\"memory_mib\":64,\"kernel_fd\":4}", &config, &err), 0);
	assert_string_equal(config.accel, "auto");
	assert_string_equal(config.cmdline, "");
	assert_int_equal(config.cpus, 1);
	assert_int_equal(config.accel_fd, -1);
	assert_int_equal(config.serial_fd, -1);
	assert_int_equal(config.initrds, 0);
}

static void every_descriptor_is_kept_whatever_names_it(void **state)
{
	(void)state;
	AUTO_DONE(config) config = { 0 };
	struct err err;
	assert_int_equal(parse("{\"memory_mib\":64,\"kernel_fd\":4,\"initrd_fds\":[5,6],"
			       "\"serial_fd\":-1,\"devices\":[{\"type\":\"net\",\"fd\":7,\"mtu\":8}"
			       ","
			       "{\"type\":\"x\",\"ports\":[{\"port\":1,\"socket_fd\":9}]}]}",
				 &config, &err),
		0);
	static const int want[] = { 4, 5, 6, 7, 9 };
	assert_int_equal(config.fds_len, ARRAY_LEN(want));
	assert_memory_equal(config.fds, want, sizeof(want));
}

static void what_no_machine_can_be_is_refused(void **state)
{
	(void)state;
	struct config config = { 0 };
	struct err err;
	assert_error(parse("[]", &config, &err), ERR_INVALID, "no object");
	assert_error(parse("{", &config, &err), ERR_INVALID, "machine configuration");
	assert_error(parse("{\"memory_mib\":64}", &config, &err), ERR_INVALID, "no kernel");
	assert_error(parse("{\"kernel_fd\":4}", &config, &err), ERR_INVALID, "0 MiB");
	assert_error(parse("{\"kernel_fd\":4,\"memory_mib\":64,\"cpus\":0}", &config, &err),
		ERR_INVALID, "0 CPUs");
	assert_error(parse("{\"kernel_fd\":4,\"memory_mib\":64,\"cpus\":255}", &config, &err),
		ERR_INVALID, "255 CPUs");
	assert_error(parse("{\"kernel_fd\":4,\"memory_mib\":64,\"uid\":4294967295}", &config, &err),
		ERR_INVALID, "4294967295");
	assert_error(parse("{\"kernel_fd\":4,\"memory_mib\":9223372036854775807}", &config, &err),
		ERR_INVALID, "MiB");
	assert_error(parse("{\"kernel_fd\":4,\"memory_mib\":64,\"initrd_fds\":[1,1,1,1,1,1,1,1,1]}",
			     &config, &err),
		ERR_LIMIT, "9 initial");
	assert_null(config.document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_that_is_named_is_read),
		cmocka_unit_test(what_is_left_out_has_a_default),
		cmocka_unit_test(every_descriptor_is_kept_whatever_names_it),
		cmocka_unit_test(what_no_machine_can_be_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
