// SPDX-License-Identifier: BSD-2-Clause
/* The formatter agrees with snprintf where both know a conversion, and cuts safely. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define SAME_AS_PRINTF(...) do {					\
	char ours[256], theirs[256];					\
	size_t length = text_format(ours, sizeof(ours), __VA_ARGS__);	\
	snprintf(theirs, sizeof(theirs), __VA_ARGS__);			\
	ck_assert_str_eq(ours, theirs);					\
	ck_assert_uint_eq(length, strlen(theirs));			\
} while (0)

START_TEST(formats_as_printf)
{
	SAME_AS_PRINTF("plain, 100%%");
	SAME_AS_PRINTF("%d %i %d", 0, -1, INT32_MIN);
	SAME_AS_PRINTF("%u %x %X", UINT32_MAX, 0xbeefu, 0xbeefu);
	SAME_AS_PRINTF("%ld %lld %lu %llx", -5L, (long long)INT64_MIN, 7UL,
		       (unsigned long long)UINT64_MAX);
	SAME_AS_PRINTF("%hhd %hu %zu %zd %jd %td", (signed char)-3, (unsigned short)9,
		       (size_t)SIZE_MAX, (ssize_t)-1, (intmax_t)-2, (ptrdiff_t)-8);
	SAME_AS_PRINTF("[%5d] [%-5d] [%05d] [%05d] [%*d] [%*d]", 42, 42, 42, -42, 6, 1, -6, 1);
	SAME_AS_PRINTF("[%08lx] [%2x]", 0xabcUL, 0x12345u);
	SAME_AS_PRINTF("[%s] [%8s] [%-8s] [%.2s] [%.*s] [%c]", "abc", "abc", "abc", "abc", 1, "abc",
		       'x');
	SAME_AS_PRINTF("%p", (void *)0x1234);
}
END_TEST

START_TEST(cut_text_ends_in_dots)
{
	char out[8];

	memset(out, 'X', sizeof(out));
	ck_assert_uint_eq(text_format(out, 6, "%s", "0123456789"), 5);
	ck_assert_str_eq(out, "01...");
	ck_assert_int_eq(out[6], 'X');
	ck_assert_uint_eq(text_format(out, 6, "%s", "01234"), 5);
	ck_assert_str_eq(out, "01234");
	ck_assert_uint_eq(text_format(out, 1, "%d", 5), 0);
	ck_assert_str_eq(out, "");
	ck_assert_uint_eq(text_format(out, 0, "%d", 5), 0);
}
END_TEST

START_TEST(strings_stay_on_one_line)
{
	char out[32];
	const char *volatile nothing = NULL;

	text_format(out, sizeof(out), "%s", "a\nb\x1b[0m\x7f");
	ck_assert_str_eq(out, "a?b?[0m?");
	text_format(out, sizeof(out), "%s", nothing);
	ck_assert_str_eq(out, "(null)");
}
END_TEST

START_TEST(unknown_conversion_ends_the_text)
{
	char out[32];
	const char *volatile format = "a %y %s";

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	text_format(out, sizeof(out), format, 1);
	ck_assert_str_eq(out, "a %y %s");
	format = "a %";
	text_format(out, sizeof(out), format);
	ck_assert_str_eq(out, "a %");
#pragma GCC diagnostic pop
}
END_TEST

static const struct { const char *text; int error; uint64_t number; } number_cases[] = {
	{ "0", 0, 0 }, { "42", 0, 42 }, { "4k", 0, 4096 }, { "2M", 0, 2 << 20 },
	{ "1g", 0, 1 << 30 }, { "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 }, { "18014398509481984k", -ERANGE, 0 },
	{ "17179869184g", -ERANGE, 0 }, { "", -EINVAL, 0 }, { "k", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 }, { "0x10", -EINVAL, 0 }, { "1kk", -EINVAL, 0 },
};

START_TEST(numbers_are_read_whole)
{
	uint64_t number = 99;
	const char *text = number_cases[_i].text;

	ck_assert_int_eq(text_to_number(text, strlen(text), &number), number_cases[_i].error);
	ck_assert_uint_eq(number, number_cases[_i].error ? 99 : number_cases[_i].number);
}
END_TEST

START_TEST(words_are_found_whole)
{
	ck_assert(text_in_list("warn", 4, "off|warn|info"));
	ck_assert(text_in_list("info", 4, "off|warn|info"));
	ck_assert(text_in_list("off", 3, "off|warn|info"));
	ck_assert(!text_in_list("war", 3, "off|warn|info"));
	ck_assert(!text_in_list("warns", 5, "off|warn|info"));
	ck_assert(!text_in_list("off|warn", 8, "off|warn|info"));
	ck_assert(!text_in_list("", 0, "off|warn|info"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/text");
	TCase *tests = tcase_create("text");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, formats_as_printf);
	tcase_add_test(tests, cut_text_ends_in_dots);
	tcase_add_test(tests, strings_stay_on_one_line);
	tcase_add_test(tests, unknown_conversion_ends_the_text);
	tcase_add_loop_test(tests, numbers_are_read_whole, 0,
			    sizeof(number_cases) / sizeof(number_cases[0]));
	tcase_add_test(tests, words_are_found_whole);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
