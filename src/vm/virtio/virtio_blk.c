/* virtio_blk - see virtio_blk.h.  Requests are done where they are met, in the device thread,
 * straight between the file and the guest's buffers.
 *
 * A request is a header that the device reads, data, and one status byte at the end of what it
 * writes.  One without room for header and status breaks the rules; all else that is wrong with it
 * (sectors beyond the end, odd lengths, writes to a read-only disk) is answered with an error
 * status, since a driver may pass it on from its user.
 *
 * Writes rest in the host's cache until the driver flushes; for a driver that does not know
 * flushing each write is durable by itself (5.2.6.2).  A flush that failed has lost data that the
 * host no longer knows to be unwritten: no later flush succeeds. */
#include "vm/virtio/virtio_blk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "vm/virtio/config_space.h"

enum {
	QUEUE_SIZE = 256,
	BUDGET = 16,
	SECTOR = 512,
	SEGMENTS_MAX = VIRTQ_CHAIN_MAX - 2, /* besides header and status */
	SEGMENT_BYTES_MAX = 1 << 20,
	RANGES_MAX = 16, /* of one discard */
	RANGE_ALIGN_SECTORS = 8
};
#define REQUEST_BYTES_MAX ((uint64_t)SEGMENTS_MAX * SEGMENT_BYTES_MAX)
#define RANGE_SECTORS_MAX (UINT32_C(1) << 22) /* 2 GiB */
#define BIT(feature) (UINT64_C(1) << (feature))

struct blk {
	int fd; /* owned */
	bool is_readonly;
	bool is_durable; /* each write by itself */
	bool has_flush_failed;
	uint64_t sectors;
	char serial[VIRTIO_BLK_ID_BYTES];
	struct virtio *virtio; /* borrowed, NULL while inactive */
	struct virtio_blk_config config;
};

/* Buffers of a request that are still to be filled or read. */
struct pieces {
	struct iovec *iov;
	unsigned len;
	uint64_t bytes;
};

static void advance(struct pieces *pieces, uint64_t bytes)
{
	pieces->bytes -= bytes;
	while (bytes > 0) {
		struct iovec *first = pieces->iov;
		size_t n = bytes < first->iov_len ? (size_t)bytes : first->iov_len;
		first->iov_base = (uint8_t *)first->iov_base + n;
		first->iov_len -= n;
		bytes -= n;
		if (first->iov_len == 0) {
			pieces->iov++;
			pieces->len--;
		}
	}
}

static bool is_inside(const struct blk *blk, uint64_t sector, uint64_t count)
{
	return sector <= blk->sectors && count <= blk->sectors - sector;
}

static uint8_t flush(struct blk *blk)
{
	if (!blk->has_flush_failed && !blk->is_readonly)
		blk->has_flush_failed = fdatasync(blk->fd) < 0;
	return blk->has_flush_failed ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t transfer(struct blk *blk, struct pieces data, uint64_t sector, bool is_write)
{
	if (data.bytes % SECTOR != 0 || data.bytes > REQUEST_BYTES_MAX ||
		!is_inside(blk, sector, data.bytes / SECTOR))
		return VIRTIO_BLK_S_IOERR;
	if (is_write && blk->is_readonly)
		return VIRTIO_BLK_S_IOERR;
	off_t offset = (off_t)(sector * SECTOR);
	while (data.bytes > 0) {
		ssize_t n = is_write ? pwritev(blk->fd, data.iov, (int)data.len, offset)
				     : preadv(blk->fd, data.iov, (int)data.len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		/* 0: somebody has cut the file. */
		if (n <= 0)
			return VIRTIO_BLK_S_IOERR;
		offset += n;
		advance(&data, (uint64_t)n);
	}
	if (is_write && blk->is_durable)
		return flush(blk);
	return VIRTIO_BLK_S_OK;
}

static uint8_t allocate(const struct blk *blk, int mode, uint64_t sector, uint64_t count)
{
	int r;
	do {
		r = fallocate(blk->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)(sector * SECTOR),
			(off_t)(count * SECTOR));
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return VIRTIO_BLK_S_OK;
	return errno == EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static uint8_t clear_range(const struct blk *blk,
	const struct virtio_blk_discard_write_zeroes *range, bool is_zeroing)
{
	uint32_t allowed = is_zeroing ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	if ((range->flags & ~allowed) != 0)
		return VIRTIO_BLK_S_UNSUPP;
	if (range->num_sectors > RANGE_SECTORS_MAX ||
		!is_inside(blk, range->sector, range->num_sectors))
		return VIRTIO_BLK_S_IOERR;
	if (range->num_sectors == 0)
		return VIRTIO_BLK_S_OK;
	/* A hole reads as zeros as well, where there is no other way to write them (tmpfs). */
	uint8_t status = VIRTIO_BLK_S_UNSUPP;
	if (is_zeroing && (range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) == 0)
		status = allocate(blk, FALLOC_FL_ZERO_RANGE, range->sector, range->num_sectors);
	if (status == VIRTIO_BLK_S_UNSUPP)
		status = allocate(blk, FALLOC_FL_PUNCH_HOLE, range->sector, range->num_sectors);
	return status;
}

static uint8_t clear_ranges(struct blk *blk, const struct virtq_chain *chain, bool is_zeroing)
{
	struct virtio_blk_discard_write_zeroes ranges[RANGES_MAX];
	uint64_t bytes = chain->in_bytes - sizeof(struct virtio_blk_outhdr);
	if (blk->is_readonly || bytes == 0 || bytes % sizeof(ranges[0]) != 0 ||
		bytes > sizeof(ranges))
		return VIRTIO_BLK_S_IOERR;
	(void)virtq_copy_in(chain, sizeof(struct virtio_blk_outhdr), ranges, (size_t)bytes);
	uint8_t status = VIRTIO_BLK_S_OK;
	for (size_t i = 0; i < bytes / sizeof(ranges[0]) && status == VIRTIO_BLK_S_OK; i++)
		status = clear_range(blk, &ranges[i], is_zeroing);
	if (status == VIRTIO_BLK_S_OK && blk->is_durable)
		status = flush(blk);
	return status;
}

static uint8_t get_id(const struct blk *blk, const struct virtq_chain *chain, uint32_t *ret_written)
{
	*ret_written = (uint32_t)virtq_copy_out(chain, 0, blk->serial, sizeof(blk->serial));
	return VIRTIO_BLK_S_OK;
}

static int handle(void *device, unsigned queue, struct virtq_chain *chain, uint32_t *ret_written)
{
	struct blk *blk = device;
	struct virtio_blk_outhdr header;
	(void)queue;
	if (virtq_copy_in(chain, 0, &header, sizeof(header)) != sizeof(header) ||
		chain->out_len == 0)
		return -EPROTO;
	/* The status byte stands behind all other data. */
	struct iovec *last = &chain->out[chain->out_len - 1];
	uint8_t *status_byte = (uint8_t *)last->iov_base + --last->iov_len;
	chain->out_len -= last->iov_len == 0;
	chain->out_bytes--;

	struct pieces to_guest = { chain->out, chain->out_len, chain->out_bytes };
	struct pieces from_guest = { chain->in, chain->in_len, chain->in_bytes };
	uint32_t written = 0;
	uint8_t status;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		status = transfer(blk, to_guest, header.sector, false);
		written = status == VIRTIO_BLK_S_OK ? (uint32_t)to_guest.bytes : 0;
		break;
	case VIRTIO_BLK_T_OUT:
		advance(&from_guest, sizeof(header));
		status = transfer(blk, from_guest, header.sector, true);
		break;
	case VIRTIO_BLK_T_FLUSH: status = flush(blk); break;
	case VIRTIO_BLK_T_GET_ID: status = get_id(blk, chain, &written); break;
	case VIRTIO_BLK_T_DISCARD: status = clear_ranges(blk, chain, false); break;
	case VIRTIO_BLK_T_WRITE_ZEROES: status = clear_ranges(blk, chain, true); break;
	default: status = VIRTIO_BLK_S_UNSUPP; break;
	}
	*status_byte = status;
	*ret_written = written + 1;
	return 0;
}

static uint64_t features(void *device)
{
	const struct blk *blk = device;
	uint64_t writing = BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	return BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_FLUSH) |
	       (blk->is_readonly ? BIT(VIRTIO_BLK_F_RO) : writing);
}

static void config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	const struct blk *blk = device;
	config_space_read(&blk->config, sizeof(blk->config), offset, bytes, len);
}

