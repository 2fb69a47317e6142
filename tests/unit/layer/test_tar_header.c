#include "layer/tar_header.h"

#include "tar_bytes.h"
#include "test.h"

static int number(const char *field, size_t len, int64_t *ret)
{
	return tar_number(field, len, ret);
}

static void tar_number_reads_octal_with_any_padding(void **state)
{
	(void)state;
	int64_t n;
	assert_int_equal(number("0000644\0", 8, &n), 0);
	assert_int_equal(n, 0644);
	assert_int_equal(number("   644 \0", 8, &n), 0);
	assert_int_equal(n, 0644);
	assert_int_equal(number("77777777", 8, &n), 0);
	assert_int_equal(n, 077777777);
	assert_int_equal(number("\0\0\0\0\0\0\0\0", 8, &n), 0);
	assert_int_equal(n, 0);
}

static void tar_number_reads_base_256_of_both_signs(void **state)
{
	(void)state;
	int64_t n;
	assert_int_equal(number("\x80\0\0\0\0\0\0\0\0\0\1\2", 12, &n), 0);
	assert_int_equal(n, 258);
	assert_int_equal(number("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, &n), 0);
	assert_int_equal(n, -1);
	assert_int_equal(number("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, &n), 0);
	assert_true(n == INT64_MAX);
}

static void tar_number_refuses_what_is_none(void **state)
{
	(void)state;
	int64_t n = 5;
	assert_int_equal(number("12x4567\0", 8, &n), -EINVAL);
	assert_int_equal(number("00000008", 8, &n), -EINVAL);
	assert_int_equal(number("-1\0\0\0\0\0\0", 8, &n), -EINVAL);
	assert_int_equal(number("\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12, &n), -ERANGE);
	assert_int_equal(number("\x81\0\0\0\0\0\0\0\0\0\0\0", 12, &n), -ERANGE);
	assert_int_equal(n, 5);
}

static void checksum_of_signed_bytes_is_accepted(void **state)
{
	(void)state;
	struct tar_header header = tar_bytes_header("\xe4\xf6\xfc", '0', 0);
	assert_true(tar_header_checksum_is_right(&header));
	int sum = 0;
	memset(header.checksum, ' ', sizeof(header.checksum));
	for (size_t i = 0; i < sizeof(header); i++)
		sum += ((const int8_t *)&header)[i];
	snprintf(header.checksum, sizeof(header.checksum), "%06o", (unsigned)sum);
	assert_true(tar_header_checksum_is_right(&header));
	header.name[0] ^= 1;
	assert_false(tar_header_checksum_is_right(&header));
}

static void format_is_told_by_the_magic(void **state)
{
	(void)state;
	struct tar_header header = tar_bytes_header("x", '0', 0);
	assert_int_equal(tar_header_format(&header), TAR_USTAR);
	memcpy(header.star_magic, "tar", 4);
	assert_int_equal(tar_header_format(&header), TAR_STAR);
	memcpy(header.magic, "ustar  ", 8);
	assert_int_equal(tar_header_format(&header), TAR_GNU);
	memset(header.magic, 0, 8);
	assert_int_equal(tar_header_format(&header), TAR_V7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tar_number_reads_octal_with_any_padding),
		cmocka_unit_test(tar_number_reads_base_256_of_both_signs),
		cmocka_unit_test(tar_number_refuses_what_is_none),
		cmocka_unit_test(checksum_of_signed_bytes_is_accepted),
		cmocka_unit_test(format_is_told_by_the_magic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
