/* guest_service - further processes and signals that commands ask for (GUEST_PORT_SERVICE). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/loop.h"
#include "guest/guest.h"
#include "guest/guest_order.h"
#include "guest/guest_workload.h"

struct guest_service;

/* All are borrowed and outlive the service. */
MUST_CHECK int guest_service_open(const struct guest_platform *platform, struct loop *loop,
	const struct guest_order *order, const struct guest_workload *workload,
	struct guest_service **ret_service, struct err *err);
void guest_service_free(struct guest_service *service);
DEFINE_AUTO(guest_service)
/* A child has ended; false: none of the service's. */
bool guest_service_reaped(struct guest_service *service, pid_t pid, int status);
