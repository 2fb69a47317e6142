/* boot_elf - an ELF kernel (vmlinux): its segments at their physical addresses.
 *
 * One with Xen's note PHYS32_ENTRY starts there as the PVH ABI says (Xen, docs/misc/pvh.pandoc):
 * 32-bit protected mode without paging, ebx at a start info (include/public/arch-x86/hvm/
 * start_info.h, version 1).  One without starts at its entry in long mode with boot parameters, as
 * Linux's own vmlinux allows.
 *
 * Linux's own place, from 16 MiB on, is for machines of old with something below.  Its entry in
 * long mode (arch/x86/kernel/head_64.S, startup_64, the first byte of the image) finds out where it
 * is and runs at any multiple of 2 MiB; the one of PVH does not.  So a kernel that would leave a
 * small machine next to nothing is moved down. */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "vm/boot/boot.h"
#include "vm/layout.h"

enum {
	SEGMENTS_MAX = 32,
	NOTES_MAX = 1 << 20,
	XEN_PHYS32_ENTRY = 18,
	INITRD_MAX = 0x7fffffff,
	CMDLINE_MAX = 2047
};

#define MIB (UINT64_C(1) << 20)
#define MOVE_ALIGN (2 * MIB)
#define MOVE_TO (2 * MIB)
#define ROOM (32 * MIB) /* for initial file systems and what they start */

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};
struct start_module {
	uint64_t address, size, cmdline, reserved;
};
struct start_range {
	uint64_t address, size;
	uint32_t type, reserved;
};
#define START_INFO_MAGIC 0x336ec578u

static bool is_ours(const Elf64_Ehdr *e)
{
	return memcmp(e->e_ident, ELFMAG, SELFMAG) == 0 && e->e_ident[EI_CLASS] == ELFCLASS64 &&
	       e->e_ident[EI_DATA] == ELFDATA2LSB && e->e_machine == EM_X86_64;
}

static int read_segments(int fd, uint64_t size, const Elf64_Ehdr *e, Elf64_Phdr *segments,
	struct err *err)
{
	uint64_t bytes = (uint64_t)e->e_phnum * sizeof(Elf64_Phdr);
	if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0 || e->e_phnum > SEGMENTS_MAX ||
		e->e_phoff > size || bytes > size - e->e_phoff)
		return err_set(err, ERR_DAMAGED, "the ELF kernel's program headers are damaged");
	int r = fd_pread_exact(fd, segments, (size_t)bytes, e->e_phoff);
	return r < 0 ? err_wrap(err, r, "read the kernel") : 0;
}

/* A loadable segment lies in the file, and in memory between 1 MiB and the hole. */
static int check_segment(const Elf64_Phdr *segment, uint64_t size, struct err *err)
{
	if (segment->p_offset > size || segment->p_filesz > size - segment->p_offset ||
		segment->p_filesz > segment->p_memsz)
		return err_set(err, ERR_DAMAGED, "a segment of the ELF kernel is not in its file");
	if (segment->p_paddr < LAYOUT_HIGH || segment->p_paddr > GUEST_MEM_HOLE ||
		segment->p_memsz > GUEST_MEM_HOLE - segment->p_paddr)
		return err_set(err, ERR_INVALID,
			"a segment of the ELF kernel wants %ju bytes at %#jx: below 1 MiB or above "
			"3 GiB there is no place",
			(uintmax_t)segment->p_memsz, (uintmax_t)segment->p_paddr);
	return 0;
}

/* Notes are name and descriptor, each padded to four bytes. */
static bool find_entry(const uint8_t *notes, uint64_t size, uint64_t *ret_entry)
{
	uint64_t at = 0;
	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		uint64_t name = ((uint64_t)note.n_namesz + 3) & ~UINT64_C(3);
		uint64_t desc = ((uint64_t)note.n_descsz + 3) & ~UINT64_C(3);
		if (name > size - at || desc > size - at - name)
			return false;
		if (note.n_type == XEN_PHYS32_ENTRY && note.n_namesz == 4 &&
			memcmp(notes + at, "Xen", 4) == 0 &&
			(note.n_descsz == 4 || note.n_descsz == 8)) {
			*ret_entry = 0;
			memcpy(ret_entry, notes + at + name, note.n_descsz);
			return true;
		}
		at += name + desc;
	}
	return false;
}

static int read_notes(int fd, uint64_t size, const Elf64_Phdr *segment, struct boot_kernel *kernel,
	struct err *err)
{
	if (segment->p_offset > size || segment->p_filesz > size - segment->p_offset ||
		segment->p_filesz > NOTES_MAX)
		return err_set(err, ERR_DAMAGED, "the ELF kernel's notes are damaged");
	AUTO_FREE void *notes = NULL;
	int r = mem_try(segment->p_filesz + 1, NOTES_MAX + 1, &notes, err);
	if (r < 0)
		return r;
	r = fd_pread_exact(fd, notes, (size_t)segment->p_filesz, segment->p_offset);
	if (r < 0)
		return err_wrap(err, r, "read the kernel");
	if (find_entry(notes, segment->p_filesz, &kernel->entry))
		kernel->entry_kind = BOOT_PROTECTED;
	return 0;
}

