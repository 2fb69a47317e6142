#include "test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "monitor/cri_log.h"

#define TIME_NS INT64_C(1475712000669794202) /* 2016-10-06T00:00:00.669794202Z */
#define TIME "2016-10-06T00:00:00.669794202Z"
#define LIMIT_BYTES 1048576

struct logged {
	struct cri_log log;
	struct cri_log_space *space;
	const struct scratch *scratch;
};

static void open_log(struct logged *l, const struct scratch *scratch, uint64_t max_bytes)
{
	l->scratch = scratch;
	l->space = mmap(NULL, sizeof(*l->space), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(l->space != MAP_FAILED);
	assert_int_equal(cri_log_open(&l->log, l->space, scratch->fd, max_bytes, NULL), 0);
}

static void close_log(struct logged *l)
{
	cri_log_done(&l->log);
	assert_int_equal(munmap(l->space, sizeof(*l->space)), 0);
}

static void add(struct logged *l, enum cri_stream stream, const char *text)
{
	cri_log_add(&l->log, stream, TIME_NS, (const uint8_t *)text, strlen(text));
}

static void assert_file(const struct scratch *scratch, const char *name, const char *expected)
{
	AUTO_DONE(text) text = { 0 };

	assert_int_equal(file_read_at(scratch->fd, name, 1 << 24, &text, NULL), 0);
	assert_string_equal(text_string(&text), expected);
}

static void a_line_is_a_record(void **state)
{
	struct logged l;

	open_log(&l, *state, LIMIT_BYTES);
	add(&l, CRI_STDOUT, "one\n\nthree\n");
	add(&l, CRI_STDERR, "oops\n");
	assert_file(*state, MONITOR_LOG,
		TIME " stdout F one\n" TIME " stdout F \n" TIME " stdout F three\n" TIME
		     " stderr F oops\n");
	close_log(&l);
}

static void a_line_read_in_pieces_is_one_record(void **state)
{
	struct logged l;

	open_log(&l, *state, LIMIT_BYTES);
	add(&l, CRI_STDOUT, "a");
	add(&l, CRI_STDERR, "x");
	add(&l, CRI_STDOUT, "b");
	assert_true(cri_log_holds(&l.log));
	add(&l, CRI_STDOUT, "c\nd");
	assert_file(*state, MONITOR_LOG, TIME " stdout F abc\n");
	cri_log_flush(&l.log, TIME_NS);
	assert_false(cri_log_holds(&l.log));
	assert_file(*state, MONITOR_LOG,
		TIME " stdout F abc\n" TIME " stdout P d\n" TIME " stderr P x\n");
	close_log(&l);
}

static void a_tick_writes_what_waited_since_the_last(void **state)
{
	struct logged l;

	open_log(&l, *state, LIMIT_BYTES);
	add(&l, CRI_STDOUT, "$ ");
	assert_true(cri_log_tick(&l.log, TIME_NS));
	assert_file(*state, MONITOR_LOG, "");
	assert_false(cri_log_tick(&l.log, TIME_NS));
	assert_file(*state, MONITOR_LOG, TIME " stdout P $ \n");
	/* A new beginning waits its own time. */
	add(&l, CRI_STDOUT, "a");
	assert_true(cri_log_tick(&l.log, TIME_NS));
	add(&l, CRI_STDOUT, "b\nc");
	assert_true(cri_log_tick(&l.log, TIME_NS));
	assert_file(*state, MONITOR_LOG, TIME " stdout P $ \n" TIME " stdout F ab\n");
	close_log(&l);
}

/* Every cut of a line of this length into two reads gives the same record. */
static void check_long_line(const struct scratch *scratch, size_t len, size_t cut)
{
	AUTO_DONE(text) line = { 0 };
	AUTO_DONE(text) expected = { 0 };
	struct logged l;

	for (size_t i = 0; i < len; i++)
		text_add(&line, &"0123456789"[i % 10], 1);
	for (size_t done = 0; done <= len; done += MONITOR_LOG_LINE_MAX) {
		bool last = len - done <= MONITOR_LOG_LINE_MAX;
		text_printf(&expected, TIME " stdout %c ", last ? 'F' : 'P');
		text_add(&expected, line.data + done, last ? len - done : MONITOR_LOG_LINE_MAX);
		text_puts(&expected, "\n");
		if (last)
			break;
	}
	text_puts(&line, "\n");
	open_log(&l, scratch, LIMIT_BYTES);
	cri_log_add(&l.log, CRI_STDOUT, TIME_NS, (uint8_t *)line.data, cut);
	cri_log_add(&l.log, CRI_STDOUT, TIME_NS, (uint8_t *)line.data + cut, line.len - cut);
	assert_file(scratch, MONITOR_LOG, text_string(&expected));
	close_log(&l);
	assert_int_equal(unlinkat(scratch->fd, MONITOR_LOG, 0), 0);
}

static void a_long_line_is_split_every_16_kib(void **state)
{
	static const size_t lens[] = { 16383, 16384, 16385, 32768, 32769, 50000 };
	static const size_t cuts[] = { 0, 1, 16383, 16384 };

	for (size_t i = 0; i < ARRAY_LEN(lens); i++)
		for (size_t j = 0; j < ARRAY_LEN(cuts); j++)
			check_long_line(*state, lens[i], cuts[j]);
	check_long_line(*state, 50000, 32768);
	check_long_line(*state, 50000, 40000);
}

static void more_lines_than_one_write_takes_are_all_there(void **state)
{
	AUTO_DONE(text) lines = { 0 };
	AUTO_DONE(text) expected = { 0 };
	struct logged l;

	for (int i = 0; i < 5000; i++) {
		text_puts(&lines, "\n");
		text_puts(&expected, TIME " stderr F \n");
	}
	open_log(&l, *state, LIMIT_BYTES);
	add(&l, CRI_STDERR, text_string(&lines));
	assert_file(*state, MONITOR_LOG, text_string(&expected));
	close_log(&l);
}

static void a_full_log_becomes_the_old_one(void **state)
{
	struct logged l;

	open_log(&l, *state, 100);
	add(&l, CRI_STDOUT, "one\n");
	add(&l, CRI_STDOUT, "two\n");
	add(&l, CRI_STDOUT, "three\n");
	assert_file(*state, MONITOR_LOG_OLD, TIME " stdout F one\n" TIME " stdout F two\n");
	assert_file(*state, MONITOR_LOG, TIME " stdout F three\n");
	close_log(&l);
	/* The next monitor goes on where this one stopped. */
	open_log(&l, *state, 100);
	add(&l, CRI_STDOUT, "four\n");
	add(&l, CRI_STDOUT, "five\n");
	assert_file(*state, MONITOR_LOG_OLD, TIME " stdout F three\n" TIME " stdout F four\n");
	assert_file(*state, MONITOR_LOG, TIME " stdout F five\n");
	close_log(&l);
}

static void a_torn_record_is_cut_off(void **state)
{
	const struct scratch *scratch = *state;
	struct logged l;
	AUTO_DONE(text) torn = { 0 };

	text_puts(&torn, TIME " stdout F whole\n" TIME " stdout F ");
	for (int i = 0; i < 3000; i++)
		text_puts(&torn, "x");
	assert_int_equal(file_write_at(scratch->fd, MONITOR_LOG, 0600, view_of_text(&torn), NULL),
		0);
	open_log(&l, scratch, LIMIT_BYTES);
	add(&l, CRI_STDOUT, "next\n");
	assert_file(scratch, MONITOR_LOG, TIME " stdout F whole\n" TIME " stdout F next\n");
	close_log(&l);
	assert_int_equal(file_write_at(scratch->fd, MONITOR_LOG, 0600, V("2016-"), NULL), 0);
	open_log(&l, scratch, LIMIT_BYTES);
	assert_file(scratch, MONITOR_LOG, "");
	close_log(&l);
}

/* A limit on the size of files stands for a full disk: short writes, then EFBIG. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void what_cannot_be_written_is_noted_when_it_can(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct logged l;

	assert_int_equal(sigaction(SIGXFSZ, &ignore, NULL), 0);
	open_log(&l, *state, LIMIT_BYTES);
	add(&l, CRI_STDOUT, "one\n");
	limit_files(60);
	add(&l, CRI_STDOUT, "two\n");
	/* Whole records or none. */
	assert_file(*state, MONITOR_LOG, TIME " stdout F one\n");
	limit_files(44);
	add(&l, CRI_STDOUT, "three\n");
	limit_files(RLIM_INFINITY);
	add(&l, CRI_STDOUT, "four\n");
	add(&l, CRI_STDOUT, "five\n");
	assert_file(*state, MONITOR_LOG,
		TIME " stdout F one\n" TIME
		     " stderr F moat: 90 bytes of log are missing here: File too large\n" TIME
		     " stdout F four\n" TIME " stdout F five\n");
	close_log(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(a_line_is_a_record),
		IN_SCRATCH(a_line_read_in_pieces_is_one_record),
		IN_SCRATCH(a_tick_writes_what_waited_since_the_last),
		IN_SCRATCH(a_long_line_is_split_every_16_kib),
		IN_SCRATCH(more_lines_than_one_write_takes_are_all_there),
		IN_SCRATCH(a_full_log_becomes_the_old_one),
		IN_SCRATCH(a_torn_record_is_cut_off),
		IN_SCRATCH(what_cannot_be_written_is_noted_when_it_can),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
