#include "test.h"

#include "device_rig.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/report.h"
#include "vm/virtio/virtio_vsock.h"
#include "vm/virtio/vsock_connection.h"
#include "wire/guest_msg.h"

enum { RX, TX, EVENT };
enum { GUEST_PORT = 5000, PORT = 77, GUEST_BUFFER = 262144 };

struct vsock {
	struct rig rig;
	uint16_t rx_given; /* buffers in the queue */
	uint8_t data[RIG_BUFFER_BYTES];
};

/* ---- the driver ---- */

static void give_buffers(struct vsock *v, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)rig_add(&v->rig, RX, NULL, 0, 0, 4096 + VSOCK_HEADER_BYTES);
	rig_kick(&v->rig, RX);
}

static uint64_t features; /* of all tests of a run */

static void vsock_open(struct vsock *v, const char *config)
{
	rig_open(&v->rig, &virtio_vsock_ops, virtio_vsock_create, config, features);
	give_buffers(v, 16);
}

static void vsock_close(struct vsock *v)
{
	rig_close(&v->rig);
}

/* The next packet of the device; its buffer goes back.  op 0: there is none. */
static struct vsock_header receive(struct vsock *v)
{
	struct vsock_header header = { 0 };
	uint16_t head;
	uint32_t written;
	rig_settle(&v->rig);
	if (!rig_take(&v->rig, RX, &head, &written))
		return header;
	uint8_t bytes[RIG_BUFFER_BYTES];
	assert_in_range(written, sizeof(header), sizeof(bytes));
	rig_answer(&v->rig, RX, head, bytes, written);
	memcpy(&header, bytes, sizeof(header));
	assert_int_equal(written, sizeof(header) + header.len);
	assert_int_equal(header.dst_cid, GUEST_CID);
	memcpy(v->data, bytes + sizeof(header), header.len);
	give_buffers(v, 1);
	return header;
}

static void assert_nothing(struct vsock *v)
{
	assert_int_equal(receive(v).op, 0);
}

/* The packet without its data, which the test may still change. */
static struct vsock_header packet(enum vsock_op op, uint32_t guest_port, uint32_t host_port)
{
	return (struct vsock_header){ .src_cid = GUEST_CID,
		.dst_cid = 2,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = GUEST_BUFFER };
}

static void transmit(struct vsock *v, struct vsock_header header, const void *data, size_t len)
{
	uint8_t bytes[RIG_BUFFER_BYTES];
	uint16_t head;
	uint32_t written;
	assert_true(len <= sizeof(bytes) - sizeof(header));
	memcpy(bytes, &header, sizeof(header));
	if (len > 0)
		memcpy(bytes + sizeof(header), data, len);
	(void)rig_add(&v->rig, TX, bytes, sizeof(header) + len, 3000, 0);
	rig_kick(&v->rig, TX);
	while (rig_take(&v->rig, TX, &head, &written))
		assert_int_equal(written, 0);
}

static void say(struct vsock *v, enum vsock_op op, uint32_t guest_port, uint32_t host_port)
{
	transmit(v, packet(op, guest_port, host_port), NULL, 0);
}

static void say_data(struct vsock *v, uint32_t guest_port, uint32_t host_port, const void *data,
	size_t len)
{
	struct vsock_header header = packet(VSOCK_RW, guest_port, host_port);
	header.len = (uint32_t)len;
	transmit(v, header, data, len);
}

static void say_shutdown(struct vsock *v, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct vsock_header header = packet(VSOCK_SHUTDOWN, guest_port, host_port);
	header.flags = flags;
	transmit(v, header, NULL, 0);
}

static void connect_port(struct vsock *v, uint32_t port)
{
	say(v, VSOCK_REQUEST, GUEST_PORT, port);
	struct vsock_header header = receive(v);
	assert_int_equal(header.op, VSOCK_RESPONSE);
	assert_int_equal(header.src_cid, 2);
	assert_int_equal(header.src_port, port);
	assert_int_equal(header.dst_port, GUEST_PORT);
	assert_int_equal(header.buf_alloc, LIMIT_VSOCK_BUFFER_BYTES);
}

/* ---- the host ---- */

/* A device with one port, whose other end is in the test. */
static int open_with_socket(struct vsock *v)
{
	int pair[2];
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
	AUTO_FREE char *config =
		text_format("{\"ports\": [{\"port\": %d, \"fd\": %d}]}", PORT, pair[0]);
	vsock_open(v, config);
	return pair[1];
}

