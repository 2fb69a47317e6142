#include "test.h"

#include <sys/mman.h>

#include "base/smaps.h"

#define MIB (UINT64_C(1) << 20)

/* Two mappings as Linux 6.18 shows them, lines that do not matter left out. */
static const char two[] = "55d18c01b000-55d18c01d000 r--p 00000000 fe:00 247498    /usr/bin/head\n"
			  "Size:                  8 kB\n"
			  "Rss:                   8 kB\n"
			  "Pss:                   4 kB\n"
			  "Pss_Dirty:             1 kB\n"
			  "SwapPss:               2 kB\n"
			  "VmFlags: rd mr mw me sd \n"
			  "7f0000000000-7f0020000000 rw-p 00000000 00:00 0 \n"
			  "Size:             524288 kB\n"
			  "Pss:               81920 kB\n"
			  "Pss_Dirty:         81920 kB\n"
			  "THPeligible:           1\n"
			  "VmFlags: rd wr mr mw me nr dd hg sd \n";

static void the_shares_of_all_mappings_are_added(void **state)
{
	(void)state;
	uint64_t bytes = 0;
	assert_int_equal(smaps_sum(V(two), NULL, &bytes), 0);
	assert_int_equal(bytes, (81920 + 4) << 10);
}

static void mappings_with_a_flag_are_left_out(void **state)
{
	(void)state;
	uint64_t bytes = 0;
	assert_int_equal(smaps_sum(V(two), "dd", &bytes), 0);
	assert_int_equal(bytes, 4 << 10);
	assert_int_equal(smaps_sum(V(two), "rd", &bytes), 0);
	assert_int_equal(bytes, 0);
	/* A flag is a word. */
	assert_int_equal(smaps_sum(V(two), "d", &bytes), 0);
	assert_int_equal(bytes, (81920 + 4) << 10);
}

static void what_is_no_smaps_file_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "Pss: 4 kB\n", "VmFlags: rd\n",
		"Pss: 4 kB\nPss: 4 kB\nVmFlags: rd\n", "Pss: 4 kB\nVmFlags: rd\nVmFlags: rd\n",
		"Pss: 4\nVmFlags: rd\n", "Pss: x kB\nVmFlags: rd\n", "Pss: -4 kB\nVmFlags: rd\n",
		"Pss: 18446744073709551615 kB\nVmFlags: rd\n" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint64_t bytes = 77;
		assert_int_equal(smaps_sum(view_of(bad[i]), NULL, &bytes), -EBADMSG);
		assert_int_equal(bytes, 77);
	}
}

static void a_process_weighs_what_it_has_touched(void **state)
{
	(void)state;
	struct proc_id self;
	uint64_t before, touched, marked;
	assert_int_equal(proc_identify(getpid(), &self), 0);
	assert_int_equal(smaps_read(&self, "dd", &before), 0);
	char *bytes =
		mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(bytes != MAP_FAILED);
	memset(bytes, 1, 32 * MIB);
	assert_int_equal(smaps_read(&self, "dd", &touched), 0);
	assert_true(touched >= before + 32 * MIB);
	assert_int_equal(madvise(bytes, 32 * MIB, MADV_DONTDUMP), 0);
	assert_int_equal(smaps_read(&self, "dd", &marked), 0);
	/* Not against before: a sanitizer keeps books on what was touched. */
	assert_true(marked + 32 * MIB < touched + 4 * MIB);
	assert_int_equal(munmap(bytes, 32 * MIB), 0);
}

static void a_process_that_has_gone_weighs_nothing(void **state)
{
	(void)state;
	struct proc_id self;
	uint64_t bytes = 77;
	assert_int_equal(proc_identify(getpid(), &self), 0);
	self.start_ticks++;
	assert_int_equal(smaps_read(&self, NULL, &bytes), -ESRCH);
	self.pid = INT32_MAX;
	assert_int_equal(smaps_read(&self, NULL, &bytes), -ESRCH);
	assert_int_equal(bytes, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shares_of_all_mappings_are_added),
		cmocka_unit_test(mappings_with_a_flag_are_left_out),
		cmocka_unit_test(what_is_no_smaps_file_is_refused),
		cmocka_unit_test(a_process_weighs_what_it_has_touched),
		cmocka_unit_test(a_process_that_has_gone_weighs_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
