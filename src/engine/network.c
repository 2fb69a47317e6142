#include "engine/network.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "container/container.h"
#include "engine/worker.h"

#define ADDRESS_FILE "address"
#define HOSTS_MAX 65536
#define FIREWALL_DEADLINE_MS 30000
#define REPORT_DEADLINE_MS 1000

/* An address belongs to whoever still has a run directory. */
static bool owner_lives(void *context, const char *owner)
{
	const struct engine *engine = context;
	return faccessat(engine->run_fd, owner, F_OK, 0) == 0;
}

static int run_ruleset(void *context, const char *ruleset, struct err *err)
{
	(void)context;
	return worker_collect("@firewall", NULL, view_of(ruleset), FIREWALL_DEADLINE_MS, NULL, err);
}

/* The bridge, made on first use; its subnet is whatever was free then. */
static int bridge_ensure(struct engine *engine, struct net_bridge *bridge, struct err *err)
{
	engine_bridge_name(engine, bridge->name);
	int r = 0;
	if (if_nametoindex(bridge->name) == 0)
		r = net_subnet_choose(&bridge->address, &bridge->prefix_len, err);
	if (r == 0)
		r = net_bridge_ensure(bridge, err);
	if (r == 0)
		r = net_firewall_ensure(bridge, run_ruleset, NULL, err);
	return r;
}

static int reserve(struct launch *launch, struct err *err)
{
	struct engine *engine = launch->engine;
	int r = bridge_ensure(engine, &launch->bridge, err);
	if (r != 0)
		return r;
	AUTO_CLOSE int dir =
		openat(engine->run_fd, "addresses", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, errno, "open \"%s/addresses\"", engine->run);
	r = net_address_reserve(dir, &launch->bridge, launch->id, owner_lives, engine,
		&launch->address, err);
	if (r != 0)
		return r;
	char text[INET_ADDRSTRLEN];
	(void)inet_ntop(AF_INET, &launch->address, text, sizeof(text));
	r = file_write_at(launch->dirs.run_fd, ADDRESS_FILE, 0600, view_of(text), err);
	/* Without the note nobody would know later whose address it is. */
	if (r < 0)
		(void)!net_address_release(dir, launch->id, launch->address, NULL);
	return r;
}

static int write_hosts(struct launch *launch, struct err *err)
{
	AUTO_DONE(text) hosts = { 0 };
	if (launch->spec->network == NETWORK_HOST) {
		int r = file_read_at(AT_FDCWD, "/etc/hosts", HOSTS_MAX, &hosts, NULL);
		if (r < 0)
			text_clear(&hosts);
	} else {
		text_puts(&hosts, "127.0.0.1\tlocalhost\n"
				  "::1\tlocalhost ip6-localhost ip6-loopback\n"
				  "fe00::\tip6-localnet\n"
				  "ff00::\tip6-mcastprefix\n"
				  "ff02::1\tip6-allnodes\n"
				  "ff02::2\tip6-allrouters\n");
	}
	if (launch->address.s_addr != 0) {
		char text[INET_ADDRSTRLEN];
		(void)inet_ntop(AF_INET, &launch->address, text, sizeof(text));
		text_printf(&hosts, "%s\t%s\n", text, launch->spec->hostname);
	}
	return file_write_at(launch->dirs.data_fd, "hosts", 0644, view_of_text(&hosts), err);
}

static int write_files(struct launch *launch, struct err *err)
{
	AUTO_DONE(text) resolv = { 0 };
	int r = net_resolv_conf(&resolv, err);
	if (r != 0)
		return r;
	if (view_starts(view_of_text(&resolv), NET_RESOLV_NO_SERVER) &&
		launch->spec->network == NETWORK_BRIDGE)
		log_warning("this host has no name server that a workload can reach: names stay "
			    "unknown in %.12s",
			launch->id);
	int data_fd = launch->dirs.data_fd;
	r = file_write_at(data_fd, "resolv.conf", 0644, view_of_text(&resolv), err);
	if (r != 0)
		return r;
	AUTO_DONE(text) hostname = { 0 };
	text_printf(&hostname, "%s\n", launch->spec->hostname);
	r = file_write_at(data_fd, "hostname", 0644, view_of_text(&hostname), err);
	return r != 0 ? r : write_hosts(launch, err);
}

