#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "container/container_spec.h"

#define NAMESPACES                                                                        \
	"\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"network\"}," \
	"{\"type\":\"uts\"},{\"type\":\"ipc\"}]"

static int parse(const char *text, struct container_spec **ret, struct err *err)
{
	AUTO_JSON document = NULL;
	int r = json_parse(view_of(text), "test", &document, err);
	return r < 0 ? r : container_spec_parse(document, ret, err);
}

static struct container_spec *parsed(const char *text)
{
	struct container_spec *spec = NULL;
	struct err err = { 0 };
	if (parse(text, &spec, &err) < 0)
		fail_msg("%s", err.message);
	return spec;
}

static void defaults_are_dockers(void **state)
{
	(void)state;
	AUTO_JSON document = container_spec_defaults();
	AUTO(container_spec) spec = NULL;
	struct err err = { 0 };
	assert_int_equal(container_spec_parse(document, &spec, &err), 0);
	assert_int_equal(spec->process.capabilities.bounding, 0xa80425fb);
	assert_int_equal(spec->process.capabilities.inheritable, 0);
	assert_int_equal(spec->seccomp, SECCOMP_DEFAULT);
	assert_int_equal(spec->mounts_len, 7);
	assert_int_equal(spec->device_rules_len, 11);
	assert_false(spec->device_rules[0].is_allowed);
	assert_true(strv_has(&spec->masked_paths, "/proc/kcore"));
	assert_true(strv_has(&spec->readonly_paths, "/proc/sys"));
	assert_int_equal(spec_namespaces_new(spec), CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
							    CLONE_NEWIPC | CLONE_NEWUTS |
							    CLONE_NEWCGROUP);
	assert_string_equal(spec->process.cwd, "/");
}

static void complete_document_is_read(void **state)
{
	(void)state;
	AUTO(container_spec)
	spec = parsed(
		"{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":true,"
		"\"consoleSize\":{\"height\":24,\"width\":80},"
		"\"user\":{\"uid\":5,\"gid\":6,\"additionalGids\":[7,8],\"umask\":63},"
		"\"args\":[\"sh\",\"-c\",\"x\"],\"env\":[\"A=b\"],\"cwd\":\"/srv\","
		"\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":18446744073709551615}],"
		"\"noNewPrivileges\":true,\"oomScoreAdj\":-5},"
		"\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"h\","
		"\"unknown\":{\"x\":1},"
		"\"mounts\":[{\"destination\":\"/data\",\"type\":\"none\",\"source\":\"/src\","
		"\"options\":[\"rbind\",\"ro\",\"nosuid\",\"rslave\"]},"
		"{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
		"\"options\":[\"rw\",\"ro\",\"rw\",\"size=1m\",\"strictatime\"]}],"
		"\"linux\":{" NAMESPACES ",\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\","
		"\"major\":10,\"minor\":229,\"fileMode\":438}],"
		"\"resources\":{\"memory\":{\"limit\":1048576},\"cpu\":{\"quota\":5,\"period\":10,"
		"\"shares\":3},\"pids\":{\"limit\":-1},\"devices\":[{\"allow\":true,\"type\":\"c\","
		"\"major\":10,\"minor\":229,\"access\":\"rw\"}]},"
		"\"sysctl\":{\"net.core.somaxconn\":\"99\"},\"rootfsPropagation\":\"rslave\"}}");
	assert_true(spec->process.has_terminal);
	assert_int_equal(spec->process.columns, 80);
	assert_int_equal(spec->process.uid, 5);
	assert_int_equal(spec->process.groups_len, 2);
	assert_int_equal(spec->process.umask, 63);
	assert_int_equal(spec->process.args.len, 3);
	assert_true(spec->process.rlimits[0].hard == RLIM_INFINITY);
	assert_int_equal(spec->process.oom_score_adj, -5);
	assert_true(spec->is_root_readonly);
	assert_true(spec->mounts[0].is_bind && spec->mounts[0].is_recursive);
	assert_int_equal(spec->mounts[0].attributes, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);
	assert_int_equal(spec->mounts[0].propagation, MS_SLAVE);
	assert_int_equal(spec->mounts[1].attributes, MOUNT_ATTR_STRICTATIME);
	assert_true(spec->mounts[1].attributes_cleared & MOUNT_ATTR_RDONLY);
	assert_string_equal(spec->mounts[1].data.items[0], "size=1m");
	assert_int_equal(spec->devices[0].mode, S_IFCHR | 0666);
	assert_int_equal(spec->device_rules[0].access, DEVICE_READ | DEVICE_WRITE);
	assert_int_equal(spec->limits.memory_bytes, 1048576);
	assert_int_equal(spec->limits.pids, 0);
	assert_string_equal(spec->sysctls.items[0], "net.core.somaxconn=99");
	assert_int_equal(spec->root_propagation, MS_SLAVE);
	assert_int_equal(spec->seccomp, SECCOMP_NONE);
}

