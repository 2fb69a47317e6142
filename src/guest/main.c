/* main - moat-guest, /init of a virtual machine's initramfs.  What fails before the machine can be
 * told is told on the console.  With "-- trace" at the end of the kernel's command line each step
 * is told there with its time. */
#include <signal.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "guest/guest.h"

int main(int argc, char **argv)
{
	if (getpid() != 1) {
		static const char words[] =
			"moat-guest: runs as the first process of a virtual machine only\n";
		(void)!fd_write_all(STDERR_FILENO, words, sizeof(words) - 1);
		return 125;
	}
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "trace") == 0)
			log_set_trace(true);
	struct err err = { 0 };
	int r = guest_boot(&err);
	if (r == 0)
		r = guest_run(&guest_machine, &err);
	if (r < 0)
		log_error("%s", err.message);
	guest_machine.power_off();
	return 125; /* the kernel panics: the machine sees that too */
}
