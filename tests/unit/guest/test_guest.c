/* The guest's whole life as the init of namespaces of its own: its ports are unix sockets, its disk
 * is an EROFS file.  What only a machine has (modules, vsock, power) is tried in the lab. */
#include "test.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/json.h"
#include "container/container.h"
#include "guest/guest.h"
#include "wire/guest_msg.h"

enum { TEST_SKIPPED = 77, DEADLINE_MS = 20000, OUTPUT_MAX = 1 << 20 };
#define MAC "02:42:ac:1e:00:09"

static char image_dir[] = "/tmp/moat-guest-image-XXXXXX";
static char *image;

struct rig {
	const struct scratch *scratch;
	int listeners[5]; /* by port */
	int control, streams[3];
	pid_t pid; /* of the namespaces' maker, which ends as their init does */
	struct guest_decoder decoder;
};

static int shell(const char *script)
{
	pid_t pid = fork();
	if (pid == 0) {
		(void)execlp("sh", "sh", "-c", script, NULL);
		_exit(127);
	}
	int status = -1;
	(void)waitpid(pid, &status, 0);
	return status;
}

/* ---- the platform ---- */

static const struct scratch *here; /* in the child */

static struct sockaddr_un name_of(const char *dir, unsigned port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/port-%u", dir, port);
	return address;
}

static int rig_connect(unsigned port, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_un address = name_of(here->path, port);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "connect to %u", port);
	return fd;
}

static int open_listener(const char *dir, unsigned port, int flags)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	const struct sockaddr_un address = name_of(dir, port);
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
			       listen(fd, 16) < 0
		       ? -errno
		       : fd;
}

static int rig_listen(unsigned port, struct err *err)
{
	int fd = open_listener(here->path, port, SOCK_NONBLOCK);
	return fd < 0 ? err_sys(err, -fd, "listen on %u", port) : fd;
}

static int rig_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int rig_device_find(json *device, char **ret_path, struct err *err)
{
	const char *serial = json_get_string(device, "serial");
	if (serial == NULL || access(serial, F_OK) < 0)
		return err_set(err, ERR_TIMEOUT, "no disk with serial \"%s\" appeared",
			serial != NULL ? serial : "");
	*ret_path = text_format("%s", serial);
	return 0;
}

static void rig_power_off(void)
{
}

/* ---- the rig ---- */

static _Noreturn void be_init(const struct scratch *scratch)
{
	here = scratch;
	(void)umask(077); /* what the workload sees must not depend on it */
	AUTO_FREE char *run = text_format("%s/run", scratch->path);
	AUTO_FREE char *cgroup = text_format("moat/test-guest-%s", strrchr(scratch->path, '-') + 1);
	const struct guest_platform platform = { .run_dir = run,
		.cgroup = cgroup,
		.connect = rig_connect,
		.listen = rig_listen,
		.accept = rig_accept,
		.device_find = rig_device_find,
		.power_off = rig_power_off };
	struct err err = { 0 };
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir(run, 0700) < 0 ||
		mount("tmpfs", run, "tmpfs", 0, NULL) < 0 ||
		mount("proc", "/proc", "proc", 0, NULL) < 0)
		_exit(2);
	if (shell("ip link add eth0 address " MAC
		  " type veth peer name far && ip link set far up") != 0)
		_exit(3);
	int r = guest_run(&platform, &err);
	if (r < 0)
		(void)fprintf(stderr, "guest: %s\n", err.message);
	_exit(r < 0);
}

static struct rig rig_open(const struct scratch *scratch)
{
	struct rig rig = { .scratch = scratch, .control = -1, .streams = { -1, -1, -1 } };
	guest_decoder_init(&rig.decoder, GUEST_START_MAX);
	for (unsigned port = GUEST_PORT_CONTROL; port <= GUEST_PORT_STDERR; port++) {
		rig.listeners[port] = open_listener(scratch->path, port, 0);
		assert_true(rig.listeners[port] >= 0);
	}
	rig.pid = fork();
	if (rig.pid == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS) < 0)
			_exit(4);
		pid_t pid = fork();
		if (pid == 0)
			be_init(scratch);
		int status = 0;
		(void)waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
	}
	return rig;
}

