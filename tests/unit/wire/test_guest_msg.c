#include "test.h"

#include <sys/socket.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "wire/guest_msg.h"

static void pair_open(int ret_fds[2])
{
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds), errno);
}

static void pair_close(const int fds[2])
{
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void what_is_sent_is_received(void **state)
{
	(void)state;
	int fds[2];
	pair_open(fds);
	AUTO_DONE(guest_decoder) decoder;
	guest_decoder_init(&decoder, GUEST_MSG_DATA_MAX);

	assert_int_equal(guest_msg_send(fds[0], GUEST_HELLO, 0, "0.1", 3), 0);
	assert_int_equal(guest_msg_send(fds[0], GUEST_STDIN, 0, NULL, 0), 0);
	assert_int_equal(guest_msg_send(fds[0], GUEST_EXITED, 0x700, NULL, 0), 0);
	(void)shutdown(fds[0], SHUT_WR);

	struct guest_msg msg;
	assert_int_equal(guest_msg_receive(fds[1], &decoder, &msg), 0);
	assert_int_equal(msg.type, GUEST_HELLO);
	assert_true(view_is(msg.data, "0.1"));
	assert_int_equal(guest_msg_receive(fds[1], &decoder, &msg), 0);
	assert_int_equal(msg.type, GUEST_STDIN);
	assert_int_equal(msg.data.len, 0);
	assert_int_equal(guest_msg_receive(fds[1], &decoder, &msg), 0);
	assert_int_equal(msg.type, GUEST_EXITED);
	assert_int_equal(msg.value, 0x700);
	assert_int_equal(guest_msg_receive(fds[1], &decoder, &msg), -ENODATA);
	pair_close(fds);
}

static void a_start_of_many_megabytes_arrives_whole(void **state)
{
	(void)state;
	AUTO_FREE char *data = mem_new(1, GUEST_START_MAX);
	for (size_t i = 0; i < GUEST_START_MAX; i++)
		data[i] = (char)(i * 7 + i / 4096);
	AUTO_DONE(text) bytes = { 0 };
	guest_msg_format(&bytes, GUEST_START, 1, data, GUEST_START_MAX);
	guest_msg_format(&bytes, GUEST_GO, 2, NULL, 0);

	AUTO_DONE(guest_decoder) decoder;
	guest_decoder_init(&decoder, GUEST_START_MAX);
	struct guest_msg msg = { 0 };
	size_t fed = 0, piece = 1;
	int r = 0;
	while ((r = guest_decoder_next(&decoder, &msg)) == 0) {
		size_t left = bytes.len - fed;
		size_t n =
			guest_decoder_add(&decoder, bytes.data + fed, piece < left ? piece : left);
		assert_true(n > 0);
		fed += n;
		piece = piece % 70000 + 997;
	}
	assert_int_equal(r, 1);
	assert_int_equal(msg.type, GUEST_START);
	assert_int_equal(msg.data.len, GUEST_START_MAX);
	assert_memory_equal(msg.data.data, data, GUEST_START_MAX);
	assert_true(decoder.capacity <= GUEST_START_MAX + sizeof(struct guest_msg_header));
}

static void one_byte_at_a_time_is_enough(void **state)
{
	(void)state;
	AUTO_DONE(text) bytes = { 0 };
	for (uint32_t i = 0; i < 1000; i++)
		guest_msg_format(&bytes, GUEST_OUTPUT, i, "hello", i % 6);
	AUTO_DONE(guest_decoder) decoder;
	guest_decoder_init(&decoder, 5);
	uint32_t count = 0;
	struct guest_msg msg;
	for (size_t i = 0; i < bytes.len; i++) {
		int r = guest_decoder_next(&decoder, &msg);
		assert_true(r >= 0);
		if (r == 1) {
			assert_int_equal(msg.value, count);
			assert_int_equal(msg.data.len, count % 6);
			assert_memory_equal(msg.data.data, "hello", msg.data.len);
			count++;
			assert_int_equal(guest_decoder_next(&decoder, &msg), 0);
		}
		assert_int_equal(guest_decoder_add(&decoder, bytes.data + i, 1), 1);
	}
	assert_int_equal(guest_decoder_next(&decoder, &msg), 1);
	assert_int_equal(count, 999);
	assert_true(decoder.capacity <= 4096);
}

static void bad_headers_are_refused_for_ever(void **state)
{
	(void)state;
	static const struct guest_msg_header rows[] = {
		{ 0, 0, 0 }, { GUEST_OUTPUT + 1, 0, 0 }, { UINT32_MAX, 0, 0 },
		{ GUEST_OUTPUT, 1, GUEST_MSG_DATA_MAX + 1 }, { GUEST_OUTPUT, 1, UINT32_MAX },
		{ GUEST_START, 0, GUEST_START_MAX + 1 }, { GUEST_EXITED, 0, 1 },
		{ GUEST_HELLO, 0, 101 }, /* over what this side takes */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_DONE(guest_decoder) decoder;
		guest_decoder_init(&decoder, i + 1 == ARRAY_LEN(rows) ? 100 : GUEST_START_MAX);
		struct guest_msg msg;
		assert_int_equal(guest_decoder_next(&decoder, &msg), 0);
		assert_int_equal(guest_decoder_add(&decoder, &rows[i], sizeof(rows[i])),
			sizeof(rows[i]));
		assert_int_equal(guest_decoder_next(&decoder, &msg), -EBADMSG);
		assert_int_equal(guest_decoder_next(&decoder, &msg), -EBADMSG);
		assert_true(decoder.capacity <= 4096);
	}
}

static void a_cut_message_is_bad(void **state)
{
	(void)state;
	int fds[2];
	pair_open(fds);
	AUTO_DONE(guest_decoder) decoder;
	guest_decoder_init(&decoder, 10);
	const struct guest_msg_header header = { GUEST_OUTPUT, 1, 10 };
	assert_int_equal(fd_write_all(fds[0], &header, sizeof(header)), 0);
	assert_int_equal(fd_write_all(fds[0], "123456789", 9), 0);
	(void)shutdown(fds[0], SHUT_WR);
	struct guest_msg msg;
	assert_int_equal(guest_msg_receive(fds[1], &decoder, &msg), -EBADMSG);
	pair_close(fds);
}

static void sending_fails_without_a_signal(void **state)
{
	(void)state;
	int fds[2];
	pair_open(fds);
	assert_int_equal(guest_msg_send(fds[0], GUEST_GO, 0, "x", 1), -EMSGSIZE);
	(void)close(fds[1]);
	assert_int_equal(guest_msg_send(fds[0], GUEST_GO, 0, NULL, 0), -EPIPE);
	(void)close(fds[0]);
	assert_int_equal(guest_msg_send(fds[0], GUEST_GO, 0, NULL, 0), -EBADF);
}

static void a_stream_that_does_not_block_says_so(void **state)
{
	(void)state;
	int fds[2];
	pair_open(fds);
	assert_int_equal(fd_set_nonblocking(fds[1], true), 0);
	AUTO_DONE(guest_decoder) decoder;
	guest_decoder_init(&decoder, 10);
	struct guest_msg msg;
	assert_int_equal(guest_decoder_next(&decoder, &msg), 0);
	assert_int_equal(guest_decoder_read(&decoder, fds[1]), -EAGAIN);
	assert_int_equal(guest_msg_send(fds[0], GUEST_READY, 5, NULL, 0), 0);
	assert_int_equal(guest_decoder_read(&decoder, fds[1]), 12);
	assert_int_equal(guest_decoder_next(&decoder, &msg), 1);
	assert_int_equal(msg.value, 5);
	(void)close(fds[0]);
	assert_int_equal(guest_decoder_read(&decoder, fds[1]), 0);
	(void)close(fds[1]);
}

static void json_of_the_largest_document_fits_into_start(void **state)
{
	(void)state;
	assert_true(LIMIT_JSON_BYTES <= GUEST_START_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent_is_received),
		cmocka_unit_test(a_start_of_many_megabytes_arrives_whole),
		cmocka_unit_test(one_byte_at_a_time_is_enough),
		cmocka_unit_test(bad_headers_are_refused_for_ever),
		cmocka_unit_test(a_cut_message_is_bad),
		cmocka_unit_test(sending_fails_without_a_signal),
		cmocka_unit_test(a_stream_that_does_not_block_says_so),
		cmocka_unit_test(json_of_the_largest_document_fits_into_start),
	};
	return cmocka_run_group_tests_name("guest_msg", tests, NULL, NULL);
}
