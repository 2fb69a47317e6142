/* ext2fs - the functions of libext2fs.so.2 that make a file system, loaded at run time: only the
 * creation of a machine needs them. */
#pragma once

#include <stdint.h>

#include <ext2fs/ext2fs.h>

#include "base/cleanup.h"
#include "base/err.h"

struct ext2fs {
	io_manager *unix_io_manager;
	errcode_t (*initialize)(const char *name, int flags, struct ext2_super_block *wanted,
		io_manager manager, ext2_filsys *ret_fs);
	void (*init_csum_seed)(ext2_filsys fs);
	errcode_t (*allocate_tables)(ext2_filsys fs);
	void (*inode_alloc_stats2)(ext2_filsys fs, ext2_ino_t inode, int inuse, int is_dir);
	errcode_t (*mkdir)(ext2_filsys fs, ext2_ino_t parent, ext2_ino_t inode, const char *name);
	errcode_t (*add_journal_inode2)(ext2_filsys fs, blk_t blocks, blk64_t goal, int flags);
	void (*bg_flags_set)(ext2_filsys fs, dgrp_t group, uint16_t flags);
	void (*group_desc_csum_set)(ext2_filsys fs, dgrp_t group);
	errcode_t (*close2)(ext2_filsys fs, int flags);
	void (*free)(ext2_filsys fs);
	void (*initialize_ext2_error_table)(void);
	const char *(*error_message)(long code);
};

/* Once loaded the library stays. */
MUST_CHECK int ext2fs_load(struct ext2fs *ret_ext2fs, struct err *err);
