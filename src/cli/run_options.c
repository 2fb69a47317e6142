/* run_options - what `run` and `create` take, turned into a workload's specification. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "cli/command.h"

#define AT(field) offsetof(struct run_options, field)
#define SPEC(field) offsetof(struct run_options, spec.field)
static const struct option_row rows[] = {
	{ "cpus", 0, OPTION_STRING, AT(cpus), "NUMBER", "CPUs it may use, such as 1.5", NULL },
	{ "accel", 0, OPTION_STRING, SPEC(accel), "NAME",
		"What runs a machine's instructions: kvm, soft or auto", NULL },
	{ "detach", 'd', OPTION_FLAG, SPEC(detach), NULL, "Run in the background and print the id",
		NULL },
	{ "detach-keys", 0, OPTION_STRING, AT(detach_keys), "KEYS",
		"Keys that detach (ctrl-p,ctrl-q)", NULL },
	{ "entrypoint", 0, OPTION_STRING, AT(entrypoint), "COMMAND",
		"Instead of the image's entrypoint; \"\" for none", NULL },
	{ "env", 'e', OPTION_LIST, AT(env), "KEY[=VALUE]",
		"Environment; without a value moat's own", NULL },
	{ "env-file", 0, OPTION_LIST, AT(env_files), "FILE",
		"Environment from a file, a KEY=VALUE a line", NULL },
	{ "hostname", 'h', OPTION_STRING, SPEC(hostname), "NAME", "Host name inside", NULL },
	{ "interactive", 'i', OPTION_FLAG, SPEC(interactive), NULL, "Keep standard input open",
		NULL },
	{ "isolation", 0, OPTION_STRING, SPEC(isolation), "WALL", "container or vm", NULL },
	{ "label", 'l', OPTION_LIST, AT(labels), "KEY[=VALUE]", "Label of the workload", NULL },
	{ "memory", 'm', OPTION_SIZE, SPEC(memory_bytes), "SIZE", "Memory limit, such as 512m",
		NULL },
	{ "mount", 0, OPTION_LIST, AT(mounts), "type=TYPE,...", "Mount of type bind or tmpfs",
		NULL },
	{ "name", 0, OPTION_STRING, SPEC(name), "NAME", "Name of the workload", NULL },
	{ "network", 0, OPTION_STRING, AT(network), "NETWORK", "bridge, none or host", NULL },
	{ "no-sig-proxy", 0, OPTION_FLAG, AT(no_sig_proxy), NULL, "Do not pass signals on", NULL },
	{ "pids-limit", 0, OPTION_INT, SPEC(pids_limit), "NUMBER", "Most processes at once", NULL },
	{ "rm", 0, OPTION_FLAG, SPEC(auto_remove), NULL, "Remove the workload when it has ended",
		NULL },
	{ "stop-signal", 0, OPTION_STRING, SPEC(stop_signal), "SIGNAL", "Signal that stop sends",
		NULL },
	{ "tmpfs", 0, OPTION_LIST, AT(tmpfs), "TARGET[:OPTIONS]", "A file system in memory", NULL },
	{ "tty", 't', OPTION_FLAG, SPEC(tty), NULL, "Give it a terminal", NULL },
	{ "user", 'u', OPTION_STRING, SPEC(user), "USER[:GROUP]", "User, by name or number", NULL },
	{ "vm", 0, OPTION_FLAG, AT(vm), NULL, "The same as --isolation vm", NULL },
	{ "volume", 'v', OPTION_LIST, AT(volumes), "SOURCE:TARGET[:ro]",
		"Bind mount of a host path", NULL },
	{ "workdir", 'w', OPTION_STRING, SPEC(workdir), "DIR", "Working directory inside", NULL },
};
#undef AT
#undef SPEC

#define MEMORY_MIN_BYTES (UINT64_C(6) << 20) /* Docker's: below this nothing starts */

