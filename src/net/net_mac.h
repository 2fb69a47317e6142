/* net_mac - the Ethernet address that goes with an IPv4 address. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

/* 02:42 and the four bytes, as Docker does it: locally administered, and the same for the same
 * address, so that neighbours' ARP entries stay right when an address is used again. */
void net_mac_of(struct in_addr address, uint8_t mac[6]);
