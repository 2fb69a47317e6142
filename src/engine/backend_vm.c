/* backend_vm - the virtual machine's wall: the init is a machine's process, the role "@vmm" of this
 * program (vm/vm.h), in a cgroup of the workload's own (birth.h).
 *
 * Everything it needs is opened here and handed over: kernel, image, tap device, sockets.  Signals
 * to it are the workload's (it passes them on), its exit status is the workload's, and SIGKILL is
 * the machine's power cut. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/report.h"
#include "base/spawn.h"
#include "container/container.h"
#include "engine/accel_choice.h"
#include "engine/backend.h"
#include "engine/birth.h"
#include "engine/document.h"
#include "engine/guest_call.h"
#include "engine/host_pty.h"
#include "engine/kernels.h"
#include "engine/machine_config.h"
#include "engine/workload_cgroup.h"
#include "vm/vm.h"
#include "wire/guest_msg.h"

#define READY_DEADLINE_MS 120000 /* from reset to moat-guest's word, on a host without KVM */
#define VM_UID_BASE 0x70000000u  /* a user for each machine, above what systemd gives away */
#define VM_UID_DIGITS 6          /* hexadecimal digits of the id that tell machines apart */
#define VM_CONFIG_FD 3           /* vm/vm.h */
/* What a machine's process needs beside the guest's memory, until it is killed for it. */
#define VM_OVERHEAD_BYTES (UINT64_C(64) << 20)
#define KERNEL_COMMAND_LINE                                   \
	"console=ttyS0 quiet panic=-1 reboot=t tsc=reliable " \
	"no_timer_check random.trust_cpu=on cryptomgr.notests"

/* Everything S and the machine's process need, made by P before S is. */
struct creation {
	struct launch *launch;
	const struct cpu_accel *accel;
	struct machine_fds inherited;
	struct cgroup *cgroup; /* owned */
	json *config;          /* owned */
	char *program;         /* owned */
	int terminal;          /* owned; the slave of the workload's pty, -1: none */
	struct birth birth;
};

static void creation_done(struct creation *creation)
{
	machine_fds_done(&creation->inherited);
	cgroup_free(creation->cgroup);
	json_auto_put(&creation->config);
	free(creation->program);
	if (creation->terminal >= 0)
		(void)close(creation->terminal);
	birth_done(&creation->birth);
}

static bool probe(struct engine *engine, struct text *why_not)
{
	if (geteuid() != 0) {
		text_puts(why_not, "needs root");
		return false;
	}
	const struct cpu_accel *accel;
	AUTO_DONE(kernel) kernel = { .image_fd = -1, .modules_fd = -1 };
	struct err err = { 0 };
	int r = accel_choose(engine, "auto", &accel, &err);
	if (r == 0)
		r = kernels_open(engine, NULL, &kernel, &err);
	if (r == 0)
		return true;
	text_puts(why_not, err.message);
	return false;
}

/* ---- parts of the configuration ---- */

static int add_fd(struct creation *creation, json *object, const char *key, int take_fd,
	struct err *err)
{
	json_set_int(object, key, take_fd);
	return machine_fds_add(&creation->inherited, take_fd, err);
}

static int add_accel(struct creation *creation, struct err *err)
{
	int fd = -1;
	const char *name = creation->launch->spec->accel;
	int r = accel_choose(creation->launch->engine, name != NULL ? name : "auto",
		&creation->accel, err);
	if (r == 0)
		r = accel_note(creation->accel, creation->launch->dirs.run_fd, err);
	if (r == 0)
		r = cpu_accel_open(creation->accel, &fd, err);
	if (r < 0)
		return r;
	AUTO_FREE char *command_line = text_format("%s %s", KERNEL_COMMAND_LINE,
		cpu_accel_kernel_parameters(creation->accel));
	json_set_string(creation->config, "accel", cpu_accel_name(creation->accel));
	json_set_string(creation->config, "cmdline", command_line);
	return fd < 0 ? 0 : add_fd(creation, creation->config, "accel_fd", fd, err);
}

static int add_kernel(struct creation *creation, struct err *err)
{
	struct engine *engine = creation->launch->engine;
	AUTO_DONE(kernel) kernel = { .image_fd = -1, .modules_fd = -1 };
	int guest_fd = -1;
	int r = kernels_open(engine, NULL, &kernel, err);
	if (r == 0)
		r = kernels_open_guest(engine, &guest_fd, err);
	if (r < 0)
		return r;
	json *initrds = json_new_array();
	json_set(creation->config, "initrd_fds", initrds);
	json_push(initrds, json_object_new_int(kernel.modules_fd));
	json_push(initrds, json_object_new_int(guest_fd));
	r = machine_fds_add(&creation->inherited, guest_fd, err);
	if (r == 0)
		r = machine_fds_add(&creation->inherited, TAKE_FD(kernel.modules_fd), err);
	return r < 0 ? r
		     : add_fd(creation, creation->config, "kernel_fd", TAKE_FD(kernel.image_fd),
			       err);
}

