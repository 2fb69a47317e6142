/* mount_points - why they are made when an image is loaded and not when a container starts: made in
 * the overlay, each costs a copy of its directory into the upper layer, a file there, and its
 * removal later, at every start.  Docker puts a layer of such files between image and container. */
#include "layer/mount_points.h"

#include <sys/stat.h>

static const struct mount_point {
	const char *path;
	uint16_t type;
} mount_points[] = {
#define MOUNT_POINT(path, type) { path, type },
#include "layer/mount_points.def"
#undef MOUNT_POINT
};

static int add_empty(struct tree *tree, uint32_t dir, struct view name, uint16_t type,
	uint32_t *ret_inode, struct err *err)
{
	uint32_t inode;
	int r = type == S_IFDIR ? tree_dir_new(tree, dir, &inode, err)
				: tree_inode_new(tree, &inode, err);
	if (r != 0)
		return r;
	struct tree_inode *node = tree_inode_at(tree, inode);
	node->flags = 0;
	node->mode = (uint16_t)(type | 0755);
	*ret_inode = inode;
	return tree_set(tree, dir, name, inode, err);
}

static int add(struct tree *tree, const struct mount_point *point, struct err *err)
{
	uint32_t dir = tree->root;
	struct view rest = view_of(point->path);
	while (tree_is_dir(tree, dir)) {
		struct view name = view_cut(&rest, '/');
		bool is_last = rest.data == NULL;
		uint32_t next = tree_find(tree, dir, name);
		if (next == TREE_NONE) {
			int r = add_empty(tree, dir, name, is_last ? point->type : S_IFDIR, &next,
				err);
			if (r != 0)
				return r;
		}
		if (is_last)
			return 0;
		dir = next;
	}
	return 0;
}

int mount_points_add(struct tree *tree, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(mount_points); i++) {
		int r = add(tree, &mount_points[i], err);
		if (r != 0)
			return r;
	}
	return 0;
}
