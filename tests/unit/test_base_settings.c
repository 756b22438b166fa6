// SPDX-License-Identifier: BSD-2-Clause
/*
 * Settings: environment before file before default, and each mistake is one
 * error line that leaves the default in force. Each test is a process of its
 * own (Check forks), since settings are read once a process.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "settings.h"

static char directory[] = "/tmp/wsdirect-settings-XXXXXX";
static char log_name[128];
static char config_name[128];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(log_name, sizeof(log_name), "%s/log", directory);
	snprintf(config_name, sizeof(config_name), "%s/config", directory);
	setenv("WSDIRECT_LOG_FILE", log_name, 1);
	setenv("WSDIRECT_CONFIG", config_name, 1);
}

static void teardown(void)
{
	unlink(log_name);
	unlink(config_name);
	rmdir(directory);
}

static void config_write(const char *text)
{
	FILE *file = fopen(config_name, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

/* The whole log; the number of its lines in *lines. */
static const char *log_text(int *lines)
{
	static char text[8192];
	FILE *file = fopen(log_name, "r");
	size_t length;

	ck_assert_ptr_nonnull(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	fclose(file);
	*lines = 0;
	for (size_t i = 0; i < length; i++)
		*lines += text[i] == '\n';
	return text;
}

static void expect_one_error(const char *part, const char *other_part)
{
	int lines;
	const char *text = log_text(&lines);

	ck_assert_msg(lines == 1, "%s", text);
	ck_assert_msg(strstr(text, "error: ") != NULL, "%s", text);
	ck_assert_msg(strstr(text, part) != NULL, "%s lacks %s", text, part);
	ck_assert_msg(strstr(text, other_part) != NULL, "%s lacks %s", text, other_part);
}

START_TEST(defaults_hold_without_sources)
{
	int lines;

	config_write("");
	settings_open();
	ck_assert_uint_eq(setting_number(SETTING_cache_regions), 4096);
	ck_assert_str_eq(setting_text(SETTING_memory_monitor), "auto");
	ck_assert_int_eq(log_threshold, LOG_WARN);
	log_text(&lines);
	ck_assert_int_eq(lines, 0);
}
END_TEST

START_TEST(environment_comes_before_file)
{
	int lines;

	config_write("# comment\n\n  cache_regions = 7\nrdma_threshold=64k  \r\n\trules = a ; b = c");
	setenv("WSDIRECT_CACHE_REGIONS", "9", 1);
	settings_open();
	ck_assert_uint_eq(setting_number(SETTING_cache_regions), 9);
	ck_assert_uint_eq(setting_number(SETTING_rdma_threshold), 65536);
	ck_assert_str_eq(setting_text(SETTING_rules), "a ; b = c");
	log_text(&lines);
	ck_assert_int_eq(lines, 0);
}
END_TEST

START_TEST(values_outlive_the_environment)
{
	char variable[] = "WSDIRECT_RULES=listen san";

	config_write("");
	putenv(variable);
	settings_open();
	memset(variable, 'x', sizeof(variable) - 1);
	settings_open();
	log_open();
	ck_assert_str_eq(setting_text(SETTING_rules), "listen san");
}
END_TEST

START_TEST(unknown_variable_is_one_error)
{
	config_write("");
	setenv("WSDIRECT_CACHE_REGION", "9", 1);
	settings_open();
	settings_open();
	expect_one_error("WSDIRECT_CACHE_REGION", "no such setting");
}
END_TEST

START_TEST(variables_of_the_tools_are_no_errors)
{
	config_write("");
	setenv("WSDIRECT_BUILD", "/build", 1);
	setenv("WSDIRECT_CACHE", "/cache", 1);
	setenv("WSDIRECT_GUEST", "1", 1);
	setenv("WSDIRECT_CACHE_REGION", "9", 1);
	settings_open();
	expect_one_error("WSDIRECT_CACHE_REGION", "no such setting");
}
END_TEST

START_TEST(bad_number_is_one_error_and_the_default)
{
	config_write("");
	setenv("WSDIRECT_CACHE_REGIONS", "many", 1);
	settings_open();
	ck_assert_uint_eq(setting_number(SETTING_cache_regions), 4096);
	expect_one_error("WSDIRECT_CACHE_REGIONS", "'many' is not a number; using 4096");
}
END_TEST

START_TEST(number_out_of_range_is_one_error_and_the_default)
{
	config_write("");
	setenv("WSDIRECT_MESSAGE_COUNT", "3", 1);
	settings_open();
	ck_assert_uint_eq(setting_number(SETTING_message_count), 8);
	expect_one_error("WSDIRECT_MESSAGE_COUNT", "not from 4 to 256");
}
END_TEST

START_TEST(bad_word_is_one_error_and_the_default)
{
	config_write("log = loud\n");
	settings_open();
	ck_assert_int_eq(log_threshold, LOG_WARN);
	expect_one_error("config:1: log", "off|error|warn|info|debug");
}
END_TEST

START_TEST(file_errors_name_the_line)
{
	config_write("cache_regions = 5\n\nfrob = 1\n");
	settings_open();
	ck_assert_uint_eq(setting_number(SETTING_cache_regions), 5);
	expect_one_error("config:3: frob", "no such setting");
}
END_TEST

START_TEST(file_line_without_value_is_an_error)
{
	config_write("cache_regions\n");
	settings_open();
	expect_one_error("config:1: cache_regions", "name = value");
}
END_TEST

START_TEST(long_line_is_skipped_whole)
{
	FILE *file = fopen(config_name, "w");

	ck_assert_ptr_nonnull(file);
	for (int i = 0; i < 3000; i++)
		fputs("log=", file);
	fputs("\nmessage_count = 16\ncache_regions = 6", file);
	fclose(file);
	settings_open();
	ck_assert_uint_eq(setting_number(SETTING_message_count), 16);
	ck_assert_uint_eq(setting_number(SETTING_cache_regions), 6);
	expect_one_error("config:1: line", "longer than");
}
END_TEST

START_TEST(long_text_is_one_error_and_the_default)
{
	char rules[5000];

	config_write("");
	memset(rules, 'a', sizeof(rules) - 1);
	rules[sizeof(rules) - 1] = '\0';
	setenv("WSDIRECT_RULES", rules, 1);
	settings_open();
	ck_assert_str_eq(setting_text(SETTING_rules), RULES_DEFAULT);
	expect_one_error("WSDIRECT_RULES", "longer than 4095 bytes");
}
END_TEST

START_TEST(file_asked_for_but_missing_is_an_error)
{
	settings_open();
	expect_one_error("config", "ENOENT");
}
END_TEST

START_TEST(file_that_is_a_fifo_does_not_hang)
{
	ck_assert_int_eq(mkfifo(config_name, 0600), 0);
	settings_open();
	expect_one_error("config", "not a regular file");
}
END_TEST

START_TEST(file_cannot_name_another_file)
{
	config_write("config = /etc/passwd\n");
	settings_open();
	ck_assert_str_eq(setting_text(SETTING_config), config_name);
	expect_one_error("config:1: config", "only the environment");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base/settings");
	TCase *tests = tcase_create("settings");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, defaults_hold_without_sources);
	tcase_add_test(tests, environment_comes_before_file);
	tcase_add_test(tests, values_outlive_the_environment);
	tcase_add_test(tests, unknown_variable_is_one_error);
	tcase_add_test(tests, variables_of_the_tools_are_no_errors);
	tcase_add_test(tests, bad_number_is_one_error_and_the_default);
	tcase_add_test(tests, number_out_of_range_is_one_error_and_the_default);
	tcase_add_test(tests, bad_word_is_one_error_and_the_default);
	tcase_add_test(tests, file_errors_name_the_line);
	tcase_add_test(tests, file_line_without_value_is_an_error);
	tcase_add_test(tests, long_line_is_skipped_whole);
	tcase_add_test(tests, long_text_is_one_error_and_the_default);
	tcase_add_test(tests, file_asked_for_but_missing_is_an_error);
	tcase_add_test(tests, file_that_is_a_fifo_does_not_hang);
	tcase_add_test(tests, file_cannot_name_another_file);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
