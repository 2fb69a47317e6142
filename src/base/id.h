/* id - ids of workloads: 64 hex digits from the kernel's random source, never all decimal in their
 * first twelve (Docker's rule, so that a short id is no number). */
#pragma once

#include <stdbool.h>

#define ID_LEN 64
#define ID_SHORT_LEN 12

void id_new(char id[ID_LEN + 1]);
bool id_is(const char *text); /* a complete id */
/* "brave_turing": Docker's shape of a name.  135 adjectives and 265 surnames (names.def) make
 * 35775 of them, so a caller must be ready to try again. */
#define ID_NAME_MAX 48
void id_random_name(char name[ID_NAME_MAX]);
/* [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most this many bytes. */
#define ID_VALID_NAME_MAX 128
bool id_name_is_valid(const char *name);