static int add_network(struct creation *creation, json *devices, uint8_t mac[6], struct err *err)
{
	struct launch *launch = creation->launch;
	char host_name[IFNAMSIZ];
	(void)snprintf(host_name, sizeof(host_name), "mt%.12s", launch->id);
	struct net_port port = { .host_name = host_name, .address = launch->address };
	int fd = -1;
	int r = net_tap_open(&launch->bridge, &port, &fd, err);
	if (r < 0)
		return r;
	memcpy(mac, port.mac, sizeof(port.mac));
	AUTO_FREE char *text = text_format("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
	json *device = json_new_object();
	json_set_string(device, "type", "net");
	json_set_string(device, "mac", text);
	json_push(devices, device);
	launch->is_connected = true;
	return add_fd(creation, device, "fd", fd, err);
}

/* A descriptor of its own for each port: the machine closes what the guest has shut. */
static int add_port(struct creation *creation, json *ports, int port, int fd, struct err *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, VM_CONFIG_FD + 1);
	if (copy < 0)
		return err_sys(err, errno, "duplicate a stream of the workload");
	json *row = json_new_object();
	json_set_int(row, "port", port);
	json_push(ports, row);
	return add_fd(creation, row, "fd", copy, err);
}

static int add_streams(struct creation *creation, json *vsock, struct err *err)
{
	const struct monitor_link *link = &creation->birth.link;
	json *ports = json_new_array();
	json_set(vsock, "ports", ports);
	if (creation->launch->spec->tty) {
		int r = host_pty_open(link->console[1], &creation->terminal, err);
		if (r == 0)
			r = add_port(creation, ports, GUEST_PORT_STDOUT, creation->terminal, err);
		return r;
	}
	int r = add_port(creation, ports, GUEST_PORT_STDOUT, link->workload[1], err);
	if (r == 0)
		r = add_port(creation, ports, GUEST_PORT_STDERR, link->workload[2], err);
	if (r == 0 && creation->launch->spec->interactive)
		r = add_port(creation, ports, GUEST_PORT_STDIN, link->workload[0], err);
	return r;
}

/* What the machine says to moat-guest, and to us (vm/guest_link.h). */
static json *control_part(const struct creation *creation, const struct text *start)
{
	json *control = json_new_object();
	json_set_string(control, "start", text_string(start));
	json_set_int(control, "report_fd", creation->birth.report[1]);
	json_set_int(control, "go_fd", creation->birth.go[0]);
	json_set_int(control, "tty_fd", creation->terminal);
	return control;
}

static int add_vsock(struct creation *creation, json *devices, const struct text *start,
	struct err *err)
{
	json *device = json_new_object();
	json_set_string(device, "type", "vsock");
	json_push(devices, device);
	int listener;
	int r = guest_call_listen(creation->launch->dirs.run_fd, &listener, err);
	if (r == 0)
		r = add_fd(creation, device, "listener_fd", listener, err);
	if (r == 0)
		r = add_streams(creation, device, err);
	if (r == 0)
		json_set(device, "control", control_part(creation, start));
	return r;
}

static void add_plain(json *devices, const char *type)
{
	json *device = json_new_object();
	json_set_string(device, "type", type);
	json_push(devices, device);
}

static int add_devices(struct creation *creation, struct err *err)
{
	struct launch *launch = creation->launch;
	json *devices = json_new_array();
	json_set(creation->config, "devices", devices);
	uint8_t mac[6];
	bool has_network = launch->address.s_addr != 0;
	AUTO_DONE(text) start = { 0 };
	int r = machine_image_devices(launch, devices, &creation->inherited, err);
	if (r == 0)
		r = machine_upper_device(launch, devices, &creation->inherited, err);
	if (r == 0 && has_network)
		r = add_network(creation, devices, mac, err);
	if (r == 0)
		r = machine_start_text(launch, has_network ? mac : NULL, &start, err);
	if (r == 0)
		r = add_vsock(creation, devices, &start, err);
	if (r < 0)
		return r;
	add_plain(devices, "rng");
	add_plain(devices, "balloon");
	return 0;
}

static int make_cgroup(struct creation *creation, struct err *err)
{
	const struct workload_spec *spec = creation->launch->spec;
	AUTO_JSON document = document_build_guest(creation->launch);
	AUTO(container_spec) parsed = NULL;
	AUTO_FREE char *path = document_cgroup_path(creation->launch->id);
	const struct cgroup_limits limits = {
		.cpu_quota_us = spec->nano_cpus / 10000,
		.cpu_period_us = spec->nano_cpus != 0 ? 100000 : 0,
		.memory_bytes =
			spec->memory_bytes == 0 ? 0 : spec->memory_bytes + VM_OVERHEAD_BYTES,
	};
	int r = container_spec_parse(document, &parsed, err);
	return r < 0 ? r : cgroup_create(path, &limits, parsed, &creation->cgroup, err);
}

static unsigned user_of(const char *id)
{
	unsigned number = 0;
	for (int i = 0; i < VM_UID_DIGITS; i++)
		number = number * 16 + (unsigned)(id[i] <= '9' ? id[i] - '0' : id[i] - 'a' + 10);
	return VM_UID_BASE + number;
}

