/* layout - where things are in a machine: guest memory that the loader fills, and I/O ports. */
#pragma once

#include <stdint.h>

/* What the loader puts below 1 MiB.  A kernel is done with it (but for the ACPI tables) before it
 * uses that memory for something else. */
#define LAYOUT_GDT UINT64_C(0x6000)
#define LAYOUT_BOOT_PARAMS UINT64_C(0x7000)
#define LAYOUT_START_INFO UINT64_C(0x8000)  /* PVH: start info, module, memory map */
#define LAYOUT_PAGE_TABLES UINT64_C(0x9000) /* six pages: the first 4 GiB */
#define LAYOUT_STACK UINT64_C(0x10000)      /* grows down */
#define LAYOUT_CMDLINE UINT64_C(0x20000)
#define LAYOUT_CMDLINE_MAX UINT64_C(0x10000)
#define LAYOUT_LOW_END UINT64_C(0xa0000)
#define LAYOUT_ACPI UINT64_C(0xe0000) /* where a PC has them; the RSDP first */
#define LAYOUT_ACPI_SIZE UINT64_C(0x20000)
#define LAYOUT_RESET_VECTOR UINT64_C(0xffff0) /* the last 16 bytes of that */
#define LAYOUT_HIGH UINT64_C(0x100000) /* kernels from here on */

#define LAYOUT_IOAPIC UINT32_C(0xfec00000)
#define LAYOUT_LAPIC UINT32_C(0xfee00000)

/* Ports (and pins of the IOAPIC). */
#define LAYOUT_SERIAL_PORT 0x3f8
#define LAYOUT_SERIAL_PIN 4
#define LAYOUT_SLEEP_CONTROL_PORT 0x600
#define LAYOUT_SLEEP_STATUS_PORT 0x601
#define LAYOUT_RESET_PORT 0x602
#define LAYOUT_RESET_VALUE 1
#define LAYOUT_SLEEP_OFF 5 /* SLP_TYP of S5 */