static bool is_loaded(const Elf64_Phdr *segment)
{
	return segment->p_type == PT_LOAD && segment->p_memsz > 0;
}

/* Checks the segments and finds the first address and the end of them all. */
static int measure(const Elf64_Phdr *segments, size_t len, uint64_t size, uint64_t *ret_start,
	uint64_t *ret_end, struct err *err)
{
	*ret_start = GUEST_MEM_HOLE;
	*ret_end = 0;
	for (size_t i = 0; i < len; i++) {
		if (!is_loaded(&segments[i]))
			continue;
		int r = check_segment(&segments[i], size, err);
		if (r < 0)
			return r;
		uint64_t end = segments[i].p_paddr + segments[i].p_memsz;
		if (segments[i].p_paddr < *ret_start)
			*ret_start = segments[i].p_paddr;
		if (end > *ret_end)
			*ret_end = end;
	}
	return 0;
}

/* How far down the kernel goes. */
static uint64_t choose_move(const Elf64_Ehdr *e, uint64_t start, uint64_t end,
	const struct guest_mem *mem)
{
	bool can_move = e->e_entry == start && start % MOVE_ALIGN == 0 && start > MOVE_TO;
	bool is_tight = mem != NULL && end + ROOM > guest_mem_low(mem);
	return can_move && is_tight ? start - MOVE_TO : 0;
}

int boot_elf_load(int fd, uint64_t size, const uint8_t head[BOOT_HEAD], const struct guest_mem *mem,
	struct boot_kernel *ret_kernel, struct text *ret_what, struct err *err)
{
	Elf64_Ehdr e;
	Elf64_Phdr segments[SEGMENTS_MAX];
	memcpy(&e, head, sizeof(e));
	if (size < sizeof(e) || !is_ours(&e))
		return -ENOEXEC;
	struct boot_kernel kernel = {
		.entry_kind = BOOT_LONG_MODE,
		.entry = e.e_entry,
		.initrd_max = INITRD_MAX,
		.cmdline_max = CMDLINE_MAX,
	};
	uint64_t start = 0;
	int r = read_segments(fd, size, &e, segments, err);
	if (r == 0)
		r = measure(segments, e.e_phnum, size, &start, &kernel.end, err);
	if (r < 0)
		return r;
	uint64_t move = choose_move(&e, start, kernel.end, mem);
	kernel.entry -= move;
	kernel.end -= move;
	for (size_t i = 0; r == 0 && i < e.e_phnum; i++) {
		if (segments[i].p_type == PT_NOTE && move == 0)
			r = read_notes(fd, size, &segments[i], &kernel, err);
		else if (is_loaded(&segments[i]) && mem != NULL)
			r = boot_copy(fd, segments[i].p_offset, segments[i].p_filesz, mem,
				segments[i].p_paddr - move, segments[i].p_memsz, err);
	}
	if (r < 0)
		return r;
	if (kernel.entry < LAYOUT_HIGH || kernel.entry >= kernel.end)
		return err_set(err, ERR_INVALID,
			"the ELF kernel starts at %#jx, where nothing of it is",
			(uintmax_t)kernel.entry);
	text_puts(ret_what,
		kernel.entry_kind == BOOT_PROTECTED ? "ELF vmlinux, PVH" : "ELF vmlinux");
	*ret_kernel = kernel;
	return 0;
}

int boot_write_start_info(const struct boot_initrd *initrd, const struct guest_mem *mem,
	struct err *err)
{
	struct {
		struct start_info info;
		struct start_module module;
		struct start_range ranges[BOOT_RANGES];
	} start = {
		.info = { .magic = START_INFO_MAGIC,
			.version = 1,
			.nr_modules = initrd->size > 0 ? 1 : 0,
			.cmdline = LAYOUT_CMDLINE,
			.rsdp = LAYOUT_ACPI },
		.module = { .address = initrd->base, .size = initrd->size },
	};
	struct boot_range ranges[BOOT_RANGES];
	size_t n = boot_memory_map(mem, ranges);
	for (size_t i = 0; i < n; i++)
		start.ranges[i] = (struct start_range){
			.address = ranges[i].base,
			.size = ranges[i].size,
			.type = ranges[i].type,
		};
	start.info.modules = LAYOUT_START_INFO + sizeof(start.info);
	start.info.memory_map = start.info.modules + sizeof(start.module);
	start.info.memory_map_entries = (uint32_t)n;
	int r = guest_mem_write(mem, LAYOUT_START_INFO, &start, sizeof(start));
	return r < 0 ? err_wrap(err, r, "place the start info") : 0;
}
