/* mount_points - places in an image where every container mounts something. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "layer/tree.h"

/* Adds those of mount_points.def that the tree lacks, empty, owned by root.  What is there already
 * stays, of whatever type it is, and so does a path that leads through something that is no
 * directory. */
MUST_CHECK int mount_points_add(struct tree *tree, struct err *err);
