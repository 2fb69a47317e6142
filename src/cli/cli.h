/* cli - the command line: docker's verbs, flags, output and exit codes over engine calls. */
#pragma once

/* Runs one command; returns the process exit status (125 for failures of moat itself). */
int cli_main(int argc, char **argv);