int launch_network(void *context, struct err *err)
{
	struct launch *launch = context;
	int r = 0;
	if (launch->spec->network == NETWORK_BRIDGE)
		r = reserve(launch, err);
	if (r == 0)
		r = write_files(launch, err);
	if (r < 0)
		launch_network_undo(launch);
	return r;
}

void launch_network_undo(void *context)
{
	struct launch *launch = context;
	struct err err = { 0 };
	if (network_release(launch->engine, launch->id, &err) < 0)
		log_warning("an address stays reserved: %s", err.message);
}

int launch_connect(void *context, struct err *err)
{
	struct launch *launch = context;
	if (launch->address.s_addr == 0 || launch->is_connected)
		return 0;
	AUTO_CLOSE int netns = proc_open_file(launch->init.pid, "ns/net", O_RDONLY);
	if (netns < 0) {
		/* It has ended already: its own word says why. */
		int r = container_report_wait(launch->report_fd, CONTAINER_READY,
			REPORT_DEADLINE_MS, err);
		return r < 0 ? r : err_sys(err, -netns, "open the workload's network namespace");
	}
	char host_name[IFNAMSIZ];
	(void)snprintf(host_name, sizeof(host_name), "mt%.12s", launch->id);
	struct net_port port = { .host_name = host_name, .address = launch->address };
	/* No undo: the pair goes with the namespace. */
	return net_port_connect(&launch->bridge, &port, netns, err);
}

char *network_address(int run_fd)
{
	AUTO_DONE(text) text = { 0 };
	if (run_fd < 0 || file_read_at(run_fd, ADDRESS_FILE, INET_ADDRSTRLEN, &text, NULL) < 0)
		return NULL;
	return text_take(&text);
}

int network_release(struct engine *engine, const char *id, struct err *err)
{
	AUTO_CLOSE int run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE char *text = network_address(run_fd);
	struct in_addr address;
	if (text == NULL || inet_pton(AF_INET, text, &address) != 1)
		return 0;
	AUTO_CLOSE int dir =
		openat(engine->run_fd, "addresses", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, errno, "open \"%s/addresses\"", engine->run);
	return net_address_release(dir, id, address, err);
}

int network_release_unnoted(struct engine *engine, const char *id, struct err *err)
{
	int fd = openat(engine->run_fd, "addresses", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return err_sys(err, errno, "list \"%s/addresses\"", engine->run);
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
		char owner[ID_LEN + 1] = "";
		struct in_addr address;
		if (inet_pton(AF_INET, entry->d_name, &address) == 1 &&
			readlinkat(fd, entry->d_name, owner, ID_LEN) == ID_LEN &&
			strcmp(owner, id) == 0)
			r = net_address_release(fd, id, address, err);
	}
	(void)closedir(dir);
	return r;
}

int network_prune(struct engine *engine, struct err *err)
{
	char name[16];
	engine_bridge_name(engine, name);
	/* The directory goes only when it is empty: no address is in use. */
	if (unlinkat(engine->run_fd, "addresses", AT_REMOVEDIR) < 0)
		return errno == ENOTEMPTY || errno == ENOENT
			       ? 0
			       : err_sys(err, errno, "remove \"%s/addresses\"", engine->run);
	int r = net_firewall_remove(name, run_ruleset, NULL, err);
	if (r == 0)
		r = net_bridge_remove(name, err);
	if (mkdirat(engine->run_fd, "addresses", 0700) < 0 && r == 0)
		return err_sys(err, errno, "make \"%s/addresses\"", engine->run);
	return r;
}

int engine_firewall_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	struct err err = { 0 };
	int r = net_firewall_main(&err);
	if (r < 0)
		log_error("%s", err.message);
	/* At once: the library keeps its tables until the end, which is here. */
	_exit(r < 0 ? 1 : 0);
}
