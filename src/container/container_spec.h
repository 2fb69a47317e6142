/* container_spec - the parsed runtime-spec document: plain values, private to this folder.  All
 * pointers are owned by the spec. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/json.h"
#include "base/text.h"
#include "container/capability.h"
#include "container/container.h"

struct spec_mount {
	char *destination, *type, *source;
	uint64_t attributes, attributes_cleared;           /* MOUNT_ATTR_* of this mount */
	uint64_t tree_attributes, tree_attributes_cleared; /* of it and all below */
	unsigned long propagation;                         /* MS_PRIVATE, ...; 0: as it is */
	bool is_propagation_recursive;
	bool is_bind, is_recursive;
	struct strv data; /* for the file system: "size=64m" */
};

enum { DEVICE_READ = 1, DEVICE_WRITE = 2, DEVICE_MKNOD = 4, DEVICE_ALL = 7 };

struct spec_device_rule {
	bool is_allowed;
	char type;            /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1: any */
	unsigned access;      /* DEVICE_* */
};

struct spec_device {
	char *path;
	mode_t mode; /* type and permissions */
	unsigned major, minor;
	uid_t uid;
	gid_t gid;
};

struct spec_rlimit {
	int resource;
	const char *name; /* of the table */
	rlim_t soft, hard;
};

struct spec_process {
	struct strv args, env;
	char *cwd;
	bool has_terminal;
	unsigned short rows, columns; /* 0: not given */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t groups_len;
	mode_t umask;
	bool has_no_new_privileges;
	bool has_capabilities; /* absent: the process keeps none */
	struct capability_sets capabilities;
	struct spec_rlimit *rlimits;
	size_t rlimits_len;
	bool has_oom_score_adj;
	int oom_score_adj;
};

#define SPEC_NAMESPACES_MAX 6
struct spec_namespace {
	int flag;   /* CLONE_NEW* */
	char *path; /* joined instead of made; NULL: a new one */
};

enum spec_seccomp { SECCOMP_NONE, SECCOMP_DEFAULT, SECCOMP_CUSTOM };

struct container_spec {
	struct spec_process process;
	char *root_path; /* root.path; NULL where the caller mounts the root itself */
	bool is_root_readonly;
	char *hostname, *domainname;
	struct spec_mount *mounts;
	size_t mounts_len;
	struct spec_namespace namespaces[SPEC_NAMESPACES_MAX];
	size_t namespaces_len;
	struct spec_device *devices;
	size_t devices_len;
	struct spec_device_rule *device_rules;
	size_t device_rules_len;
	struct strv sysctls; /* "net.ipv4.x=value", checked */
	struct strv masked_paths, readonly_paths;
	unsigned long root_propagation; /* MS_PRIVATE, ... */
	struct cgroup_limits limits;
	enum spec_seccomp seccomp;
	json *seccomp_profile; /* with SECCOMP_CUSTOM */
};

/* The clone flags of the namespaces to be made, and the row of one type or NULL. */
int spec_namespaces_new(const struct container_spec *spec);
const struct spec_namespace *spec_namespace_find(const struct container_spec *spec, int flag);
