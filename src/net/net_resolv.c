/* net_resolv - the resolv.conf of a workload (net.h, resolv.conf(5)). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "net/net.h"
#include "net/net_resolv.h"

#define RESOLV_FILE "/etc/resolv.conf"
/* Where systemd-resolved lists what it asks itself; RESOLV_FILE then only names its own 127.0.0.53.
 */
#define RESOLV_FILE_RESOLVED "/run/systemd/resolve/resolv.conf"

enum { RESOLV_BYTES_MAX = 65536 };

static struct view first_word(struct view *line)
{
	size_t skip = 0;
	while (skip < line->len && (line->data[skip] == ' ' || line->data[skip] == '\t'))
		skip++;
	size_t end = skip;
	while (end < line->len && line->data[end] != ' ' && line->data[end] != '\t')
		end++;
	struct view word = { line->data + skip, end - skip };
	*line = (struct view){ line->data + end, line->len - end };
	return word;
}

/* Networks are IPv4: a workload reaches neither the host's loopback nor an IPv6 server. */
static bool server_is_reachable(struct view server)
{
	AUTO_FREE char *text = view_dup(server);
	struct in_addr address;
	return inet_pton(AF_INET, text, &address) == 1 && (ntohl(address.s_addr) >> 24) != 127 &&
	       address.s_addr != 0;
}

size_t net_resolv_filter(struct view host, struct text *ret_text)
{
	size_t servers = 0;
	while (host.len > 0) {
		struct view line = view_trim(view_cut(&host, '\n'));
		struct view rest = line;
		struct view key = first_word(&rest);
		if (view_is(key, "nameserver")) {
			if (!server_is_reachable(first_word(&rest)))
				continue;
			servers++;
		} else if (!view_is(key, "search") && !view_is(key, "domain") &&
			   !view_is(key, "options")) {
			continue;
		}
		text_add(ret_text, line.data, line.len);
		text_puts(ret_text, "\n");
	}
	return servers;
}

int net_resolv_conf(struct text *ret_text, struct err *err)
{
	static const char *const files[] = { RESOLV_FILE, RESOLV_FILE_RESOLVED };
	AUTO_DONE(text) first = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_DONE(text) host = { 0 }, filtered = { 0 };
		int r = file_read_at(AT_FDCWD, files[i], RESOLV_BYTES_MAX, &host, NULL);
		if (r < 0 && r != -ENOENT)
			return err_sys(err, -r, "read %s", files[i]);
		if (r == 0 && net_resolv_filter(view_of_text(&host), &filtered) > 0) {
			text_add(ret_text, filtered.data, filtered.len);
			return 0;
		}
		if (i == 0)
			text_puts(&first, text_string(&filtered));
	}
	text_puts(ret_text, NET_RESOLV_NO_SERVER "\n");
	text_puts(ret_text, text_string(&first));
	return 0;
}
