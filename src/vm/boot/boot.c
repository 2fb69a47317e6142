/* boot - see boot.h.
 *
 *   1 the kernel    by its kind: boot_linux.c, boot_elf.c; at the address it asks for
 *   2 initrds       as high as the kernel allows, one behind the other with zeros up to the next
 *                   page, which the kernel skips (buffer-format.rst)
 *   3 parameters    command line, memory map, where the initrds and the ACPI tables are: boot
 *                   parameters for a bzImage or a plain ELF, start info for PVH
 *   4 state         page tables and segments as the entry wants them
 *
 * The files come from outside: every offset, size and address is checked against the file and the
 * guest's memory before it is used. */
#include "vm/boot/boot.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "vm/layout.h"
#include "vm/pci/pci.h"
#include "vm/vm.h"

#define PAGE UINT64_C(4096)

static int file_size(int fd, const char *what, uint64_t max, uint64_t *ret_size, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at the %s", what);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return err_set(err, ERR_INVALID, "the %s is not a file with something in it", what);
	if ((uint64_t)st.st_size > max)
		return err_set(err, ERR_LIMIT, "the %s has %ju bytes: at most %ju are allowed",
			what, (uintmax_t)st.st_size, (uintmax_t)max);
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

/* mem NULL: only looks. */
static int load_kernel(int fd, const struct guest_mem *mem, struct boot_kernel *ret_kernel,
	struct text *ret_what, struct err *err)
{
	static int (*const kinds[])(int fd, uint64_t size, const uint8_t head[BOOT_HEAD],
		const struct guest_mem *mem, struct boot_kernel *ret_kernel, struct text *ret_what,
		struct err *err) = { boot_linux_load, boot_elf_load };
	uint64_t size;
	int r = file_size(fd, "kernel", LIMIT_KERNEL_BYTES, &size, err);
	if (r < 0)
		return r;
	AUTO_FREE uint8_t *head = mem_new(1, BOOT_HEAD);
	r = fd_pread_exact(fd, head, size < BOOT_HEAD ? (size_t)size : BOOT_HEAD, 0);
	if (r < 0)
		return err_wrap(err, r, "read the kernel");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		r = kinds[i](fd, size, head, mem, ret_kernel, ret_what, err);
		if (r != -ENOEXEC)
			return r;
	}
	return err_set(err, ERR_INVALID,
		"not a kernel: neither a bzImage nor an ELF program for x86-64");
}

int vm_kernel_check(int fd, struct text *ret_what, struct err *err)
{
	struct boot_kernel kernel = { 0 };
	return load_kernel(fd, NULL, &kernel, ret_what, err);
}

int boot_copy(int fd, uint64_t offset, uint64_t size, const struct guest_mem *mem, uint64_t gpa,
	uint64_t memory_size, struct err *err)
{
	uint8_t *to = guest_mem_at(mem, gpa, memory_size);
	if (to == NULL || size > memory_size)
		return err_set(err, ERR_INVALID,
			"%ju MiB of RAM are too few: this needs memory up to %ju MiB",
			(uintmax_t)(guest_mem_low(mem) + guest_mem_high(mem)) >> 20,
			(uintmax_t)((gpa + memory_size) >> 20) + 1);
	int r = fd_pread_exact(fd, to, (size_t)size, offset);
	return r < 0 ? err_wrap(err, r, "read the kernel or an initial file system") : 0;
}

size_t boot_memory_map(const struct guest_mem *mem, struct boot_range ret_ranges[BOOT_RANGES])
{
	enum { RAM = 1, RESERVED = 2 };
	size_t n = 0;
	ret_ranges[n++] = (struct boot_range){ 0, LAYOUT_LOW_END, RAM };
	ret_ranges[n++] = (struct boot_range){ LAYOUT_ACPI, LAYOUT_ACPI_SIZE, RESERVED };
	ret_ranges[n++] = (struct boot_range){ LAYOUT_HIGH, guest_mem_low(mem) - LAYOUT_HIGH, RAM };
	ret_ranges[n++] = (struct boot_range){ PCI_ECAM_BASE, PCI_ECAM_SIZE, RESERVED };
	if (guest_mem_high(mem) > 0)
		ret_ranges[n++] = (struct boot_range){ GUEST_MEM_HIGH, guest_mem_high(mem), RAM };
	return n;
}

