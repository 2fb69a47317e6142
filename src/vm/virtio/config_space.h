/* config_space - a guest's read of a device's configuration: any offset, any length; what is beyond
 * the structure is zero (virtio 1.2, 2.5). */
#pragma once

#include <stdint.h>
#include <string.h>

static inline void config_space_read(const void *config, uint32_t size, uint32_t offset,
	void *bytes, uint32_t len)
{
	memset(bytes, 0, len);
	if (offset < size)
		memcpy(bytes, (const uint8_t *)config + offset,
			len < size - offset ? len : size - offset);
}
