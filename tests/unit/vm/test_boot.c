#include "test.h"

#include <elf.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "vm/boot/boot.h"
#include "vm/layout.h"
#include "vm/vm.h"

#define MIB (UINT64_C(1) << 20)

enum { SETUP = 3 * 512, BODY = 8192, FILE_SIZE = SETUP + BODY };

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(fd_pwrite_all(fd, bytes, len, 0), 0);
	return fd;
}

static void put(uint8_t *file, size_t offset, uint64_t value, size_t len)
{
	memcpy(file + offset, &value, len);
}

/* A bzImage that is right in all that is looked at. */
static void fill_image(uint8_t file[FILE_SIZE])
{
	memset(file, 0, FILE_SIZE);
	file[0x1f1] = 2;
	put(file, 0x1fe, 0xaa55, 2);
	put(file, 0x200, 0x6aeb, 2);
	memcpy(file + 0x202, "HdrS", 4);
	put(file, 0x206, 0x20f, 2);
	file[0x211] = 1;
	put(file, 0x22c, 0x7fffffff, 4);
	put(file, 0x236, 1, 2);
	put(file, 0x238, 2047, 4);
	put(file, 0x258, 16 * MIB, 8);
	put(file, 0x260, 2 * MIB, 4);
	memset(file + SETUP, 'k', BODY);
}

struct elf_file {
	Elf64_Ehdr e;
	Elf64_Phdr segments[2];
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry;
	} note;
	uint8_t code[4096];
};

static void fill_elf(struct elf_file *file)
{
	memset(file, 0, sizeof(*file));
	memcpy(file->e.e_ident, ELFMAG, SELFMAG);
	file->e.e_ident[EI_CLASS] = ELFCLASS64;
	file->e.e_ident[EI_DATA] = ELFDATA2LSB;
	file->e.e_machine = EM_X86_64;
	file->e.e_entry = 16 * MIB + 16;
	file->e.e_phoff = offsetof(struct elf_file, segments);
	file->e.e_phentsize = sizeof(Elf64_Phdr);
	file->e.e_phnum = 2;
	file->segments[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct elf_file, code),
		.p_paddr = 16 * MIB,
		.p_filesz = sizeof(file->code),
		.p_memsz = MIB,
	};
	file->segments[1] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct elf_file, note),
		.p_filesz = sizeof(file->note),
		.p_memsz = sizeof(file->note),
	};
	file->note.head = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 4, .n_type = 18 };
	memcpy(file->note.name, "Xen", 4);
	file->note.entry = 16 * MIB + 32;
	memset(file->code, 'e', sizeof(file->code));
}

static struct guest_mem *ram(uint64_t size)
{
	struct guest_mem *mem = NULL;
	struct err err = { 0 };
	assert_int_equal(guest_mem_new(size, false, &mem, &err), 0);
	return mem;
}

static int load(int take_fd, uint64_t memory, const int *initrds, size_t initrds_len,
	struct guest_mem **ret_mem, struct cpu_state *ret_state, struct err *err)
{
	AUTO_CLOSE int fd = take_fd;
	const struct boot boot = {
		.kernel_fd = fd,
		.initrd_fds = initrds,
		.initrds = initrds_len,
		.cmdline = "console=ttyS0",
	};
	*err = (struct err){ 0 };
	*ret_mem = ram(memory);
	return boot_load(&boot, *ret_mem, ret_state, err);
}

static uint64_t get(const struct guest_mem *mem, uint64_t address, unsigned len)
{
	uint64_t value = 0;
	assert_int_equal(guest_mem_read(mem, address, &value, len), 0);
	return value;
}

static void a_bzimage_is_placed_with_its_parameters(void **state)
{
	(void)state;
	uint8_t file[FILE_SIZE];
	struct err err;
	struct cpu_state cpu;
	AUTO(guest_mem) mem = NULL;
	fill_image(file);
	AUTO_CLOSE int first = file_of("first", 5);
	AUTO_CLOSE int second = file_of("second", 6);
	const int initrds[] = { first, second };
	assert_int_equal(load(file_of(file, sizeof(file)), 64 * MIB, initrds, 2, &mem, &cpu, &err),
		0);
	assert_memory_equal(guest_mem_at(mem, 16 * MIB, 2), "kk", 2);
	assert_int_equal(get(mem, 16 * MIB + BODY, 1), 0);
	assert_int_equal(cpu.rip, 16 * MIB + 0x200);
	assert_int_equal(cpu.rsi, LAYOUT_BOOT_PARAMS);
	assert_int_equal(cpu.efer, 0x500);
	/* At the top of RAM, each in whole pages. */
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x218, 4), 64 * MIB - 8192);
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x21c, 4), 8192);
	assert_memory_equal(guest_mem_at(mem, 64 * MIB - 8192, 6), "first\0", 6);
	assert_memory_equal(guest_mem_at(mem, 64 * MIB - 4096, 7), "second\0", 7);
	assert_string_equal(guest_mem_at(mem, LAYOUT_CMDLINE, 14), "console=ttyS0");
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x228, 4), LAYOUT_CMDLINE);
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x70, 8), LAYOUT_ACPI);
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x210, 1), 0xff);
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x1e8, 1), 4);
	assert_memory_equal(guest_mem_at(mem, LAYOUT_RESET_VECTOR, 6), "\xba\x02\x06\xb0\x01\xee",
		6);
	/* Page tables: the last large page below 4 GiB. */
	assert_int_equal(get(mem, LAYOUT_PAGE_TABLES + 6 * 4096 - 8, 8), 0xffe00083);
}

