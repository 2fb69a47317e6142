/* net_mac - see net_mac.h. */
#include "net/net_mac.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "net/net.h"

void net_mac_of(struct in_addr address, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = 0x42;
	memcpy(mac + 2, &address.s_addr, 4);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

int net_mac_parse(const char *text, uint8_t ret_mac[6])
{
	uint8_t mac[6];
	struct view rest = view_of(text);
	for (int i = 0; i < 6; i++) {
		struct view byte = view_cut(&rest, ':');
		int high = byte.len == 2 ? hex_digit(byte.data[0]) : -1;
		int low = byte.len == 2 ? hex_digit(byte.data[1]) : -1;
		if (high < 0 || low < 0 || (i < 5) != (rest.data != NULL))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}
