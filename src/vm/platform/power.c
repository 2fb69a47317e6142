/* power - see power.h.  Four registers ask for the same two things, and a guest uses the one it
 * knows:
 *
 *   sleep control  ACPI 6.4, 4.8.3.7: type in bits 2 to 4, enable in bit 5
 *   reset          the FADT's, 4.8.3.6
 *   0xcf9          the reset register of PC chipsets: bit 2 resets, bit 1 says how thoroughly
 *   0x64           the keyboard controller's command 0xfe pulses the processor's reset line
 *
 * There is no keyboard controller beyond that: its status reads as all ones, which Linux takes for
 * none. */
#include "vm/platform/power.h"

#include "vm/layout.h"

enum {
	CHIPSET_PORT = 0xcf9,
	CHIPSET_RESET = 1 << 2,
	KEYBOARD_PORT = 0x64,
	KEYBOARD_PULSE_RESET = 0xfe,
	SLEEP_ENABLE = 1 << 5,
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 7
};

bool power_has_port(uint16_t port)
{
	return port == LAYOUT_SLEEP_CONTROL_PORT || port == LAYOUT_SLEEP_STATUS_PORT ||
	       port == LAYOUT_RESET_PORT || port == CHIPSET_PORT || port == KEYBOARD_PORT;
}

enum power_request power_write(uint16_t port, uint8_t value)
{
	switch (port) {
	case LAYOUT_SLEEP_CONTROL_PORT:
		return (value & SLEEP_ENABLE) != 0 && (value >> SLEEP_TYPE_SHIFT &
							      SLEEP_TYPE_MASK) == LAYOUT_SLEEP_OFF
			       ? POWER_OFF
			       : POWER_NONE;
	case LAYOUT_RESET_PORT: return value == LAYOUT_RESET_VALUE ? POWER_RESET : POWER_NONE;
	case CHIPSET_PORT: return (value & CHIPSET_RESET) != 0 ? POWER_RESET : POWER_NONE;
	case KEYBOARD_PORT: return value == KEYBOARD_PULSE_RESET ? POWER_RESET : POWER_NONE;
	default: return POWER_NONE;
	}
}

uint8_t power_read(uint16_t port)
{
	return port == KEYBOARD_PORT ? 0xff : 0;
}