static void activate(void *device, struct virtio *virtio, uint64_t accepted)
{
	struct blk *blk = device;
	blk->virtio = virtio;
	blk->is_durable = (accepted & BIT(VIRTIO_BLK_F_FLUSH)) == 0;
}

static void notify(void *device, unsigned queue)
{
	struct blk *blk = device;
	virtio_serve(blk->virtio, queue, BUDGET, handle, blk);
}

static void reset(void *device)
{
	struct blk *blk = device;
	blk->virtio = NULL;
}

static void blk_free(void *device)
{
	struct blk *blk = device;
	(void)close(blk->fd);
	free(blk);
}

const struct virtio_ops virtio_blk_ops = {
	.name = "block",
	.type = VIRTIO_ID_BLOCK,
	.pci_class = 0x01800000, /* storage, other */
	.queues = 1,
	.queue_size = QUEUE_SIZE,
	.features = features,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
	.free = blk_free,
};

static int check_file(int fd, bool is_readonly, uint64_t *ret_sectors, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat status;
	if (flags < 0 || fstat(fd, &status) < 0)
		return err_sys(err, errno, "look at a disk");
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
		return err_set(err, ERR_INVALID, "a disk is a file or a block device");
	if (!is_readonly && (flags & O_ACCMODE) != O_RDWR)
		return err_set(err, ERR_INVALID, "a disk to be written is not open for that");
	/* The end of a block device is found in the same way. */
	off_t end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return err_sys(err, errno, "find the size of a disk");
	*ret_sectors = (uint64_t)end / SECTOR;
	return 0;
}

int virtio_blk_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	(void)machine;
	AUTO_CLOSE int fd = -1;
	int r = device_take_fd(config, "fd", &fd, err);
	if (r < 0)
		return r;
	bool is_readonly = json_get_bool(config, "readonly", false);
	const char *serial = json_get_string(config, "serial");
	if (serial != NULL && strlen(serial) > VIRTIO_BLK_ID_BYTES)
		return err_set(err, ERR_INVALID, "a disk's serial has at most %d bytes",
			VIRTIO_BLK_ID_BYTES);
	uint64_t sectors = 0;
	r = check_file(fd, is_readonly, &sectors, err);
	if (r < 0)
		return r;

	struct blk *blk = NEW(blk);
	blk->fd = TAKE_FD(fd);
	blk->is_readonly = is_readonly;
	blk->sectors = sectors;
	if (serial != NULL)
		memcpy(blk->serial, serial, strlen(serial));
	blk->config = (struct virtio_blk_config){
		.capacity = sectors,
		.size_max = SEGMENT_BYTES_MAX,
		.seg_max = SEGMENTS_MAX,
		.max_discard_sectors = RANGE_SECTORS_MAX,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = RANGE_ALIGN_SECTORS,
		.max_write_zeroes_sectors = RANGE_SECTORS_MAX,
		.max_write_zeroes_seg = RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};
	*ret_device = blk;
	return 0;
}
