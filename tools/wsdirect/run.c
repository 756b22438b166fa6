// SPDX-License-Identifier: BSD-2-Clause
/*
 * wsdirect run: start a program under the preload library. Afterwards this
 * process is the program: same pid, same descriptors, same signals.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "settings.h"

/* As env(1) has it. */
#define EXIT_OWN_FAILURE	125
#define EXIT_CANNOT_EXECUTE	126
#define EXIT_NOT_FOUND		127

static const char help[] =
	"usage: wsdirect run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	"\n"
	"Starts PROGRAM with its TCP connections over RDMA where both ends can.\n"
	"\n"
	"  -l, --log LEVEL          off, error, warn, info or debug; info tells why a\n"
	"                           connection goes over TCP\n"
	"  -p, --provider PATH      the SAN service provider to use\n"
	"  -s, --set NAME=VALUE     any setting; 'wsdirect settings' lists them\n"
	"  -e, --env NAME=VALUE     an environment variable of the program\n"
	"  -h, --help               this text\n"
	"\n"
	"Exit status: the program's; 125 if wsdirect itself fails, 126 if PROGRAM cannot\n"
	"be executed, 127 if it is not found.\n";

static const char *const setting_names[] = {
#define NUMBER_NAME(name, initial, least, most, text) #name,
#define TEXT_NAME(name, initial, text) #name,
	SETTINGS_LIST(NUMBER_NAME, TEXT_NAME)
};

static bool is_setting(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(setting_names) / sizeof(setting_names[0]); i++)
		if (strlen(setting_names[i]) == length && !memcmp(setting_names[i], name, length))
			return true;
	return false;
}

/* Puts the setting into the environment, where the library reads it. */
static int set_setting(const char *name, size_t length, const char *value)
{
	char variable[64] = "WSDIRECT_";
	size_t at = strlen(variable);

	if (!is_setting(name, length) || at + length >= sizeof(variable)) {
		command_error("run", "no setting '%.*s'", (int)length, name);
		return -EINVAL;
	}
	for (size_t i = 0; i < length; i++)
		variable[at + i] = (char)toupper((unsigned char)name[i]);
	variable[at + length] = '\0';
	return setenv(variable, value, 1) ? -errno : 0;
}

static int set_from_word(const char *word, bool setting)
{
	const char *equals = strchr(word, '=');
	char *name;
	int error;

	if (!equals || equals == word) {
		command_error("run", "'%s' is not NAME=VALUE", word);
		return -EINVAL;
	}
	if (setting)
		return set_setting(word, (size_t)(equals - word), equals + 1);
	name = strndup(word, (size_t)(equals - word));
	if (!name)
		return -ENOMEM;
	error = setenv(name, equals + 1, 1) ? -errno : 0;
	free(name);
	return error;
}

/*
 * In front of what is preloaded already: the first library to define a call is
 * the one the program meets, and ours passes on to the next.
 */
static int set_preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *value;
	int error;

	/* The dynamic linker splits at both and has no way of quoting. */
	if (strpbrk(library, " :")) {
		command_error("run", "%s: a path with a blank or a colon cannot be preloaded",
			      library);
		return -EINVAL;
	}
	if (asprintf(&value, "%s%s%s", library, before && before[0] ? ":" : "",
		     before ? before : "") < 0)
		return -ENOMEM;
	error = setenv("LD_PRELOAD", value, 1) ? -errno : 0;
	free(value);
	return error;
}

int command_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "log", required_argument, NULL, 'l' },
		{ "provider", required_argument, NULL, 'p' },
		{ "set", required_argument, NULL, 's' },
		{ "env", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	char library[PATH_MAX], provider[PATH_MAX];
	int option, error;

	/* "+": the program's options are the program's. */
	while ((option = getopt_long(argc, argv, "+l:p:s:e:h", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			error = set_setting("log", strlen("log"), optarg);
			break;
		case 'p':
			error = set_setting("provider", strlen("provider"), optarg);
			break;
		case 's':
		case 'e':
			error = set_from_word(optarg, option == 's');
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_SUCCESS;
		default:
			error = -EINVAL;
		}
		if (error) {
			if (error != -EINVAL)
				command_error("run", "%s", strerror(-error));
			command_usage_error("run");
			return EXIT_OWN_FAILURE;
		}
	}
	if (optind == argc) {
		command_error("run", "no program given");
		command_usage_error("run");
		return EXIT_OWN_FAILURE;
	}

	error = library_find_preload(library);
	if (error) {
		command_error("run", "%s: %s", library, strerror(-error));
		return EXIT_OWN_FAILURE;
	}
	error = set_preload(library);
	/* Beside the preload library only once both are installed. */
	settings_open_silently();
	if (!error && !setting_text(SETTING_provider)[0] && !library_find_provider(provider))
		error = set_setting("provider", strlen("provider"), provider);
	if (error) {
		if (error != -EINVAL)
			command_error("run", "%s", strerror(-error));
		return EXIT_OWN_FAILURE;
	}

	execvp(argv[optind], argv + optind);
	error = errno;
	command_error("run", "%s: %s", argv[optind], strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}
