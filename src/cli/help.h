/* help - what a command is, from its tables. */
#pragma once

#include "cli/command.h"

/* NULL: moat itself, with all commands. */
void help_print(const struct command *command, const struct option_row *rows, size_t len);