static void assert_reads(int fd, const char *text)
{
	AUTO_FREE char *bytes = mem_new(1, strlen(text) + 1);
	assert_int_equal(fd_read_exact(fd, bytes, strlen(text)), 0);
	assert_string_equal(bytes, text);
}

static bool is_at_end(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char byte;
	return poll(&wait, 1, 0) == 1 && read(fd, &byte, 1) <= 0;
}

static bool is_silent(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	return poll(&wait, 1, 0) == 0;
}

/* ---- streams of the guest ---- */

static void a_guest_reaches_a_port(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	say_data(&v, GUEST_PORT, PORT, "hello", 5);
	assert_reads(host, "hello");

	assert_int_equal(fd_write_all(host, "answer", 6), 0);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_RW);
	assert_int_equal(header.len, 6);
	assert_memory_equal(v.data, "answer", 6);
	assert_int_equal(header.fwd_cnt, 5);

	say_shutdown(&v, GUEST_PORT, PORT, VSOCK_NEITHER);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	assert_true(is_at_end(host));
	assert_nothing(&v);
	(void)close(host);
	vsock_close(&v);
}

static void what_is_not_there_is_reset(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	say(&v, VSOCK_REQUEST, GUEST_PORT, 99);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_RST);
	assert_int_equal(header.src_port, 99);
	assert_int_equal(header.dst_port, GUEST_PORT);

	for (unsigned op = VSOCK_RESPONSE; op < VSOCK_OPS; op++)
		if (op != VSOCK_RST) {
			say(&v, (enum vsock_op)op, GUEST_PORT, PORT);
			assert_int_equal(receive(&v).op, VSOCK_RST);
		}
	say(&v, VSOCK_RST, GUEST_PORT, PORT);
	assert_nothing(&v);

	/* Another host, another kind of socket, another sender. */
	struct vsock_header request = packet(VSOCK_REQUEST, GUEST_PORT, PORT);
	request.dst_cid = 7;
	transmit(&v, request, NULL, 0);
	header = receive(&v);
	assert_int_equal(header.op, VSOCK_RST);
	assert_int_equal(header.src_cid, 7);
	request = packet(VSOCK_REQUEST, GUEST_PORT, PORT);
	request.type = 2;
	transmit(&v, request, NULL, 0);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	request = packet(VSOCK_REQUEST, GUEST_PORT, PORT);
	request.src_cid = 4;
	transmit(&v, request, NULL, 0);
	assert_nothing(&v);

	/* A port is reached once. */
	connect_port(&v, PORT);
	say(&v, VSOCK_REQUEST, GUEST_PORT + 1, PORT);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	/* The same stream twice: it is broken. */
	say(&v, VSOCK_REQUEST, GUEST_PORT, PORT);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	assert_true(is_at_end(host));
	assert_null(v.rig.virtio.failed);
	(void)close(host);
	vsock_close(&v);
}

static void half_closes_go_both_ways(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);

	say_shutdown(&v, GUEST_PORT, PORT, VSOCK_NO_SEND);
	assert_true(is_at_end(host));
	assert_nothing(&v);
	assert_int_equal(fd_write_all(host, "late", 4), 0);
	assert_int_equal(receive(&v).len, 4);

	(void)shutdown(host, SHUT_WR);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_SHUTDOWN);
	assert_int_equal(header.flags, VSOCK_NEITHER);
	say(&v, VSOCK_RST, GUEST_PORT, PORT);
	assert_nothing(&v);
	(void)close(host);
	vsock_close(&v);
}

static void the_end_of_input_leaves_output_open(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	assert_int_equal(fd_write_all(host, "all", 3), 0);
	(void)shutdown(host, SHUT_WR);
	assert_int_equal(receive(&v).len, 3);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_SHUTDOWN);
	assert_int_equal(header.flags, VSOCK_NO_SEND);
	say_data(&v, GUEST_PORT, PORT, "more", 4);
	assert_reads(host, "more");
	(void)close(host);
	vsock_close(&v);
}

static void a_host_that_goes_away_ends_the_stream(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	(void)close(host);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_SHUTDOWN);
	if (header.flags != VSOCK_NEITHER)
		header = receive(&v);
	assert_int_equal(header.flags, VSOCK_NEITHER);
	say_data(&v, GUEST_PORT, PORT, "nobody", 6);
	say(&v, VSOCK_RST, GUEST_PORT, PORT);
	assert_nothing(&v);
	assert_null(v.rig.virtio.failed);
	vsock_close(&v);
}

