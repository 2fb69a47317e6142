#include "engine/accel_choice.h"

#include <string.h>

#include "base/fd.h"
#include "base/mem.h"

#define REASON_MAX 4096

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

int accel_choose(struct engine *engine, const char *name, const struct cpu_accel **ret_accel,
	struct err *err)
{
	AUTO_DONE(text) reasons = { 0 };
	bool is_auto = strcmp(name, "auto") == 0, is_known = is_auto;
	const struct cpu_accel *accel;
	for (size_t i = 0; (accel = cpu_accel_at(i)) != NULL; i++) {
		const char *row = cpu_accel_name(accel);
		AUTO_DONE(text) why_not = { 0 };
		if (is_auto ? cpu_accel_is_by_name_only(accel) : strcmp(name, row) != 0)
			continue;
		is_known = true;
		if (is_usable(engine, accel, &why_not)) {
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
	const struct cpu_accel *accel;
	for (size_t i = 0; (accel = cpu_accel_at(i)) != NULL; i++) {
		AUTO_DONE(text) why_not = { 0 };
		json *row = json_new_object();
		json_set_string(row, "Name", cpu_accel_name(accel));
		json_set_bool(row, "Available", is_usable(engine, accel, &why_not));
		json_set_string(row, "Boundary", cpu_accel_boundary(accel));
		json_set_bool(row, "Automatic", !cpu_accel_is_by_name_only(accel));
		json_set_string(row, "Reason", text_string(&why_not));
		json_push(list, row);
	}
	return list;
}
