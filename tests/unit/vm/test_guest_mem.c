#include "test.h"

#include <sys/stat.h>

#include "base/proc.h"
#include "vm/guest_mem.h"
#include "vm/vm.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct guest_mem *map(uint64_t size)
{
	struct guest_mem *mem = NULL;
	struct err err = { 0 };
	if (guest_mem_new(size, false, &mem, &err) < 0)
		fail_msg("%s", err.message);
	return mem;
}

static void guest_mem_at_finds_all_of_a_small_machine(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = map(64 * MIB);
	assert_int_equal(guest_mem_low(mem), 64 * MIB);
	assert_int_equal(guest_mem_high(mem), 0);
	assert_non_null(guest_mem_at(mem, 0, 64 * MIB));
	assert_non_null(guest_mem_at(mem, 64 * MIB - 1, 1));
	assert_null(guest_mem_at(mem, 64 * MIB - 1, 2));
	assert_null(guest_mem_at(mem, 64 * MIB + 1, 0));
	assert_null(guest_mem_at(mem, GUEST_MEM_HIGH, 1));
}

static void guest_mem_at_refuses_a_range_that_wraps(void **state)
{
	(void)state;
	AUTO(guest_mem) small = map(64 * MIB);
	AUTO(guest_mem) large = map(5 * GIB);
	const struct guest_mem *const both[] = { small, large };
	for (size_t i = 0; i < 2; i++) {
		assert_null(guest_mem_at(both[i], UINT64_MAX, 1));
		assert_null(guest_mem_at(both[i], UINT64_MAX, 2));
		assert_null(guest_mem_at(both[i], UINT64_MAX - 4095, 8192));
		assert_null(guest_mem_at(both[i], 4096, UINT64_MAX));
		assert_null(guest_mem_at(both[i], 4096, UINT64_MAX - 4095));
		assert_null(guest_mem_at(both[i], GUEST_MEM_HIGH, UINT64_MAX));
		assert_null(guest_mem_at(both[i], GUEST_MEM_HIGH, UINT64_MAX - GUEST_MEM_HIGH + 1));
	}
}

static void guest_mem_has_a_hole_below_4_gib(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = map(5 * GIB);
	assert_int_equal(guest_mem_low(mem), GUEST_MEM_HOLE);
	assert_int_equal(guest_mem_high(mem), 2 * GIB);
	uint8_t *low = guest_mem_at(mem, 0, GUEST_MEM_HOLE);
	assert_non_null(low);
	assert_null(guest_mem_at(mem, GUEST_MEM_HOLE - 1, 2));
	assert_null(guest_mem_at(mem, GUEST_MEM_HOLE, 1));
	assert_null(guest_mem_at(mem, GUEST_MEM_HIGH - 1, 1));
	assert_null(guest_mem_at(mem, GUEST_MEM_HIGH - 1, 2));
	assert_ptr_equal(guest_mem_at(mem, GUEST_MEM_HIGH, 2 * GIB), low + GUEST_MEM_HOLE);
	assert_non_null(guest_mem_at(mem, GUEST_MEM_HIGH + 2 * GIB - 1, 1));
	assert_null(guest_mem_at(mem, GUEST_MEM_HIGH + 2 * GIB - 1, 2));
	assert_null(guest_mem_at(mem, GUEST_MEM_HIGH + 2 * GIB + 1, 0));
	/* A range over both parts is not one. */
	assert_null(guest_mem_at(mem, GUEST_MEM_HOLE - 4096, GIB + 8192));
}

static void a_machine_that_ends_at_the_hole_has_no_high_part(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = map(GUEST_MEM_HOLE);
	assert_int_equal(guest_mem_low(mem), GUEST_MEM_HOLE);
	assert_int_equal(guest_mem_high(mem), 0);
	assert_null(guest_mem_at(mem, GUEST_MEM_HIGH, 1));
	AUTO(guest_mem) one_page_more = map(GUEST_MEM_HOLE + 4096);
	assert_non_null(guest_mem_at(one_page_more, GUEST_MEM_HIGH, 4096));
}

static void copies_reach_what_at_shows_and_fail_elsewhere(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = map(4 * MIB);
	char back[4];
	assert_int_equal(guest_mem_write(mem, 4 * MIB - 4, "abcd", 4), 0);
	assert_int_equal(guest_mem_read(mem, 4 * MIB - 4, back, 4), 0);
	assert_memory_equal(back, "abcd", 4);
	assert_int_equal(guest_mem_write(mem, 4 * MIB - 3, "abcd", 4), -EFAULT);
	assert_int_equal(guest_mem_read(mem, UINT64_MAX, back, 4), -EFAULT);
}

static void windows_count_as_payload_only(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = map(4 * MIB);
	static uint8_t constant[8192], variable[4096];
	guest_mem_add_window(mem, 4 * GIB, constant, sizeof(constant), true);
	guest_mem_add_window(mem, 4 * GIB + sizeof(constant), variable, sizeof(variable), false);
	assert_ptr_equal(guest_mem_payload(mem, 0, 16, true), guest_mem_at(mem, 0, 16));
	assert_ptr_equal(guest_mem_payload(mem, 4 * GIB + 8191, 1, false), constant + 8191);
	assert_null(guest_mem_payload(mem, 4 * GIB + 8191, 1, true));
	assert_ptr_equal(guest_mem_payload(mem, 4 * GIB + 8192, 4096, true), variable);
	/* Not across two of them, nor behind the last. */
	assert_null(guest_mem_payload(mem, 4 * GIB + 8191, 2, false));
	assert_null(guest_mem_payload(mem, 4 * GIB + 8192, 4097, false));
	assert_null(guest_mem_payload(mem, 4 * GIB - 1, 2, false));
	assert_null(guest_mem_payload(mem, 4 * GIB, UINT64_MAX, false));
	assert_null(guest_mem_payload(mem, UINT64_MAX, 2, false));
	assert_null(guest_mem_at(mem, 4 * GIB, 1));
	assert_int_equal(guest_mem_discard(mem, 4 * GIB, 4096), -EFAULT);
}

