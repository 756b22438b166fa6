// SPDX-License-Identifier: BSD-2-Clause
/*
 * The preload library exports the list of intercepted calls and nothing else, and
 * never calls one of them by name itself (that would go through its own wrapper).
 * The library is in PRELOAD_LIBRARY.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libc_calls.h"

#define CALL_NAME(type, failure, name, parameters, arguments) #name,
#define VARIADIC_NAME(name, parameters, first, second) #name,
#define EXTRA_NAME(type, name, parameters) #name,
#define ALIAS_NAME(name, target) #name,

static const char *const names[] = {
	LIBC_CALLS(CALL_NAME, VARIADIC_NAME, EXTRA_NAME, ALIAS_NAME)
};

#define NAMES (int)(sizeof(names) / sizeof(names[0]))

static int find(const char *name)
{
	int i;

	for (i = 0; i < NAMES; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

/* Opens a pipe from COMMAND $PRELOAD_LIBRARY. */
static FILE *inspect(const char *command)
{
	char line[256];

	ck_assert_ptr_nonnull(getenv("PRELOAD_LIBRARY"));
	snprintf(line, sizeof(line), "%s \"$PRELOAD_LIBRARY\"", command);
	return popen(line, "r");
}

START_TEST(exports_are_the_list)
{
	FILE *file = inspect("nm -D --defined-only --format=posix");
	char symbol[256], kind;
	bool seen[NAMES] = { false };
	int i;

	while (fscanf(file, "%255s %c%*[^\n]", symbol, &kind) == 2) {
		i = find(symbol);
		ck_assert_msg(i >= 0, "%s is exported and not in the list", symbol);
		seen[i] = true;
	}
	ck_assert_int_eq(pclose(file), 0);
	for (i = 0; i < NAMES; i++)
		ck_assert_msg(seen[i], "%s is in the list and not exported", names[i]);
}
END_TEST

START_TEST(libc_has_them_all)
{
	FILE *file = popen("nm -D --defined-only --format=posix $(ldd \"$PRELOAD_LIBRARY\" | "
			   "sed -n 's/.*libc[.]so[.]6 => \\([^ ]*\\).*/\\1/p')", "r");
	char symbol[256], kind;
	bool seen[NAMES] = { false };
	int i;

	while (fscanf(file, "%255s %c%*[^\n]", symbol, &kind) == 2) {
		symbol[strcspn(symbol, "@")] = '\0';
		i = find(symbol);
		if (i >= 0)
			seen[i] = true;
	}
	ck_assert_int_eq(pclose(file), 0);
	for (i = 0; i < NAMES; i++)
		ck_assert_msg(seen[i], "libc has no %s: a slip in the list?", names[i]);
}
END_TEST

/*
 * Asked of the objects, which the build leaves beside the library: in the library itself such
 * a call is bound to our wrapper already and looks like any other.
 */
START_TEST(nothing_is_called_by_name)
{
	FILE *file = popen("base=$(dirname \"$PRELOAD_LIBRARY\")/../base; "
			   "find \"$PRELOAD_LIBRARY.p\" \"$base\" -name '*switch_*.o' -o "
			   "-name 'libbase.a' | xargs nm -u --format=posix | "
			   "awk '$2 == \"U\" { print $1 }'", "r");
	char symbol[256];
	int undefined = 0;

	while (fscanf(file, "%255s", symbol) == 1) {
		undefined++;
		ck_assert_msg(find(symbol) < 0, "%s is called by name", symbol);
	}
	ck_assert_int_eq(pclose(file), 0);
	ck_assert_int_gt(undefined, 100);
}
END_TEST

START_TEST(libc_is_all_it_needs)
{
	FILE *file = inspect("readelf -dW");
	char line[512];
	int needed = 0;

	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, "(NEEDED)"))
			continue;
		needed++;
		ck_assert_msg(strstr(line, "[libc.so.6]") || strstr(line, "[ld-linux"), "%s", line);
	}
	ck_assert_int_eq(pclose(file), 0);
	ck_assert_int_ge(needed, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("exports");
	TCase *cases = tcase_create("exports");
	SRunner *runner;
	int failed;

	tcase_add_test(cases, exports_are_the_list);
	tcase_add_test(cases, libc_has_them_all);
	tcase_add_test(cases, nothing_is_called_by_name);
	tcase_add_test(cases, libc_is_all_it_needs);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