static void fifos_carry_one_direction(void **state)
{
	const struct scratch *scratch = *state;
	assert_return_code(mkfifoat(scratch->fd, "in", 0600), errno);
	assert_return_code(mkfifoat(scratch->fd, "out", 0600), errno);
	int in = openat(scratch->fd, "in", O_RDWR | O_CLOEXEC);
	int out = openat(scratch->fd, "out", O_RDWR | O_CLOEXEC);
	AUTO_CLOSE int typist = openat(scratch->fd, "in", O_WRONLY | O_CLOEXEC);
	AUTO_CLOSE int reader = openat(scratch->fd, "out", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	AUTO_FREE char *config =
		text_format("{\"ports\": [{\"port\": %d, \"fd\": %d}, {\"port\": %d, \"fd\": %d}]}",
			GUEST_PORT_STDIN, in, GUEST_PORT_STDOUT, out);
	struct vsock v;
	vsock_open(&v, config);
	connect_port(&v, GUEST_PORT_STDIN);
	connect_port(&v, GUEST_PORT_STDOUT);

	say_data(&v, GUEST_PORT, GUEST_PORT_STDOUT, "output", 6);
	assert_nothing(&v);
	assert_reads(reader, "output");
	assert_int_equal(fd_write_all(typist, "input", 5), 0);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.src_port, GUEST_PORT_STDIN);
	assert_int_equal(header.len, 5);
	/* What nobody takes is gone, and no error. */
	say_data(&v, GUEST_PORT, GUEST_PORT_STDIN, "lost", 4);
	assert_nothing(&v);
	assert_true(is_silent(reader));

	say_shutdown(&v, GUEST_PORT, GUEST_PORT_STDOUT, VSOCK_NO_SEND);
	assert_true(is_at_end(reader));
	assert_int_equal(receive(&v).flags, VSOCK_NEITHER);
	vsock_close(&v);
}

static void files_need_no_readiness(void **state)
{
	const struct scratch *scratch = *state;
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = openat(scratch->fd, "log", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	AUTO_FREE char *config =
		text_format("{\"ports\": [{\"port\": 2, \"fd\": %d}, {\"port\": 3, \"fd\": %d}]}",
			in, out);
	struct vsock v;
	vsock_open(&v, config);
	connect_port(&v, 2);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_SHUTDOWN);
	assert_int_equal(header.flags, VSOCK_NEITHER);
	connect_port(&v, 3);
	say_data(&v, GUEST_PORT, 3, "line\n", 5);
	say_shutdown(&v, GUEST_PORT, 3, VSOCK_NEITHER);
	AUTO_CLOSE int log = openat(scratch->fd, "log", O_RDONLY | O_CLOEXEC);
	assert_reads(log, "line\n");
	vsock_close(&v);
}

/* ---- credit and bounds ---- */

static void the_guest_gets_no_more_than_it_has_room_for(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	struct vsock_header request = packet(VSOCK_REQUEST, GUEST_PORT, PORT);
	request.buf_alloc = 10;
	transmit(&v, request, NULL, 0);
	assert_int_equal(receive(&v).op, VSOCK_RESPONSE);
	assert_int_equal(fd_write_all(host, "0123456789abcdef", 16), 0);
	assert_int_equal(receive(&v).len, 10);
	assert_nothing(&v);
	struct vsock_header update = packet(VSOCK_CREDIT_UPDATE, GUEST_PORT, PORT);
	update.buf_alloc = 10;
	update.fwd_cnt = 4;
	transmit(&v, update, NULL, 0);
	assert_int_equal(receive(&v).len, 4);
	/* Numbers that cannot be: no room. */
	update.fwd_cnt = 1000;
	transmit(&v, update, NULL, 0);
	assert_nothing(&v);
	update.fwd_cnt = 14;
	transmit(&v, update, NULL, 0);
	assert_int_equal(receive(&v).len, 2);
	assert_memory_equal(v.data, "ef", 2);
	(void)close(host);
	vsock_close(&v);
}

