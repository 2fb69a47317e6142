/* erofs_format - the part of the EROFS on-disk format that moat writes (docs/erofs.md).  Source:
 * Linux fs/erofs/erofs_fs.h; every field here means the same from Linux 6.1 on. */
#pragma once

#include <assert.h>
#include <stdint.h>

#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_SUPER_OFFSET 1024
#define EROFS_BLOCK_BITS 12
#define EROFS_BLOCK (1u << EROFS_BLOCK_BITS)
#define EROFS_SLOT 32u /* an inode number counts these from the start of the inodes */
#define EROFS_NULL_ADDRESS UINT32_MAX

#define EROFS_COMPAT_CHECKSUM 0x1u
#define EROFS_COMPAT_MTIME 0x2u /* times are modification times */
#define EROFS_INCOMPAT_CHUNKED_FILE 0x4u
#define EROFS_INCOMPAT_DEVICE_TABLE 0x8u

/* All numbers are little-endian. */
struct erofs_super {
	uint32_t magic;
	uint32_t checksum; /* CRC-32C from here to the end of block 0, this field being 0 */
	uint32_t feature_compat;
	uint8_t block_bits;
	uint8_t extended_slots;
	uint16_t root_nid;
	uint64_t inodes;
	uint64_t build_time;
	uint32_t build_time_ns;
	uint32_t blocks;
	uint32_t meta_block;
	uint32_t xattr_block;
	uint8_t uuid[16];
	uint8_t volume_name[16];
	uint32_t feature_incompat;
	uint16_t compression;
	uint16_t extra_devices;
	uint16_t device_slot; /* of the device table, in units of its 128-byte slots */
	uint8_t reserved[38];
};
static_assert(sizeof(struct erofs_super) == 128, "on disk");

struct erofs_device {
	uint8_t tag[64];
	uint32_t blocks;
	uint32_t mapped_block;
	uint8_t reserved[56];
};
static_assert(sizeof(struct erofs_device) == 128, "on disk");

enum erofs_layout { EROFS_FLAT_PLAIN = 0, EROFS_FLAT_INLINE = 2, EROFS_CHUNK_BASED = 4 };

/* The extended form; the compact one lacks times and large ids. */
struct erofs_inode {
	uint16_t format; /* bit 0: extended; bits 1-3: layout */
	uint16_t xattr_count;
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t address; /* first block, or device number, or chunk format */
	uint32_t number;  /* for stat on 32-bit machines */
	uint32_t uid;
	uint32_t gid;
	uint64_t mtime;
	uint32_t mtime_ns;
	uint32_t links;
	uint8_t reserved2[16];
};
static_assert(sizeof(struct erofs_inode) == 64, "on disk");

#define EROFS_CHUNK_BITS_MASK 0x1fu /* chunk size as a power of two of blocks */
#define EROFS_CHUNK_INDEXES 0x20u   /* with device numbers; else only 4-byte block addresses */

struct erofs_chunk {
	uint16_t advice;
	uint16_t device; /* 0: this file; else a row of the device table, counted from 1 */
	uint32_t block;
};
static_assert(sizeof(struct erofs_chunk) == 8, "on disk");

struct erofs_dirent {
	uint64_t nid;
	uint16_t name_offset;
	uint8_t type;
	uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct erofs_dirent) == 12, "on disk");

/* In front of an inode's attributes.  The inode's xattr_count is 0 for none at all, else
 * (bytes of attributes behind this header) / 4 + 1. */
struct erofs_xattr_header {
	uint32_t name_filter;
	uint8_t shared_count;
	uint8_t reserved[7];
};
static_assert(sizeof(struct erofs_xattr_header) == 12, "on disk");

/* Name without its prefix and value follow, then zeros up to a multiple of 4. */
struct erofs_xattr_entry {
	uint8_t name_len;
	uint8_t name_index;
	uint16_t value_len;
};
static_assert(sizeof(struct erofs_xattr_entry) == 4, "on disk");
#define EROFS_XATTR_MAX (UINT16_MAX * 4u) /* bytes, its header included, that the count can say */
