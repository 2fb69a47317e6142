#include "engine/machine_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/document.h"
#include "storage/storage.h"

#define NANO_CPUS INT64_C(1000000000)
#define UPPER_FILE "upper.ext4"
#define UPPER_SERIAL "upper" /* by which moat-guest knows the disk */

void machine_fds_init(struct machine_fds *all)
{
	all->len = 0;
}

void machine_fds_done(struct machine_fds *all)
{
	while (all->len > 0)
		(void)close(all->fds[--all->len]);
}

int machine_fds_add(struct machine_fds *all, int take_fd, struct err *err)
{
	AUTO_CLOSE int fd = take_fd;
	if (all->len == ARRAY_LEN(all->fds))
		return err_set(err, ERR_LIMIT, "a machine of more than %zu descriptors",
			ARRAY_LEN(all->fds));
	all->fds[all->len++] = TAKE_FD(fd);
	return 0;
}

uint64_t machine_memory_mib(const struct workload_spec *spec)
{
	return spec->memory_bytes == 0 ? VM_MEMORY_DEFAULT_MIB : spec->memory_bytes >> 20;
}

unsigned machine_cpus(const struct workload_spec *spec)
{
	return spec->nano_cpus <= NANO_CPUS
		       ? 1
		       : (unsigned)((spec->nano_cpus + NANO_CPUS - 1) / NANO_CPUS);
}

int machine_config_check(const struct workload_spec *spec, struct err *err)
{
	for (size_t i = 0; i < spec->mounts_len; i++) {
		if (!spec->mounts[i].is_tmpfs)
			return err_set(err, ERR_UNSUPPORTED,
				"a virtual machine has no bind mounts yet: leave out \"%s\" or use "
				"--isolation container",
				spec->mounts[i].target);
	}
	if (spec->network == NETWORK_HOST)
		return err_set(err, ERR_UNSUPPORTED,
			"a virtual machine has a network of its own: --network host needs "
			"--isolation container");
	if (machine_memory_mib(spec) < VM_MEMORY_MIN_MIB)
		return err_set(err, ERR_INVALID,
			"a virtual machine needs %d MiB of memory to start, not %ju",
			VM_MEMORY_MIN_MIB, (uintmax_t)machine_memory_mib(spec));
	if (spec->nano_cpus > (int)LIMIT_MACHINE_CPUS * NANO_CPUS)
		return err_set(err, ERR_INVALID, "a virtual machine has at most %d CPUs, not %.1f",
			(int)LIMIT_MACHINE_CPUS, (double)spec->nano_cpus / (double)NANO_CPUS);
	return 0;
}

static bool has_upper(const struct launch *launch)
{
	return !launch->spec->auto_remove;
}

/* ---- what the guest is told ---- */

static json *pmem_device(size_t index)
{
	json *device = json_new_object();
	json_set_uint(device, "pmem", index);
	return device;
}

static json *root_part(const struct launch *launch)
{
	json *root = json_new_object();
	json_set(root, "metadata", pmem_device(0));
	json *layers = json_new_array();
	for (size_t i = 0; i < launch->image.layers_len; i++)
		json_push(layers, pmem_device(i + 1));
	json_set(root, "layers", layers);
	if (has_upper(launch)) {
		json *upper = json_new_object();
		json_set_string(upper, "serial", UPPER_SERIAL);
		json_set(root, "upper", upper);
	} else {
		json_set_string(root, "upper", "tmpfs");
	}
	return root;
}

static json *network_part(const struct launch *launch, const uint8_t *mac)
{
	char address[INET_ADDRSTRLEN], gateway[INET_ADDRSTRLEN];
	(void)inet_ntop(AF_INET, &launch->address, address, sizeof(address));
	(void)inet_ntop(AF_INET, &launch->bridge.address, gateway, sizeof(gateway));
	AUTO_FREE char *mac_text = text_format("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
		mac[2], mac[3], mac[4], mac[5]);
	json *network = json_new_object();
	json_set_string(network, "mac", mac_text);
	json_set_string(network, "address", address);
	json_set_uint(network, "prefix", launch->bridge.prefix_len);
	json_set_string(network, "gateway", gateway);
	return network;
}

static int files_part(const struct launch *launch, json *start, struct err *err)
{
	static const char *const names[] = { "hostname", "hosts", "resolv.conf" };
	json *files = json_new_object();
	json_set(start, "files", files);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_DONE(text) text = { 0 };
		int r = file_read_at(launch->dirs.data_fd, names[i], LIMIT_JSON_BYTES, &text, err);
		if (r < 0)
			return r;
		AUTO_FREE char *path = text_format("/etc/%s", names[i]);
		json_set_string(files, path, text_string(&text));
	}
	return 0;
}

int machine_start_text(const struct launch *launch, const uint8_t *mac, struct text *ret_text,
	struct err *err)
{
	const struct workload_spec *spec = launch->spec;
	AUTO_JSON start = json_new_object();
	json_set(start, "document", document_build_guest(launch));
	json_set_string(start, "user", spec->user != NULL ? spec->user : "");
	json_set(start, "root", root_part(launch));
	if (mac != NULL)
		json_set(start, "network", network_part(launch, mac));
	json_set_string(start, "hostname", spec->hostname);
	json_set_bool(start, "interactive", spec->interactive);
	json_set_bool(start, "tty", spec->tty);
	json_set_int(start, "clock_ns", clock_wall_ns());
	int r = files_part(launch, start, err);
	if (r < 0)
		return r;
	AUTO_FREE char *text = json_text(start, false);
	text_puts(ret_text, text);
	return 0;
}

/* ---- its devices ---- */

static int add_pmem(const char *path, json *devices, struct machine_fds *all, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open \"%s\"", path);
	json *device = json_new_object();
	json_set_string(device, "type", "pmem");
	json_set_int(device, "fd", fd);
	json_set_bool(device, "readonly", true);
	json_push(devices, device);
	return machine_fds_add(all, fd, err);
}

int machine_image_devices(const struct launch *launch, json *devices, struct machine_fds *all,
	struct err *err)
{
	AUTO_FREE char *merged =
		engine_path(launch->engine, "images/sha256/%s", launch->image.id.hex);
	int r = add_pmem(merged, devices, all, err);
	for (size_t i = 0; r == 0 && i < launch->image.layers_len; i++) {
		AUTO_FREE char *layer = engine_path(launch->engine, "layers/sha256/%s",
			launch->image.layers[i].diff_id.hex);
		r = add_pmem(layer, devices, all, err);
	}
	return r;
}

int machine_make_upper(struct launch *launch, struct err *err)
{
	return has_upper(launch)
		       ? storage_ext4_make(launch->dirs.data_fd, UPPER_FILE, VM_UPPER_BYTES, err)
		       : 0;
}

int machine_upper_device(const struct launch *launch, json *devices, struct machine_fds *all,
	struct err *err)
{
	if (!has_upper(launch))
		return 0;
	int fd = openat(launch->dirs.data_fd, UPPER_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_DAMAGED, "workload %.12s has lost its disk \"%s/%s\"",
			launch->id, launch->dirs.data_path, UPPER_FILE);
	if (fd < 0)
		return err_sys(err, errno, "open \"%s/%s\"", launch->dirs.data_path, UPPER_FILE);
	json *device = json_new_object();
	json_set_string(device, "type", "block");
	json_set_int(device, "fd", fd);
	json_set_string(device, "serial", UPPER_SERIAL);
	json_push(devices, device);
	return machine_fds_add(all, fd, err);
}