/* Makes the socket's own buffer full, so that the next byte stays in the device. */
static uint32_t fill_socket(struct vsock *v, uint32_t room)
{
	static const uint8_t data[4096] = { 1 };
	uint32_t sent = 0;
	uint32_t fwd_cnt = 0;
	for (;;) {
		say(v, VSOCK_CREDIT_REQUEST, GUEST_PORT, PORT);
		struct vsock_header header;
		while ((header = receive(v)).op != 0)
			fwd_cnt = header.fwd_cnt;
		uint32_t credit = room - (sent - fwd_cnt);
		if (credit == 0)
			return sent;
		uint32_t len = credit < sizeof(data) ? credit : sizeof(data);
		say_data(v, GUEST_PORT, PORT, data, len);
		sent += len;
	}
}

static uint64_t drain(int fd)
{
	static uint8_t bytes[65536];
	uint64_t total = 0;
	ssize_t n;
	assert_int_equal(fd_set_nonblocking(fd, true), 0);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		total += (uint64_t)n;
	return total;
}

static void a_guest_beyond_its_credit_is_reset(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	uint32_t sent = fill_socket(&v, LIMIT_VSOCK_BUFFER_BYTES);
	say_data(&v, GUEST_PORT, PORT, "x", 1);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	/* What was within it still comes. */
	uint64_t got = 0;
	for (unsigned i = 0; i < 1000 && got < sent; i++) {
		got += drain(host);
		rig_settle(&v.rig);
	}
	assert_int_equal(got, sent);
	assert_true(is_at_end(host));
	(void)close(host);
	vsock_close(&v);
}

static void a_slow_reader_gets_everything_in_order(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	assert_int_equal(fd_set_nonblocking(host, true), 0);
	uint32_t sent = 0, fwd_cnt = 0, got = 0;
	const uint32_t total = 3000000;
	while (got < total) {
		uint8_t data[4096];
		uint32_t credit = LIMIT_VSOCK_BUFFER_BYTES - (sent - fwd_cnt);
		uint32_t len = credit < 4000 ? credit : 4000;
		if (len > total - sent)
			len = total - sent;
		for (uint32_t i = 0; i < len; i++)
			data[i] = (uint8_t)((sent + i) * 7 >> 3);
		if (len > 0)
			say_data(&v, GUEST_PORT, PORT, data, len);
		sent += len;
		struct vsock_header header;
		while ((header = receive(&v)).op != 0)
			fwd_cnt = header.fwd_cnt;
		if (credit > 4000 && sent < total)
			continue; /* the reader only starts when nothing moves any more */
		ssize_t n = read(host, data, 1000 + got % 3000);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(data[i], (uint8_t)((got + (uint32_t)i) * 7 >> 3));
		got += n > 0 ? (uint32_t)n : 0;
	}
	(void)close(host);
	vsock_close(&v);
}

static uint64_t resident_bytes(void)
{
	AUTO_CLOSE int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128] = { 0 };
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	unsigned long size, resident;
	assert_int_equal(sscanf(text, "%lu %lu", &size, &resident), 2);
	return (uint64_t)resident * 4096;
}

/* THREATS: connections, refusals and bytes without end, with nobody who reads any of it. */
static void vsock_flood_uses_bounded_memory(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	(void)fill_socket(&v, LIMIT_VSOCK_BUFFER_BYTES);
	uint64_t before = resident_bytes();
	static const uint8_t data[4096];
	for (uint32_t i = 0; i < 200000; i++) {
		/* The driver gives no buffers any more: refusals have nowhere to go, and soon its
		 * own queue is full. */
		struct vsock_header header = packet(i % 2 ? VSOCK_REQUEST : VSOCK_RW, i, i % 7);
		header.len = i % 2 ? 0 : sizeof(data);
		uint8_t bytes[sizeof(header) + sizeof(data)];
		memcpy(bytes, &header, sizeof(header));
		memcpy(bytes + sizeof(header), data, sizeof(data));
		uint16_t head;
		uint32_t written;
		if (i < RIG_QUEUE_SIZE || rig_take(&v.rig, TX, &head, &written))
			(void)rig_add(&v.rig, TX, bytes, sizeof(header) + header.len,
				RIG_BUFFER_BYTES, 0);
		rig_kick(&v.rig, TX);
		/* From time to time it takes some. */
		if (i % 1000 == 999) {
			while (rig_take(&v.rig, RX, &head, &written))
				continue;
			give_buffers(&v, 16);
			rig_settle(&v.rig);
		}
	}
	assert_null(v.rig.virtio.failed);
	assert_true(resident_bytes() < before + 1048576);
	(void)close(host);
	vsock_close(&v);
}