static int rig_accept_port(struct rig *rig, unsigned port)
{
	struct pollfd wait = { .fd = rig->listeners[port], .events = POLLIN };
	assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
	int fd = accept4(rig->listeners[port], NULL, NULL, SOCK_CLOEXEC);
	const struct timeval timeout = { .tv_sec = DEADLINE_MS / 1000 };
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

/* The next message must be of this type. */
static struct guest_msg hear_from(int fd, struct guest_decoder *decoder, uint32_t type)
{
	struct guest_msg msg = { 0 };
	int r = guest_msg_receive(fd, decoder, &msg);
	if (r < 0 || msg.type != type)
		fail_msg("heard %d, message %u \"%.*s\", expected %u", r, msg.type,
			(int)msg.data.len, msg.data.data, type);
	return msg;
}

static struct guest_msg hear(struct rig *rig, uint32_t type)
{
	return hear_from(rig->control, &rig->decoder, type);
}

static void tell(struct rig *rig, enum guest_msg_type type, uint32_t value)
{
	assert_int_equal(guest_msg_send(rig->control, type, value, NULL, 0), 0);
}

static int rig_close(struct rig *rig)
{
	int status = -1;
	(void)close(rig->control);
	(void)waitpid(rig->pid, &status, 0);
	for (unsigned port = GUEST_PORT_CONTROL; port <= GUEST_PORT_STDERR; port++)
		(void)close(rig->listeners[port]);
	for (int i = 0; i < 3; i++)
		if (rig->streams[i] >= 0)
			(void)close(rig->streams[i]);
	guest_decoder_done(&rig->decoder);
	AUTO_FREE char *cgroup =
		text_format("moat/test-guest-%s", strrchr(rig->scratch->path, '-') + 1);
	struct err err = { 0 };
	if (cgroup_remove(cgroup, 5000, &err) < 0)
		fail_msg("%s", err.message);
	return status;
}

/* START for a command, as the engine makes it. */
static json *order_for(const char *const *args)
{
	json *document = container_spec_defaults();
	json *process = json_get_object(document, "process");
	json *list = json_new_array();
	for (; *args != NULL; args++)
		json_push_string(list, *args);
	json_set(process, "args", list);
	json *env = json_new_array();
	json_push_string(env, "PATH=/bin");
	json_push_string(env, "WHO=guest");
	json_set(process, "env", env);
	json *metadata = json_new_object();
	json_set_string(metadata, "serial", image);
	json *root = json_new_object();
	json_set(root, "metadata", metadata);
	json_set(root, "layers", json_new_array());
	json_set_string(root, "upper", "tmpfs");
	json *files = json_new_object();
	json_set_string(files, "/etc/hosts", "127.0.0.1 localhost\n");
	json *order = json_new_object();
	json_set(order, "document", document);
	json_set(order, "root", root);
	json_set(order, "files", files);
	json_set_string(order, "hostname", "inside");
	return order;
}
#define ORDER(...) order_for((const char *const[]){ __VA_ARGS__, NULL })

/* Until the guest waits for GO, or has said FAILED. */
static void rig_start(struct rig *rig, json *take_order)
{
	AUTO_JSON order = take_order;
	AUTO_FREE char *text = json_text(order, false);
	rig->control = rig_accept_port(rig, GUEST_PORT_CONTROL);
	assert_true(hear(rig, GUEST_HELLO).data.len > 0);
	assert_int_equal(guest_msg_send(rig->control, GUEST_START, 0, text, strlen(text)), 0);
}

static void rig_ready(struct rig *rig, json *take_order)
{
	bool interactive = json_get_bool(take_order, "interactive", false);
	bool terminal = json_get_bool(take_order, "tty", false);
	rig_start(rig, take_order);
	(void)hear(rig, GUEST_READY);
	if (interactive && !terminal)
		rig->streams[0] = rig_accept_port(rig, GUEST_PORT_STDIN);
	rig->streams[1] = rig_accept_port(rig, GUEST_PORT_STDOUT);
	if (!terminal)
		rig->streams[2] = rig_accept_port(rig, GUEST_PORT_STDERR);
}

static char *read_stream(int fd)
{
	AUTO_DONE(text) text = { 0 };
	struct err err = { 0 };
	if (fd_read_text(fd, OUTPUT_MAX * 2, "a stream", &text, &err) < 0)
		fail_msg("%s", err.message);
	return text_take(&text);
}

static int hear_exit(struct rig *rig)
{
	return (int)hear(rig, GUEST_EXITED).value;
}

/* ---- the tests ---- */

static void workload_runs_with_its_files_names_and_status(void **state)
{
	struct rig rig = rig_open(*state);
	rig_ready(&rig, ORDER("sh", "-c",
				"hostname; cat /etc/hosts; echo $$ $WHO; echo bad >&2; ls -d "
				"/sys/class/net/lo; "
				"touch /new && echo more >/dev/stdout; grep Seccomp: "
				"/proc/self/status; exit 7"));
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	AUTO_FREE char *out = read_stream(rig.streams[1]);
	AUTO_FREE char *bad = read_stream(rig.streams[2]);
	assert_string_equal(out,
		"inside\n127.0.0.1 localhost\n1 guest\n/sys/class/net/lo\nmore\nSeccomp:\t2\n");
	assert_string_equal(bad, "bad\n");
	int status = hear_exit(&rig);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(rig_close(&rig), 0);
}

static void image_user_and_its_groups_are_resolved_inside(void **state)
{
	struct rig rig = rig_open(*state);
	json *order = ORDER("sh", "-c",
		"id -u; id -g; id -G; umask; pwd; cat /etc/hosts; touch /tmp/mine && echo mine");
	json_set_string(order, "user", "worker");
	rig_ready(&rig, order);
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	AUTO_FREE char *out = read_stream(rig.streams[1]);
	assert_string_equal(out, "1000\n1000\n1000 2000\n0022\n/\n127.0.0.1 localhost\nmine\n");
	assert_int_equal(hear_exit(&rig), 0);
	assert_int_equal(rig_close(&rig), 0);
}

static void network_card_moves_into_the_workload(void **state)
{
	struct rig rig = rig_open(*state);
	json *order = ORDER("sh", "-c",
		"cat /sys/class/net/eth0/address; ip -4 addr show eth0 | grep -o 'inet [^ ]*'; "
		"ip route | grep -o 'default via [^ ]*'; cat "
		"/proc/sys/net/ipv4/ip_unprivileged_port_start");
	json *network = json_new_object();
	json_set_string(network, "mac", MAC);
	json_set_string(network, "address", "172.30.0.9");
	json_set_string(network, "gateway", "172.30.0.1");
	json_set_int(network, "prefix", 16);
	json_set(order, "network", network);
	rig_ready(&rig, order);
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	AUTO_FREE char *out = read_stream(rig.streams[1]);
	assert_string_equal(out, MAC "\ninet 172.30.0.9/16\ndefault via 172.30.0.1\n0\n");
	assert_int_equal(hear_exit(&rig), 0);
	assert_int_equal(rig_close(&rig), 0);
}

static void input_passes_through_to_its_end(void **state)
{
	struct rig rig = rig_open(*state);
	json *order = ORDER("sh", "-c", "wc -c; echo done >&2");
	json_set_bool(order, "interactive", true);
	rig_ready(&rig, order);
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	AUTO_FREE char *much = calloc(1, 300000);
	assert_int_equal(fd_write_all(rig.streams[0], much, 300000), 0);
	assert_int_equal(shutdown(rig.streams[0], SHUT_WR), 0);
	AUTO_FREE char *out = read_stream(rig.streams[1]);
	assert_string_equal(out, "300000\n");
	assert_int_equal(hear_exit(&rig), 0);
	assert_int_equal(rig_close(&rig), 0);
}

static void output_of_a_workload_that_has_ended_is_complete(void **state)
{
	struct rig rig = rig_open(*state);
	rig_ready(&rig, ORDER("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"));
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	(void)poll(NULL, 0, 300); /* it is stopped by whom it waits for, not by its end */
	AUTO_FREE char *out = read_stream(rig.streams[1]);
	assert_int_equal(strlen(out), 1000000);
	assert_int_equal(hear_exit(&rig), 0);
	assert_int_equal(rig_close(&rig), 0);
}

static void terminal_has_its_size_and_hangs_up_at_the_end(void **state)
{
	struct rig rig = rig_open(*state);
	json *order = ORDER("sh", "-c", "read line; stty size; tty; echo got $line");
	json_set_bool(order, "tty", true);
	json_set_bool(order, "interactive", true);
	rig_ready(&rig, order);
	tell(&rig, GUEST_RESIZE, 33 << 16 | 99);
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	assert_int_equal(fd_write_all(rig.streams[1], "typed\n", 6), 0);
	AUTO_FREE char *out = read_stream(rig.streams[1]);
	assert_string_equal(out, "typed\r\n33 99\r\n/dev/pts/0\r\ngot typed\r\n");
	assert_int_equal(hear_exit(&rig), 0);
	assert_int_equal(rig_close(&rig), 0);
}

static void signal_reaches_the_init_and_makes_its_status(void **state)
{
	struct rig rig = rig_open(*state);
	rig_ready(&rig,
		ORDER("sh", "-c", "trap 'exit 3' USR1; echo up; while :; do sleep 0.05; done"));
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	char up[3];
	assert_int_equal(fd_read_exact(rig.streams[1], up, 3), 0);
	tell(&rig, GUEST_SIGNAL, SIGUSR1);
	assert_int_equal(WEXITSTATUS(hear_exit(&rig)), 3);
	assert_int_equal(rig_close(&rig), 0);
}

static void killed_workload_says_by_which_signal(void **state)
{
	struct rig rig = rig_open(*state);
	rig_ready(&rig, ORDER("sleep", "1000"));
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	tell(&rig, GUEST_SIGNAL, SIGKILL);
	int status = hear_exit(&rig);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_int_equal(rig_close(&rig), 0);
}

static void missing_command_is_a_failure_of_its_kind(void **state)
{
	struct rig rig = rig_open(*state);
	rig_ready(&rig, ORDER("no-such-command"));
	tell(&rig, GUEST_GO, 0);
	struct guest_msg msg = hear(&rig, GUEST_FAILED);
	assert_int_equal(msg.value, ERR_NO_COMMAND);
	assert_non_null(memmem(msg.data.data, msg.data.len, "no-such-command", 15));
	assert_int_equal(rig_close(&rig), 0);
}

static void start_that_cannot_be_done_is_refused_with_its_reason(void **state)
{
	struct rig rig = rig_open(*state);
	json *order = ORDER("true");
	json_set_string(json_get_object(json_get_object(order, "root"), "metadata"), "serial",
		"nowhere");
	rig_start(&rig, order);
	struct guest_msg msg = hear(&rig, GUEST_FAILED);
	assert_int_equal(msg.value, ERR_TIMEOUT);
	assert_non_null(memmem(msg.data.data, msg.data.len, "\"nowhere\"", 9));
	assert_int_equal(rig_close(&rig), 0);
}

static void hang_up_ends_the_workload(void **state)
{
	struct rig rig = rig_open(*state);
	rig_ready(&rig, ORDER("sleep", "1000"));
	tell(&rig, GUEST_GO, 0);
	(void)hear(&rig, GUEST_STARTED);
	assert_int_equal(rig_close(&rig), 0);
}

/* ---- the service ---- */

static int ask(const struct rig *rig, enum guest_msg_type type, uint32_t value, json *take_request)
{
	AUTO_JSON request = take_request;
	AUTO_FREE char *text = request != NULL ? json_text(request, false) : NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_un address = name_of(rig->scratch->path, GUEST_PORT_SERVICE);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	const struct timeval timeout = { .tv_sec = DEADLINE_MS / 1000 };
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	assert_int_equal(guest_msg_send(fd, type, value, text, text != NULL ? strlen(text) : 0), 0);
	return fd;
}

static json *exec_of(const char *const *args)
{
	json *list = json_new_array();
	for (; *args != NULL; args++)
		json_push_string(list, *args);
	json *request = json_new_object();
	json_set(request, "args", list);
	return request;
}
#define EXEC(...) exec_of((const char *const[]){ __VA_ARGS__, NULL })

/* Everything until EXITED, by stream. */
static int hear_exec(int fd, struct text out[2])
{
	struct guest_decoder decoder;
	guest_decoder_init(&decoder, GUEST_MSG_DATA_MAX);
	(void)hear_from(fd, &decoder, GUEST_STARTED);
	for (;;) {
		struct guest_msg msg = { 0 };
		assert_int_equal(guest_msg_receive(fd, &decoder, &msg), 0);
		if (msg.type == GUEST_EXITED) {
			guest_decoder_done(&decoder);
			(void)close(fd);
			return (int)msg.value;
		}
		assert_int_equal(msg.type, GUEST_OUTPUT);
		assert_true(msg.value == 1 || msg.value == 2);
		text_add(&out[msg.value - 1], msg.data.data, msg.data.len);
	}
}

static void running_workload(struct rig *rig)
{
	rig_ready(rig, ORDER("sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"));
	tell(rig, GUEST_GO, 0);
	(void)hear(rig, GUEST_STARTED);
}

/* An init that has not set its trap yet does not hear a signal: it gets another. */
static void end_workload(struct rig *rig)
{
	struct pollfd control = { .fd = rig->control, .events = POLLIN };
	for (int try = 0; try < DEADLINE_MS / 200; try++) {
		int fd = ask(rig, GUEST_SIGNAL, SIGTERM, NULL);
		struct guest_decoder decoder;
		struct guest_msg answer;
		guest_decoder_init(&decoder, GUEST_MSG_DATA_MAX);
		assert_int_equal(guest_msg_receive(fd, &decoder, &answer), 0);
		guest_decoder_done(&decoder);
		(void)close(fd);
		if (poll(&control, 1, 200) == 1)
			break;
	}
	assert_int_equal(WEXITSTATUS(hear_exit(rig)), 4);
	assert_int_equal(rig_close(rig), 0);
}

static void exec_runs_beside_the_init_with_what_it_asks_for(void **state)
{
	struct rig rig = rig_open(*state);
	running_workload(&rig);
	struct text out[2] = { { 0 }, { 0 } };
	json *request = EXEC("sh", "-c",
		"echo $WHO $MORE; pwd; id -u; echo bad >&2; cat /proc/1/comm; exit 9");
	json *env = json_new_array();
	json_push_string(env, "MORE=less");
	json_set(request, "env", env);
	json_set_string(request, "cwd", "/etc");
	json_set_string(request, "user", "worker");
	int status = hear_exec(ask(&rig, GUEST_EXEC, 0, request), out);
	assert_int_equal(WEXITSTATUS(status), 9);
	assert_string_equal(text_string(&out[0]), "guest less\n/etc\n1000\nsh\n");
	assert_string_equal(text_string(&out[1]), "bad\n");
	text_done(&out[0]);
	text_done(&out[1]);
	end_workload(&rig);
}

static void exec_takes_input_signals_and_many_at_once(void **state)
{
	struct rig rig = rig_open(*state);
	running_workload(&rig);
	int fds[8];
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		json *request = EXEC("sh", "-c", "wc -c");
		json_set_bool(request, "interactive", true);
		fds[i] = ask(&rig, GUEST_EXEC, 0, request);
	}
	AUTO_FREE char *much = calloc(1, 60000);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		for (int n = 0; n < 3; n++)
			assert_int_equal(guest_msg_send(fds[i], GUEST_STDIN, 0, much, 60000), 0);
		assert_int_equal(guest_msg_send(fds[i], GUEST_STDIN, 0, NULL, 0), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		struct text out[2] = { { 0 }, { 0 } };
		assert_int_equal(hear_exec(fds[i], out), 0);
		assert_string_equal(text_string(&out[0]), "180000\n");
		text_done(&out[0]);
	}
	int fd = ask(&rig, GUEST_EXEC, 0, EXEC("sleep", "1000"));
	assert_int_equal(guest_msg_send(fd, GUEST_SIGNAL, SIGINT, NULL, 0), 0);
	struct text none[2] = { { 0 }, { 0 } };
	assert_int_equal(WTERMSIG(hear_exec(fd, none)), SIGINT);
	end_workload(&rig);
}

