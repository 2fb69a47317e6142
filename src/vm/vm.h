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

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

/* Body of the role. */
int vm_main(int argc, char **argv);

/* Whether fd is a kernel this machine can start: ERR_INVALID says what is wrong.  ret_what gets a
 * word for people ("bzImage, boot protocol 2.15"). */
MUST_CHECK int vm_kernel_check(int fd, struct text *ret_what, struct err *err);
