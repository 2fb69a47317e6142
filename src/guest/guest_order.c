/* guest_order - START and EXEC (wire/guest_msg.h) as values.  They come from the machine's owner
 * and are trusted with what they ask, not with their shape. */
#include "guest/guest_order.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"

void guest_order_done(struct guest_order *order)
{
	if (order->start != NULL)
		json_object_put(order->start);
	*order = (struct guest_order){ 0 };
}

static int parse_address(json *network, const char *key, struct in_addr *ret, struct err *err)
{
	const char *text = json_get_string(network, key);
	if (text == NULL || inet_pton(AF_INET, text, ret) != 1)
		return err_set(err, ERR_INVALID, "network.%s is no IPv4 address", key);
	return 0;
}

static int parse_network(json *network, struct guest_order *order, struct err *err)
{
	if (network == NULL)
		return 0;
	const char *mac = json_get_string(network, "mac");
	uint64_t prefix = json_get_uint(network, "prefix", 0);
	if (mac == NULL || net_mac_parse(mac, order->card.mac) < 0)
		return err_set(err, ERR_INVALID, "network.mac is no Ethernet address");
	if (prefix < 1 || prefix > 32)
		return err_set(err, ERR_INVALID, "network.prefix is not 1 to 32");
	order->card.prefix_len = (unsigned)prefix;
	order->has_network = true;
	int r = parse_address(network, "address", &order->card.address, err);
	return r < 0 ? r : parse_address(network, "gateway", &order->card.gateway, err);
}

static int parse_root(json *root, struct guest_order *order, struct err *err)
{
	order->metadata = json_get_object(root, "metadata");
	order->layers = json_get_array(root, "layers");
	order->upper = json_get_object(root, "upper");
	const char *upper = json_get_string(root, "upper");
	if (order->metadata == NULL)
		return err_set(err, ERR_INVALID, "root.metadata is no device");
	if (json_array_len(order->layers) > GUEST_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "root.layers has more than %d devices",
			GUEST_LAYERS_MAX);
	if (order->upper == NULL && (upper == NULL || strcmp(upper, "tmpfs") != 0))
		return err_set(err, ERR_INVALID, "root.upper is neither a device nor \"tmpfs\"");
	return 0;
}

int guest_order_parse(struct view bytes, struct guest_order *ret_order, struct err *err)
{
	AUTO_DONE(guest_order) order = { 0 };
	int r = json_parse(bytes, "START", &order.start, err);
	if (r < 0)
		return r;
	order.document = json_get_object(order.start, "document");
	if (order.document == NULL)
		return err_set(err, ERR_INVALID, "START has no document");
	order.files = json_get_object(order.start, "files");
	order.user = json_get_string(order.start, "user");
	order.clock_ns = json_get_int(order.start, "clock_ns", 0);
	order.is_interactive = json_get_bool(order.start, "interactive", false);
	order.has_terminal = json_get_bool(order.start, "tty", false);
	json *process = json_get_object(order.document, "process");
	if (process == NULL)
		return err_set(err, ERR_INVALID, "START's document has no process");
	/* The document's word is what the container's code goes by. */
	json_set_bool(process, "terminal", order.has_terminal);
	const char *hostname = json_get_string(order.start, "hostname");
	if (hostname != NULL)
		json_set_string(order.document, "hostname", hostname);
	r = parse_root(json_get_object(order.start, "root"), &order, err);
	if (r == 0)
		r = parse_network(json_get_object(order.start, "network"), &order, err);
	if (r < 0)
		return err_wrap(err, r, "START");
	*ret_order = order;
	order = (struct guest_order){ 0 };
	return 0;
}

void guest_order_bind(struct guest_order *order, const char *source, const char *path)
{
	json *mounts = json_get_array(order->document, "mounts");
	if (mounts == NULL) {
		mounts = json_new_array();
		json_set(order->document, "mounts", mounts);
	}
	json *options = json_new_array();
	json_push_string(options, "rbind");
	json_push_string(options, "rprivate");
	json *mount = json_new_object();
	json_set_string(mount, "destination", path);
	json_set_string(mount, "type", "bind");
	json_set_string(mount, "source", source);
	json_set(mount, "options", options);
	json_push(mounts, mount);
}

/* ---- EXEC ---- */

void guest_exec_order_done(struct guest_exec_order *order)
{
	if (order->document != NULL)
		json_object_put(order->document);
	free(order->user);
	*order = (struct guest_exec_order){ 0 };
}

/* The document's environment, what EXEC has laid over it. */
static int merge_env(json *process, json *request, bool has_terminal, struct err *err)
{
	AUTO_DONE(strv) env = { 0 };
	AUTO_DONE(strv) wanted = { 0 };
	int r = json_get_strv(process, "env", &env, err);
	if (r == 0)
		r = json_get_strv(request, "env", &wanted, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < wanted.len; i++)
		strv_set_env(&env, wanted.items[i]);
	if (has_terminal && strv_env(&env, "TERM") == NULL)
		strv_add(&env, "TERM=xterm");
	json_set_strv(process, "env", &env);
	return 0;
}

int guest_exec_order_parse(const struct guest_order *order, struct view bytes,
	struct guest_exec_order *ret_order, struct err *err)
{
	AUTO_JSON request = NULL;
	int r = json_parse(bytes, "EXEC", &request, err);
	if (r < 0)
		return r;
	AUTO_DONE(guest_exec_order) result = { 0 };
	if (json_object_deep_copy(order->document, &result.document, NULL) < 0)
		return err_set(err, ERR_SYSTEM, "copy the workload's document");
	result.has_terminal = json_get_bool(request, "tty", false);
	result.is_interactive = json_get_bool(request, "interactive", false);
	AUTO_DONE(strv) args = { 0 };
	r = json_get_strv(request, "args", &args, err);
	if (r < 0)
		return err_wrap(err, r, "EXEC");
	if (args.len == 0)
		return err_set(err, ERR_INVALID, "EXEC names no command");
	json *process = json_get_object(result.document, "process");
	json_set_strv(process, "args", &args);
	json_set_bool(process, "terminal", result.has_terminal);
	const char *cwd = json_get_string(request, "cwd");
	if (cwd != NULL)
		json_set_string(process, "cwd", cwd);
	const char *user = json_get_string(request, "user");
	user = user != NULL ? user : order->user;
	result.user = user != NULL ? mem_strdup(user) : NULL;
	r = merge_env(process, request, result.has_terminal, err);
	if (r < 0)
		return err_wrap(err, r, "EXEC");
	*ret_order = (struct guest_exec_order){ .document = TAKE(result.document),
		.user = TAKE(result.user),
		.is_interactive = result.is_interactive,
		.has_terminal = result.has_terminal };
	return 0;
}
