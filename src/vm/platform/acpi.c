/* acpi - RSDP, XSDT, FADT, MADT, MCFG and DSDT, one behind the other (ACPI 6.4, chapter 5; PCI
 * Firmware Specification 3.3, 4.1 for MCFG).
 *
 * The machine is hardware-reduced (4.1): no timer, no SCI, no legacy controllers but those that KVM
 * brings along.  It has a sleep control register to switch it off and a reset register; both are
 * ports, see power.c. */
#include "vm/platform/acpi.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vm/layout.h"
#include "vm/pci/pci.h"
#include "vm/platform/aml.h"

struct table_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));
static_assert(sizeof(struct table_header) == 36, "ACPI 6.4, table 5.28");

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct rsdp) == 36, "ACPI 6.4, table 5.27");

struct address { /* generic address structure, 5.2.3.2 */
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

struct fadt {
	struct table_header header;
	uint8_t unused_a[109 - 36]; /* fixed hardware: none of it is there */
	uint16_t boot_flags;
	uint8_t reserved_a;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor_version;
	uint64_t facs;
	uint64_t dsdt;
	uint8_t unused_b[244 - 148]; /* fixed hardware again */
	struct address sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));
static_assert(offsetof(struct fadt, boot_flags) == 109 && offsetof(struct fadt, dsdt) == 140 &&
		      offsetof(struct fadt, sleep_control) == 244 && sizeof(struct fadt) == 276,
	"ACPI 6.4, table 5.33");

enum {
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_RTC = 1 << 5,
	FLAG_WBINVD = 1 << 0,
	FLAG_RESET_REGISTER = 1 << 10,
	FLAG_HARDWARE_REDUCED = 1 << 20,
	SPACE_IO = 1,
	ACCESS_BYTE = 1
};

struct madt {
	struct table_header header;
	uint32_t lapic, flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, uid, id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, first_interrupt;
} __attribute__((packed));

struct madt_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t pin;
} __attribute__((packed));

struct mcfg {
	struct table_header header;
	uint64_t reserved;
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved_a;
} __attribute__((packed));

static uint8_t checksum(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint8_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + at[i]);
	return (uint8_t)-sum;
}

static struct table_header header(const char *signature, uint8_t revision)
{
	struct table_header h = { .revision = revision, .oem_revision = 1, .creator_revision = 1 };
	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, "MOAT  ", sizeof(h.oem_id));
	memcpy(h.oem_table_id, "MOATVM  ", sizeof(h.oem_table_id));
	memcpy(h.creator_id, "MOAT", sizeof(h.creator_id));
	return h;
}

/* Tables in the order in which they were added. */
struct tables {
	struct text bytes;
	uint64_t addresses[8]; /* of what the XSDT lists */
	unsigned len;
};

/* table begins with its header, whose length and sum are set here.  Returns its guest address. */
static uint64_t add_table(struct tables *tables, struct text *table)
{
	struct table_header h;
	memcpy(&h, table->data, sizeof(h));
	h.length = (uint32_t)table->len;
	memcpy(table->data, &h, sizeof(h));
	h.checksum = checksum(table->data, table->len);
	memcpy(table->data, &h, sizeof(h));

	while (tables->bytes.len % 16 != 0)
		text_add(&tables->bytes, "", 1);
	uint64_t address = LAYOUT_ACPI + tables->bytes.len;
	text_add(&tables->bytes, table->data, table->len);
	return address;
}

static void list_table(struct tables *tables, struct text *table)
{
	tables->addresses[tables->len++] = add_table(tables, table);
}

static void add_struct(struct text *text, const void *bytes, size_t len)
{
	text_add(text, bytes, len);
}
#define ADD(text, value) add_struct((text), &(value), sizeof(value))

/* ---- DSDT ---- */

static void add_bridge(struct text *aml, const struct acpi_machine *machine)
{
	AUTO_DONE(text) windows = { 0 };
	aml_resource_bus(&windows, 0, 0);
	aml_resource_io(&windows, 0xcf8, 8);
	aml_resource_io_window(&windows, 0x1000, 0xffff);
	aml_resource_memory_window(&windows, PCI_MMIO32_BASE, PCI_MMIO32_SIZE);
	if (machine->window_size > 0)
		aml_resource_memory_window(&windows, machine->window_base, machine->window_size);

	size_t device = aml_open_device(aml, "PCI0");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0A08");
	aml_name(aml, "_CID");
	aml_eisa_id(aml, "PNP0A03");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_SEG");
	aml_integer(aml, 0);
	aml_name(aml, "_BBN");
	aml_integer(aml, 0);
	aml_name(aml, "_CBA");
	aml_integer(aml, PCI_ECAM_BASE);
	aml_name(aml, "_CRS");
	aml_resources(aml, &windows);
	aml_close(aml, device);
}

/* The configuration space's own memory, which no device may get. */
static void add_reserved(struct text *aml)
{
	AUTO_DONE(text) resources = { 0 };
	aml_resource_memory(&resources, (uint32_t)PCI_ECAM_BASE, (uint32_t)PCI_ECAM_SIZE);
	size_t device = aml_open_device(aml, "MRES");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0C02");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_CRS");
	aml_resources(aml, &resources);
	aml_close(aml, device);
}

