/* boot_linux - a bzImage by Linux's 64-bit boot protocol (Documentation/x86/boot.rst, from 2.12
 * on), and the boot parameters ("zero page", zero-page.rst) that it and a plain ELF kernel read.
 *
 * The image is a real-mode part, which a loader that is in long mode skips, and the protected-mode
 * part behind it, which is loaded where the header prefers it and entered 0x200 bytes after its
 * start.  init_size is what it needs from there on, until it has read the memory map. */
#include <errno.h>
#include <string.h>

#include "vm/boot/boot.h"
#include "vm/boot/bzimage.h"
#include "vm/layout.h"

enum {
	/* Offsets in the file and in the boot parameters: they are the same. */
	JUMP = 0x200, /* its second byte tells the header's length */
	TYPE_OF_LOADER = 0x210,
	LOADFLAGS = 0x211,
	RAMDISK_IMAGE = 0x218,
	RAMDISK_SIZE = 0x21c,
	CMD_LINE_PTR = 0x228,
	INITRD_ADDR_MAX = 0x22c,
	XLOADFLAGS = 0x236,
	CMDLINE_SIZE = 0x238,
	PREF_ADDRESS = 0x258,
	INIT_SIZE = 0x260,
	HEADER_END_MAX = 0x290,
	/* Only in the boot parameters. */
	ACPI_RSDP = 0x70,
	E820_COUNT = 0x1e8,
	E820_TABLE = 0x2d0,

	FLAG_LOADED_HIGH = 1,
	XFLAG_KERNEL_64 = 1,
	LOADER_UNDEFINED = 0xff,
	VERSION_MIN = 0x20c,
	ENTRY_64 = 0x200,
	PARAMS_SIZE = 4096
};

static void put(uint8_t *bytes, size_t offset, uint64_t value, size_t len)
{
	memcpy(bytes + offset, &value, len);
}

/* The header's own statements, without memory. */
static int check_header(const uint8_t *head, uint64_t size, struct boot_kernel *kernel,
	struct err *err)
{
	uint64_t version = bzimage_get(head, BZIMAGE_VERSION, 2);
	if (version < VERSION_MIN)
		return err_set(err, ERR_INVALID,
			"the kernel's boot protocol is %ju.%02ju: 2.12 or later is needed",
			(uintmax_t)version >> 8, (uintmax_t)version & 0xff);
	if ((head[LOADFLAGS] & FLAG_LOADED_HIGH) == 0 ||
		(bzimage_get(head, XLOADFLAGS, 2) & XFLAG_KERNEL_64) == 0)
		return err_set(err, ERR_INVALID, "the kernel has no 64-bit entry");
	uint64_t setup = bzimage_setup_bytes(head);
	uint64_t base = bzimage_get(head, PREF_ADDRESS, 8),
		 needed = bzimage_get(head, INIT_SIZE, 4);
	if (size <= setup + ENTRY_64)
		return err_set(err, ERR_DAMAGED, "the kernel's file is cut short");
	if (base < LAYOUT_HIGH || base >= GUEST_MEM_HOLE || needed < size - setup ||
		needed > GUEST_MEM_HOLE - base)
		return err_set(err, ERR_INVALID,
			"the kernel wants to be loaded at %#jx, with %ju bytes from there on",
			(uintmax_t)base, (uintmax_t)needed);
	kernel->entry_kind = BOOT_LONG_MODE;
	kernel->entry = base + ENTRY_64;
	kernel->end = base + needed;
	kernel->initrd_max = bzimage_get(head, INITRD_ADDR_MAX, 4);
	kernel->cmdline_max = bzimage_get(head, CMDLINE_SIZE, 4);
	return 0;
}

int boot_linux_load(int fd, uint64_t size, const uint8_t head[BOOT_HEAD],
	const struct guest_mem *mem, struct boot_kernel *ret_kernel, struct text *ret_what,
	struct err *err)
{
	struct boot_kernel kernel = { 0 };
	if (size < BOOT_HEAD || !bzimage_is(head))
		return -ENOEXEC;
	int r = check_header(head, size, &kernel, err);
	if (r < 0)
		return r;
	size_t header_end = BZIMAGE_MAGIC + (size_t)head[JUMP + 1];
	if (header_end > HEADER_END_MAX)
		header_end = HEADER_END_MAX;
	memcpy(kernel.setup + BZIMAGE_SETUP_SECTS, head + BZIMAGE_SETUP_SECTS,
		header_end - BZIMAGE_SETUP_SECTS);
	kernel.has_setup = true;
	uint64_t setup = bzimage_setup_bytes(head);
	uint64_t base = kernel.entry - ENTRY_64;
	if (mem != NULL)
		r = boot_copy(fd, setup, size - setup, mem, base, kernel.end - base, err);
	if (r < 0)
		return r;
	text_printf(ret_what, "bzImage, boot protocol %u.%02u", head[BZIMAGE_VERSION + 1],
		head[BZIMAGE_VERSION]);
	*ret_kernel = kernel;
	return 0;
}

static void put_memory_map(uint8_t *params, const struct guest_mem *mem)
{
	struct boot_range ranges[BOOT_RANGES];
	size_t n = boot_memory_map(mem, ranges);
	params[E820_COUNT] = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		size_t at = E820_TABLE + i * 20;
		put(params, at, ranges[i].base, 8);
		put(params, at + 8, ranges[i].size, 8);
		put(params, at + 16, ranges[i].type, 4);
	}
}

int boot_write_params(const struct boot_kernel *kernel, const struct boot_initrd *initrd,
	const struct guest_mem *mem, struct err *err)
{
	uint8_t params[PARAMS_SIZE] = { 0 };
	if (kernel->has_setup) {
		memcpy(params + BZIMAGE_SETUP_SECTS, kernel->setup + BZIMAGE_SETUP_SECTS,
			HEADER_END_MAX - BZIMAGE_SETUP_SECTS);
	} else {
		/* An ELF kernel has no header: what it reads of one. */
		put(params, BZIMAGE_BOOT_FLAG, 0xaa55, 2);
		put(params, BZIMAGE_MAGIC, BZIMAGE_HEADER_MAGIC, 4);
		put(params, BZIMAGE_VERSION, VERSION_MIN, 2);
		params[LOADFLAGS] = FLAG_LOADED_HIGH;
	}
	params[TYPE_OF_LOADER] = LOADER_UNDEFINED;
	put(params, CMD_LINE_PTR, LAYOUT_CMDLINE, 4);
	put(params, RAMDISK_IMAGE, initrd->base, 4);
	put(params, RAMDISK_SIZE, initrd->size, 4);
	put(params, ACPI_RSDP, LAYOUT_ACPI, 8);
	put_memory_map(params, mem);
	int r = guest_mem_write(mem, LAYOUT_BOOT_PARAMS, params, sizeof(params));
	return r < 0 ? err_wrap(err, r, "place the boot parameters") : 0;
}
