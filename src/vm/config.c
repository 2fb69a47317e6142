/* config - see config.h.  The document comes from the engine; it is checked all the same, because a
 * number that means a wrong descriptor would end in a machine that half works.
 *
 * Which descriptors the process keeps follows from the document alone: every integer under a key
 * "fd", "fds", "..._fd" or "..._fds", at any depth.  So a device's file names what it needs in its
 * own object, and no list has to be kept in step with it. */
#include "vm/config.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum { CPUS_MAX = 254 };
#define MEMORY_MIB_MAX (LIMIT_GUEST_BYTES >> 20)

void config_done(struct config *config)
{
	if (config->document != NULL)
		json_object_put(config->document);
	free(config->fds);
	*config = (struct config){ 0 };
}

static bool names_fd(const char *key)
{
	struct view name = view_of(key);
	return view_is(name, "fd") || view_is(name, "fds") || view_ends(name, "_fd") ||
	       view_ends(name, "_fds");
}

static void keep(struct config *config, json *number)
{
	int64_t fd = json_object_get_int64(number);
	if (fd < 0 || fd > INT32_MAX)
		return;
	config->fds = mem_grow(config->fds, config->fds_len + 1, sizeof(*config->fds));
	config->fds[config->fds_len++] = (int)fd;
}

/* As deep as the parser allows, LIMIT_JSON_DEPTH. */
static void collect(struct config *config, json *value, bool is_fd)
{
	if (json_object_is_type(value, json_type_int) && is_fd)
		keep(config, value);
	for (size_t i = 0; i < json_array_len(value); i++)
		collect(config, json_object_array_get_idx(value, i), is_fd);
	if (!json_object_is_type(value, json_type_object))
		return;
	json_object_object_foreach (value, key, member)
		collect(config, member, names_fd(key));
}

static int get_fd(json *document, const char *key)
{
	int64_t fd = json_get_int(document, key, -1);
	return fd >= 0 && fd <= INT32_MAX ? (int)fd : -1;
}

static int get_initrds(struct config *config, struct err *err)
{
	json *list = json_get_array(config->document, "initrd_fds");
	size_t len = json_array_len(list);
	if (len > LIMIT_INITRDS)
		return err_set(err, ERR_LIMIT, "%zu initial file systems: at most %d are allowed",
			len, (int)LIMIT_INITRDS);
	for (size_t i = 0; i < len; i++)
		config->initrd_fds[i] = json_object_get_int(json_object_array_get_idx(list, i));
	config->initrds = len;
	return 0;
}

static int get_numbers(struct config *config, struct err *err)
{
	uint64_t cpus = json_get_uint(config->document, "cpus", 1);
	uint64_t mib = json_get_uint(config->document, "memory_mib", 0);
	uint64_t uid = json_get_uint(config->document, "uid", 0);
	if (cpus < 1 || cpus > CPUS_MAX)
		return err_set(err, ERR_INVALID, "%ju CPUs: a machine has 1 to %d", (uintmax_t)cpus,
			CPUS_MAX);
	if (mib < 1 || mib > MEMORY_MIB_MAX)
		return err_set(err, ERR_INVALID, "%ju MiB of memory: a machine has 1 to %ju",
			(uintmax_t)mib, (uintmax_t)MEMORY_MIB_MAX);
	if (uid >= UINT32_MAX)
		return err_set(err, ERR_INVALID, "no user has the number %ju", (uintmax_t)uid);
	config->cpus = (unsigned)cpus;
	config->memory_bytes = mib << 20;
	config->uid = (unsigned)uid;
	return 0;
}

static int fill(struct config *config, struct err *err)
{
	json *document = config->document;
	if (!json_object_is_type(document, json_type_object))
		return err_set(err, ERR_INVALID, "the machine's configuration is no object");
	config->accel = json_get_string(document, "accel");
	config->cmdline = json_get_string(document, "cmdline");
	if (config->accel == NULL)
		config->accel = "auto";
	if (config->cmdline == NULL)
		config->cmdline = "";
	config->accel_fd = get_fd(document, "accel_fd");
	config->kernel_fd = get_fd(document, "kernel_fd");
	config->serial_fd = get_fd(document, "serial_fd");
	config->devices = json_get_array(document, "devices");
	if (config->kernel_fd < 0)
		return err_set(err, ERR_INVALID, "the machine's configuration names no kernel");
	if (json_array_len(config->devices) > LIMIT_DEVICES)
		return err_set(err, ERR_LIMIT, "%zu devices: a machine has at most %d",
			json_array_len(config->devices), (int)LIMIT_DEVICES);
	int r = get_numbers(config, err);
	return r < 0 ? r : get_initrds(config, err);
}

int config_parse(struct view bytes, struct config *ret_config, struct err *err)
{
	struct config config = { 0 };
	int r = json_parse(bytes, "machine configuration", &config.document, err);
	if (r == 0)
		r = fill(&config, err);
	if (r < 0) {
		config_done(&config);
		return r;
	}
	collect(&config, config.document, false);
	*ret_config = config;
	return 0;
}