static void exec_on_a_terminal_is_one_stream(void **state)
{
	struct rig rig = rig_open(*state);
	running_workload(&rig);
	json *request = EXEC("sh", "-c", "read line; stty size; echo $TERM >&2");
	json_set_bool(request, "tty", true);
	json_set_bool(request, "interactive", true);
	int fd = ask(&rig, GUEST_EXEC, 0, request);
	assert_int_equal(guest_msg_send(fd, GUEST_RESIZE, 20 << 16 | 70, NULL, 0), 0);
	assert_int_equal(guest_msg_send(fd, GUEST_STDIN, 0, "x\n", 2), 0);
	struct text out[2] = { { 0 }, { 0 } };
	assert_int_equal(hear_exec(fd, out), 0);
	assert_string_equal(text_string(&out[0]), "x\r\n20 70\r\nxterm\r\n");
	text_done(&out[0]);
	end_workload(&rig);
}

static void exec_output_is_complete_and_a_child_left_behind_does_not_hold_it(void **state)
{
	struct rig rig = rig_open(*state);
	running_workload(&rig);
	struct text out[2] = { { 0 }, { 0 } };
	int fd = ask(&rig, GUEST_EXEC, 0,
		EXEC("sh", "-c", "sleep 1000 & head -c 700000 /dev/zero | tr '\\0' y"));
	assert_int_equal(hear_exec(fd, out), 0);
	assert_int_equal(out[0].len, 700000);
	text_done(&out[0]);
	end_workload(&rig);
}

