// SPDX-License-Identifier: BSD-2-Clause
/* Where the libraries are that the tool starts programs with and checks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "settings.h"

#define PRELOAD_NAME	"libwsdirect-preload.so"
#define PROVIDER_NAME	"libwsdirect-verbs.so"

/* The directory of this program, without its last @levels components. */
static int own_directory(char path[PATH_MAX], int levels)
{
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (length < 0)
		return -errno;
	path[length] = '\0';
	while (levels-- >= 0) {
		char *slash = strrchr(path, '/');

		if (!slash)
			return -ENOENT;
		*slash = '\0';
	}
	return 0;
}

static int try_path(char path[PATH_MAX], const char *directory, const char *below,
		    const char *name)
{
	int length = snprintf(path, PATH_MAX, "%s/%s%s", directory, below, name);

	if (length < 0 || length >= PATH_MAX)
		return -ENAMETOOLONG;
	return access(path, R_OK) ? -errno : 0;
}

/*
 * @build: where the build directory has it. The build is looked at first, so
 * that an installed version does not shadow the one under development: an
 * installed wsdirect has no build directory around it.
 */
static int find(char path[PATH_MAX], const char *build, const char *name)
{
	char directory[PATH_MAX];

	/* BUILD/tools/wsdirect/wsdirect */
	if (!own_directory(directory, 2) && !try_path(path, directory, build, name))
		return 0;
	return try_path(path, WSD_LIBRARY_DIRECTORY, "", name);
}

int library_find_preload(char path[PATH_MAX])
{
	return find(path, "src/preload/", PRELOAD_NAME);
}

int library_find_provider(char path[PATH_MAX])
{
	const char *wanted = setting_text(SETTING_provider);

	if (wanted[0]) {
		int length = snprintf(path, PATH_MAX, "%s", wanted);

		if (length >= PATH_MAX)
			return -ENAMETOOLONG;
		return access(path, R_OK) ? -errno : 0;
	}
	return find(path, "src/san/verbs/", PROVIDER_NAME);
}
