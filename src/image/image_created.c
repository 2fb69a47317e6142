/* Dates are RFC 3339 (image-spec config.md); Go, which writes them all, drops trailing zeros of the
 * fraction, and so do we, so that an inspected date equals the one in the image. */
#include "image/image_created.h"

#include <string.h>

int64_t image_created_parse(const char *text)
{
	/* clock_parse takes durations and plain numbers as well. */
	struct view view = view_of(text);
	if (view.len < strlen("2006-01-02T15:04:05Z") || view.data[10] != 'T')
		return 0;
	int64_t wall_ns;
	return clock_parse(view, 0, &wall_ns) < 0 ? 0 : wall_ns;
}

const char *image_created_text(int64_t created_ns, char buffer[CLOCK_RFC3339_MAX])
{
	(void)clock_rfc3339(created_ns, buffer);
	/* "...05.120000000Z" to "...05.12Z", "...05.000000000Z" to "...05Z". */
	char *end = strchr(buffer, 'Z');
	if (end == NULL || strchr(buffer, '.') == NULL)
		return buffer;
	while (end[-1] == '0')
		end--;
	if (end[-1] == '.')
		end--;
	end[0] = 'Z';
	end[1] = 0;
	return buffer;
}