static void exec_that_fails_says_why_and_nonsense_is_hung_up_on(void **state)
{
	struct rig rig = rig_open(*state);
	running_workload(&rig);
	struct guest_decoder decoder;
	guest_decoder_init(&decoder, GUEST_MSG_DATA_MAX);
	int fd = ask(&rig, GUEST_EXEC, 0, EXEC("nothing-here"));
	assert_int_equal(hear_from(fd, &decoder, GUEST_FAILED).value, ERR_NO_COMMAND);
	(void)close(fd);
	fd = ask(&rig, GUEST_EXEC, 0, json_new_array());
	assert_int_equal(hear_from(fd, &decoder, GUEST_FAILED).value, ERR_INVALID);
	(void)close(fd);
	guest_decoder_done(&decoder);
	char byte;
	fd = ask(&rig, GUEST_GO, 0, NULL);
	assert_int_equal(read(fd, &byte, 1), 0);
	(void)close(fd);
	fd = ask(&rig, GUEST_SIGNAL, 0, NULL);
	assert_int_equal(fd_write_all(fd, "nonsense that is no message", 27), 0);
	(void)close(fd);
	end_workload(&rig);
}

static void lost_exec_connection_leaves_the_workload_alone(void **state)
{
	struct rig rig = rig_open(*state);
	running_workload(&rig);
	for (int i = 0; i < 5; i++)
		(void)close(ask(&rig, GUEST_EXEC, 0, EXEC("sh", "-c", "sleep 0.2; yes")));
	struct text out[2] = { { 0 }, { 0 } };
	assert_int_equal(hear_exec(ask(&rig, GUEST_EXEC, 0, EXEC("echo", "alive")), out), 0);
	assert_string_equal(text_string(&out[0]), "alive\n");
	text_done(&out[0]);
	end_workload(&rig);
}

