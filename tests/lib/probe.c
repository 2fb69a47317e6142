/* probe - tries, from inside a workload, one thing that the wall must refuse, and says what the
 * kernel answered: `probe WHAT [NUMBER]` prints "allowed" or the name of the error.  Static, so
 * that it runs in any image. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static long try_tiocsti(long number)
{
	(void)number;
	char byte = 'x';
	return ioctl(0, TIOCSTI, &byte);
}

static long try_socket(long family)
{
	/* AF_ALG and AF_VSOCK know only these types; others say so before they say no. */
	int type = family == 38 ? SOCK_SEQPACKET : family == 16 ? SOCK_RAW : SOCK_STREAM;
	return socket((int)family, type, 0);
}

static long try_userns(long number)
{
	(void)number;
	return unshare(CLONE_NEWUSER);
}

static long try_mountns(long number)
{
	(void)number;
	return unshare(CLONE_NEWNS);
}

static long try_call(long number)
{
	return syscall(number, 0L, 0L, 0L, 0L, 0L, 0L);
}

static long try_mount(long number)
{
	(void)number;
	return mount("none", "/tmp", "tmpfs", 0, NULL);
}

static long try_disk(long device)
{
	unlink("/tmp/disk");
	if (mknod("/tmp/disk", S_IFBLK | 0600, (dev_t)device) < 0)
		return -1;
	return open("/tmp/disk", O_RDONLY | O_CLOEXEC);
}

static long try_handle(long number)
{
	(void)number;
	/* CAP_DAC_READ_SEARCH: the "shocker" escape. */
	struct file_handle *handle = calloc(1, sizeof(*handle) + 128);
	handle->handle_bytes = 8;
	return open_by_handle_at(AT_FDCWD, handle, O_RDONLY);
}

static long try_swap(long number)
{
	(void)number;
	/* For as long as it is let: a directory and a link change places. */
	while (renameat2(AT_FDCWD, "a", AT_FDCWD, "link", RENAME_EXCHANGE) == 0)
		;
	return -1;
}

static long try_exes(long number)
{
	(void)number;
	/* The programs of new processes, each time it is another one: what may be opened for
	 * reading now can be written to when it has ended (CVE-2019-5736). */
	char last[256] = "";
	for (int newest = getpid();;) {
		for (int pid = newest > 8 ? newest - 8 : 2; pid < newest + 8; pid++) {
			char path[32], program[256] = "";
			(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
			int fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0 && errno == ENOENT)
				continue;
			newest = pid > newest ? pid : newest;
			if (fd < 0)
				continue;
			(void)!readlink(path, program, sizeof(program) - 1);
			(void)close(fd);
			if (strcmp(program, last) != 0)
				puts(program);
			memcpy(last, program, sizeof(last));
		}
	}
}

static const struct {
	const char *name;
	long (*try)(long number);
} probes[] = {
	{ "call", try_call },
	{ "disk", try_disk },
	{ "exes", try_exes },
	{ "handle", try_handle },
	{ "mount", try_mount },
	{ "mountns", try_mountns },
	{ "socket", try_socket },
	{ "swap", try_swap },
	{ "tiocsti", try_tiocsti },
	{ "userns", try_userns },
};

static long number(const char *text)
{
	long n = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		n = n * 10 + (*text - '0');
	return n;
}

int main(int argc, char **argv)
{
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc >= 2 && i < sizeof(probes) / sizeof(probes[0]); i++) {
		if (strcmp(argv[1], probes[i].name) != 0)
			continue;
		long r = probes[i].try(argc > 2 ? number(argv[2]) : 0);
		puts(r >= 0 ? "allowed" : strerrorname_np(errno));
		return 0;
	}
	fprintf(stderr, "usage: probe WHAT [NUMBER]\n");
	return 2;
}
