/* kernel_module - reads a module's own description.  The ELF-64 specification, "Sections", and
 * Linux's include/linux/moduleparam.h: .modinfo holds "key=value" strings, each with its zero byte;
 * Documentation/admin-guide/module-signing.rst: a signature, its struct module_signature and a
 * marker stand behind the object.
 *
 * Every number of the file is checked against its size before it is used; the number of sections
 * bounds the only loop over them. */
#include <assert.h>
#include <elf.h>
#include <endian.h>
#include <string.h>

#include "vm/vm.h"

static int damaged(const char *what, struct err *err)
{
	return err_set(err, ERR_DAMAGED, "not a kernel module for x86-64: %s", what);
}

static bool is_inside(uint64_t offset, uint64_t size, uint64_t whole)
{
	uint64_t end;
	return !__builtin_add_overflow(offset, size, &end) && end <= whole;
}

/* Copies: the bytes need not be aligned. */
static bool section_read(struct view bytes, const Elf64_Ehdr *header, size_t index,
	Elf64_Shdr *ret_section)
{
	uint64_t offset;
	if (__builtin_add_overflow(header->e_shoff, index * sizeof(*ret_section), &offset) ||
		!is_inside(offset, sizeof(*ret_section), bytes.len))
		return false;
	memcpy(ret_section, bytes.data + offset, sizeof(*ret_section));
	return true;
}

static bool section_bytes(struct view bytes, const Elf64_Shdr *section, struct view *ret_part)
{
	if (section->sh_type == SHT_NOBITS ||
		!is_inside(section->sh_offset, section->sh_size, bytes.len))
		return false;
	*ret_part = (struct view){ bytes.data + section->sh_offset, section->sh_size };
	return true;
}

/* Whether the zero-terminated name at offset of the string table is this one. */
static bool name_is(struct view names, uint32_t offset, const char *name)
{
	size_t len = strlen(name) + 1;
	return is_inside(offset, len, names.len) && memcmp(names.data + offset, name, len) == 0;
}

static int find_modinfo(struct view bytes, struct view *ret_modinfo, struct err *err)
{
	Elf64_Ehdr header;
	Elf64_Shdr section;
	struct view names;
	if (bytes.len < sizeof(header))
		return damaged("it is too short", err);
	memcpy(&header, bytes.data, sizeof(header));
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
		header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
		header.e_type != ET_REL || header.e_machine != EM_X86_64)
		return damaged("no ELF object of that kind", err);
	if (header.e_shentsize != sizeof(section))
		return damaged("its section headers have another size", err);
	if (!section_read(bytes, &header, header.e_shstrndx, &section) ||
		!section_bytes(bytes, &section, &names))
		return damaged("its section names are outside of it", err);
	for (size_t i = 0; i < header.e_shnum; i++) {
		if (!section_read(bytes, &header, i, &section))
			return damaged("its section headers are outside of it", err);
		if (!name_is(names, section.sh_name, ".modinfo"))
			continue;
		if (!section_bytes(bytes, &section, ret_modinfo))
			return damaged("its .modinfo is outside of it", err);
		return 0;
	}
	return damaged("it has no .modinfo", err);
}

/* include/linux/module_signature.h */
struct signature_end {
	uint8_t algorithm, hash, type, signer_len, key_len, unused[3];
	uint32_t len_be;
	char marker[28];
};
#define SIGNATURE_MARKER "~Module signature appended~\n"

/* A damaged signature is none: the kernel will say so. */
static size_t body_len(struct view bytes)
{
	struct signature_end end;
	static_assert(sizeof(end) == 40, "as the kernel has it");
	if (bytes.len < sizeof(end))
		return bytes.len;
	memcpy(&end, bytes.data + bytes.len - sizeof(end), sizeof(end));
	size_t len = be32toh(end.len_be), room = bytes.len - sizeof(end);
	if (memcmp(end.marker, SIGNATURE_MARKER, sizeof(end.marker)) != 0 || len >= room)
		return bytes.len;
	return room - len;
}

int vm_module_read(struct view bytes, struct vm_module *ret_module, struct err *err)
{
	struct view rest;
	int r = find_modinfo(bytes, &rest, err);
	if (r < 0)
		return r;
	struct vm_module module = { .body_len = body_len(bytes) };
	bool has_depends = false;
	while (rest.data != NULL) {
		struct view value = view_cut(&rest, '\0');
		struct view key = view_cut(&value, '=');
		if (view_is(key, "depends") && value.data != NULL) {
			module.depends = value;
			has_depends = true;
		} else if (view_is(key, "vermagic") && value.data != NULL) {
			module.vermagic = value;
		}
	}
	if (!has_depends || module.vermagic.len == 0)
		return damaged("it does not say what it needs", err);
	*ret_module = module;
	return 0;
}
