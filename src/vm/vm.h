/* vm - the virtual machine: the program's role "@vmm", one process for each machine.
 *
 * The caller (engine) opens everything and hands descriptors over; the role is jailed before the
 * guest's first instruction.  Configuration, a JSON object on descriptor 3:
 *
 *   accel      name in accelerators.def        accel_fd   descriptor from cpu_accel_open()
 *   cpus       1 ..                            memory_mib RAM
 *   kernel_fd  bzImage or ELF vmlinux          initrd_fds list; one behind the other in memory
 *   cmdline    the kernel's command line       uid        the user the process becomes
 *   serial_fd  where ttyS0 writes (-1: nowhere)
 *   devices    list of objects: "type" (devices.def) and what that device's file says
 *
 * The exit status of the process is the workload's (wire/guest_msg.h tells the machine), or 125
 * with one line on stderr. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

struct cpu_accel;
struct proc_id;

/* Body of the role. */
int vm_main(int argc, char **argv);

/* How many system calls of the host's kernel a machine's process may make while its guest runs on
 * that accelerator. */
unsigned vm_syscalls_count(const struct cpu_accel *accel);
/* What a machine's process takes of the host's memory beside what is its guest's: RAM, and pages of
 * files that the guest reads as memory.  -ESRCH when it has gone. */
MUST_CHECK int vm_own_memory(const struct proc_id *machine, uint64_t *ret_bytes);

/* Whether fd is a kernel this machine can start: ERR_INVALID says what is wrong.  ret_what gets a
 * word for people ("bzImage, boot protocol 2.15"). */
MUST_CHECK int vm_kernel_check(int fd, struct text *ret_what, struct err *err);

/* ---- guest kernels: all these read bytes of strangers ---- */

/* The release that a kernel names itself ("6.1.0-56-cloud-amd64"): of a bzImage by its header, of
 * an ELF program by its banner.  Only letters, digits and "._+~-" are a release. */
MUST_CHECK int vm_kernel_release(int fd, struct text *ret_release, struct err *err);

/* Where in a bzImage the kernel itself is, an ELF program in one of the compressions "gzip", "lz4",
 * "xz", "zstd".  size 0: there is none, or in another compression. */
struct vm_payload {
	uint64_t offset, size;
	const char *compression;
};
MUST_CHECK int vm_kernel_payload(int fd, struct vm_payload *ret_payload, struct err *err);

/* What a kernel module (ELF, uncompressed) says of itself in its section .modinfo; borrowed from
 * bytes. */
struct vm_module {
	struct view depends;  /* names separated by commas */
	struct view vermagic; /* the kernel's release, then flags */
	size_t body_len;      /* what is behind it is its signature */
};
MUST_CHECK int vm_module_read(struct view bytes, struct vm_module *ret_module, struct err *err);

/* ---- initramfs archives: cpio "newc" (buffer-format.rst of Linux), one after another in memory */

struct vm_cpio {
	int fd; /* borrowed; written from its offset on */
	uint64_t offset;
	uint32_t inode; /* of the last entry */
};
struct vm_cpio_entry {
	const char *name; /* no leading "/" */
	mode_t mode;      /* with its type */
	unsigned major, minor;
	struct view bytes; /* of a regular file, unless source_fd is set */
	bool has_source;
	int source_fd; /* borrowed; size bytes from offset on */
	uint64_t offset, size;
};
MUST_CHECK int vm_cpio_add(struct vm_cpio *cpio, const struct vm_cpio_entry *entry,
	struct err *err);
/* The trailer, and zeros up to a whole number of 512 bytes. */
MUST_CHECK int vm_cpio_end(struct vm_cpio *cpio, struct err *err);
