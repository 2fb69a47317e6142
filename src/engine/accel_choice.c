#include "engine/accel_choice.h"

#include <limits.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "engine/settings.h"

#define REASON_MAX 4096
#define ACCEL_FILE "accel"

static bool is_usable(struct engine *engine, const struct cpu_accel *accel, struct text *why_not)
{
	AUTO_FREE char *path = text_format("accel.%s", cpu_accel_name(accel));
	if (file_read_at(engine->run_fd, path, REASON_MAX, why_not, NULL) == 0)
		return why_not->len == 0;
	text_clear(why_not);
	bool usable = cpu_accel_probe(accel, why_not);
	if (usable)
		text_clear(why_not);
	/* Without the note the next command tries it out again. */
	(void)!file_write_at(engine->run_fd, path, 0600, view_of_text(why_not), NULL);
	return usable;
}

/* By what the host can, and by what its owner wants. */
static bool is_allowed(struct engine *engine, const struct settings *settings,
	const struct cpu_accel *accel, struct text *why_not)
{
	if (settings->vm_require_hardware && !cpu_accel_is_hardware(accel)) {
		text_printf(why_not,
			"no boundary of hardware, and vm.require_hardware in \"%s\" "
			"wants one",
			engine->config);
		return false;
	}
	return is_usable(engine, accel, why_not);
}

int accel_choose(struct engine *engine, const char *name, const struct cpu_accel **ret_accel,
	struct err *err)
{
	AUTO_DONE(text) reasons = { 0 };
	struct settings settings;
	bool is_auto = strcmp(name, "auto") == 0, is_known = is_auto;
	const struct cpu_accel *accel;
	int r = settings_read(engine, &settings, err);
	if (r < 0)
		return r;
	for (size_t i = 0; (accel = cpu_accel_at(i)) != NULL; i++) {
		const char *row = cpu_accel_name(accel);
		AUTO_DONE(text) why_not = { 0 };
		if (!is_auto && strcmp(name, row) != 0)
			continue;
		is_known = true;
		if (is_allowed(engine, &settings, accel, &why_not)) {
			*ret_accel = accel;
			return 0;
		}
		text_printf(&reasons, "%s%s: %s", reasons.len == 0 ? "" : "; ", row,
			text_string(&why_not));
	}
	if (!is_known)
		return err_set(err, ERR_INVALID,
			"no such accelerator: \"%s\" (moat info lists them)", name);
	return err_set(err, ERR_UNSUPPORTED, "this host cannot run virtual machines: %s",
		text_string(&reasons));
}

json *accel_describe(struct engine *engine)
{
	json *list = json_new_array();
	struct err err = { 0 };
	struct settings settings;
	bool is_read = settings_read(engine, &settings, &err) == 0;
	const struct cpu_accel *accel;
	for (size_t i = 0; (accel = cpu_accel_at(i)) != NULL; i++) {
		AUTO_DONE(text) why_not = { 0 };
		json *row = json_new_object();
		json_set_string(row, "Name", cpu_accel_name(accel));
		json_set_bool(row, "Available",
			is_read && is_allowed(engine, &settings, accel, &why_not));
		json_set_string(row, "Boundary", cpu_accel_boundary(accel));
		json_set_string(row, "Reason", is_read ? text_string(&why_not) : err.message);
		json_push(list, row);
	}
	return list;
}

int accel_note(const struct cpu_accel *accel, int run_fd, struct err *err)
{
	return file_write_at(run_fd, ACCEL_FILE, 0600, view_of(cpu_accel_name(accel)), err);
}

const struct cpu_accel *accel_noted(int run_fd)
{
	AUTO_DONE(text) name = { 0 };
	const struct cpu_accel *accel;
	if (run_fd < 0 || file_read_at(run_fd, ACCEL_FILE, NAME_MAX, &name, NULL) < 0)
		return NULL;
	for (size_t i = 0; (accel = cpu_accel_at(i)) != NULL; i++)
		if (strcmp(cpu_accel_name(accel), text_string(&name)) == 0)
			return accel;
	return NULL;
}
