/* smaps - see smaps.h.  A mapping is a line that begins with its addresses and lines "Name: value",
 * of which VmFlags is the last.  No line break stands in a mapping's name: the kernel escapes it.
 */
#include "base/smaps.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/num.h"

#define SMAPS_MAX_BYTES (UINT64_C(16) << 20) /* 20,000 mappings */

/* "   123 kB" */
static int parse_size(struct view value, uint64_t *ret_bytes)
{
	struct view rest = view_trim(value);
	struct view number = view_cut(&rest, ' ');
	uint64_t kib;
	if (num_parse_u64(number, UINT64_MAX >> 10, &kib) < 0 || !view_is(rest, "kB"))
		return -EBADMSG;
	*ret_bytes = kib << 10;
	return 0;
}

static bool flags_have(struct view flags, const char *flag)
{
	for (struct view rest = view_trim(flags); flag != NULL && rest.data != NULL;)
		if (view_is(view_cut(&rest, ' '), flag))
			return true;
	return false;
}

int smaps_sum(struct view smaps, const char *without, uint64_t *ret_bytes)
{
	uint64_t sum = 0, share = 0;
	size_t shares = 0, mappings = 0;
	while (smaps.len > 0) {
		struct view value = view_cut(&smaps, '\n');
		struct view name = view_cut(&value, ':');
		if (view_is(name, "Pss")) {
			int r = parse_size(value, &share);
			if (r < 0)
				return r;
			shares++;
		} else if (view_is(name, "VmFlags")) {
			if (!flags_have(value, without))
				sum += share;
			mappings++;
		}
		if (shares < mappings || shares > mappings + 1)
			return -EBADMSG;
	}
	if (mappings == 0 || shares != mappings)
		return -EBADMSG;
	*ret_bytes = sum;
	return 0;
}

int smaps_read(const struct proc_id *process, const char *without, uint64_t *ret_bytes)
{
	AUTO_CLOSE int fd = proc_open_file(process->pid, "smaps", O_RDONLY);
	AUTO_DONE(text) smaps = { 0 };
	struct proc_id now;
	int r = fd < 0 ? fd : fd_read_text(fd, SMAPS_MAX_BYTES, "smaps", &smaps, NULL);
	/* Whose file it was: it has the number still, so it had it all the time. */
	if (r == 0)
		r = proc_identify(process->pid, &now);
	if (r == -ENOENT || (r == 0 && now.start_ticks != process->start_ticks))
		r = -ESRCH;
	return r < 0 ? r : smaps_sum(view_of_text(&smaps), without, ret_bytes);
}