/* ---- initial file systems ---- */

static uint64_t page_up(uint64_t size)
{
	return (size + PAGE - 1) / PAGE * PAGE;
}

static int initrd_sizes(const struct boot *boot, uint64_t sizes[LIMIT_INITRDS], uint64_t *ret_total,
	struct err *err)
{
	uint64_t total = 0;
	if (boot->initrds > LIMIT_INITRDS)
		return err_set(err, ERR_LIMIT, "%zu initial file systems: at most %d are allowed",
			boot->initrds, (int)LIMIT_INITRDS);
	for (size_t i = 0; i < boot->initrds; i++) {
		int r = file_size(boot->initrd_fds[i], "initial file system",
			LIMIT_INITRD_BYTES - total, &sizes[i], err);
		if (r < 0)
			return r;
		total += page_up(sizes[i]);
		if (total > LIMIT_INITRD_BYTES)
			return err_set(err, ERR_LIMIT,
				"initial file systems of more than %ju bytes",
				(uintmax_t)LIMIT_INITRD_BYTES);
	}
	*ret_total = total;
	return 0;
}

static int load_initrds(const struct boot *boot, const struct boot_kernel *kernel,
	const struct guest_mem *mem, struct boot_initrd *ret_initrd, struct err *err)
{
	uint64_t sizes[LIMIT_INITRDS], total = 0;
	int r = initrd_sizes(boot, sizes, &total, err);
	if (r < 0 || total == 0)
		return r;
	uint64_t top = guest_mem_low(mem);
	if (kernel->initrd_max < top)
		top = kernel->initrd_max + 1;
	top = top / PAGE * PAGE;
	if (total > top || top - total < kernel->end)
		return err_set(err, ERR_INVALID,
			"%ju MiB of RAM are too few: this kernel and its initial file system need "
			"%ju MiB",
			(uintmax_t)(guest_mem_low(mem) + guest_mem_high(mem)) >> 20,
			(uintmax_t)((kernel->end + total) >> 20) + 1);
	uint64_t at = top - total;
	*ret_initrd = (struct boot_initrd){ .base = at, .size = total };
	for (size_t i = 0; i < boot->initrds; i++) {
		r = boot_copy(boot->initrd_fds[i], 0, sizes[i], mem, at, page_up(sizes[i]), err);
		if (r < 0)
			return r;
		at += page_up(sizes[i]);
	}
	return 0;
}

static int write_cmdline(const struct boot *boot, const struct boot_kernel *kernel,
	const struct guest_mem *mem, struct err *err)
{
	size_t len = strlen(boot->cmdline);
	uint64_t max = kernel->cmdline_max;
	if (max > LAYOUT_CMDLINE_MAX - 1)
		max = LAYOUT_CMDLINE_MAX - 1;
	if (len > max)
		return err_set(err, ERR_LIMIT,
			"a kernel command line of %zu bytes: this kernel takes %ju", len,
			(uintmax_t)max);
	int r = guest_mem_write(mem, LAYOUT_CMDLINE, boot->cmdline, len + 1);
	return r < 0 ? err_wrap(err, r, "place the kernel's command line") : 0;
}

/* Linux on hardware-reduced ACPI restarts by EFI, and where there is none by what a BIOS has at
 * ffff:0, in real mode.  Here that writes to the reset register. */
static int write_reset_vector(const struct guest_mem *mem)
{
	static const uint8_t code[] = {
		0xba, LAYOUT_RESET_PORT & 0xff, LAYOUT_RESET_PORT >> 8, /* mov, to dx */
		0xb0, LAYOUT_RESET_VALUE,                               /* mov, to al */
		0xee,                                                   /* out */
		0xf4,                                                   /* hlt */
		0xeb, 0xfd,                                             /* jmp, to hlt */
	};
	return guest_mem_write(mem, LAYOUT_RESET_VECTOR, code, sizeof(code));
}

/* ---- the first processor ---- */

static const struct cpu_segment flat_data = { .limit = UINT32_MAX,
	.selector = 0x18,
	.attributes = 0xc93 };

