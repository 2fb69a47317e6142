/* storage_ext4 - a new ext4 file system in a sparse file (storage.h), as mke2fs makes it, by the
 * library that mke2fs is made of.
 *
 * Nothing is written that zeros say as well: inode tables, bitmaps of groups without anything in
 * them and the journal's blocks stay holes.  The groups say that their inode tables are zeroed, so
 * whoever mounts it has nothing to do later either.  What is left is half a MiB: superblock and
 * group descriptors with their backups, and the bitmaps of groups that hold tables.
 *
 * The journal is smaller than mke2fs would make it (512 MiB for 64 GiB): it goes round through all
 * of its blocks, and none of them is ever given back.  No blocks are reserved for root and none for
 * growing the file system.
 *
 * Only features that Linux 6.1 mounts.  The library never reads a file system here, so bytes of a
 * guest's never reach it. */
#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/ext2fs.h"
#include "storage/storage.h"

enum {
	LOG_BLOCK_BYTES = 12,
	BYTES_PER_INODE = 16384,
	INODE_BYTES = 256,
	INODE_EXTRA_BYTES = 32,
	DESCRIPTOR_BYTES = 64,
	LOG_GROUPS_PER_FLEX = 4,
	JOURNAL_BLOCKS = 16384, /* 64 MiB */
	ERRNO_MAX = 4095        /* above are the library's own codes */
};
#define COMPAT (EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX)
#define INCOMPAT                                                          \
	(EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | \
		EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG)
#define RO_COMPAT                                                                     \
	(EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |    \
		EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK | \
		EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)

static int refused(const struct ext2fs *lib, errcode_t code, const char *what, struct err *err)
{
	if (code == EXT2_ET_SHORT_WRITE)
		code = ENOSPC; /* a file takes less than all only where no more fits */
	if (code > 0 && code <= ERRNO_MAX)
		return err_sys(err, (int)code, "%s", what);
	lib->initialize_ext2_error_table();
	return err_set(err, ERR_SYSTEM, "%s: %s", what, lib->error_message(code));
}

/* RFC 4122, 4.4 */
static void new_uuid(uint8_t uuid[16])
{
	CHECK(getrandom(uuid, 16, 0) == 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* What mke2fs sets in a superblock after the library has filled it. */
static void complete_super(const struct ext2fs *lib, ext2_filsys fs)
{
	struct ext2_super_block *super = fs->super;
	new_uuid(super->s_uuid);
	new_uuid((uint8_t *)super->s_hash_seed);
	super->s_checksum_type = EXT2_CRC32C_CHKSUM;
	lib->init_csum_seed(fs); /* of the UUID */
	super->s_def_hash_version = EXT2_HASH_HALF_MD4;
	super->s_flags |= EXT2_FLAGS_SIGNED_HASH;
	super->s_min_extra_isize = INODE_EXTRA_BYTES;
	super->s_want_extra_isize = INODE_EXTRA_BYTES;
	super->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	super->s_errors = EXT2_ERRORS_RO;
	super->s_max_mnt_count = -1; /* 0 becomes 20 at the first mount */
}

static errcode_t fill(const struct ext2fs *lib, ext2_filsys fs)
{
	errcode_t code = lib->allocate_tables(fs);
	if (code == 0)
		code = lib->mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
	if (code != 0)
		return code;
	for (ext2_ino_t i = EXT2_BAD_INO; i < EXT2_FIRST_INODE(fs->super); i++)
		if (i != EXT2_ROOT_INO)
			lib->inode_alloc_stats2(fs, i, 1, 0);
	fs->umask = 077;
	code = lib->mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
	if (code == 0)
		code = lib->add_journal_inode2(fs, JOURNAL_BLOCKS, ~UINT64_C(0),
			EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
	for (dgrp_t i = 0; code == 0 && i < fs->group_desc_count; i++) {
		lib->bg_flags_set(fs, i, EXT2_BG_INODE_ZEROED);
		lib->group_desc_csum_set(fs, i);
	}
	return code;
}

static int format(int fd, uint64_t size, struct err *err)
{
	struct ext2fs lib;
	int r = ext2fs_load(&lib, err);
	if (r < 0)
		return r;
	uint64_t blocks = size >> LOG_BLOCK_BYTES;
	struct ext2_super_block wanted = {
		.s_rev_level = EXT2_DYNAMIC_REV,
		.s_log_block_size = LOG_BLOCK_BYTES - EXT2_MIN_BLOCK_LOG_SIZE,
		.s_blocks_count = (uint32_t)blocks,
		.s_blocks_count_hi = (uint32_t)(blocks >> 32),
		.s_inodes_count = (uint32_t)(size / BYTES_PER_INODE),
		.s_inode_size = INODE_BYTES,
		.s_desc_size = DESCRIPTOR_BYTES,
		.s_log_groups_per_flex = LOG_GROUPS_PER_FLEX,
		.s_feature_compat = COMPAT,
		.s_feature_incompat = INCOMPAT,
		.s_feature_ro_compat = RO_COMPAT,
	};
	/* The library opens by name, and this is one of a file that has none. */
	AUTO_FREE char *name = text_format("/proc/self/fd/%d", fd);
	ext2_filsys fs = NULL;
	errcode_t code = lib.initialize(name, EXT2_FLAG_64BITS, &wanted, *lib.unix_io_manager, &fs);
	if (code != 0)
		return refused(&lib, code, "begin a file system", err);
	complete_super(&lib, fs);
	code = fill(&lib, fs);
	if (code == 0)
		/* Who names the file syncs it. */
		code = lib.close2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
	if (code == 0)
		return 0;
	lib.free(fs);
	return refused(&lib, code, "write a file system", err);
}

int storage_ext4_make(int dir_fd, const char *name, uint64_t size, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = durable_temp(dir_fd, &fd, err);
	if (r == 0 && ftruncate(fd, (off_t)size) < 0)
		r = err_sys(err, errno, "set the size");
	if (r == 0)
		r = format(fd, size, err);
	if (r == 0)
		r = durable_link(fd, dir_fd, name, false, err);
	return r < 0 ? err_wrap(err, r, "make the disk \"%s\"", name) : 0;
}
