#include "test.h"

#include "vm/platform/aml.h"

#define assert_bytes(text, ...)                                         \
	do {                                                            \
		static const uint8_t want_[] = { __VA_ARGS__ };         \
		assert_int_equal((text).len, sizeof(want_));            \
		assert_memory_equal((text).data, want_, sizeof(want_)); \
	} while (0)

static void integers_take_the_shortest_form(void **state)
{
	(void)state;
	AUTO_DONE(text) aml = { 0 };
	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 0xff);
	aml_integer(&aml, 0x100);
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, UINT64_C(0x123456789a));
	assert_bytes(aml, 0, 1, 0x0a, 0xff, 0x0b, 0x00, 0x01, 0x0c, 0, 0, 1, 0, 0x0e, 0x9a, 0x78,
		0x56, 0x34, 0x12, 0, 0, 0);
}

static void an_eisa_id_is_packed(void **state)
{
	(void)state;
	AUTO_DONE(text) aml = { 0 };
	aml_name(&aml, "_HID");
	aml_eisa_id(&aml, "PNP0A08");
	/* As the compiler of ACPI's own makers packs it. */
	assert_bytes(aml, 0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x08);
}

static void lengths_count_themselves(void **state)
{
	(void)state;
	AUTO_DONE(text) aml = { 0 };
	size_t scope = aml_open_scope(&aml, "\\_SB_");
	size_t device = aml_open_device(&aml, "COM1");
	aml_close(&aml, device);
	aml_close(&aml, scope);
	/* Scope: 4 length bytes, 5 of its name, 10 of the device: 19 = 3 + 1 * 16. */
	assert_bytes(aml, 0x10, 0xc3, 1, 0, 0, '\\', '_', 'S', 'B', '_', 0x5b, 0x82, 0xc8, 0, 0, 0,
		'C', 'O', 'M', '1');
}

static void resources_are_a_buffer_with_an_end(void **state)
{
	(void)state;
	AUTO_DONE(text) aml = { 0 };
	AUTO_DONE(text) list = { 0 };
	aml_resource_io(&list, 0x3f8, 8);
	aml_resource_irq(&list, 4);
	aml_resources(&aml, &list);
	assert_bytes(aml, 0x11, 0xc3, 1, 0, 0, 0x0a, 13, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x22,
		0x10, 0, 0x79, 0);
}

static void windows_have_a_fixed_range(void **state)
{
	(void)state;
	AUTO_DONE(text) list = { 0 };
	aml_resource_bus(&list, 0, 0);
	assert_bytes(list, 0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	text_clear(&list);
	aml_resource_memory_window(&list, UINT64_C(0x100000000), UINT64_C(0x40000000));
	assert_bytes(list, 0x8a, 43, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0, /* granularity */
		0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x3f, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0x40, 0, 0, 0, 0);
}

static void a_package_counts_its_elements(void **state)
{
	(void)state;
	AUTO_DONE(text) aml = { 0 };
	size_t package = aml_open_package(&aml, 2);
	aml_integer(&aml, 5);
	aml_integer(&aml, 0);
	aml_close(&aml, package);
	assert_bytes(aml, 0x12, 0xc8, 0, 0, 0, 2, 0x0a, 5, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_take_the_shortest_form),
		cmocka_unit_test(an_eisa_id_is_packed),
		cmocka_unit_test(lengths_count_themselves),
		cmocka_unit_test(resources_are_a_buffer_with_an_end),
		cmocka_unit_test(windows_have_a_fixed_range),
		cmocka_unit_test(a_package_counts_its_elements),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
