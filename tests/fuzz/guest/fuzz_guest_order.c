/* START and EXEC: the first line of the input is the one, the rest the other. */
#include "guest/guest_order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view exec = { (const char *)data, size };
	struct view start = view_cut(&exec, '\n');
	struct guest_order order;
	struct err err = { 0 };
	if (guest_order_parse(start, &order, &err) < 0)
		return 0;
	guest_order_bind(&order, "/run/x", "/etc/hosts");
	struct guest_exec_order request;
	if (guest_exec_order_parse(&order, exec, &request, &err) == 0)
		guest_exec_order_done(&request);
	guest_order_done(&order);
	return 0;
}