static void ram_above_the_hole_is_in_the_map(void **state)
{
	(void)state;
	AUTO(guest_mem) mem = ram(UINT64_C(5) << 30);
	struct boot_range ranges[BOOT_RANGES];
	assert_int_equal(boot_memory_map(mem, ranges), BOOT_RANGES);
	assert_int_equal(ranges[2].base + ranges[2].size, GUEST_MEM_HOLE);
	assert_int_equal(ranges[4].base, GUEST_MEM_HIGH);
	assert_int_equal(ranges[4].size, UINT64_C(2) << 30);
	uint64_t last = 0;
	for (size_t i = 0; i < BOOT_RANGES; i++) {
		assert_true(ranges[i].base >= last);
		last = ranges[i].base + ranges[i].size;
	}
}

static void a_damaged_bzimage_is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t offset, len;
		uint64_t value;
		enum err_kind kind;
		const char *words;
	} rows[] = {
		{ 0x202, 4, 0, ERR_INVALID, "not a kernel" },
		{ 0x1fe, 2, 0, ERR_INVALID, "not a kernel" },
		{ 0x206, 2, 0x20b, ERR_INVALID, "2.11" },
		{ 0x211, 1, 0, ERR_INVALID, "64-bit" },
		{ 0x236, 2, 0, ERR_INVALID, "64-bit" },
		{ 0x1f1, 1, 0xff, ERR_DAMAGED, "cut short" },
		{ 0x258, 8, 0, ERR_INVALID, "loaded at 0" },
		{ 0x258, 8, UINT64_MAX, ERR_INVALID, "loaded at" },
		{ 0x258, 8, 0xbfffffff, ERR_INVALID, "loaded at" },
		{ 0x260, 4, 1, ERR_INVALID, "1 bytes" },
		{ 0x260, 4, UINT32_MAX, ERR_INVALID, "loaded at" },
		{ 0x260, 4, 100 * MIB, ERR_INVALID, "64 MiB of RAM are too few" },
		{ 0x238, 4, 3, ERR_LIMIT, "command line" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t file[FILE_SIZE];
		struct err err;
		struct cpu_state cpu;
		AUTO(guest_mem) mem = NULL;
		fill_image(file);
		put(file, rows[i].offset, rows[i].value, rows[i].len);
		int r = load(file_of(file, sizeof(file)), 64 * MIB, NULL, 0, &mem, &cpu, &err);
		assert_true(r < 0);
		assert_int_equal(err.kind, rows[i].kind);
		if (strstr(err.message, rows[i].words) == NULL)
			fail_msg("row %zu: %s", i, err.message);
	}
}

static void initrds_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	uint8_t file[FILE_SIZE];
	struct err err;
	struct cpu_state cpu;
	AUTO(guest_mem) mem = NULL;
	fill_image(file);
	AUTO_CLOSE int large = memfd_create("large", MFD_CLOEXEC);
	assert_int_equal(ftruncate(large, 47 * MIB), 0);
	assert_error(load(file_of(file, sizeof(file)), 64 * MIB, &large, 1, &mem, &cpu, &err),
		ERR_INVALID, "need 66 MiB");
	AUTO(guest_mem) other = NULL;
	AUTO_CLOSE int empty = memfd_create("empty", MFD_CLOEXEC);
	assert_error(load(file_of(file, sizeof(file)), 64 * MIB, &empty, 1, &other, &cpu, &err),
		ERR_INVALID, "not a file with something in it");
}