static void add_serial(struct text *aml)
{
	AUTO_DONE(text) resources = { 0 };
	aml_resource_io(&resources, LAYOUT_SERIAL_PORT, 8);
	aml_resource_irq(&resources, LAYOUT_SERIAL_PIN);
	size_t device = aml_open_device(aml, "COM1");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0501");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_DDN");
	aml_string(aml, "COM1");
	aml_name(aml, "_CRS");
	aml_resources(aml, &resources);
	aml_close(aml, device);
}

static uint64_t add_dsdt(struct tables *tables, const struct acpi_machine *machine)
{
	AUTO_DONE(text) aml = { 0 };
	const struct table_header h = header("DSDT", 2);
	ADD(&aml, h);
	size_t scope = aml_open_scope(&aml, "\\_SB_");
	add_bridge(&aml, machine);
	add_reserved(&aml);
	add_serial(&aml);
	aml_close(&aml, scope);
	aml_name(&aml, "_S5_");
	size_t package = aml_open_package(&aml, 2);
	aml_integer(&aml, LAYOUT_SLEEP_OFF);
	aml_integer(&aml, 0);
	aml_close(&aml, package);
	return add_table(tables, &aml);
}

/* ---- the others ---- */

static struct address port_address(uint64_t port)
{
	return (struct address){
		.space = SPACE_IO,
		.bits = 8,
		.access = ACCESS_BYTE,
		.address = port,
	};
}

static void add_fadt(struct tables *tables, uint64_t dsdt)
{
	struct fadt fadt = {
		.header = header("FACP", 6),
		.boot_flags = BOOT_NO_VGA | BOOT_NO_RTC,
		.flags = FLAG_WBINVD | FLAG_RESET_REGISTER | FLAG_HARDWARE_REDUCED,
		.reset = port_address(LAYOUT_RESET_PORT),
		.reset_value = LAYOUT_RESET_VALUE,
		.minor_version = 4,
		.dsdt = dsdt,
		.sleep_control = port_address(LAYOUT_SLEEP_CONTROL_PORT),
		.sleep_status = port_address(LAYOUT_SLEEP_STATUS_PORT),
		.hypervisor = { 'M', 'O', 'A', 'T' },
	};
	AUTO_DONE(text) table = { 0 };
	ADD(&table, fadt);
	list_table(tables, &table);
}

static void add_madt(struct tables *tables, unsigned cpus)
{
	enum { LAPIC = 0, IOAPIC = 1, LAPIC_NMI = 4, ENABLED = 1, ALL_CPUS = 0xff };
	AUTO_DONE(text) table = { 0 };
	const struct madt madt = { .header = header("APIC", 5), .lapic = LAYOUT_LAPIC };
	ADD(&table, madt);
	for (unsigned i = 0; i < cpus; i++) {
		const struct madt_lapic lapic = {
			.type = LAPIC,
			.length = sizeof(lapic),
			.uid = (uint8_t)i,
			.id = (uint8_t)i,
			.flags = ENABLED,
		};
		ADD(&table, lapic);
	}
	const struct madt_ioapic ioapic = {
		.type = IOAPIC,
		.length = sizeof(ioapic),
		.address = LAYOUT_IOAPIC,
	};
	ADD(&table, ioapic);
	const struct madt_nmi nmi = {
		.type = LAPIC_NMI,
		.length = sizeof(nmi),
		.uid = ALL_CPUS,
		.pin = 1,
	};
	ADD(&table, nmi);
	list_table(tables, &table);
}

static void add_mcfg(struct tables *tables)
{
	const struct mcfg mcfg = { .header = header("MCFG", 1), .base = PCI_ECAM_BASE };
	AUTO_DONE(text) table = { 0 };
	ADD(&table, mcfg);
	list_table(tables, &table);
}

static uint64_t add_xsdt(struct tables *tables)
{
	const struct table_header h = header("XSDT", 1);
	AUTO_DONE(text) table = { 0 };
	ADD(&table, h);
	for (unsigned i = 0; i < tables->len; i++)
		ADD(&table, tables->addresses[i]);
	return add_table(tables, &table);
}

static void set_rsdp(struct tables *tables, uint64_t xsdt)
{
	struct rsdp rsdp = {
		.signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.oem_id = { 'M', 'O', 'A', 'T', ' ', ' ' },
		.revision = 2,
		.length = sizeof(rsdp),
		.xsdt = xsdt,
	};
	rsdp.checksum = checksum(&rsdp, offsetof(struct rsdp, length));
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(tables->bytes.data, &rsdp, sizeof(rsdp));
}

int acpi_write(const struct acpi_machine *machine, const struct guest_mem *mem, struct err *err)
{
	struct tables tables = { 0 };
	const struct rsdp nothing_yet = { 0 };
	ADD(&tables.bytes, nothing_yet);
	add_fadt(&tables, add_dsdt(&tables, machine));
	add_madt(&tables, machine->cpus);
	add_mcfg(&tables);
	set_rsdp(&tables, add_xsdt(&tables));

	int r = tables.bytes.len <= LAYOUT_RESET_VECTOR - LAYOUT_ACPI
			? guest_mem_write(mem, LAYOUT_ACPI, tables.bytes.data, tables.bytes.len)
			: -EFAULT;
	text_done(&tables.bytes);
	return r < 0 ? err_wrap(err, r, "place the ACPI tables") : 0;
}
