// SPDX-License-Identifier: BSD-2-Clause
/*
 * wsdirect settings: every setting as a program started from here would have
 * it. A bad value in the environment or the file, or a malformed rule, is
 * reported by the same code, in the same words, as in the program.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "command.h"
#include "settings.h"

static const char help[] =
	"usage: wsdirect settings [--brief]\n"
	"\n"
	"Lists every setting: its name, its value as a program started now would have it\n"
	"('*' where that is not the default), the default, the limits and the meaning.\n"
	"A setting is read from the environment variable WSDIRECT_NAME, else from the file\n"
	"that WSDIRECT_CONFIG names.\n"
	"\n"
	"  -b, --brief     lines of the form name = value, as the file has them\n"
	"  -h, --help      this text\n";

static void print_number(const char *name, uint64_t value, uint64_t initial, uint64_t least,
			 uint64_t most, const char *text, bool brief)
{
	if (brief) {
		printf("%s = %" PRIu64 "\n", name, value);
		return;
	}
	printf("%s %-18s %" PRIu64 "\n", value == initial ? " " : "*", name, value);
	printf("    %s\n    default %" PRIu64 ", from %" PRIu64 " to %" PRIu64 "\n", text, initial,
	       least, most);
}

static void print_text(const char *name, const char *value, const char *initial,
		       const char *text, bool brief)
{
	if (brief) {
		/* The file cannot name itself. */
		if (strcmp(name, "config"))
			printf("%s = %s\n", name, value);
		return;
	}
	printf("%s %-18s %s\n", strcmp(value, initial) ? "*" : " ", name,
	       value[0] ? value : "(empty)");
	printf("    %s\n    default %s\n", text, initial[0] ? initial : "(empty)");
}

int command_settings(int argc, char **argv)
{
	static const struct option options[] = {
		{ "brief", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool brief = false;
	int option;

	while ((option = getopt_long(argc, argv, "bh", options, NULL)) != -1) {
		switch (option) {
		case 'b':
			brief = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_SUCCESS;
		default:
			return command_usage_error("settings");
		}
	}
	if (optind != argc) {
		command_error("settings", "unexpected argument '%s'", argv[optind]);
		return command_usage_error("settings");
	}
	settings_open();
	choice_open();
#define PRINT_NUMBER(name, initial, least, most, text) \
	print_number(#name, setting_number(SETTING_##name), initial, least, most, text, brief);
#define PRINT_TEXT(name, initial, text) \
	print_text(#name, setting_text(SETTING_##name), initial, text, brief);
	SETTINGS_LIST(PRINT_NUMBER, PRINT_TEXT)
	return settings_file_failed() ? EXIT_FAILURE : EXIT_SUCCESS;
}
