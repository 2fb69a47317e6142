#include "engine/raw_terminal.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/text.h"

int raw_terminal_enter(int fd, struct raw_terminal *ret_terminal, struct err *err)
{
	ret_terminal->fd = -1;
	if (fd < 0 || !isatty(fd))
		return 0;
	struct raw_terminal terminal = { .fd = fd };
	if (tcgetattr(fd, &terminal.before) < 0)
		return err_sys(err, errno, "read the terminal's settings");
	struct termios raw = terminal.before;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return err_sys(err, errno, "set the terminal to raw mode");
	*ret_terminal = terminal;
	return 0;
}

void raw_terminal_done(struct raw_terminal *terminal)
{
	if (terminal->fd >= 0)
		(void)tcsetattr(terminal->fd, TCSADRAIN, &terminal->before);
	terminal->fd = -1;
}

unsigned raw_terminal_size(int fd)
{
	struct winsize size;
	if (fd < 0 || ioctl(fd, TIOCGWINSZ, &size) < 0)
		return 0;
	return (unsigned)size.ws_row << 16 | size.ws_col;
}

void raw_terminal_set_size(int fd, unsigned size)
{
	const struct winsize window = { .ws_row = (unsigned short)(size >> 16),
		.ws_col = (unsigned short)(size & 0xffff) };
	(void)ioctl(fd, TIOCSWINSZ, &window);
}

int detach_keys_parse(const char *text, struct detach_keys *ret_keys, struct err *err)
{
	struct detach_keys keys = { .len = 0 };
	struct view rest = view_of(text);
	while (rest.len > 0) {
		struct view key = view_cut(&rest, ',');
		bool is_control = key.len == 6 && view_starts(key, "ctrl-");
		if ((key.len != 1 && !is_control) || keys.len == DETACH_KEYS_MAX)
			return err_set(err, ERR_INVALID,
				"invalid detach keys \"%s\": name keys like a or ctrl-p, separated "
				"by commas",
				text);
		unsigned char c = (unsigned char)key.data[key.len - 1];
		keys.keys[keys.len++] = is_control ? c & 0x1f : c;
	}
	*ret_keys = keys;
	return 0;
}

bool detach_keys_filter(struct detach_keys *keys, const unsigned char *in, size_t len,
	unsigned char *out, size_t *ret_len)
{
	size_t out_len = 0;
	for (size_t i = 0; i < len; i++) {
		if (keys->len > 0 && in[i] == keys->keys[keys->matched]) {
			if (++keys->matched == keys->len) {
				*ret_len = out_len;
				return true;
			}
			continue;
		}
		/* What looked like the sequence was not: it is input after all. */
		memcpy(out + out_len, keys->keys, keys->matched);
		out_len += keys->matched;
		keys->matched = keys->len > 0 && in[i] == keys->keys[0] ? 1 : 0;
		if (keys->matched == 0)
			out[out_len++] = in[i];
	}
	*ret_len = out_len;
	return false;
}
