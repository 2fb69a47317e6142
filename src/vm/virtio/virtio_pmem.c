/* virtio_pmem - see virtio_pmem.h.  The file's pages in the host's page cache are the guest's
 * memory: with DAX no machine keeps a copy of an image's layers, and no request is made to read
 * them.
 *
 * The window is whole huge pages, as Linux wants them and as the processor maps them best; what the
 * file does not fill reads as zeros.  A file that the guest may write must fill its window, else
 * what is written behind its end would be lost in silence. */
#include "vm/virtio/virtio_pmem.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cpu/cpu.h"
#include "vm/machine.h"
#include "vm/virtio/config_space.h"

enum { QUEUE_SIZE = 64, BUDGET = 16 };
#define WINDOW_ALIGN (UINT64_C(2) << 20)
#define WINDOW_MAX (UINT64_C(1) << 40) /* LIMIT_LAYER_BYTES */

struct pmem {
	int fd;        /* owned */
	void *mapping; /* owned; the window is the aligned part of it */
	size_t mapping_len;
	bool is_readonly, has_flush_failed;
	struct virtio *virtio; /* borrowed, NULL while inactive */
	struct virtio_pmem_config config;
};

static int handle(void *device, unsigned queue, struct virtq_chain *chain, uint32_t *ret_written)
{
	struct pmem *pmem = device;
	struct virtio_pmem_req request;
	struct virtio_pmem_resp response = { 0 };
	(void)queue;
	if (virtq_copy_in(chain, 0, &request, sizeof(request)) != sizeof(request) ||
		chain->out_bytes < sizeof(response))
		return -EPROTO;
	/* As of a disk: a flush that failed once has lost data for good. */
	if (request.type == VIRTIO_PMEM_REQ_TYPE_FLUSH && !pmem->is_readonly &&
		!pmem->has_flush_failed)
		pmem->has_flush_failed = fdatasync(pmem->fd) < 0;
	if (request.type != VIRTIO_PMEM_REQ_TYPE_FLUSH || pmem->has_flush_failed)
		response.ret = UINT32_MAX; /* -1 */
	*ret_written = (uint32_t)virtq_copy_out(chain, 0, &response, sizeof(response));
	return 0;
}

static void config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	const struct pmem *pmem = device;
	config_space_read(&pmem->config, sizeof(pmem->config), offset, bytes, len);
}

static void activate(void *device, struct virtio *virtio, uint64_t accepted)
{
	struct pmem *pmem = device;
	(void)accepted;
	pmem->virtio = virtio;
}

static void notify(void *device, unsigned queue)
{
	struct pmem *pmem = device;
	virtio_serve(pmem->virtio, queue, BUDGET, handle, pmem);
}

static void reset(void *device)
{
	struct pmem *pmem = device;
	pmem->virtio = NULL;
}

static void pmem_free(void *device)
{
	struct pmem *pmem = device;
	if (pmem->mapping != NULL)
		(void)munmap(pmem->mapping, pmem->mapping_len);
	if (pmem->fd >= 0)
		(void)close(pmem->fd);
	free(pmem);
}

const struct virtio_ops virtio_pmem_ops = {
	.name = "pmem",
	.type = VIRTIO_ID_PMEM,
	.pci_class = 0x05800000, /* memory, other */
	.queues = 1,
	.queue_size = QUEUE_SIZE,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
	.free = pmem_free,
};

/* size: of the file; window: of what the guest sees.  Zeros first, the file over them. */
static int map_file(struct pmem *pmem, uint64_t size, uint64_t window, void **ret_host,
	struct err *err)
{
	int protection = pmem->is_readonly ? PROT_READ : PROT_READ | PROT_WRITE;
	size_t len = window + WINDOW_ALIGN;
	void *mapping =
		mmap(NULL, len, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mapping == MAP_FAILED)
		return err_sys(err, errno, "reserve %ju bytes of addresses", (uintmax_t)len);
	pmem->mapping = mapping;
	pmem->mapping_len = len;
	uint64_t skipped = -(uintptr_t)mapping & (WINDOW_ALIGN - 1);
	uint8_t *host = (uint8_t *)mapping + skipped;
	if (mmap(host, size, protection, MAP_SHARED | MAP_FIXED, pmem->fd, 0) == MAP_FAILED)
		return err_sys(err, errno, "map %ju bytes of a file", (uintmax_t)size);
	/* As the guest's RAM (guest_mem.c). */
	(void)madvise(mapping, len, MADV_DONTDUMP);
	*ret_host = host;
	return 0;
}

static int place(struct pmem *pmem, struct machine *machine, struct err *err)
{
	struct stat status;
	if (fstat(pmem->fd, &status) < 0)
		return err_sys(err, errno, "look at a file for memory");
	if (!S_ISREG(status.st_mode) || status.st_size <= 0 ||
		(uint64_t)status.st_size > WINDOW_MAX)
		return err_set(err, ERR_INVALID, "what becomes memory is a file of up to %ju bytes",
			(uintmax_t)WINDOW_MAX);
	uint64_t size = (uint64_t)status.st_size;
	uint64_t window = (size + WINDOW_ALIGN - 1) & ~(WINDOW_ALIGN - 1);
	if (!pmem->is_readonly && size != window)
		return err_set(err, ERR_INVALID,
			"a file that the guest writes as memory has whole %ju bytes",
			(uintmax_t)WINDOW_ALIGN);
	uint64_t gpa = 0;
	void *host = NULL;
	int r = machine_take_window(machine, window, WINDOW_ALIGN, &gpa, err);
	if (r == 0)
		r = map_file(pmem, size, window, &host, err);
	if (r == 0)
		r = cpu_machine_map(machine_cpu(machine),
			&(struct cpu_memory){ .gpa = gpa,
				.size = window,
				.host = host,
				.is_read_only = pmem->is_readonly,
				.fd = pmem->fd,
				.file_size = size },
			err);
	if (r == 0)
		guest_mem_add_window(machine_mem(machine), gpa, host, window, pmem->is_readonly);
	if (r == 0)
		pmem->config = (struct virtio_pmem_config){ .start = gpa, .size = window };
	return r;
}

int virtio_pmem_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	struct pmem *pmem = NEW(pmem);
	pmem->fd = -1;
	pmem->is_readonly = json_get_bool(config, "readonly", true);
	int r = device_take_fd(config, "fd", &pmem->fd, err);
	if (r == 0)
		r = place(pmem, machine, err);
	if (r < 0) {
		pmem_free(pmem);
		return r;
	}
	*ret_device = pmem;
	return 0;
}
