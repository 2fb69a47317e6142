/* net_address - who has which address of a subnet (net.h).
 *
 * A reservation is a symbolic link DIR/ADDRESS whose target is the owner's id: made by one system
 * call, exclusive, and never without its content, whenever the maker is killed.  Free addresses are
 * taken without a lock.  Only where none is free are those of dead owners taken over; that, and
 * releasing, is remove-after-look and holds the directory's lock, so that nobody removes what
 * another has just taken. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "base/fd.h"
#include "net/net.h"

enum { OWNER_MAX = 128, LOCK_DEADLINE_MS = 5000, HOSTS_MAX = 65536 };

struct pool {
	int dir_fd; /* borrowed */
	uint32_t network, gateway;
	uint32_t hosts; /* addresses that may be given, network and broadcast not counted */
	uint32_t start;
	const char *owner;
	bool (*is_alive)(void *context, const char *owner);
	void *context;
};

struct address_name {
	char text[INET_ADDRSTRLEN];
};

static struct address_name name_of(uint32_t address)
{
	struct address_name name = { 0 };
	struct in_addr in = { .s_addr = htonl(address) };
	(void)inet_ntop(AF_INET, &in, name.text, sizeof(name.text));
	return name;
}

/* FNV-1a: spreads ids, nothing else is asked of it. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261U;
	for (; *text != 0; text++)
		h = (h ^ (uint8_t)*text) * 16777619U;
	return h;
}

/* The owner as a string, or -errno. */
static int read_owner(int dir_fd, const char *name, char owner[OWNER_MAX + 1])
{
	ssize_t len = readlinkat(dir_fd, name, owner, OWNER_MAX);
	if (len < 0)
		return -errno;
	owner[len] = 0;
	return 0;
}

/* 0 and the address, or -EEXIST when none is to be had this way. */
typedef int take_fn(const struct pool *pool, const char *name);

static int take_free(const struct pool *pool, const char *name)
{
	return symlinkat(pool->owner, pool->dir_fd, name) < 0 ? -errno : 0;
}

static int take_stale(const struct pool *pool, const char *name)
{
	char owner[OWNER_MAX + 1];
	int r = read_owner(pool->dir_fd, name, owner);
	if (r == 0 && pool->is_alive(pool->context, owner))
		return -EEXIST;
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && unlinkat(pool->dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return take_free(pool, name);
}

static int search(const struct pool *pool, take_fn *take, struct in_addr *ret_address)
{
	for (uint32_t i = 0; i < pool->hosts; i++) {
		uint32_t address = pool->network + 1 + (pool->start + i) % pool->hosts;
		if (address == pool->gateway)
			continue;
		int r = take(pool, name_of(address).text);
		if (r == 0)
			ret_address->s_addr = htonl(address);
		if (r != -EEXIST)
			return r;
	}
	return -EEXIST;
}

static int take_over(const struct pool *pool, struct in_addr *ret_address)
{
	/* A lock of its own open file: the caller's descriptor may be shared. */
	AUTO_CLOSE int lock = openat(pool->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return -errno;
	int r = fd_lock(lock, true, LOCK_DEADLINE_MS);
	return r < 0 ? r : search(pool, take_stale, ret_address);
}

int net_address_reserve(int dir_fd, const struct net_bridge *bridge, const char *owner,
	bool (*is_alive)(void *context, const char *owner), void *context,
	struct in_addr *ret_address, struct err *err)
{
	if (bridge->prefix_len < 1 || bridge->prefix_len > 30)
		return err_set(err, ERR_INVALID, "a subnet of prefix %u has no addresses to give",
			bridge->prefix_len);
	if (*owner == 0 || strlen(owner) > OWNER_MAX)
		return err_set(err, ERR_INVALID, "an owner's id has 1 to %d bytes", OWNER_MAX);
	uint32_t size = (uint32_t)1 << (32 - bridge->prefix_len);
	uint32_t gateway = ntohl(bridge->address.s_addr);
	struct pool pool = {
		.dir_fd = dir_fd,
		.network = gateway & ~(size - 1),
		.gateway = gateway,
		.hosts = size - 2 < HOSTS_MAX ? size - 2 : HOSTS_MAX,
		.owner = owner,
		.is_alive = is_alive,
		.context = context,
	};
	pool.start = hash(owner) % pool.hosts;
	int r = search(&pool, take_free, ret_address);
	if (r == -EEXIST)
		r = take_over(&pool, ret_address);
	if (r == -EEXIST)
		return err_set(err, ERR_CONFLICT,
			"all %u addresses of %s/%u are in use: stop a workload or use another "
			"network",
			pool.hosts - 1, name_of(pool.network).text, bridge->prefix_len);
	return r < 0 ? err_sys(err, -r, "reserve an address on %s", bridge->name) : 0;
}

int net_address_release(int dir_fd, const char *owner, struct in_addr address, struct err *err)
{
	struct address_name name = name_of(ntohl(address.s_addr));
	AUTO_CLOSE int lock = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return err_sys(err, errno, "open the address directory");
	int r = fd_lock(lock, true, LOCK_DEADLINE_MS);
	if (r < 0)
		return err_sys(err, -r, "lock the address directory");
	char found[OWNER_MAX + 1];
	r = read_owner(dir_fd, name.text, found);
	if (r == -ENOENT || (r == 0 && strcmp(found, owner) != 0))
		return 0; /* released, and perhaps another's by now */
	if (r < 0 || (unlinkat(dir_fd, name.text, 0) < 0 && errno != ENOENT))
		return err_sys(err, r < 0 ? -r : errno, "release address %s", name.text);
	return 0;
}