static void rules_of_the_device_hold(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	struct vsock_header header = packet(VSOCK_RW, GUEST_PORT, PORT);
	header.len = 100;
	transmit(&v, header, "short", 5);
	assert_non_null(v.rig.virtio.failed);

	/* A reset makes it whole again; the port is used up. */
	rig_restart(&v.rig, features);
	give_buffers(&v, 8);
	say(&v, VSOCK_REQUEST, GUEST_PORT, PORT);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	(void)rig_add(&v.rig, TX, "x", 1, 1, 0);
	rig_kick(&v.rig, TX);
	assert_non_null(v.rig.virtio.failed);

	rig_restart(&v.rig, features);
	(void)rig_add(&v.rig, RX, NULL, 0, 0, VSOCK_HEADER_BYTES - 1);
	rig_kick(&v.rig, RX);
	say(&v, VSOCK_REQUEST, GUEST_PORT, PORT);
	assert_non_null(v.rig.virtio.failed);
	assert_true(is_at_end(host));
	(void)close(host);
	vsock_close(&v);
}

static void a_buffer_for_headers_alone_takes_no_data(void **state)
{
	(void)state;
	struct vsock v;
	int host = open_with_socket(&v);
	connect_port(&v, PORT);
	rig_restart(&v.rig, features);
	assert_true(is_at_end(host));
	(void)close(host);
	vsock_close(&v);

	host = open_with_socket(&v);
	rig_restart(&v.rig, features);
	for (unsigned i = 0; i < 4; i++)
		(void)rig_add(&v.rig, RX, NULL, 0, 0, VSOCK_HEADER_BYTES);
	rig_kick(&v.rig, RX);
	say(&v, VSOCK_REQUEST, GUEST_PORT, PORT);
	assert_int_equal(fd_write_all(host, "data", 4), 0);
	rig_settle(&v.rig);
	assert_non_null(v.rig.virtio.failed);
	(void)close(host);
	vsock_close(&v);
}

/* ---- streams of the host ---- */

static int open_with_listener(struct vsock *v, const struct scratch *scratch)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	(void)snprintf(name.sun_path, sizeof(name.sun_path), "%s/vm.sock", scratch->path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(listener, (struct sockaddr *)&name, sizeof(name)), errno);
	assert_return_code(listen(listener, 64), errno);
	AUTO_FREE char *config = text_format("{\"listener_fd\": %d}", listener);
	vsock_open(v, config);
	return listener;
}

static int client_of(const struct scratch *scratch, const char *line)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	(void)snprintf(name.sun_path, sizeof(name.sun_path), "%s/vm.sock", scratch->path);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(client, (struct sockaddr *)&name, sizeof(name)), errno);
	assert_int_equal(fd_write_all(client, line, strlen(line)), 0);
	return client;
}

static void a_host_reaches_a_port_of_the_guest(void **state)
{
	const struct scratch *scratch = *state;
	struct vsock v;
	(void)open_with_listener(&v, scratch);
	/* Bytes behind the line are the guest's. */
	int client = client_of(scratch, "CONNECT 1024\nearly");
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_REQUEST);
	assert_int_equal(header.dst_port, 1024);
	uint32_t host_port = header.src_port;
	assert_true(is_silent(client));
	say(&v, VSOCK_RESPONSE, 1024, host_port);
	assert_reads(client, "OK\n");
	header = receive(&v);
	assert_int_equal(header.op, VSOCK_RW);
	assert_memory_equal(v.data, "early", 5);
	say_data(&v, 1024, host_port, "hi", 2);
	assert_reads(client, "hi");

	int other = client_of(scratch, "CONNECT 1024\n");
	header = receive(&v);
	assert_int_equal(header.op, VSOCK_REQUEST);
	assert_int_not_equal(header.src_port, host_port);
	say(&v, VSOCK_RST, 1024, header.src_port);
	rig_settle(&v.rig);
	assert_true(is_at_end(other));
	(void)close(other);

	(void)close(client);
	header = receive(&v);
	assert_int_equal(header.op, VSOCK_SHUTDOWN);
	vsock_close(&v);
}

