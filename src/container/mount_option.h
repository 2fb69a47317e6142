/* mount_option - the words of mounts[].options. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

struct spec_mount;

/* Puts the meaning of one option into mount; what is no attribute of a mount is left for the file
 * system in mount->data. */
void mount_option_apply(struct spec_mount *mount, const char *option);
/* "rslave" to MS_SLAVE; false when it is no propagation. */
bool mount_propagation_find(const char *name, unsigned long *ret_flag, bool *ret_is_recursive);
