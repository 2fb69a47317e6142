#include "test.h"

#include "device_rig.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "vm/virtio/virtio_net.h"

/* The tap is one end of a pair of datagram sockets: one frame a call, as with a tap.  Its two
 * requests are answered here. */
enum { RX, TX };
#define HEADER sizeof(struct virtio_net_hdr_v1)
#define F(name) (UINT64_C(1) << VIRTIO_NET_F_##name)
#define ALL UINT64_MAX

static unsigned tap_offload;
static int tap_header;
static int tap_error; /* of TUNSETOFFLOAD */

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	va_start(args, request);
	void *argument = va_arg(args, void *);
	va_end(args);
	if (request == TUNSETVNETHDRSZ) {
		tap_header = *(int *)argument;
		return 0;
	}
	if (request != TUNSETOFFLOAD)
		return __real_ioctl(fd, request, argument);
	errno = tap_error;
	if (tap_error != 0)
		return -1;
	tap_offload = (unsigned)(uintptr_t)argument;
	return 0;
}

struct net {
	struct rig rig;
	int wire; /* the tap's other end */
};

static void net_open_sized(struct net *n, uint64_t features, int size)
{
	int pair[2];
	assert_return_code(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), errno);
	for (unsigned i = 0; i < 2; i++)
		assert_return_code(setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
			errno);
	AUTO_FREE char *config =
		text_format("{\"fd\": %d, \"mac\": \"02:00:00:00:00:0a\"}", pair[0]);
	n->wire = pair[1];
	rig_open(&n->rig, &virtio_net_ops, virtio_net_create, config, features);
}

static void net_open(struct net *n, uint64_t features)
{
	net_open_sized(n, features, 1 << 20);
}

static void net_close(struct net *n)
{
	rig_close(&n->rig);
	(void)close(n->wire);
}

/* A frame with its header, from this source. */
static size_t frame(uint8_t *bytes, uint8_t last_of_source, size_t len)
{
	memset(bytes, 0, HEADER);
	for (size_t i = HEADER; i < len; i++)
		bytes[i] = (uint8_t)(i * 5 >> 2);
	memcpy(bytes + HEADER + 6, "\x02\0\0\0\0", 5);
	bytes[HEADER + 11] = last_of_source;
	return len;
}

static ssize_t wire_read(const struct net *n, void *bytes, size_t len)
{
	return recv(n->wire, bytes, len, MSG_DONTWAIT);
}