static void a_line_may_come_in_pieces_but_must_be_one(void **state)
{
	static const char *const bad[] = { "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT -1\n",
		"CONNECT 4294967296\n", "connect 1\n", "CONNECT 1 \n", "GET / HTTP/1.1\r\n\r\n",
		"\n", "CONNECT 00000000000000000000000000000000001\n" };
	const struct scratch *scratch = *state;
	struct vsock v;
	(void)open_with_listener(&v, scratch);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_CLOSE int client = client_of(scratch, bad[i]);
		assert_nothing(&v);
		struct pollfd wait = { .fd = client, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, 0), 1);
	}
	AUTO_CLOSE int slow = client_of(scratch, "CONN");
	assert_nothing(&v);
	assert_int_equal(fd_write_all(slow, "ECT 4294967295", 14), 0);
	assert_nothing(&v);
	assert_int_equal(fd_write_all(slow, "\n", 1), 0);
	struct vsock_header header = receive(&v);
	assert_int_equal(header.op, VSOCK_REQUEST);
	assert_int_equal(header.dst_port, UINT32_MAX);
	vsock_close(&v);
}

static void clients_beyond_the_pool_are_turned_away(void **state)
{
	const struct scratch *scratch = *state;
	struct vsock v;
	(void)open_with_listener(&v, scratch);
	int clients[LIMIT_VSOCK_CONNECTIONS + 8];
	unsigned closed = 0, asked = 0;
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = client_of(scratch, "CONNECT 1\n");
		while (receive(&v).op == VSOCK_REQUEST)
			asked++;
	}
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		closed += is_at_end(clients[i]);
		(void)close(clients[i]);
	}
	assert_int_equal(asked, LIMIT_VSOCK_CONNECTIONS);
	assert_int_equal(closed, 8);
	/* All are gone before the guest has said a word. */
	struct vsock_header header;
	unsigned resets = 0;
	while ((header = receive(&v)).op != 0)
		resets += header.op == VSOCK_RST;
	assert_int_equal(resets, LIMIT_VSOCK_CONNECTIONS);
	AUTO_CLOSE int client = client_of(scratch, "CONNECT 1\n");
	assert_int_equal(receive(&v).op, VSOCK_REQUEST);
	vsock_close(&v);
}

static void without_a_driver_nobody_is_kept_waiting(void **state)
{
	const struct scratch *scratch = *state;
	struct vsock v;
	(void)open_with_listener(&v, scratch);
	v.rig.ops->reset(v.rig.device);
	AUTO_CLOSE int client = client_of(scratch, "CONNECT 1\n");
	rig_settle(&v.rig);
	assert_true(is_at_end(client));
	vsock_close(&v);
}

/* ---- the end of the machine ---- */

static void say_msg(struct vsock *v, enum guest_msg_type type, uint32_t value, const char *data)
{
	AUTO_DONE(text) bytes = { 0 };
	guest_msg_format(&bytes, type, value, data, strlen(data));
	say_data(v, GUEST_PORT + 1, GUEST_PORT_CONTROL, bytes.data, bytes.len);
	rig_settle(&v->rig);
}

static void the_machine_ends_after_its_output_is_written(void **state)
{
	(void)state;
	int out[2], report[2], go[2];
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), errno);
	assert_return_code(pipe2(report, O_CLOEXEC), errno);
	assert_return_code(pipe2(go, O_CLOEXEC), errno);
	AUTO_FREE char *config =
		text_format("{\"ports\": [{\"port\": %d, \"fd\": %d}], \"control\": "
			    "{\"start\": \"{}\", \"report_fd\": %d, \"go_fd\": %d}}",
			PORT, out[0], report[1], go[0]);
	struct vsock v;
	vsock_open(&v, config);
	say(&v, VSOCK_REQUEST, GUEST_PORT + 1, GUEST_PORT_CONTROL);
	assert_int_equal(receive(&v).op, VSOCK_RESPONSE);
	say_msg(&v, GUEST_HELLO, 0, "0.1");
	assert_int_equal(receive(&v).len, 14);
	assert_memory_equal(v.data + 12, "{}", 2);
	say_msg(&v, GUEST_READY, 0, "");
	struct err err = { 0 };
	assert_int_equal(report_wait(report[0], REPORT_IS_READY, 0, "guest", &err), 0);
	assert_int_equal(fd_write_all(go[1], "", 1), 0);
	assert_int_equal(receive(&v).len, 12);
	say_msg(&v, GUEST_STARTED, 0, "");
	assert_int_equal(report_wait(report[0], REPORT_IS_STARTED, 0, "guest", &err), 0);

	connect_port(&v, PORT);
	uint32_t sent = fill_socket(&v, LIMIT_VSOCK_BUFFER_BYTES);
	say_shutdown(&v, GUEST_PORT, PORT, VSOCK_NEITHER);
	assert_int_equal(receive(&v).op, VSOCK_RST);
	say_msg(&v, GUEST_EXITED, 7 << 8, "");
	assert_false(v.rig.machine.is_stopped);
	uint64_t got = 0;
	while (got < sent && !v.rig.machine.is_stopped) {
		got += drain(out[1]);
		rig_settle(&v.rig);
	}
	got += drain(out[1]);
	assert_int_equal(got, sent);
	assert_true(v.rig.machine.is_stopped);
	assert_int_equal(v.rig.machine.end, MACHINE_POWER_OFF);
	assert_int_equal(v.rig.machine.status, 7);
	(void)close(out[1]);
	(void)close(report[0]);
	(void)close(go[1]);
	vsock_close(&v);
}