void run_options_done(struct run_options *options)
{
	workload_spec_done(&options->spec);
	free(options->entrypoint);
	free(options->network);
	free(options->cpus);
	free(options->detach_keys);
	strv_done(&options->volumes);
	strv_done(&options->mounts);
	strv_done(&options->tmpfs);
	strv_done(&options->env_files);
	strv_done(&options->env);
	strv_done(&options->labels);
	*options = (struct run_options){ 0 };
}

/* ---- environment ---- */

static int add_env(struct strv *env, const char *entry, struct err *err)
{
	if (entry[0] == 0 || entry[0] == '=')
		return err_set(err, ERR_INVALID, "invalid environment variable: \"%s\"", entry);
	if (strchr(entry, '=') != NULL) {
		strv_set_env(env, entry);
		return 0;
	}
	/* Without a value: the caller's own, and nothing where the caller has none. */
	const char *value = getenv(entry);
	if (value != NULL) {
		AUTO_FREE char *full = text_format("%s=%s", entry, value);
		strv_set_env(env, full);
	}
	return 0;
}

/* Lines KEY=VALUE or KEY; # begins a comment line. */
static int add_env_file(struct strv *env, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_DONE(text) text = { 0 };
	if (fd < 0)
		return err_sys(err, errno, "open the environment file \"%s\"", path);
	int r = fd_read_text(fd, LIMIT_ENV_BYTES, path, &text, err);
	if (r == 0 && text.len > 0 && memchr(text.data, 0, text.len) != NULL)
		r = err_set(err, ERR_INVALID, "the environment file \"%s\" has a zero byte", path);
	struct view rest = view_of_text(&text);
	for (unsigned line = 1; r == 0 && rest.len > 0; line++) {
		struct view entry = view_cut(&rest, '\n');
		while (entry.len > 0 && (entry.data[0] == ' ' || entry.data[0] == '\t'))
			entry = (struct view){ entry.data + 1, entry.len - 1 };
		if (view_ends(entry, "\r"))
			entry.len--;
		if (entry.len == 0 || entry.data[0] == '#')
			continue;
		AUTO_FREE char *string = view_dup(entry);
		if (strcspn(string, " \t") < strcspn(string, "="))
			return err_set(err, ERR_INVALID,
				"\"%s\" line %u: variable \"%s\" contains whitespace", path, line,
				string);
		r = add_env(env, string, err);
	}
	return r;
}

static int read_env(struct run_options *options, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < options->env_files.len; i++)
		r = add_env_file(&options->spec.env, options->env_files.items[i], err);
	for (size_t i = 0; r == 0 && i < options->env.len; i++)
		r = add_env(&options->spec.env, options->env.items[i], err);
	return r;
}

/* ---- mounts ---- */

static int check_target(const char *target, struct err *err)
{
	if (target[0] != '/')
		return err_set(err, ERR_INVALID,
			"invalid mount target \"%s\": it must be an absolute path", target);
	if (target[strspn(target, "/")] == 0)
		return err_set(err, ERR_INVALID, "invalid mount target \"%s\": not the root",
			target);
	return 0;
}

/* -v makes a missing source directory, as docker does; --mount does not. */
static int add_bind(struct workload_spec *spec, const char *source, const char *target,
	bool read_only, bool make_source, struct err *err)
{
	int r = check_target(target, err);
	if (r < 0)
		return r;
	if (source[0] != '/' && source[0] != '.' && source[0] != '~')
		return err_set(err, ERR_UNSUPPORTED,
			"\"%s\" names a volume: this version has only host paths (/... or ./...)",
			source);
	/* What a link names now is what is meant; what is not there yet is made at the start. */
	char *real = realpath(source, NULL);
	if (real == NULL && errno == ENOENT && make_source && source[0] == '/')
		real = mem_strdup(source);
	if (real == NULL)
		return err_sys(err, errno, "bind source path \"%s\"", source);
	workload_spec_add_mount(spec, (struct workload_mount){
					      .source = real,
					      .target = mem_strdup(target),
					      .read_only = read_only,
					      .make_source = make_source,
				      });
	return 0;
}

