/* fuzz_serial - any sequence of accesses to the serial port and to the ports of power, two bytes an
 * access: its register and direction, and the value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vm/platform/power.h"
#include "vm/platform/serial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The level is told only when it changes. */
static void on_irq(void *context, bool level)
{
	bool *last = context;
	if (*last == level)
		abort();
	*last = level;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool level = false;
	char panic[SERIAL_PANIC_MAX];
	AUTO(serial) serial = serial_new(-1, on_irq, &level);
	for (size_t i = 0; i + 1 < size; i += 2) {
		if ((data[i] & 0x80) != 0)
			(void)serial_read(serial, data[i] & 0x1f);
		else if ((data[i] & 0x40) != 0)
			(void)power_write((uint16_t)(data[i] << 8 | data[i + 1]), data[i + 1]);
		else
			serial_write(serial, data[i] & 0x1f, data[i + 1]);
	}
	serial_panic(serial, panic);
	if (memchr(panic, 0, sizeof(panic)) == NULL)
		abort();
	return 0;
}