static int prepare(struct creation *creation, struct err *err)
{
	struct launch *launch = creation->launch;
	const struct workload_spec *spec = launch->spec;
	creation->config = json_new_object();
	json_set_uint(creation->config, "cpus", machine_cpus(spec));
	json_set_uint(creation->config, "memory_mib", machine_memory_mib(spec));
	json_set_uint(creation->config, "uid", user_of(launch->id));
	int r = machine_config_check(spec, err);
	if (r == 0)
		r = add_accel(creation, err);
	if (r == 0)
		r = add_kernel(creation, err);
	if (r == 0)
		r = birth_prepare(launch, &creation->birth, err);
	if (r == 0)
		r = add_devices(creation, err);
	if (r == 0)
		r = make_cgroup(creation, err);
	return r < 0 ? r : spawn_sibling("moat", &creation->program, err);
}

/* ---- the machine's process ---- */

static int write_config(const struct creation *creation, struct err *err)
{
	AUTO_FREE char *text = json_text(creation->config, false);
	AUTO_CLOSE int fd = memfd_create("machine", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, r < 0 ? -r : errno, "write the machine's configuration");
	if (fd == VM_CONFIG_FD) {
		r = fd_set_cloexec(TAKE_FD(fd), false);
		return r < 0 ? err_sys(err, -r, "hand over the machine's configuration") : 0;
	}
	return dup2(fd, VM_CONFIG_FD) < 0
		       ? err_sys(err, errno, "hand over the machine's configuration")
		       : 0;
}

static int take_stdio(const struct creation *creation, struct err *err)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* What the machine itself has to say stands in the workload's log. */
	int words =
		creation->launch->spec->tty ? creation->terminal : creation->birth.link.workload[2];
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(words, 2) < 0)
		return err_sys(err, errno, "open the machine's standard streams");
	/* Its size changes reach who has it as controlling terminal. */
	if (setsid() < 0 ||
		(creation->terminal >= 0 && ioctl(creation->terminal, TIOCSCTTY, 0) < 0))
		return err_sys(err, errno, "take the terminal");
	return 0;
}

static int become_machine(struct creation *creation, struct err *err)
{
	int r = 0;
	if (cgroup_v2_fd(creation->cgroup) < 0)
		r = cgroup_join_self(creation->cgroup, err);
	if (r == 0)
		r = take_stdio(creation, err);
	if (r == 0)
		r = write_config(creation, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < creation->inherited.len; i++)
		r = fd_set_cloexec(creation->inherited.fds[i], false);
	if (r == 0)
		r = fd_set_cloexec(creation->birth.go[0], false);
	if (r == 0)
		r = fd_set_cloexec(creation->birth.report[1], false);
	if (r == 0 && creation->terminal >= 0)
		r = fd_set_cloexec(creation->terminal, false);
	if (r < 0)
		return err_sys(err, -r, "hand descriptors over to the machine");
	const char *const argv[] = { creation->program, "@vmm", NULL };
	char *const envp[] = { NULL };
	(void)execve(argv[0], (char *const *)(uintptr_t)argv, envp);
	return err_sys(err, errno, "execute \"%s\"", creation->program);
}

static int make_init(void *context, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	struct creation *creation = context;
	pid_t pid = cgroup_fork(creation->cgroup, ret_pidfd, err);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		struct err why = { 0 };
		(void)!become_machine(creation, &why);
		report_failure(creation->birth.report[1], &why);
		_exit(err_exit_status(why.kind));
	}
	*ret_pid = pid;
	return 0;
}

static int create(struct launch *launch, struct err *err)
{
	struct creation creation = { .launch = launch, .terminal = -1 };
	machine_fds_init(&creation.inherited);
	birth_init(&creation.birth);
	int r = prepare(&creation, err);
	if (r == 0)
		r = birth_begin(launch, &creation.birth, make_init, &creation, "the machine", err);
	creation_done(&creation);
	return r;
}

static int start(struct launch *launch, struct err *err)
{
	return birth_go(launch, "the machine", READY_DEADLINE_MS, err);
}

static const char *accelerator(struct engine *engine)
{
	const struct cpu_accel *accel;
	return accel_choose(engine, "auto", &accel, NULL) == 0 ? cpu_accel_name(accel) : NULL;
}

static unsigned host_calls(struct engine *engine)
{
	const struct cpu_accel *accel;
	return accel_choose(engine, "auto", &accel, NULL) == 0 ? vm_syscalls_count(accel) : 0;
}

static int own_memory(const struct live *live, uint64_t *ret_bytes)
{
	return vm_own_memory(&live->init, ret_bytes);
}

const struct backend backend_vm = {
	.name = "vm",
	.probe = probe,
	.make_disk = machine_make_upper,
	.create = create,
	.start = start,
	.signal = live_signal,
	.end = guest_call_end,
	.exec = guest_call_exec,
	.stats = workload_cgroup_stats,
	.destroy = workload_cgroup_destroy,
	.accelerator = accelerator,
	.host_calls = host_calls,
	.own_memory = own_memory,
};
