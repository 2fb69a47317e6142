#include "test.h"

#include <arpa/inet.h>
#include <sys/wait.h>

#include "net/net.h"

static struct net_bridge bridge_of(unsigned prefix_len)
{
	struct net_bridge bridge = { .name = "moat0", .prefix_len = prefix_len };
	assert_int_equal(inet_pton(AF_INET, "172.30.0.1", &bridge.address), 1);
	return bridge;
}

static bool all_live(void *context, const char *owner)
{
	(void)context;
	(void)owner;
	return true;
}

static bool but_for(void *context, const char *owner)
{
	return strcmp(owner, context) != 0;
}

static void every_address_is_given_once_and_then_the_pool_says_so(void **state)
{
	const struct scratch *scratch = *state;
	struct net_bridge bridge = bridge_of(29); /* .1 to .6, .1 the bridge's */
	struct err err = { 0 };
	bool seen[8] = { false };
	struct in_addr address;
	for (int i = 0; i < 5; i++) {
		AUTO_FREE char *owner = text_format("owner%d", i);
		assert_int_equal(net_address_reserve(scratch->fd, &bridge, owner, all_live, NULL,
					 &address, &err),
			0);
		uint32_t host = ntohl(address.s_addr) & 7;
		assert_true(host >= 2 && host <= 6 && !seen[host]);
		seen[host] = true;
	}
	assert_error(net_address_reserve(scratch->fd, &bridge, "late", all_live, NULL, &address,
			     &err),
		ERR_CONFLICT, "all 5 addresses of 172.30.0.0/29 are in use");
}

static void address_of_a_dead_owner_is_taken_over(void **state)
{
	const struct scratch *scratch = *state;
	struct net_bridge bridge = bridge_of(30); /* one address */
	struct in_addr first, second;
	struct err err = { 0 };
	assert_int_equal(net_address_reserve(scratch->fd, &bridge, "dead", all_live, NULL, &first,
				 &err),
		0);
	char dead[] = "dead";
	assert_int_equal(net_address_reserve(scratch->fd, &bridge, "heir", but_for, dead, &second,
				 &err),
		0);
	assert_true(first.s_addr == second.s_addr);
	/* the dead owner's late release does not touch the heir's */
	assert_int_equal(net_address_release(scratch->fd, "dead", first, &err), 0);
	assert_error(net_address_reserve(scratch->fd, &bridge, "late", all_live, NULL, &first,
			     &err),
		ERR_CONFLICT, "in use");
	assert_int_equal(net_address_release(scratch->fd, "heir", second, &err), 0);
	assert_int_equal(net_address_release(scratch->fd, "heir", second, &err), 0);
	assert_int_equal(net_address_reserve(scratch->fd, &bridge, "late", all_live, NULL, &first,
				 &err),
		0);
}

/* Forty processes want thirteen addresses, one of which a dead owner has. */
static void racing_processes_never_share_an_address(void **state)
{
	const struct scratch *scratch = *state;
	enum { PROCESSES = 40, ADDRESSES = 13 };
	struct net_bridge bridge = bridge_of(28);
	char dead[] = "dead";
	struct in_addr address;
	assert_int_equal(net_address_reserve(scratch->fd, &bridge, dead, all_live, NULL, &address,
				 NULL),
		0);
	pid_t pids[PROCESSES];
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			AUTO_FREE char *owner = text_format("owner%d", i);
			_exit(net_address_reserve(scratch->fd, &bridge, owner, but_for, dead,
				      &address, NULL) < 0);
		}
	}
	int winners = 0;
	for (int i = 0; i < PROCESSES; i++) {
		int status = -1;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		winners += status == 0;
	}
	assert_int_equal(winners, ADDRESSES);
}

static void bad_requests_are_refused(void **state)
{
	const struct scratch *scratch = *state;
	struct net_bridge bridge = bridge_of(31);
	struct in_addr address;
	struct err err = { 0 };
	assert_error(net_address_reserve(scratch->fd, &bridge, "owner", all_live, NULL, &address,
			     &err),
		ERR_INVALID, "31");
	bridge = bridge_of(16);
	assert_error(net_address_reserve(scratch->fd, &bridge, "", all_live, NULL, &address, &err),
		ERR_INVALID, "owner");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(every_address_is_given_once_and_then_the_pool_says_so),
		IN_SCRATCH(address_of_a_dead_owner_is_taken_over),
		IN_SCRATCH(racing_processes_never_share_an_address),
		IN_SCRATCH(bad_requests_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