static void huge_pages_of_guest_and_host_begin_together(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		AUTO(guest_mem) mem = map(5 * GIB + (uint64_t)i * 4096);
		assert_int_equal((uintptr_t)guest_mem_at(mem, 0, 1) % (2 * MIB), 0);
		assert_int_equal((uintptr_t)guest_mem_at(mem, GUEST_MEM_HIGH, 1) % (2 * MIB), 0);
	}
}

static void discarded_pages_read_as_zero(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = map(4 * MIB);
	char back[4] = "xxxx";
	assert_int_equal(guest_mem_write(mem, MIB, "abcd", 4), 0);
	assert_int_equal(guest_mem_discard(mem, MIB, 4096), 0);
	assert_int_equal(guest_mem_read(mem, MIB, back, 4), 0);
	assert_memory_equal(back, "\0\0\0\0", 4);
	assert_int_equal(guest_mem_discard(mem, MIB, 0), 0);
	assert_int_equal(guest_mem_discard(mem, MIB + 1, 4096), -EINVAL);
	assert_int_equal(guest_mem_discard(mem, MIB, 5), -EINVAL);
	assert_int_equal(guest_mem_discard(mem, 4 * MIB, 4096), -EFAULT);
	assert_int_equal(guest_mem_discard(mem, UINT64_MAX - 4095, 8192), -EFAULT);
}

static void sizes_that_no_machine_has_are_refused(void **state)
{
	(void)state;
	struct guest_mem *mem = NULL;
	struct err err = { 0 };
	assert_error(guest_mem_new(0, false, &mem, &err), ERR_INVALID, "pages");
	err = (struct err){ 0 };
	assert_error(guest_mem_new(4097, false, &mem, &err), ERR_INVALID, "4097");
	err = (struct err){ 0 };
	assert_error(guest_mem_new(UINT64_MAX - 4095, false, &mem, &err), ERR_LIMIT, "at most");
	assert_null(mem);
	guest_mem_free(NULL);
}

static void own_memory_is_without_the_guests(void **state)
{
	(void)state;
	struct proc_id self;
	uint64_t before, after;
	assert_int_equal(proc_identify(getpid(), &self), 0);
	assert_int_equal(vm_own_memory(&self, &before), 0);
	AUTO(guest_mem) mem = map(64 * MIB);
	memset(guest_mem_at(mem, 0, 64 * MIB), 1, 64 * MIB);
	assert_int_equal(vm_own_memory(&self, &after), 0);
	assert_true(after < before + 4 * MIB);
}

/* What the software CPU wants: others see the same bytes, and a hole gives them back. */
static void shared_memory_is_a_file_of_fixed_size(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO(guest_mem) mem = NULL;
	AUTO(guest_mem) private = map(MIB);
	assert_int_equal(guest_mem_fd(private), -1);
	assert_int_equal(guest_mem_new(5 * GIB, true, &mem, &err), 0);
	int fd = guest_mem_fd(mem);
	assert_true(fd >= 0);
	assert_int_equal(guest_mem_write(mem, 4096, "low", 3), 0);
	assert_int_equal(guest_mem_write(mem, GUEST_MEM_HIGH + 4096, "high", 4), 0);
	char seen[4];
	assert_int_equal(pread(fd, seen, 3, 4096), 3);
	assert_memory_equal(seen, "low", 3);
	assert_int_equal(pread(fd, seen, 4, (off_t)guest_mem_low(mem) + 4096), 4);
	assert_memory_equal(seen, "high", 4);
	struct stat before, after;
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(guest_mem_discard(mem, 4096, 4096), 0);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(before.st_blocks - after.st_blocks, 8);
	assert_int_equal(guest_mem_discard(mem, GUEST_MEM_HIGH + 4096, 4096), 0);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(before.st_blocks - after.st_blocks, 16);
	assert_int_equal(*(uint8_t *)guest_mem_at(mem, GUEST_MEM_HIGH + 4096, 1), 0);
	assert_int_equal(*(uint8_t *)guest_mem_at(mem, 4096, 1), 0);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, (off_t)(6 * GIB)), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_mem_at_finds_all_of_a_small_machine),
		cmocka_unit_test(guest_mem_at_refuses_a_range_that_wraps),
		cmocka_unit_test(guest_mem_has_a_hole_below_4_gib),
		cmocka_unit_test(a_machine_that_ends_at_the_hole_has_no_high_part),
		cmocka_unit_test(copies_reach_what_at_shows_and_fail_elsewhere),
		cmocka_unit_test(windows_count_as_payload_only),
		cmocka_unit_test(huge_pages_of_guest_and_host_begin_together),
		cmocka_unit_test(discarded_pages_read_as_zero),
		cmocka_unit_test(sizes_that_no_machine_has_are_refused),
		cmocka_unit_test(own_memory_is_without_the_guests),
		cmocka_unit_test(shared_memory_is_a_file_of_fixed_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
