#include "test.h"

#include <elf.h>

#include "vm/vm.h"

#define INFO "license=GPL\0depends=virtio,virtio_ring\0vermagic=6.1.0 SMP \0"
#define NAMES "\0.shstrtab\0.modinfo\0"

/* header | section headers (null, names, modinfo) | names | modinfo */
struct module {
	Elf64_Ehdr header;
	Elf64_Shdr sections[3];
	char names[sizeof(NAMES) - 1];
	char info[sizeof(INFO) - 1];
};

static struct module good(void)
{
	struct module m = {
		.header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			.e_type = ET_REL,
			.e_machine = EM_X86_64,
			.e_shoff = offsetof(struct module, sections),
			.e_shentsize = sizeof(Elf64_Shdr),
			.e_shnum = 3,
			.e_shstrndx = 1 },
		.sections = { { 0 },
			{ .sh_name = 1,
				.sh_type = SHT_STRTAB,
				.sh_offset = offsetof(struct module, names),
				.sh_size = sizeof(NAMES) - 1 },
			{ .sh_name = 11,
				.sh_type = SHT_PROGBITS,
				.sh_offset = offsetof(struct module, info),
				.sh_size = sizeof(INFO) - 1 } },
	};
	memcpy(m.names, NAMES, sizeof(m.names));
	memcpy(m.info, INFO, sizeof(m.info));
	return m;
}

static int read_module(const struct module *m, size_t len, struct vm_module *ret, struct err *err)
{
	/* Exact size, so that the sanitizer sees a read beyond the end. */
	AUTO_FREE char *bytes = malloc(len > 0 ? len : 1);
	memcpy(bytes, m, len);
	int r = vm_module_read((struct view){ bytes, len }, ret, err);
	if (r == 0) {
		assert_true(ret->body_len <= len);
		assert_true(view_is(ret->depends, "virtio,virtio_ring"));
		assert_true(view_is(ret->vermagic, "6.1.0 SMP "));
	}
	return r;
}

static void module_says_what_it_needs(void **state)
{
	(void)state;
	struct module m = good();
	struct vm_module module;
	struct err err = { 0 };
	assert_int_equal(read_module(&m, sizeof(m), &module, &err), 0);
}

static void module_cut_anywhere_is_damaged(void **state)
{
	(void)state;
	struct module m = good();
	for (size_t len = 0; len < offsetof(struct module, info) + sizeof(m.info); len++) {
		struct vm_module module;
		struct err err = { 0 };
		assert_error(read_module(&m, len, &module, &err), ERR_DAMAGED,
			"not a kernel module");
	}
}

static void module_whose_numbers_wrap_is_damaged(void **state)
{
	(void)state;
	struct vm_module module;
	struct err err = { 0 };
	struct module m = good();
	m.header.e_shoff = UINT64_MAX - 10;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "outside");
	m = good();
	m.header.e_shstrndx = 0xffff;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "section names");
	m = good();
	m.header.e_shnum = 0xffff;
	m.sections[2].sh_name = 0xfffffff0;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "outside");
	m = good();
	m.sections[2].sh_offset = UINT64_MAX;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, ".modinfo");
	m = good();
	m.sections[2].sh_size = UINT64_MAX;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, ".modinfo");
	m = good();
	m.sections[2].sh_type = SHT_NOBITS;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, ".modinfo");
	m = good();
	m.sections[1].sh_size = 15; /* ends within ".modinfo" */
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "no .modinfo");
}

static void module_of_another_machine_or_without_words_is_refused(void **state)
{
	(void)state;
	struct vm_module module;
	struct err err = { 0 };
	struct module m = good();
	m.header.e_machine = EM_AARCH64;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "no ELF object");
	m = good();
	m.header.e_type = ET_EXEC;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "no ELF object");
	m = good();
	m.header.e_shentsize = 1;
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "another size");
	m = good();
	memset(m.info, 0, sizeof(m.info));
	assert_error(read_module(&m, sizeof(m), &module, &err), ERR_DAMAGED, "does not say");
}

/* Behind the module: a signature of 3 bytes, what it is, and the marker. */
#define SIGNED "sig\x01\x02\x03\0\0\0\0\0\0\0\0\x03~Module signature appended~\n"

static size_t body_of_signed(const char *signature, size_t signature_len)
{
	struct signed_module {
		struct module m;
		char signature[sizeof(SIGNED)];
	} m = { .m = good() };
	struct vm_module module;
	struct err err = { 0 };
	memcpy(m.signature, signature, signature_len);
	assert_int_equal(vm_module_read((struct view){ (const char *)&m,
						sizeof(m.m) + signature_len },
				 &module, &err),
		0);
	return module.body_len;
}

static void a_signature_is_no_part_of_the_body(void **state)
{
	(void)state;
	char bytes[sizeof(SIGNED)] = SIGNED;
	const size_t len = sizeof(SIGNED) - 1, body = sizeof(struct module);
	assert_int_equal(body_of_signed(bytes, len), body);
	assert_int_equal(body_of_signed(bytes, 0), body);
	assert_int_equal(body_of_signed(bytes, len - 1), body + len - 1);
	bytes[11] = 1; /* longer than all there is */
	assert_int_equal(body_of_signed(bytes, len), body + len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(module_says_what_it_needs),
		cmocka_unit_test(module_cut_anywhere_is_damaged),
		cmocka_unit_test(module_whose_numbers_wrap_is_damaged),
		cmocka_unit_test(a_signature_is_no_part_of_the_body),
		cmocka_unit_test(module_of_another_machine_or_without_words_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
