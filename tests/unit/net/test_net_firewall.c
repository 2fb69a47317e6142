#include "world.h"

#include "base/fd.h"

struct helper {
	int runs;
};

/* The role "firewall" in a forked child, with the ruleset as its standard input. */
static int run_role(void *context, const char *ruleset, struct err *err)
{
	struct helper *helper = context;
	helper->runs++;
	int in[2], out[2];
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct err child = { 0 };
		(void)close(in[1]);
		(void)dup2(in[0], 0);
		int r = net_firewall_main(&child);
		_exit(fd_write_all(out[1], &child, sizeof(child)) < 0 || r < 0);
	}
	(void)close(in[0]);
	assert_int_equal(fd_write_all(in[1], ruleset, strlen(ruleset)), 0);
	(void)close(in[1]);
	struct err child = { 0 };
	assert_int_equal(fd_read_exact(out[0], &child, sizeof(child)), 0);
	(void)close(out[0]);
	(void)close(out[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return child.code < 0 ? err_copy(err, &child) : 0;
}

static int has(const char *what, const char *words)
{
	AUTO_FREE char *command = text_format("nft list %s | grep -q -- '%s'", what, words);
	return RUN("sh", "-c", command) == 0;
}

static void table_is_made_once_and_anew_for_another_subnet(void **state)
{
	(void)state;
	struct helper helper = { 0 };
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	for (int i = 0; i < 2; i++) {
		int r = net_firewall_ensure(&bridge, run_role, &helper, &err);
		if (r < 0)
			fail_msg("%s", err.message);
		assert_int_equal(helper.runs, 1);
	}
	assert_true(has("table ip moat-moat0",
		"ip saddr 172.30.0.0/16 oifname != \"moat0\" masquerade"));
	bridge.address = ip("10.87.0.1");
	assert_int_equal(net_firewall_ensure(&bridge, run_role, &helper, &err), 0);
	assert_int_equal(helper.runs, 2);
	assert_true(has("table ip moat-moat0", "ip saddr 10.87.0.0/16"));
	assert_false(has("table ip moat-moat0", "172.30"));
	assert_int_equal(net_firewall_remove("moat0", run_role, &helper, &err), 0);
	assert_int_equal(net_firewall_remove("moat0", run_role, &helper, &err), 0);
	assert_false(has("tables", "moat"));
}

static void foreign_forward_drop(const char *chain, void **state)
{
	(void)state;
	struct helper helper = { 0 };
	struct net_bridge bridge = bridge_of("172.30.0.1");
	struct err err = { 0 };
	/* moat first, the other program later: the next call sees it */
	assert_int_equal(net_firewall_ensure(&bridge, run_role, &helper, &err), 0);
	assert_int_equal(RUN("nft", "add table ip filter; add chain ip filter FORWARD { type "
				    "filter hook forward priority 0; policy drop; }"),
		0);
	if (strcmp(chain, "FORWARD") != 0) {
		AUTO_FREE char *command = text_format("add chain ip filter %s", chain);
		assert_int_equal(RUN("nft", command), 0);
	}
	AUTO_FREE char *where = text_format("chain ip filter %s", chain);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(net_firewall_ensure(&bridge, run_role, &helper, &err), 0);
		assert_int_equal(helper.runs, 2);
	}
	assert_true(has(where, "iifname \"moat0\" accept comment \"moat-moat0\""));
	assert_true(has(where, "oifname \"moat0\" accept comment \"moat-moat0\""));
	assert_int_equal(net_firewall_remove("moat0", run_role, &helper, &err), 0);
	assert_false(has("ruleset", "moat"));
	assert_true(has("ruleset", "policy drop"));
}

static void accept_goes_to_docker_user_where_forwarding_is_dropped(void **state)
{
	foreign_forward_drop("DOCKER-USER", state);
}

static void accept_goes_to_forward_where_there_is_no_docker_user(void **state)
{
	foreign_forward_drop("FORWARD", state);
}

static void refused_ruleset_is_an_error_and_changes_nothing(void **state)
{
	(void)state;
	struct helper helper = { 0 };
	struct err err = { 0 };
	assert_error(run_role(&helper, "add table ip half\nadd rule ip nowhere c accept\n", &err),
		ERR_SYSTEM, "nftables refused");
	assert_false(has("tables", "half"));
	struct net_bridge bridge = bridge_of("172.30.0.1");
	memcpy(bridge.name, "a\" accept", sizeof("a\" accept"));
	assert_error(net_firewall_ensure(&bridge, run_role, &helper, &err), ERR_INVALID, "letters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NETNS(table_is_made_once_and_anew_for_another_subnet),
		IN_NETNS(accept_goes_to_docker_user_where_forwarding_is_dropped),
		IN_NETNS(accept_goes_to_forward_where_there_is_no_docker_user),
		IN_NETNS(refused_ruleset_is_an_error_and_changes_nothing),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