static void initrds_stay_below_what_the_kernel_allows(void **state)
{
	(void)state;
	uint8_t file[FILE_SIZE];
	struct err err;
	struct cpu_state cpu;
	AUTO(guest_mem) mem = NULL;
	fill_image(file);
	put(file, 0x22c, 0x27fffff, 4);
	AUTO_CLOSE int initrd = file_of("x", 1);
	assert_int_equal(load(file_of(file, sizeof(file)), 64 * MIB, &initrd, 1, &mem, &cpu, &err),
		0);
	assert_int_equal(get(mem, LAYOUT_BOOT_PARAMS + 0x218, 4), 40 * MIB - 4096);
}

static void an_elf_kernel_with_a_note_starts_in_protected_mode(void **state)
{
	(void)state;
	struct elf_file file;
	struct err err;
	struct cpu_state cpu;
	AUTO(guest_mem) mem = NULL;
	fill_elf(&file);
	AUTO_CLOSE int initrd = file_of("x", 1);
	assert_int_equal(load(file_of(&file, sizeof(file)), 64 * MIB, &initrd, 1, &mem, &cpu, &err),
		0);
	assert_int_equal(cpu.rip, 16 * MIB + 32);
	assert_int_equal(cpu.rbx, LAYOUT_START_INFO);
	assert_int_equal(cpu.efer, 0);
	assert_int_equal(cpu.cr0 & 0x80000000, 0);
	assert_memory_equal(guest_mem_at(mem, 16 * MIB, 2), "ee", 2);
	assert_int_equal(get(mem, LAYOUT_START_INFO, 4), 0x336ec578);
	assert_int_equal(get(mem, LAYOUT_START_INFO + 12, 4), 1);
	assert_int_equal(get(mem, LAYOUT_START_INFO + 32, 8), LAYOUT_ACPI);
	uint64_t module = get(mem, LAYOUT_START_INFO + 16, 8);
	assert_int_equal(get(mem, module, 8), 64 * MIB - 4096);
	assert_int_equal(get(mem, LAYOUT_START_INFO + 48, 4), 4);
}

static void an_elf_kernel_without_a_note_starts_in_long_mode(void **state)
{
	(void)state;
	struct elf_file file;
	struct err err;
	struct cpu_state cpu;
	AUTO(guest_mem) mem = NULL;
	fill_elf(&file);
	file.note.head.n_type = 17;
	assert_int_equal(load(file_of(&file, sizeof(file)), 64 * MIB, NULL, 0, &mem, &cpu, &err),
		0);
	assert_int_equal(cpu.rip, 16 * MIB + 16);
	assert_int_equal(cpu.efer, 0x500);
	assert_memory_equal(guest_mem_at(mem, LAYOUT_BOOT_PARAMS + 0x202, 4), "HdrS", 4);
}

/* Linux's own shape: the entry is the image's first byte. */
static void an_elf_kernel_moves_down_where_ram_is_scarce(void **state)
{
	(void)state;
	const struct {
		uint64_t entry, ram, place;
		bool is_long_mode;
	} rows[] = {
		{ 16 * MIB, 64 * MIB, 2 * MIB, true },
		{ 16 * MIB, 88 * MIB, 16 * MIB, false },      /* room enough */
		{ 16 * MIB + 16, 64 * MIB, 16 * MIB, false }, /* not Linux's entry */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct elf_file file;
		struct err err;
		struct cpu_state cpu;
		AUTO(guest_mem) mem = NULL;
		fill_elf(&file);
		file.e.e_entry = rows[i].entry;
		file.segments[0].p_memsz = 40 * MIB;
		assert_int_equal(load(file_of(&file, sizeof(file)), rows[i].ram, NULL, 0, &mem,
					 &cpu, &err),
			0);
		assert_memory_equal(guest_mem_at(mem, rows[i].place, 2), "ee", 2);
		assert_int_equal(cpu.efer, rows[i].is_long_mode ? 0x500 : 0);
		assert_int_equal(cpu.rip, rows[i].is_long_mode ? 2 * MIB : 16 * MIB + 32);
	}
}

#define ELF_ROW(field, value, kind, words)                                                         \
	{                                                                                          \
		offsetof(struct elf_file, field), sizeof(((struct elf_file *)NULL)->field), value, \
			kind, words                                                                \
	}