struct refusal {
	const char *document;
	enum err_kind kind;
	const char *part; /* of the message */
};

#define LINUX(rest) "{\"linux\":{" NAMESPACES "," rest "}}"
#define PROCESS(rest) "{\"process\":{" rest "},\"linux\":{" NAMESPACES "}}"
#define MOUNTS(rest) "{\"mounts\":[" rest "],\"linux\":{" NAMESPACES "}}"

static const struct refusal refusals[] = {
	{ "{}", ERR_UNSUPPORTED, "mount namespace" },
	{ LINUX("\"uidMappings\":[{\"hostID\":1}]"), ERR_UNSUPPORTED, "uidMappings" },
	{ LINUX("\"devices\":[{\"path\":\"/etc/x\",\"type\":\"c\"}]"), ERR_INVALID, "/etc/x" },
	{ LINUX("\"devices\":[{\"path\":\"/dev/x\",\"type\":\"z\"}]"), ERR_INVALID, "/dev/x" },
	{ LINUX("\"sysctl\":{\"kernel.core_pattern\":\"|/x\"}"), ERR_INVALID, "core_pattern" },
	{ LINUX("\"sysctl\":{\"kernel.shm_rmid_forced\":\"1+kernel.core_pattern=|/x\\n\"}"),
		ERR_INVALID, "not one line" },
	{ LINUX("\"sysctl\":{\"net.ipv4/../../kernel/core_pattern\":\"1\"}"), ERR_INVALID,
		"net.ipv4" },
	{ LINUX("\"sysctl\":{\"net...kernel\":\"1\"}"), ERR_INVALID, "net" },
	{ LINUX("\"rootfsPropagation\":\"shared\""), ERR_UNSUPPORTED, "shared" },
	{ LINUX("\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"rx\"}]}"), ERR_INVALID,
		"rx" },
	{ "{\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"user\"}]}}",
		ERR_UNSUPPORTED, "user" },
	{ "{\"linux\":{\"namespaces\":[{\"type\":\"mount\",\"path\":\"/x\"}]}}", ERR_UNSUPPORTED,
		"joining" },
	{ "{\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"mount\"}]}}", ERR_INVALID,
		"twice" },
	{ "{\"hostname\":\"h\",\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}", ERR_INVALID,
		"hostname" },
	{ "{\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"network\",\"path\":"
	  "\"/run/netns/a\"}],\"sysctl\":{\"net.core.somaxconn\":\"1\"}}}",
		ERR_INVALID, "own" },
	{ PROCESS("\"user\":{\"uid\":4294967296}"), ERR_INVALID, "4294967296" },
	{ PROCESS("\"user\":{\"uid\":-1}"), ERR_INVALID, "-1" },
	{ PROCESS("\"cwd\":\"relative\""), ERR_INVALID, "relative" },
	{ PROCESS("\"args\":[1]"), ERR_INVALID, "" },
	{ PROCESS("\"capabilities\":{\"bounding\":[\"CAP_NONE\"]}"), ERR_INVALID, "CAP_NONE" },
	{ PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_X\"}]"), ERR_INVALID, "RLIMIT_X" },
	{ PROCESS("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":2,\"hard\":1}]"), ERR_INVALID,
		"RLIMIT_CORE" },
	{ PROCESS("\"oomScoreAdj\":1001"), ERR_INVALID, "1001" },
	{ MOUNTS("{\"destination\":\"data\"}"), ERR_INVALID, "data" },
	{ MOUNTS("{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"rel\"}"), ERR_INVALID,
		"absolute" },
	{ MOUNTS("{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"/s\",\"options\":["
		 "\"idmap\"]}"),
		ERR_UNSUPPORTED, "idmap" },
};

static void what_cannot_be_honoured_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct container_spec *spec = NULL;
		struct err err = { 0 };
		if (parse(refusals[i].document, &spec, &err) >= 0)
			fail_msg("accepted: %s", refusals[i].document);
		assert_null(spec);
		if (err.kind != refusals[i].kind || strstr(err.message, refusals[i].part) == NULL)
			fail_msg("%s: %s", refusals[i].document, err.message);
	}
}

static void sysctl_value_cannot_carry_a_second_key(void **state)
{
	(void)state;
	struct container_spec *spec = NULL;
	struct err err = { 0 };
	assert_true(parse(LINUX("\"sysctl\":{\"net.core.somaxconn\":\"1\\nkernel.x=2\"}"), &spec,
			    &err) < 0);
	AUTO(container_spec) fine = parsed(LINUX("\"sysctl\":{\"net.core.somaxconn\":\"1+2=3\"}"));
	assert_string_equal(fine->sysctls.items[0], "net.core.somaxconn=1+2=3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_dockers),
		cmocka_unit_test(complete_document_is_read),
		cmocka_unit_test(what_cannot_be_honoured_is_refused_by_name),
		cmocka_unit_test(sysctl_value_cannot_carry_a_second_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
