/* ext2fs - see ext2fs.h.  No variable remembers the handle: dlopen of what is loaded already only
 * finds it by its name. */
#include "storage/ext2fs.h"

#include <dlfcn.h>
#include <stddef.h>

#define EXT2FS_NAME "libext2fs.so.2"

int ext2fs_load(struct ext2fs *ret_ext2fs, struct err *err)
{
	void *library = dlopen(EXT2FS_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (library == NULL)
		return err_set(err, ERR_UNSUPPORTED,
			"cannot load " EXT2FS_NAME " to make a disk: install libext2fs2");

	struct ext2fs ext2fs = { 0 };
	const struct {
		const char *name;
		void *symbol;
	} wanted[] = {
		{ "unix_io_manager", &ext2fs.unix_io_manager },
		{ "ext2fs_initialize", &ext2fs.initialize },
		{ "ext2fs_init_csum_seed", &ext2fs.init_csum_seed },
		{ "ext2fs_allocate_tables", &ext2fs.allocate_tables },
		{ "ext2fs_inode_alloc_stats2", &ext2fs.inode_alloc_stats2 },
		{ "ext2fs_mkdir", &ext2fs.mkdir },
		{ "ext2fs_add_journal_inode2", &ext2fs.add_journal_inode2 },
		{ "ext2fs_bg_flags_set", &ext2fs.bg_flags_set },
		{ "ext2fs_group_desc_csum_set", &ext2fs.group_desc_csum_set },
		{ "ext2fs_close2", &ext2fs.close2 }, { "ext2fs_free", &ext2fs.free },
		{ "initialize_ext2_error_table", &ext2fs.initialize_ext2_error_table },
		{ "error_message", &ext2fs.error_message }, /* of libcom_err, which it brings */
	};
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		/* POSIX makes function and object pointers one size for this very use. */
		void *symbol = dlsym(library, wanted[i].name);
		if (symbol == NULL)
			return err_set(err, ERR_UNSUPPORTED, EXT2FS_NAME " lacks %s",
				wanted[i].name);
		*(void **)wanted[i].symbol = symbol;
	}
	*ret_ext2fs = ext2fs;
	return 0;
}