static void a_damaged_elf_kernel_is_refused(void **state)
{
	(void)state;
	static const struct {
		size_t offset, len;
		uint64_t value;
		enum err_kind kind;
		const char *words;
	} rows[] = {
		ELF_ROW(e.e_machine, EM_AARCH64, ERR_INVALID, "not a kernel"),
		ELF_ROW(e.e_phnum, 0, ERR_DAMAGED, "program headers"),
		ELF_ROW(e.e_phnum, 0xffff, ERR_DAMAGED, "program headers"),
		ELF_ROW(e.e_phoff, UINT64_MAX, ERR_DAMAGED, "program headers"),
		ELF_ROW(e.e_phentsize, 1, ERR_DAMAGED, "program headers"),
		ELF_ROW(segments[0].p_offset, UINT64_MAX, ERR_DAMAGED, "not in its file"),
		ELF_ROW(segments[0].p_filesz, UINT64_MAX, ERR_DAMAGED, "not in its file"),
		ELF_ROW(segments[0].p_memsz, 1, ERR_DAMAGED, "not in its file"),
		ELF_ROW(segments[0].p_memsz, UINT64_MAX, ERR_INVALID, "no place"),
		ELF_ROW(segments[0].p_paddr, UINT64_MAX, ERR_INVALID, "no place"),
		ELF_ROW(segments[0].p_paddr, 0, ERR_INVALID, "no place"),
		ELF_ROW(segments[0].p_memsz, 100 * MIB, ERR_INVALID, "too few"),
		ELF_ROW(segments[1].p_filesz, UINT64_MAX, ERR_DAMAGED, "notes"),
		ELF_ROW(segments[1].p_offset, UINT64_MAX, ERR_DAMAGED, "notes"),
		ELF_ROW(note.entry, 0, ERR_INVALID, "starts at 0"),
		ELF_ROW(note.entry, UINT32_MAX, ERR_INVALID, "starts at 0xffffffff"),
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct elf_file file;
		struct err err;
		struct cpu_state cpu;
		AUTO(guest_mem) mem = NULL;
		fill_elf(&file);
		put((uint8_t *)&file, rows[i].offset, rows[i].value, rows[i].len);
		int r = load(file_of(&file, sizeof(file)), 64 * MIB, NULL, 0, &mem, &cpu, &err);
		assert_true(r < 0);
		assert_int_equal(err.kind, rows[i].kind);
		if (strstr(err.message, rows[i].words) == NULL)
			fail_msg("row %zu: %s", i, err.message);
	}
}

static void notes_of_impossible_lengths_are_no_notes(void **state)
{
	(void)state;
	struct elf_file file;
	struct err err;
	struct cpu_state cpu;
	fill_elf(&file);
	for (int i = 0; i < 2; i++) {
		AUTO(guest_mem) mem = NULL;
		file.note.head.n_namesz = i == 0 ? UINT32_MAX : 4;
		file.note.head.n_descsz = i == 0 ? 4 : UINT32_MAX;
		assert_int_equal(load(file_of(&file, sizeof(file)), 64 * MIB, NULL, 0, &mem, &cpu,
					 &err),
			0);
		assert_int_equal(cpu.rip, 16 * MIB + 16);
	}
}

static void a_kernel_is_named_without_being_loaded(void **state)
{
	(void)state;
	uint8_t image[FILE_SIZE];
	struct elf_file elf;
	struct err err = { 0 };
	fill_image(image);
	fill_elf(&elf);
	AUTO_DONE(text) first = { 0 };
	AUTO_DONE(text) second = { 0 };
	AUTO_CLOSE int image_fd = file_of(image, sizeof(image));
	AUTO_CLOSE int elf_fd = file_of(&elf, sizeof(elf));
	AUTO_CLOSE int junk = file_of("#!/bin/sh\n", 10);
	assert_int_equal(vm_kernel_check(image_fd, &first, &err), 0);
	assert_string_equal(text_string(&first), "bzImage, boot protocol 2.15");
	assert_int_equal(vm_kernel_check(elf_fd, &second, &err), 0);
	assert_string_equal(text_string(&second), "ELF vmlinux, PVH");
	assert_error(vm_kernel_check(junk, &second, &err), ERR_INVALID, "not a kernel");
	err = (struct err){ 0 };
	AUTO_CLOSE int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_error(vm_kernel_check(folder, &second, &err), ERR_INVALID, "kernel is not a file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bzimage_is_placed_with_its_parameters),
		cmocka_unit_test(ram_above_the_hole_is_in_the_map),
		cmocka_unit_test(a_damaged_bzimage_is_refused),
		cmocka_unit_test(initrds_that_do_not_fit_are_refused),
		cmocka_unit_test(initrds_stay_below_what_the_kernel_allows),
		cmocka_unit_test(an_elf_kernel_with_a_note_starts_in_protected_mode),
		cmocka_unit_test(an_elf_kernel_without_a_note_starts_in_long_mode),
		cmocka_unit_test(an_elf_kernel_moves_down_where_ram_is_scarce),
		cmocka_unit_test(a_damaged_elf_kernel_is_refused),
		cmocka_unit_test(notes_of_impossible_lengths_are_no_notes),
		cmocka_unit_test(a_kernel_is_named_without_being_loaded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
