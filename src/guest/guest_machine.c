/* guest_machine - what a real machine has: vsock to the host, devices by what the kernel says of
 * them, an end by power-off.
 *
 * Devices appear when their drivers have found them, which may be after the first look: the
 * kernel's own announcements (NETLINK_KOBJECT_UEVENT) say when to look again, up to a deadline. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "guest/guest.h"

#define DEVICE_DEADLINE_MS 10000
#define SERIAL_MAX 256
#define NS_PER_MS UINT64_C(1000000)
#define CONNECT_TIMEOUT_S 10
#define BACKLOG 16

static int open_socket(int flags, struct err *err)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd >= 0)
		return fd;
	return errno == EAFNOSUPPORT ? err_set(err, ERR_UNSUPPORTED,
					       "this kernel has no vsock: import one with it")
				     : err_sys(err, errno, "open a vsock socket");
}

static int machine_connect(unsigned port, struct err *err)
{
	AUTO_CLOSE int fd = open_socket(0, err);
	if (fd < 0)
		return fd;
	const struct timeval timeout = { .tv_sec = CONNECT_TIMEOUT_S };
	(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, sizeof(timeout));
	const struct sockaddr_vm address = { .svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = port };
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "connect to the machine's port %u", port);
	return TAKE_FD(fd);
}

static int machine_listen(unsigned port, struct err *err)
{
	AUTO_CLOSE int fd = open_socket(SOCK_NONBLOCK, err);
	if (fd < 0)
		return fd;
	const struct sockaddr_vm address = { .svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port };
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "listen on port %u", port);
	return TAKE_FD(fd);
}

static int machine_accept(int listener)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);
	AUTO_CLOSE int fd =
		accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* The workload may reach this port too where the kernel has a loopback. */
	return peer.svm_cid == VMADDR_CID_HOST ? TAKE_FD(fd) : -ECONNREFUSED;
}

/* ---- devices ---- */

static bool serial_is(const char *name, const char *serial)
{
	AUTO_FREE char *path = text_format("/sys/block/%s/serial", name);
	AUTO_DONE(text) text = { 0 };
	return file_read_at(AT_FDCWD, path, SERIAL_MAX, &text, NULL) == 0 &&
	       view_is(view_trim(view_of_text(&text)), serial);
}

static char *find_serial(const char *serial)
{
	DIR *dir = opendir("/sys/block");
	char *path = NULL;
	if (dir == NULL)
		return NULL;
	for (struct dirent *entry; path == NULL && (entry = readdir(dir)) != NULL;)
		if (entry->d_name[0] != '.' && serial_is(entry->d_name, serial))
			path = text_format("/dev/%s", entry->d_name);
	(void)closedir(dir);
	return path;
}

/* The path, or NULL while it is not there. */
static char *look(json *device)
{
	const char *serial = json_get_string(device, "serial");
	AUTO_FREE char *path = serial != NULL ? find_serial(serial)
					      : text_format("/dev/pmem%jd",
							(intmax_t)json_get_int(device, "pmem", 0));
	struct stat st;
	return path != NULL && stat(path, &st) == 0 && S_ISBLK(st.st_mode) ? TAKE(path) : NULL;
}

static int open_uevents(void)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		NETLINK_KOBJECT_UEVENT);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void wait_uevent(int fd, int timeout_ms)
{
	char message[4096];
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	if (poll(&wait, 1, timeout_ms) <= 0)
		return;
	/* What it says does not matter, only that something changed. */
	while (recv(fd, message, sizeof(message), 0) > 0)
		;
}

static int machine_device_find(json *device, char **ret_path, struct err *err)
{
	const char *serial = json_get_string(device, "serial");
	int64_t number = json_get_int(device, "pmem", -1);
	if (serial == NULL && number < 0)
		return err_set(err, ERR_INVALID, "a device is named by its serial or pmem number");
	/* Listening first: what appears between a look and the wait is heard. */
	AUTO_CLOSE int events = open_uevents();
	if (events < 0)
		return err_sys(err, -events, "listen to the kernel's announcements");
	uint64_t end = clock_monotonic_ns() + DEVICE_DEADLINE_MS * NS_PER_MS;
	for (;;) {
		*ret_path = look(device);
		if (*ret_path != NULL)
			return 0;
		uint64_t now = clock_monotonic_ns();
		if (now >= end)
			break;
		wait_uevent(events, (int)((end - now) / NS_PER_MS) + 1);
	}
	return serial != NULL
		       ? err_set(err, ERR_TIMEOUT, "no disk with serial \"%.64s\" appeared", serial)
		       : err_set(err, ERR_TIMEOUT, "/dev/pmem%jd did not appear", (intmax_t)number);
}

static void machine_power_off(void)
{
	sync();
	(void)reboot(RB_POWER_OFF);
	/* A machine without ACPI's power-off. */
	(void)reboot(RB_HALT_SYSTEM);
}

const struct guest_platform guest_machine = {
	.run_dir = "/run/moat",
	.cgroup = "moat/workload",
	.connect = machine_connect,
	.listen = machine_listen,
	.accept = machine_accept,
	.device_find = machine_device_find,
	.power_off = machine_power_off,
};
