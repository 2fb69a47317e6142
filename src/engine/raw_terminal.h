/* raw_terminal - the caller's terminal in raw mode, and the keys that detach from it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "base/cleanup.h"
#include "base/err.h"

struct raw_terminal {
	int fd; /* borrowed; -1: not raw now */
	struct termios before;
};
/* Makes fd raw if it is a terminal; raw_terminal_done() restores it. */
MUST_CHECK int raw_terminal_enter(int fd, struct raw_terminal *ret_terminal, struct err *err);
void raw_terminal_done(struct raw_terminal *terminal);
/* rows << 16 | columns, or 0 when fd is no terminal. */
unsigned raw_terminal_size(int fd);
void raw_terminal_set_size(int fd, unsigned size);

/* Docker's detach sequence: "ctrl-p,ctrl-q" or what the user names. */
#define DETACH_KEYS_MAX 16
struct detach_keys {
	unsigned char keys[DETACH_KEYS_MAX];
	size_t len, matched;
};
MUST_CHECK int detach_keys_parse(const char *text, struct detach_keys *ret_keys, struct err *err);
/* Passes input through: copies to out (room for len + DETACH_KEYS_MAX) what is no part of the
 * sequence; true when the sequence is complete. */
bool detach_keys_filter(struct detach_keys *keys, const unsigned char *in, size_t len,
	unsigned char *out, size_t *ret_len);