static int make_image(void)
{
	if (geteuid() != 0 || mkdtemp(image_dir) == NULL)
		return -1;
	image = text_format("%s/image.erofs", image_dir);
	AUTO_FREE char *script =
		text_format("umask 022; cd %s && mkdir -p root/bin root/etc root/proc root/sys "
			    "root/dev "
			    "root/tmp && chmod 1777 root/tmp && "
			    "cp $(command -v busybox) root/bin/busybox && "
			    "for i in $(busybox --list); do ln -s busybox root/bin/$i 2>/dev/null; "
			    "done && "
			    "echo root:x:0:0::/:/bin/sh >root/etc/passwd && "
			    "echo worker:x:1000:1000::/:/bin/sh >>root/etc/passwd && "
			    "echo more:x:2000:worker >root/etc/group && "
			    "mkfs.erofs -Enoinline_data image.erofs root >/dev/null 2>&1",
			image_dir);
	return shell(script) == 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(workload_runs_with_its_files_names_and_status),
		IN_SCRATCH(image_user_and_its_groups_are_resolved_inside),
		IN_SCRATCH(network_card_moves_into_the_workload),
		IN_SCRATCH(input_passes_through_to_its_end),
		IN_SCRATCH(output_of_a_workload_that_has_ended_is_complete),
		IN_SCRATCH(terminal_has_its_size_and_hangs_up_at_the_end),
		IN_SCRATCH(signal_reaches_the_init_and_makes_its_status),
		IN_SCRATCH(killed_workload_says_by_which_signal),
		IN_SCRATCH(missing_command_is_a_failure_of_its_kind),
		IN_SCRATCH(start_that_cannot_be_done_is_refused_with_its_reason),
		IN_SCRATCH(hang_up_ends_the_workload),
		IN_SCRATCH(exec_runs_beside_the_init_with_what_it_asks_for),
		IN_SCRATCH(exec_takes_input_signals_and_many_at_once),
		IN_SCRATCH(exec_on_a_terminal_is_one_stream),
		IN_SCRATCH(exec_output_is_complete_and_a_child_left_behind_does_not_hold_it),
		IN_SCRATCH(exec_that_fails_says_why_and_nonsense_is_hung_up_on),
		IN_SCRATCH(lost_exec_connection_leaves_the_workload_alone),
	};
	if (make_image() < 0) {
		puts("1..0 # SKIP needs root, busybox and mkfs.erofs");
		return TEST_SKIPPED;
	}
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)!path_remove_tree(AT_FDCWD, image_dir, NULL);
	free(image);
	return r;
}
