/* ext2fs - see ext2fs.h. */
#include "storage/ext2fs.h"

#include "base/library.h"

int ext2fs_load(struct ext2fs *ret_ext2fs, struct err *err)
{
	static const struct library library = { "libext2fs.so.2", "libext2fs2", "to make a disk" };
	const struct library_symbol symbols[] = {
		{ "unix_io_manager", &ret_ext2fs->unix_io_manager },
		{ "ext2fs_initialize", &ret_ext2fs->initialize },
		{ "ext2fs_init_csum_seed", &ret_ext2fs->init_csum_seed },
		{ "ext2fs_allocate_tables", &ret_ext2fs->allocate_tables },
		{ "ext2fs_inode_alloc_stats2", &ret_ext2fs->inode_alloc_stats2 },
		{ "ext2fs_mkdir", &ret_ext2fs->mkdir },
		{ "ext2fs_add_journal_inode2", &ret_ext2fs->add_journal_inode2 },
		{ "ext2fs_bg_flags_set", &ret_ext2fs->bg_flags_set },
		{ "ext2fs_group_desc_csum_set", &ret_ext2fs->group_desc_csum_set },
		{ "ext2fs_close2", &ret_ext2fs->close2 }, { "ext2fs_free", &ret_ext2fs->free },
		{ "initialize_ext2_error_table", &ret_ext2fs->initialize_ext2_error_table },
		{ "error_message",
			&ret_ext2fs->error_message }, /* of libcom_err, which it brings */
	};
	return library_load(&library, symbols, ARRAY_LEN(symbols), err);
}