static void set_flat(struct cpu_state *state, const struct cpu_segment *code)
{
	state->cs = *code;
	state->ds = state->es = state->fs = state->gs = state->ss = flat_data;
	state->tr = (struct cpu_segment){ .limit = 0x67, .attributes = 0x8b };
	state->gdt = (struct cpu_table){ .base = LAYOUT_GDT, .limit = 0x1f };
}

/* Selectors as Linux's protocol names them: code 0x10, data 0x18 (boot.rst). */
static int write_gdt(const struct guest_mem *mem, uint64_t code)
{
	const uint64_t gdt[] = { 0, 0, code, UINT64_C(0x00cf93000000ffff) };
	return guest_mem_write(mem, LAYOUT_GDT, gdt, sizeof(gdt));
}

/* The first 4 GiB as they are, in pages of 2 MiB: one table of each upper level, four below. */
static int write_page_tables(const struct guest_mem *mem)
{
	enum { WRITABLE = 3, LARGE = 1 << 7 };
	const uint64_t entries = 512, directories = 4;
	uint64_t *tables = guest_mem_at(mem, LAYOUT_PAGE_TABLES, (2 + directories) * PAGE);
	if (tables == NULL)
		return -EFAULT;
	tables[0] = (LAYOUT_PAGE_TABLES + PAGE) | WRITABLE;
	for (uint64_t i = 0; i < directories; i++)
		tables[entries + i] = (LAYOUT_PAGE_TABLES + (2 + i) * PAGE) | WRITABLE;
	for (uint64_t i = 0; i < directories * entries; i++)
		tables[2 * entries + i] = i << 21 | WRITABLE | LARGE;
	return 0;
}

static int start_long_mode(const struct guest_mem *mem, uint64_t entry, struct cpu_state *ret_state)
{
	const struct cpu_segment code = { .limit = UINT32_MAX,
		.selector = 0x10,
		.attributes = 0xa9b };
	*ret_state = (struct cpu_state){
		.rip = entry,
		.rsi = LAYOUT_BOOT_PARAMS,
		.rsp = LAYOUT_STACK,
		.cr0 = 0x80000031, /* PG, NE, ET, PE */
		.cr3 = LAYOUT_PAGE_TABLES,
		.cr4 = 0x20,   /* PAE */
		.efer = 0x500, /* LMA, LME */
	};
	set_flat(ret_state, &code);
	int r = write_page_tables(mem);
	return r < 0 ? r : write_gdt(mem, UINT64_C(0x00af9b000000ffff));
}

static int start_protected(const struct guest_mem *mem, uint64_t entry, struct cpu_state *ret_state)
{
	const struct cpu_segment code = { .limit = UINT32_MAX,
		.selector = 0x10,
		.attributes = 0xc9b };
	*ret_state = (struct cpu_state){
		.rip = entry,
		.rbx = LAYOUT_START_INFO,
		.rsp = LAYOUT_STACK,
		.cr0 = 0x31, /* NE, ET, PE */
	};
	set_flat(ret_state, &code);
	return write_gdt(mem, UINT64_C(0x00cf9b000000ffff));
}

int boot_load(const struct boot *boot, const struct guest_mem *mem, struct cpu_state *ret_state,
	struct err *err)
{
	struct boot_kernel kernel = { 0 };
	struct boot_initrd initrd = { 0 };
	AUTO_DONE(text) what = { 0 };
	if (guest_mem_low(mem) <= LAYOUT_HIGH)
		return err_set(err, ERR_INVALID, "too little RAM for any kernel");
	int r = load_kernel(boot->kernel_fd, mem, &kernel, &what, err);
	if (r == 0)
		r = load_initrds(boot, &kernel, mem, &initrd, err);
	if (r == 0)
		r = write_cmdline(boot, &kernel, mem, err);
	if (r == 0)
		r = write_reset_vector(mem);
	if (r < 0)
		return r;
	if (kernel.entry_kind == BOOT_LONG_MODE) {
		r = boot_write_params(&kernel, &initrd, mem, err);
		return r < 0 ? r : start_long_mode(mem, kernel.entry, ret_state);
	}
	r = boot_write_start_info(&initrd, mem, err);
	return r < 0 ? r : start_protected(mem, kernel.entry, ret_state);
}
