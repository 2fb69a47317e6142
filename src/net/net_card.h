/* net_card - "eth0" inside a network namespace; private to this folder. */
#pragma once

#include <netinet/in.h>

#include "base/cleanup.h"
#include "base/err.h"

#define NET_CARD_NAME "eth0"

/* Up, with this address and default route; three messages. */
MUST_CHECK int net_card_configure(struct in_addr address, unsigned prefix_len,
	struct in_addr gateway, int netns_fd, struct err *err);