static void bad_configurations_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *config, *words;
	} rows[] = {
		{ "{\"ports\": [{\"fd\": 3}]}", "port 0 of the list is none" },
		{ "{\"ports\": [{\"port\": 1073741824, \"fd\": 3}]}", "port 0" },
		{ "{\"ports\": [{\"port\": 1}]}", "fd names no open descriptor" },
		{ "{\"control\": {}}", "start_fd names no open descriptor" },
		{ "{\"control\": {\"start\": \"{}\"}}", "report_fd names no open descriptor" },
		{ "{\"listener_fd\": 1000}", "listener_fd names no open descriptor" },
	};
	struct machine machine = { 0 };
	assert_int_equal(loop_new(&machine.loop, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		AUTO_JSON config = NULL;
		void *device = NULL;
		assert_int_equal(json_parse(view_of(rows[i].config), "x", &config, &err), 0);
		assert_true(virtio_vsock_create(config, &machine, &device, &err) < 0);
		assert_non_null(strstr(err.message, rows[i].words));
		assert_null(device);
	}
	loop_free(machine.loop);
}

static void configuration_is_the_guests_address(void **state)
{
	(void)state;
	struct vsock v;
	vsock_open(&v, "{}");
	uint64_t cid[2];
	v.rig.ops->config_read(v.rig.device, 0, cid, sizeof(cid));
	assert_int_equal(cid[0], GUEST_CID);
	assert_int_equal(cid[1], 0);
	v.rig.ops->config_read(v.rig.device, UINT32_MAX, cid, sizeof(cid));
	assert_int_equal(cid[0], 0);
	v.rig.ops->config_write(v.rig.device, 0, cid, sizeof(cid));
	rig_kick(&v.rig, EVENT);
	vsock_close(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_reaches_a_port),
		cmocka_unit_test(what_is_not_there_is_reset),
		cmocka_unit_test(half_closes_go_both_ways),
		cmocka_unit_test(the_end_of_input_leaves_output_open),
		cmocka_unit_test(a_host_that_goes_away_ends_the_stream),
		IN_SCRATCH(fifos_carry_one_direction),
		IN_SCRATCH(files_need_no_readiness),
		cmocka_unit_test(the_guest_gets_no_more_than_it_has_room_for),
		cmocka_unit_test(a_guest_beyond_its_credit_is_reset),
		cmocka_unit_test(a_slow_reader_gets_everything_in_order),
		cmocka_unit_test(vsock_flood_uses_bounded_memory),
		cmocka_unit_test(rules_of_the_device_hold),
		cmocka_unit_test(a_buffer_for_headers_alone_takes_no_data),
		IN_SCRATCH(a_host_reaches_a_port_of_the_guest),
		IN_SCRATCH(a_line_may_come_in_pieces_but_must_be_one),
		IN_SCRATCH(clients_beyond_the_pool_are_turned_away),
		IN_SCRATCH(without_a_driver_nobody_is_kept_waiting),
		cmocka_unit_test(the_machine_ends_after_its_output_is_written),
		cmocka_unit_test(bad_configurations_are_refused),
		cmocka_unit_test(configuration_is_the_guests_address),
	};
	int failed = cmocka_run_group_tests_name("virtio_vsock", tests, NULL, NULL);
	features = VIRTIO_FEATURE_EVENT_IDX;
	return failed + cmocka_run_group_tests_name("virtio_vsock, event index", tests, NULL, NULL);
}
