/* net_mac - see net_mac.h. */
#include "net/net_mac.h"

#include <string.h>

void net_mac_of(struct in_addr address, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = 0x42;
	memcpy(mac + 2, &address.s_addr, 4);
}
