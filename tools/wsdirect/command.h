/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands of the wsdirect tool share. */
#ifndef WSD_TOOLS_COMMAND_H
#define WSD_TOOLS_COMMAND_H

#include <limits.h>

/* Exit status of a command that was called in a wrong way. */
#define EXIT_USAGE	2

/*
 * Each command gets its own arguments, its name first, and returns the exit
 * status. --help is its own affair, so that its text stands beside its options.
 */
int command_run(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_settings(int argc, char **argv);

/* "wsdirect COMMAND: text" on standard error. */
void command_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Points at --help after an error; returns EXIT_USAGE. */
int command_usage_error(const char *command);

/*
 * The preload library and the provider: where they are installed or, for a
 * wsdirect that was not installed, where the build left them. 0 or -ENOENT,
 * with the place last looked at in @path in either case.
 */
int library_find_preload(char path[PATH_MAX]);
int library_find_provider(char path[PATH_MAX]);

#endif
