/* main - a table of roles.  A role's name is the first argument and starts with "@": nothing a user
 * types does. */
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "engine/engine.h"
#include "vm/vm.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the role's name */
} roles[] = {
	{ "@extract", engine_extract_main },
	{ "@firewall", engine_firewall_main },
	{ "@vmm", vm_main },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(roles); i++) {
		if (strcmp(argv[1], roles[i].name) == 0)
			return roles[i].run(argc - 1, argv + 1);
	}
	return cli_main(argc, argv);
}
