// SPDX-License-Identifier: BSD-2-Clause
/* wsdirect: picks the command and answers for the tool as a whole. */
#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int (*call)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", command_run, "start a program under the preload library" },
	{ "doctor", command_doctor, "check what this host needs to use RDMA" },
	{ "stat", command_stat, "show the counters of processes under the library" },
	{ "settings", command_settings, "show every setting, its value and meaning" },
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

void command_error(const char *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "wsdirect %s: ", command);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

int command_usage_error(const char *command)
{
	fprintf(stderr, "Try 'wsdirect %s --help'.\n", command);
	return EXIT_USAGE;
}

static void print_help(FILE *out)
{
	fprintf(out, "usage: wsdirect COMMAND [ARGUMENT]...\n"
		"       wsdirect --help | --version\n\n");
	for (int i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n'wsdirect COMMAND --help' tells more about one of them.\n");
}

/* Output that could not be written must not pass for success. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		perror("wsdirect: standard output");
		return status ? status : EXIT_FAILURE;
	}
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return finish(EXIT_SUCCESS);
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("wsdirect %s\n", WSD_VERSION);
		return finish(EXIT_SUCCESS);
	}
	for (int i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return finish(commands[i].call(argc - 1, argv + 1));
	fprintf(stderr, "wsdirect: no command '%s'\nTry 'wsdirect --help'.\n", argv[1]);
	return EXIT_USAGE;
}