static int add_volume(struct workload_spec *spec, const char *volume, struct err *err)
{
	struct view rest = view_of(volume);
	AUTO_FREE char *source = view_dup(view_cut(&rest, ':'));
	AUTO_FREE char *target = view_dup(view_cut(&rest, ':'));
	bool read_only = false;
	if (target[0] == 0)
		return err_set(err, ERR_INVALID, "invalid volume \"%s\": write SOURCE:TARGET[:ro]",
			volume);
	while (rest.len > 0) {
		struct view option = view_cut(&rest, ',');
		if (view_is(option, "ro"))
			read_only = true;
		else if (!view_is(option, "rw") && !view_is(option, "z") && !view_is(option, "Z") &&
			 !view_is(option, "rprivate") && !view_is(option, "private"))
			return err_set(err, ERR_INVALID,
				"invalid volume \"%s\": unknown mode \"%.*s\"", volume,
				(int)option.len, option.data);
	}
	return add_bind(spec, source, target, read_only, true, err);
}

static int add_tmpfs(struct workload_spec *spec, const char *target, const char *options,
	struct err *err)
{
	int r = check_target(target, err);
	if (r == 0)
		workload_spec_add_mount(spec,
			(struct workload_mount){
				.target = mem_strdup(target),
				.is_tmpfs = true,
				.options = options == NULL || options[0] == 0 ? NULL
									      : mem_strdup(options),
			});
	return r;
}

struct mount_fields {
	char *type, *source, *target; /* owned */
	struct text tmpfs_options;
	bool read_only;
};

static void mount_fields_done(struct mount_fields *fields)
{
	free(fields->type);
	free(fields->source);
	free(fields->target);
	text_done(&fields->tmpfs_options);
}

static int read_field(struct mount_fields *fields, struct view field, struct err *err)
{
	struct view value = field;
	struct view key = view_cut(&value, '=');
	char **string = NULL;
	if (view_is(key, "type"))
		string = &fields->type;
	else if (view_is(key, "source") || view_is(key, "src"))
		string = &fields->source;
	else if (view_is(key, "target") || view_is(key, "dst") || view_is(key, "destination"))
		string = &fields->target;
	if (string != NULL) {
		free(*string);
		*string = view_dup(value);
		return 0;
	}
	if (view_is(key, "readonly") || view_is(key, "ro")) {
		fields->read_only = value.data == NULL || !view_is(value, "false");
		return 0;
	}
	if (view_is(key, "tmpfs-size") || view_is(key, "tmpfs-mode")) {
		text_printf(&fields->tmpfs_options, "%s%s=%.*s",
			fields->tmpfs_options.len > 0 ? "," : "",
			view_is(key, "tmpfs-size") ? "size" : "mode", (int)value.len, value.data);
		return 0;
	}
	return err_set(err, ERR_INVALID, "unexpected key \"%.*s\" in --mount", (int)key.len,
		key.data);
}

static int add_mount(struct workload_spec *spec, const char *text, struct err *err)
{
	AUTO_DONE(mount_fields) fields = { 0 };
	struct view rest = view_of(text);
	int r = 0;
	while (r == 0 && rest.len > 0)
		r = read_field(&fields, view_cut(&rest, ','), err);
	if (r < 0)
		return r;
	if (fields.target == NULL)
		return err_set(err, ERR_INVALID, "--mount \"%s\" has no target", text);
	if (fields.type != NULL && strcmp(fields.type, "tmpfs") == 0)
		return add_tmpfs(spec, fields.target, text_string(&fields.tmpfs_options), err);
	if (fields.type == NULL || strcmp(fields.type, "bind") != 0)
		return err_set(err, ERR_UNSUPPORTED,
			"--mount \"%s\": this version has the types bind and tmpfs", text);
	if (fields.source == NULL)
		return err_set(err, ERR_INVALID, "--mount \"%s\" has no source", text);
	return add_bind(spec, fields.source, fields.target, fields.read_only, false, err);
}

