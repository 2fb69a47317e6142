/* boot - puts a kernel, its command line and its initial file systems into a guest's memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"
#include "vm/guest_mem.h"

struct boot {
	int kernel_fd;
	const int *initrd_fds;
	size_t initrds;
	const char *cmdline;
};

/* The ACPI tables are (or will be) at LAYOUT_ACPI.  *ret_state is what vCPU 0 starts with. */
MUST_CHECK int boot_load(const struct boot *boot, const struct guest_mem *mem,
	struct cpu_state *ret_state, struct err *err);

/* ---- between the files of the loader ---- */

enum { BOOT_HEAD = 4096 }; /* bytes that a kernel's kind shows in */

enum boot_entry {
	BOOT_LONG_MODE, /* paged, 64-bit, boot parameters in rsi (Linux's 64-bit protocol) */
	BOOT_PROTECTED  /* 32-bit, no paging, start info in ebx (PVH) */
};

struct boot_kernel {
	enum boot_entry entry_kind;
	uint64_t entry;
	uint64_t end;         /* of all it needs, before it has looked at the memory map */
	uint64_t initrd_max;  /* last address that an initial file system may use */
	uint64_t cmdline_max; /* bytes without the final zero */
	uint8_t setup[0x290]; /* bzImage: its setup header at its place in the boot parameters */
	bool has_setup;
};

/* Each checks the head and, with mem, loads.  size is the file's.  -ENOEXEC with err untouched: not
 * this kind of file. */
MUST_CHECK int boot_linux_load(int fd, uint64_t size, const uint8_t head[BOOT_HEAD],
	const struct guest_mem *mem, struct boot_kernel *ret_kernel, struct text *ret_what,
	struct err *err);
MUST_CHECK int boot_elf_load(int fd, uint64_t size, const uint8_t head[BOOT_HEAD],
	const struct guest_mem *mem, struct boot_kernel *ret_kernel, struct text *ret_what,
	struct err *err);
/* Reads a part of a file into guest memory, which has room for [gpa, gpa + memory_size) and is
 * still clear where nothing was read. */
MUST_CHECK int boot_copy(int fd, uint64_t offset, uint64_t size, const struct guest_mem *mem,
	uint64_t gpa, uint64_t memory_size, struct err *err);

struct boot_range {
	uint64_t base, size;
	uint32_t type; /* as in e820: 1 RAM, 2 reserved */
};
/* The guest's memory map. */
enum { BOOT_RANGES = 5 };
size_t boot_memory_map(const struct guest_mem *mem, struct boot_range ret_ranges[BOOT_RANGES]);

struct boot_initrd {
	uint64_t base, size; /* size 0: none */
};
MUST_CHECK int boot_write_params(const struct boot_kernel *kernel, const struct boot_initrd *initrd,
	const struct guest_mem *mem, struct err *err);
MUST_CHECK int boot_write_start_info(const struct boot_initrd *initrd, const struct guest_mem *mem,
	struct err *err);
