#include "test.h"

#include "vm/layout.h"
#include "vm/platform/acpi.h"

static struct guest_mem *tables_of(const struct acpi_machine *machine)
{
	struct guest_mem *mem = NULL;
	struct err err = { 0 };
	assert_int_equal(guest_mem_new(4 << 20, false, &mem, &err), 0);
	assert_int_equal(acpi_write(machine, mem, &err), 0);
	return mem;
}

static uint64_t get(const struct guest_mem *mem, uint64_t address, unsigned len)
{
	uint64_t value = 0;
	assert_int_equal(guest_mem_read(mem, address, &value, len), 0);
	return value;
}

static uint8_t sum(const struct guest_mem *mem, uint64_t address, uint64_t len)
{
	const uint8_t *bytes = guest_mem_at(mem, address, len);
	uint8_t total = 0;
	assert_non_null(bytes);
	for (uint64_t i = 0; i < len; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

/* The address of the table with this signature that the XSDT lists, or of the DSDT. */
static uint64_t find(const struct guest_mem *mem, const char *signature)
{
	uint64_t xsdt = get(mem, LAYOUT_ACPI + 24, 8);
	uint64_t entries = (get(mem, xsdt + 4, 4) - 36) / 8;
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t table = get(mem, xsdt + 36 + i * 8, 8);
		const char *name = guest_mem_at(mem, table, 4);
		assert_int_equal(sum(mem, table, get(mem, table + 4, 4)), 0);
		if (memcmp(name, signature, 4) == 0)
			return table;
	}
	fail_msg("no table %s", signature);
	return 0;
}

static void the_root_pointer_has_right_sums(void **state)
{
	(void)state;
	const struct acpi_machine machine = { .cpus = 1 };
	AUTO(guest_mem) mem = tables_of(&machine);
	assert_memory_equal(guest_mem_at(mem, LAYOUT_ACPI, 8), "RSD PTR ", 8);
	assert_int_equal(sum(mem, LAYOUT_ACPI, 20), 0);
	assert_int_equal(sum(mem, LAYOUT_ACPI, 36), 0);
	uint64_t xsdt = get(mem, LAYOUT_ACPI + 24, 8);
	assert_int_equal(sum(mem, xsdt, get(mem, xsdt + 4, 4)), 0);
}

static void the_fadt_names_the_registers_of_power(void **state)
{
	(void)state;
	const struct acpi_machine machine = { .cpus = 1 };
	AUTO(guest_mem) mem = tables_of(&machine);
	uint64_t fadt = find(mem, "FACP");
	assert_int_equal(get(mem, fadt + 4, 4), 276);
	assert_int_equal(get(mem, fadt + 112, 4) & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
	assert_int_equal(get(mem, fadt + 116, 1), 1);
	assert_int_equal(get(mem, fadt + 120, 8), LAYOUT_RESET_PORT);
	assert_int_equal(get(mem, fadt + 128, 1), LAYOUT_RESET_VALUE);
	assert_int_equal(get(mem, fadt + 248, 8), LAYOUT_SLEEP_CONTROL_PORT);
	assert_int_equal(get(mem, fadt + 260, 8), LAYOUT_SLEEP_STATUS_PORT);
	uint64_t dsdt = get(mem, fadt + 140, 8);
	assert_memory_equal(guest_mem_at(mem, dsdt, 4), "DSDT", 4);
	assert_int_equal(sum(mem, dsdt, get(mem, dsdt + 4, 4)), 0);
}

static void the_madt_has_every_processor(void **state)
{
	(void)state;
	const struct acpi_machine machine = { .cpus = 254 };
	AUTO(guest_mem) mem = tables_of(&machine);
	uint64_t madt = find(mem, "APIC");
	uint64_t at = madt + 44, end = madt + get(mem, madt + 4, 4);
	unsigned cpus = 0, ioapics = 0;
	while (at < end) {
		if (get(mem, at, 1) == 0) {
			assert_int_equal(get(mem, at + 3, 1), cpus);
			assert_int_equal(get(mem, at + 4, 4), 1);
			cpus++;
		}
		ioapics += get(mem, at, 1) == 1;
		assert_true(get(mem, at + 1, 1) >= 2);
		at += get(mem, at + 1, 1);
	}
	assert_int_equal(at, end);
	assert_int_equal(cpus, 254);
	assert_int_equal(ioapics, 1);
}

static void the_mcfg_has_one_bus(void **state)
{
	(void)state;
	const struct acpi_machine machine = { .cpus = 1 };
	AUTO(guest_mem) mem = tables_of(&machine);
	uint64_t mcfg = find(mem, "MCFG");
	assert_int_equal(get(mem, mcfg + 4, 4), 60);
	assert_int_equal(get(mem, mcfg + 44, 8), 0xe0000000);
	assert_int_equal(get(mem, mcfg + 54, 2), 0);
}

static bool dsdt_has(const struct guest_mem *mem, const void *bytes, size_t len)
{
	uint64_t dsdt = get(mem, find(mem, "FACP") + 140, 8), size = get(mem, dsdt + 4, 4);
	return memmem(guest_mem_at(mem, dsdt, size), size, bytes, len) != NULL;
}

static void the_large_window_is_there_only_where_it_fits(void **state)
{
	(void)state;
	const uint64_t base = UINT64_C(0x3480000000);
	const struct acpi_machine with = { .cpus = 1, .window_base = base, .window_size = 1 << 30 };
	const struct acpi_machine without = { .cpus = 1 };
	AUTO(guest_mem) mem = tables_of(&with);
	AUTO(guest_mem) other = tables_of(&without);
	assert_true(dsdt_has(mem, &base, sizeof(base)));
	assert_false(dsdt_has(other, &base, sizeof(base)));
	assert_true(dsdt_has(other, "PCI0", 4) && dsdt_has(other, "_S5_", 4));
}

static void tables_that_find_no_memory_are_an_error(void **state)
{
	(void)state;
	struct guest_mem *mem = NULL;
	struct err err = { 0 };
	const struct acpi_machine machine = { .cpus = 1 };
	assert_int_equal(guest_mem_new(4096, false, &mem, &err), 0);
	assert_error(acpi_write(&machine, mem, &err), ERR_SYSTEM, "ACPI");
	guest_mem_free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_pointer_has_right_sums),
		cmocka_unit_test(the_fadt_names_the_registers_of_power),
		cmocka_unit_test(the_madt_has_every_processor),
		cmocka_unit_test(the_mcfg_has_one_bus),
		cmocka_unit_test(the_large_window_is_there_only_where_it_fits),
		cmocka_unit_test(tables_that_find_no_memory_are_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