static int read_mounts(struct run_options *options, struct err *err)
{
	struct workload_spec *spec = &options->spec;
	int r = 0;
	for (size_t i = 0; r == 0 && i < options->volumes.len; i++)
		r = add_volume(spec, options->volumes.items[i], err);
	for (size_t i = 0; r == 0 && i < options->mounts.len; i++)
		r = add_mount(spec, options->mounts.items[i], err);
	for (size_t i = 0; r == 0 && i < options->tmpfs.len; i++) {
		struct view rest = view_of(options->tmpfs.items[i]);
		AUTO_FREE char *target = view_dup(view_cut(&rest, ':'));
		AUTO_FREE char *tmpfs_options = view_dup(rest);
		r = add_tmpfs(spec, target, tmpfs_options, err);
	}
	return r;
}

/* ---- the rest ---- */

static int read_limits(struct run_options *options, struct err *err)
{
	struct workload_spec *spec = &options->spec;
	/* A machine's processors are its own, and may be more than the host's. */
	bool is_machine = spec->isolation != NULL && strcmp(spec->isolation, "vm") == 0;
	long cpus = is_machine ? LIMIT_MACHINE_CPUS : sysconf(_SC_NPROCESSORS_ONLN);
	if (options->cpus != NULL) {
		if (num_parse_nano(view_of(options->cpus), &spec->nano_cpus) < 0 ||
			spec->nano_cpus < 0 || spec->nano_cpus > cpus * INT64_C(1000000000) ||
			(spec->nano_cpus > 0 && spec->nano_cpus < 10000000))
			return err_set(err, ERR_INVALID,
				"invalid value \"%s\" for --cpus: %s has from 0.01 to %ld CPUs",
				options->cpus, is_machine ? "a virtual machine" : "this host",
				cpus);
	}
	if (spec->memory_bytes != 0 && spec->memory_bytes < MEMORY_MIN_BYTES)
		return err_set(err, ERR_INVALID,
			"--memory %ju bytes is too little: the minimum is 6m",
			(uintmax_t)spec->memory_bytes);
	if (spec->pids_limit < -1)
		return err_set(err, ERR_INVALID,
			"invalid value %jd for --pids-limit: use -1 for none",
			(intmax_t)spec->pids_limit);
	return 0;
}

static int read_labels(struct run_options *options, struct err *err)
{
	for (size_t i = 0; i < options->labels.len; i++) {
		const char *label = options->labels.items[i];
		if (label[0] == 0 || label[0] == '=')
			return err_set(err, ERR_INVALID, "invalid label \"%s\": write KEY=VALUE",
				label);
		AUTO_FREE char *full =
			strchr(label, '=') != NULL ? mem_strdup(label) : text_format("%s=", label);
		strv_set_env(&options->spec.labels, full);
	}
	return 0;
}

static int read_rest(struct run_options *options, struct err *err)
{
	struct workload_spec *spec = &options->spec;
	if (options->entrypoint != NULL) {
		spec->has_entrypoint = true;
		if (options->entrypoint[0] != 0)
			strv_add(&spec->entrypoint, options->entrypoint);
	}
	if (options->vm) {
		free(spec->isolation);
		spec->isolation = mem_strdup("vm");
	}
	if (spec->stop_signal != NULL) {
		int signal_number;
		if (proc_signal_parse(spec->stop_signal, &signal_number) < 0)
			return err_set(err, ERR_INVALID, "invalid signal: %s", spec->stop_signal);
	}
	if (options->network != NULL)
		return workload_network_parse(options->network, &spec->network, err);
	return 0;
}

int run_options_parse(struct cli *cli, int argc, char **argv, struct run_options *options,
	bool *ret_help, struct err *err)
{
	int first;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), options, &first, ret_help,
		err);
	if (r < 0 || *ret_help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	if (r < 0)
		return r;
	options->spec.image = mem_strdup(argv[first]);
	for (int i = first + 1; i < argc; i++)
		strv_add(&options->spec.args, argv[i]);
	r = read_rest(options, err);
	if (r == 0)
		r = read_limits(options, err);
	if (r == 0)
		r = read_labels(options, err);
	if (r == 0)
		r = read_env(options, err);
	return r < 0 ? r : read_mounts(options, err);
}