static void a_frame_leaves_as_it_is(void **state)
{
	(void)state;
	struct net n;
	net_open(&n, ALL);
	assert_int_equal(tap_header, HEADER);
	assert_int_equal(tap_offload, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
	static const struct {
		size_t len, piece;
	} rows[] = { { 1526, 1526 }, { 600, 12 }, { 1526, 26 }, { 60, 1 }, { 26, 13 },
		{ 1526, 100 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t sent[HEADER + 1514], got[4096];
		uint16_t head;
		uint32_t written;
		size_t len = frame(sent, 0x0a, rows[i].len);
		(void)rig_add(&n.rig, TX, sent, len, rows[i].piece, 0);
		rig_settle(&n.rig);
		rig_kick(&n.rig, TX);
		assert_int_equal(wire_read(&n, got, sizeof(got)), len);
		assert_memory_equal(got, sent, len);
		assert_true(rig_take(&n.rig, TX, &head, &written));
		assert_int_equal(written, 0);
		if (i % 3 == 1)
			rig_restart(&n.rig, ALL);
	}
	net_close(&n);
}

static void a_frame_that_breaks_a_rule_is_dropped(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		uint64_t features;
		size_t len;
		uint8_t source, flags, gso;
	} rows[] = {
		{ "another's address", ALL, 100, 0x0b, 0, 0 },
		{ "no whole Ethernet header", ALL, HEADER + 13, 0x0a, 0, 0 },
		{ "too long", ALL, HEADER + 14 + 65537, 0x0a, 0, 0 },
		{ "unknown flag", ALL, 100, 0x0a, 0x80, 0 },
		{ "unknown segmentation", ALL, 100, 0x0a, 0, 9 },
		{ "UDP segmentation", ALL, 100, 0x0a, 0, VIRTIO_NET_HDR_GSO_UDP },
		{ "checksum not agreed on", 0, 100, 0x0a, VIRTIO_NET_HDR_F_NEEDS_CSUM, 0 },
		{ "segmentation not agreed on", F(CSUM), 100, 0x0a, 0, VIRTIO_NET_HDR_GSO_TCPV4 },
		{ "segmentation without checksum", F(HOST_TSO6), 100, 0x0a, 0,
			VIRTIO_NET_HDR_GSO_TCPV6 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct net n;
		net_open(&n, rows[i].features);
		rig_settle(&n.rig);
		AUTO_FREE uint8_t *bytes = mem_new(1, 70000);
		uint16_t head;
		uint32_t written;
		(void)frame(bytes, rows[i].source, rows[i].len);
		bytes[0] = rows[i].flags;
		bytes[1] = rows[i].gso;
		(void)rig_add(&n.rig, TX, bytes, rows[i].len, RIG_BUFFER_BYTES, 0);
		rig_kick(&n.rig, TX);
		if (wire_read(&n, bytes, 70000) >= 0)
			fail_msg("%s went through", rows[i].what);
		assert_true(rig_take(&n.rig, TX, &head, &written));
		assert_null(n.rig.virtio.failed);
		net_close(&n);
	}
}

static void a_full_tap_holds_frames_back(void **state)
{
	(void)state;
	struct net n;
	net_open_sized(&n, ALL, 16384);
	rig_settle(&n.rig);
	uint8_t bytes[1500];
	uint16_t head;
	uint32_t written;
	unsigned sent = 0, done = 0, got = 0;
	size_t len = frame(bytes, 0x0a, sizeof(bytes));
	for (; sent < RIG_QUEUE_SIZE; sent++)
		(void)rig_add(&n.rig, TX, bytes, len, len, 0);
	rig_kick(&n.rig, TX);
	while (rig_take(&n.rig, TX, &head, &written))
		done++;
	assert_in_range(done, 1, sent - 1);
	while (got < sent) {
		ssize_t r = wire_read(&n, bytes, sizeof(bytes));
		got += r > 0;
		if (r < 0)
			rig_settle(&n.rig);
	}
	while (rig_take(&n.rig, TX, &head, &written))
		done++;
	assert_int_equal(done, sent);
	net_close(&n);
}

static void a_frame_comes_into_one_buffer(void **state)
{
	(void)state;
	struct net n;
	net_open(&n, 0);
	assert_int_equal(tap_offload, 0);
	uint8_t sent[HEADER + 1514], got[HEADER + 1514];
	size_t len = frame(sent, 0x33, sizeof(sent));
	sent[0] = VIRTIO_NET_HDR_F_DATA_VALID;
	assert_int_equal(send(n.wire, sent, len, 0), len);
	rig_settle(&n.rig); /* no buffer yet: it waits in the tap */
	(void)rig_add(&n.rig, RX, NULL, 0, 0, 1600);
	rig_kick(&n.rig, RX);
	uint16_t head;
	uint32_t written;
	assert_true(rig_take(&n.rig, RX, &head, &written));
	assert_int_equal(written, len);
	rig_answer(&n.rig, RX, head, got, len);
	assert_int_equal(got[0], 0);  /* the driver wants no flags */
	assert_int_equal(got[10], 1); /* num_buffers */
	assert_memory_equal(got + HEADER, sent + HEADER, len - HEADER);
	assert_int_equal(n.rig.virtio.interrupts[RX], 1);
	net_close(&n);
}

static void a_long_frame_comes_into_many_buffers(void **state)
{
	(void)state;
	struct net n;
	net_open(&n, ALL & ~VIRTIO_FEATURE_EVENT_IDX);
	AUTO_FREE uint8_t *sent = mem_new(1, 70000), *got = mem_new(1, 70000);
	/* Twenty rounds, so that the stock wraps; each leaves buffers over. */
	for (unsigned round = 0; round < 20; round++) {
		size_t len = frame(sent, 0x33, HEADER + 14 + 30000 + round);
		assert_int_equal(send(n.wire, sent, len, 0), len);
		rig_settle(&n.rig);
		while (n.rig.queues[RX].next_desc - n.rig.queues[RX].seen_used < 40)
			(void)rig_add(&n.rig, RX, NULL, 0, 0, 2000);
		rig_kick(&n.rig, RX);
		size_t at = 0;
		uint16_t head, count = 0;
		uint32_t written;
		for (; at < len; at += written, count++) {
			assert_true(rig_take(&n.rig, RX, &head, &written));
			rig_answer(&n.rig, RX, head, got + at, written);
			assert_int_equal(written, len - at < 2000 ? len - at : 2000);
		}
		assert_false(rig_take(&n.rig, RX, &head, &written));
		assert_int_equal(at, len);
		assert_int_equal(got[10] | got[11] << 8, count);
		assert_memory_equal(got + HEADER, sent + HEADER, len - HEADER);
	}
	assert_null(n.rig.virtio.failed);
	net_close(&n);
}

static void buffers_below_the_rules_fail_the_device(void **state)
{
	(void)state;
	struct net n;
	net_open(&n, 0);
	(void)send(n.wire, "x", 1, 0);
	(void)rig_add(&n.rig, RX, NULL, 0, 0, 1525);
	rig_settle(&n.rig);
	assert_non_null(n.rig.virtio.failed);
	rig_restart(&n.rig, ALL);
	(void)rig_add(&n.rig, RX, NULL, 0, 0, HEADER - 1);
	rig_kick(&n.rig, RX);
	assert_non_null(n.rig.virtio.failed);
	rig_restart(&n.rig, ALL);
	rig_offer(&n.rig, TX, RIG_QUEUE_SIZE);
	rig_kick(&n.rig, TX);
	assert_non_null(n.rig.virtio.failed);
	/* What is down is left alone. */
	(void)send(n.wire, "x", 1, 0);
	rig_settle(&n.rig);
	net_close(&n);
}

static void a_tap_without_offloads_does_without(void **state)
{
	(void)state;
	struct net n;
	tap_error = EINVAL;
	net_open(&n, 0);
	tap_error = 0;
	uint64_t features = n.rig.ops->features(n.rig.device);
	assert_false(features & (F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6)));
	assert_true(features & F(MAC));
	net_close(&n);
}

static void configuration_is_address_and_link(void **state)
{
	(void)state;
	struct net n;
	net_open(&n, ALL);
	uint8_t config[16];
	n.rig.ops->config_read(n.rig.device, 0, config, sizeof(config));
	assert_memory_equal(config, "\x02\0\0\0\0\x0a\x01\0", 8);
	n.rig.ops->config_read(n.rig.device, 5, config, 1);
	assert_int_equal(config[0], 0x0a);
	n.rig.ops->config_write(n.rig.device, 0, config, 4);
	net_close(&n);
}

static void bad_configurations_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *config, *words;
	} rows[] = {
		{ "{}", "needs a hardware address" },
		{ "{\"mac\": \"02:00:00:00:00\"}", "needs a hardware address" },
		{ "{\"mac\": \"02:00:00:00:00:0g\"}", "no hardware address" },
		{ "{\"mac\": \"02-00-00-00-00-00\"}", "no hardware address" },
		{ "{\"mac\": \"03:00:00:00:00:00\"}", "not the address of one host" },
		{ "{\"mac\": \"02:00:00:00:00:00\"}", "fd names no open descriptor" },
	};
	struct machine machine = { 0 };
	assert_int_equal(loop_new(&machine.loop, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		AUTO_JSON config = NULL;
		void *device = NULL;
		assert_int_equal(json_parse(view_of(rows[i].config), "x", &config, &err), 0);
		assert_true(virtio_net_create(config, &machine, &device, &err) < 0);
		assert_non_null(strstr(err.message, rows[i].words));
	}
	loop_free(machine.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_leaves_as_it_is),
		cmocka_unit_test(a_frame_that_breaks_a_rule_is_dropped),
		cmocka_unit_test(a_full_tap_holds_frames_back),
		cmocka_unit_test(a_frame_comes_into_one_buffer),
		cmocka_unit_test(a_long_frame_comes_into_many_buffers),
		cmocka_unit_test(buffers_below_the_rules_fail_the_device),
		cmocka_unit_test(a_tap_without_offloads_does_without),
		cmocka_unit_test(configuration_is_address_and_link),
		cmocka_unit_test(bad_configurations_are_refused),
	};
	return cmocka_run_group_tests_name("virtio_net", tests, NULL, NULL);
}
