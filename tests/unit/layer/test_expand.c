/* What a packed kernel may be: lz4's legacy frames, whole and damaged. */
#include "test.h"

#include <lz4.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"
#include "layer/layer.h"

#define MAGIC "\x02\x21\x4c\x18"

enum { PLAIN_BYTES = 100000 };

static char plain_byte(size_t i)
{
	return (char)(i / 7 * i % 251);
}

static void add_block(struct text *frame, size_t begin, size_t end)
{
	AUTO_FREE char *plain = mem_new(end - begin, 1);
	AUTO_FREE char *packed = mem_new((size_t)LZ4_compressBound((int)(end - begin)), 1);
	for (size_t i = begin; i < end; i++)
		plain[i - begin] = plain_byte(i);
	int len = LZ4_compress_default(plain, packed, (int)(end - begin),
		LZ4_compressBound((int)(end - begin)));
	assert_true(len > 0);
	text_add(frame, (const char *)&len, 4);
	text_add(frame, packed, (size_t)len);
}

/* Two frames, the first of two blocks. */
static void make_frames(struct text *frame)
{
	text_add(frame, MAGIC, 4);
	add_block(frame, 0, 40000);
	add_block(frame, 40000, 60000);
	text_add(frame, MAGIC, 4);
	add_block(frame, 60000, PLAIN_BYTES);
}

static int expand(const struct scratch *scratch, const char *bytes, size_t len, int *ret_out,
	struct err *err)
{
	AUTO_CLOSE int in = openat(scratch->fd, "in", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	*ret_out = openat(scratch->fd, "out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(fd_write_all(in, "before", 6), 0);
	assert_int_equal(fd_write_all(in, bytes, len), 0);
	assert_int_equal(fd_write_all(in, "behind", 6), 0);
	return layer_expand(in, 6, len, LAYER_LZ4, *ret_out, 1 << 20, err);
}

static void frames_become_what_was_packed(void **state)
{
	AUTO_DONE(text) frame = { 0 };
	AUTO_CLOSE int out = -1;
	struct err err = { 0 };
	make_frames(&frame);
	assert_int_equal(expand(*state, frame.data, frame.len, &out, &err), 0);
	AUTO_FREE char *plain = mem_new(PLAIN_BYTES, 1);
	struct stat st;
	assert_int_equal(fstat(out, &st), 0);
	assert_int_equal(st.st_size, PLAIN_BYTES);
	assert_int_equal(fd_pread_exact(out, plain, PLAIN_BYTES, 0), 0);
	for (size_t i = 0; i < PLAIN_BYTES; i++)
		assert_int_equal(plain[i], plain_byte(i));
}

static void damaged_frames_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *words;
	} rows[] = {
		{ "", 0, "it is none" },
		{ MAGIC, 3, "it ends too early" },
		{ "\x04\x22\x4d\x18 another frame", 18, "it is none" },
		{ MAGIC "\x10\x00\x00\x00"
			"cut",
			11, "it ends too early" },
		{ MAGIC "\x00\x00\x00\x00", 8, "a size that cannot be" },
		{ MAGIC "\xff\xff\xff\x7f"
			"more",
			12, "a size that cannot be" },
		{ MAGIC "\x04\x00\x00\x00\xff\xff\xff\xff", 12, "wrong bytes" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_CLOSE int out = -1;
		struct err err = { 0 };
		assert_error(expand(*state, rows[i].bytes, rows[i].len, &out, &err), ERR_DAMAGED,
			rows[i].words);
	}
}

static void a_frame_cut_anywhere_is_refused_or_ends_with_a_block(void **state)
{
	AUTO_DONE(text) frame = { 0 };
	make_frames(&frame);
	for (size_t len = 0; len < frame.len; len += 997) {
		AUTO_CLOSE int out = -1;
		struct err err = { 0 };
		int r = expand(*state, frame.data, len, &out, &err);
		assert_true(r == 0 || err.kind == ERR_DAMAGED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(frames_become_what_was_packed),
		IN_SCRATCH(damaged_frames_are_refused),
		IN_SCRATCH(a_frame_cut_anywhere_is_refused_or_ends_with_a_block),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
