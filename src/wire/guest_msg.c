/* guest_msg - framing; see guest_msg.h for who says what.
 *
 * The decoder's buffer holds whole or cut messages between start and end.  It begins small and
 * grows only when a header has said, within the limits, how long its message is: so a stream of
 * short messages never costs the memory of a long one. */
#include "wire/guest_msg.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/mem.h"

enum { FIRST_CAPACITY = 4096 };

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "headers are little-endian as they are");
_Static_assert(sizeof(struct guest_msg_header) == 12, "as on the wire");

uint32_t guest_msg_limit(uint32_t type)
{
	switch (type) {
	case GUEST_START:
	case GUEST_EXEC: return GUEST_START_MAX;
	case GUEST_HELLO:
	case GUEST_FAILED:
	case GUEST_STDIN:
	case GUEST_OUTPUT: return GUEST_MSG_DATA_MAX;
	default: return 0;
	}
}

/* ---- sending ---- */

int guest_msg_send(int socket, enum guest_msg_type type, uint32_t value, const void *data,
	size_t len)
{
	if (len > guest_msg_limit(type))
		return -EMSGSIZE;
	struct guest_msg_header header = { type, value, (uint32_t)len };
	struct iovec parts[2] = { { &header, sizeof(header) },
		/* sendmsg() takes a pointer to what it only reads. */
		{ (void *)(uintptr_t)data, len } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };
	while (parts[0].iov_len + parts[1].iov_len > 0) {
		ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (size_t i = 0, left = (size_t)n; i < 2; i++) {
			size_t taken = left < parts[i].iov_len ? left : parts[i].iov_len;
			if (taken == 0)
				continue;
			parts[i].iov_base = (uint8_t *)parts[i].iov_base + taken;
			parts[i].iov_len -= taken;
			left -= taken;
		}
	}
	return 0;
}

void guest_msg_format(struct text *bytes, enum guest_msg_type type, uint32_t value,
	const void *data, size_t len)
{
	CHECK(len <= guest_msg_limit(type));
	struct guest_msg_header header = { type, value, (uint32_t)len };
	text_add(bytes, (const char *)&header, sizeof(header));
	if (len > 0)
		text_add(bytes, data, len);
}

/* ---- decoding ---- */

void guest_decoder_init(struct guest_decoder *decoder, uint32_t max_data)
{
	*decoder = (struct guest_decoder){ .max_data = max_data };
}

void guest_decoder_done(struct guest_decoder *decoder)
{
	free(decoder->buffer);
	*decoder = (struct guest_decoder){ 0 };
}

/* Room for a message of this many bytes from start on. */
static int decoder_reserve(struct guest_decoder *decoder, size_t need)
{
	if (need <= decoder->capacity - decoder->start)
		return 0;
	size_t used = decoder->end - decoder->start;
	if (used > 0 && decoder->start > 0)
		memmove(decoder->buffer, decoder->buffer + decoder->start, used);
	decoder->start = 0;
	decoder->end = used;
	if (need <= decoder->capacity)
		return 0;
	size_t capacity = need < FIRST_CAPACITY ? FIRST_CAPACITY : need;
	uint8_t *buffer = realloc(decoder->buffer, capacity);
	if (buffer == NULL)
		return -ENOMEM;
	decoder->buffer = buffer;
	decoder->capacity = capacity;
	return 0;
}

static bool header_is_good(const struct guest_decoder *decoder,
	const struct guest_msg_header *header)
{
	return header->type >= GUEST_HELLO && header->type <= GUEST_OUTPUT &&
	       header->len <= guest_msg_limit(header->type) && header->len <= decoder->max_data;
}

int guest_decoder_next(struct guest_decoder *decoder, struct guest_msg *ret_msg)
{
	struct guest_msg_header header;
	int r = decoder_reserve(decoder, sizeof(header));
	if (r < 0)
		return r;
	size_t used = decoder->end - decoder->start;
	if (used < sizeof(header))
		return 0;
	memcpy(&header, decoder->buffer + decoder->start, sizeof(header));
	if (!header_is_good(decoder, &header))
		return -EBADMSG;
	size_t size = sizeof(header) + header.len;
	r = decoder_reserve(decoder, size);
	if (r < 0)
		return r;
	if (used < size)
		return 0;
	const uint8_t *data = decoder->buffer + decoder->start + sizeof(header);
	*ret_msg =
		(struct guest_msg){ header.type, header.value, { (const char *)data, header.len } };
	decoder->start += size;
	return 1;
}

size_t guest_decoder_add(struct guest_decoder *decoder, const void *bytes, size_t len)
{
	size_t room = decoder->capacity - decoder->end;
	size_t taken = len < room ? len : room;
	if (taken > 0)
		memcpy(decoder->buffer + decoder->end, bytes, taken);
	decoder->end += taken;
	return taken;
}

ssize_t guest_decoder_read(struct guest_decoder *decoder, int fd)
{
	ssize_t n;
	if (decoder->end == decoder->capacity)
		return -ENOBUFS; /* messages wait to be taken */
	do
		n = read(fd, decoder->buffer + decoder->end, decoder->capacity - decoder->end);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0 && decoder->end > decoder->start)
		return -EBADMSG;
	decoder->end += (size_t)n;
	return n;
}

int guest_msg_receive(int fd, struct guest_decoder *decoder, struct guest_msg *ret_msg)
{
	for (;;) {
		int r = guest_decoder_next(decoder, ret_msg);
		if (r != 0)
			return r < 0 ? r : 0;
		ssize_t n = guest_decoder_read(decoder, fd);
		if (n <= 0)
			return n < 0 ? (int)n : -ENODATA;
	}
}
