/* aml - see aml.h. */
#include "vm/platform/aml.h"

#include <string.h>

#include "base/mem.h"

enum {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_EXTENDED = 0x5b,
	OP_DEVICE = 0x82, /* after OP_EXTENDED */
	LENGTH_BYTES = 4
};

static void add_byte(struct text *aml, unsigned byte)
{
	const char c = (char)byte;
	text_add(aml, &c, 1);
}

/* Little-endian, as this program's own host is. */
static void add(struct text *aml, uint64_t value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		add_byte(aml, (unsigned)(value >> (8 * i)) & 0xff);
}

void aml_name(struct text *aml, const char *name)
{
	add_byte(aml, OP_NAME);
	text_puts(aml, name);
}

void aml_integer(struct text *aml, uint64_t value)
{
	if (value <= 1) {
		add_byte(aml, (unsigned)value); /* ZeroOp, OneOp */
	} else if (value <= UINT8_MAX) {
		add_byte(aml, OP_BYTE);
		add(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		add_byte(aml, OP_WORD);
		add(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		add_byte(aml, OP_DWORD);
		add(aml, value, 4);
	} else {
		add_byte(aml, OP_QWORD);
		add(aml, value, 8);
	}
}

void aml_string(struct text *aml, const char *string)
{
	add_byte(aml, OP_STRING);
	text_add(aml, string, strlen(string) + 1);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A') + 10;
}

void aml_eisa_id(struct text *aml, const char *id)
{
	CHECK(strlen(id) == 7);
	/* Five bits a letter, four a digit, most significant byte first (ACPI 6.4, 19.3.4). */
	uint32_t value = 0;
	for (size_t i = 0; i < 3; i++)
		value = value << 5 | (uint32_t)(id[i] - 'A' + 1);
	for (size_t i = 3; i < 7; i++)
		value = value << 4 | hex_digit(id[i]);
	add_byte(aml, OP_DWORD);
	add(aml, __builtin_bswap32(value), 4);
}

/* PkgLength (20.2.4): the two highest bits of the first byte count the bytes behind it. */
static void put_length(char *at, size_t len)
{
	at[0] = (char)((LENGTH_BYTES - 1) << 6 | (len & 0xf));
	at[1] = (char)(len >> 4);
	at[2] = (char)(len >> 12);
	at[3] = (char)(len >> 20);
}

static size_t open_length(struct text *aml)
{
	size_t start = aml->len;
	add(aml, 0, LENGTH_BYTES);
	return start;
}

size_t aml_open_scope(struct text *aml, const char *path)
{
	add_byte(aml, OP_SCOPE);
	size_t start = open_length(aml);
	text_puts(aml, path);
	return start;
}

size_t aml_open_device(struct text *aml, const char *name)
{
	add_byte(aml, OP_EXTENDED);
	add_byte(aml, OP_DEVICE);
	size_t start = open_length(aml);
	text_puts(aml, name);
	return start;
}

size_t aml_open_package(struct text *aml, uint8_t elements)
{
	add_byte(aml, OP_PACKAGE);
	size_t start = open_length(aml);
	add(aml, elements, 1);
	return start;
}

void aml_close(struct text *aml, size_t start)
{
	put_length(aml->data + start, aml->len - start);
}

/* ---- resources: small items (6.4.2), large items (6.4.3) ---- */

void aml_resource_io(struct text *list, uint16_t port, uint8_t len)
{
	add_byte(list, 0x47);
	add_byte(list, 1); /* decodes 16 bits */
	add(list, port, 2);
	add(list, port, 2);
	add_byte(list, 1);
	add_byte(list, len);
}

void aml_resource_irq(struct text *list, unsigned irq)
{
	add_byte(list, 0x22);
	add(list, UINT64_C(1) << irq, 2);
}

/* Address space descriptors (6.4.3.5): decoded by this bridge, minimum and maximum fixed. */
enum { SPACE_MEMORY, SPACE_IO, SPACE_BUS, SPACE_FIXED = 0x0c };

static void add_space(struct text *list, unsigned tag, size_t width, unsigned type,
	unsigned type_flags, uint64_t first, uint64_t len)
{
	add_byte(list, tag);
	add(list, 3 + 5 * width, 2);
	add_byte(list, type);
	add_byte(list, SPACE_FIXED);
	add_byte(list, type_flags);
	add(list, 0, width); /* granularity */
	add(list, first, width);
	add(list, first + len - 1, width);
	add(list, 0, width); /* translation */
	add(list, len, width);
}

void aml_resource_bus(struct text *list, uint8_t first, uint8_t last)
{
	add_space(list, 0x88, 2, SPACE_BUS, 0, first, (uint64_t)last - first + 1);
}

void aml_resource_io_window(struct text *list, uint16_t first, uint16_t last)
{
	enum { ENTIRE_RANGE = 3 };
	add_space(list, 0x88, 2, SPACE_IO, ENTIRE_RANGE, first, (uint64_t)last - first + 1);
}

void aml_resource_memory(struct text *list, uint32_t base, uint32_t size)
{
	add_byte(list, 0x86);
	add(list, 9, 2);
	add_byte(list, 1); /* writable */
	add(list, base, 4);
	add(list, size, 4);
}

void aml_resource_memory_window(struct text *list, uint64_t base, uint64_t size)
{
	enum { READ_WRITE = 1 };
	add_space(list, 0x8a, 8, SPACE_MEMORY, READ_WRITE, base, size);
}

void aml_resources(struct text *aml, const struct text *list)
{
	enum { END_TAG = 0x79, NO_CHECKSUM = 0 };
	add_byte(aml, OP_BUFFER);
	size_t start = open_length(aml);
	aml_integer(aml, list->len + 2);
	text_add(aml, list->data, list->len);
	add_byte(aml, END_TAG);
	add_byte(aml, NO_CHECKSUM);
	aml_close(aml, start);
}
