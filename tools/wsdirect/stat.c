// SPDX-License-Identifier: BSD-2-Clause
/*
 * wsdirect stat: the counters of processes under the library, from the pages
 * that they keep in the statistics directory. Reading disturbs nobody.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "settings.h"
#include "statistics.h"

static const char help[] =
	"usage: wsdirect stat [--json] [--sum] [PID|FILE]...\n"
	"       wsdirect stat --clean\n"
	"\n"
	"Without PID or FILE: a line for each process that has a page in the statistics\n"
	"directory. With them: every counter of each. A child of fork has a page once it counted\n"
	"something. A page outlives its process if that was killed or ended by _exit(), or if the\n"
	"setting statistics_keep asks for it; it is then marked 'ended'.\n"
	"\n"
	"  -j, --json      all counters of all that is shown, as a JSON array\n"
	"  -s, --sum       the counters of all that is shown, added up\n"
	"  -c, --clean     remove the pages of processes that have ended\n"
	"  -h, --help      this text\n";

/* Pages in the order they were named or found. */
struct pages {
	struct statistics_snapshot *entries;
	size_t count;
};

static bool is_running(pid_t pid)
{
	return !kill(pid, 0) || errno == EPERM;
}

static int pages_add(struct pages *pages, const struct statistics_snapshot *snapshot)
{
	struct statistics_snapshot *entries = reallocarray(pages->entries, pages->count + 1,
							   sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	entries[pages->count++] = *snapshot;
	pages->entries = entries;
	return 0;
}

static bool is_number(const char *word)
{
	if (!*word)
		return false;
	for (; *word; word++)
		if (!isdigit((unsigned char)*word))
			return false;
	return true;
}

static const char *load_error(int error)
{
	switch (error) {
	case -EINVAL:
		return "not a statistics page";
	case -EPROTONOSUPPORT:
		return "written by another version of the library";
	default:
		return strerror(-error);
	}
}

static int pages_add_word(struct pages *pages, const char *word)
{
	struct statistics_snapshot snapshot;
	char path[PATH_MAX];
	int error;

	if (is_number(word)) {
		long pid = strtol(word, NULL, 10);

		if (pid < 1 || pid > INT_MAX) {
			command_error("stat", "%s: not a process ID", word);
			return -EINVAL;
		}
		error = statistics_path((pid_t)pid, path, sizeof(path));
		if (!error)
			error = statistics_load(path, &snapshot);
		if (error == -ENOENT) {
			command_error("stat", "process %s has no page in %s: %s", word,
				      setting_text(SETTING_statistics),
				      is_running((pid_t)pid) ?
				      "it is not under the library, or a child that has counted nothing" :
				      "there is no such process");
			return error;
		}
	} else {
		error = statistics_load(word, &snapshot);
	}
	if (!error)
		error = pages_add(pages, &snapshot);
	if (error)
		command_error("stat", "%s: %s", word, load_error(error));
	return error;
}

/* Whose page a file of this name is, or is to be once it is complete; 0: it is none. */
static pid_t page_name_pid(const char *name, bool *complete)
{
	int pid, end = 0;

	if (sscanf(name, "wsdirect-%d.stat%n", &pid, &end) != 1 || pid <= 0)
		return 0;
	*complete = !name[end];
	return *complete || name[end] == '.' ? pid : 0;
}

static int is_page_name(const struct dirent *entry)
{
	bool complete = false;

	return page_name_pid(entry->d_name, &complete) != 0;
}

/*
 * Every page of the directory; with @clean, those of ended processes are
 * removed instead, by their names: a page may be unfinished, or from another
 * version. Others' pages may be unreadable, or must stay: that is not this
 * caller's concern.
 */
static int pages_add_directory(struct pages *pages, bool clean)
{
	const char *directory = setting_text(SETTING_statistics);
	struct dirent **entries;
	int error = 0, count = scandir(directory, &entries, is_page_name, versionsort);

	if (count < 0) {
		error = -errno;
		command_error("stat", "%s: %s", directory, strerror(-error));
		return error;
	}
	for (int i = 0; i < count; i++) {
		struct statistics_snapshot snapshot;
		char path[PATH_MAX];
		int length = snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		bool complete = false;
		pid_t pid = page_name_pid(entries[i]->d_name, &complete);

		free(entries[i]);
		if (error || length >= (int)sizeof(path))
			continue;
		if (!clean && complete && !statistics_load(path, &snapshot))
			error = pages_add(pages, &snapshot);
		else if (clean && !is_running(pid) && unlink(path) && errno != EPERM)
			error = -errno;
	}
	free(entries);
	if (error)
		command_error("stat", "%s: %s", directory, strerror(-error));
	return error;
}

/* ---- output ------------------------------------------------------------ */

static uint64_t value(const struct statistics_snapshot *page, enum statistic which)
{
	return page->values[which];
}

/* Four characters that fit a column: "812k", "3.4g". */
static const char *human(uint64_t number, char text[8])
{
	static const char units[] = " kmgtpe";
	double scaled = (double)number;
	int unit = 0;

	while (scaled >= 999.5 && unit < (int)sizeof(units) - 2) {
		scaled /= 1000;
		unit++;
	}
	if (!unit)
		snprintf(text, 8, "%" PRIu64, number);
	else
		snprintf(text, 8, scaled < 9.95 ? "%.1f%c" : "%.0f%c", scaled, units[unit]);
	return text;
}

static uint64_t bytes_sent(const struct statistics_snapshot *page)
{
	return value(page, STATISTIC_bytes_sent_message) + value(page, STATISTIC_bytes_sent_rdma);
}

static uint64_t bytes_received(const struct statistics_snapshot *page)
{
	return value(page, STATISTIC_bytes_received_message) +
	       value(page, STATISTIC_bytes_received_rdma);
}

/* Share of the SAN's bytes that this process did not copy. */
static int uncopied_percent(const struct statistics_snapshot *page)
{
	uint64_t all = bytes_sent(page) + bytes_received(page);
	uint64_t copied = value(page, STATISTIC_bytes_sent_message) +
			  value(page, STATISTIC_bytes_sent_staged) +
			  value(page, STATISTIC_bytes_received_message) +
			  value(page, STATISTIC_bytes_received_spilled);

	return all && copied < all ? (int)((all - copied) * 100 / all) : 0;
}

static void print_table(const struct pages *pages)
{
	printf("%8s %-16s %6s %6s %6s %6s %9s %6s %6s\n", "PID", "PROGRAM", "SAN", "TCP", "SENT",
	       "RCVD", "UNCOPIED", "HITS", "MISSES");
	for (size_t i = 0; i < pages->count; i++) {
		const struct statistics_snapshot *page = &pages->entries[i];
		char san[8], tcp[8], sent[8], received[8], hits[8], misses[8];

		printf("%8d %-16.16s %6s %6s %6s %6s %8d%% %6s %6s%s\n", (int)page->pid,
		       page->program,
		       human(value(page, STATISTIC_san_connects) +
			     value(page, STATISTIC_san_accepts), san),
		       human(value(page, STATISTIC_tcp_connects) +
			     value(page, STATISTIC_tcp_accepts), tcp),
		       human(bytes_sent(page), sent), human(bytes_received(page), received),
		       uncopied_percent(page),
		       human(value(page, STATISTIC_cache_hits), hits),
		       human(value(page, STATISTIC_cache_misses), misses),
		       is_running(page->pid) ? "" : "  ended");
	}
}

static void print_counters(const struct statistics_snapshot *page, bool of_one)
{
	if (of_one) {
		time_t start = (time_t)(page->start_time / 1000000000);
		struct tm local;
		char since[32] = "?";

		if (localtime_r(&start, &local))
			strftime(since, sizeof(since), "%F %T", &local);
		printf("%s, process %d, since %s%s\n", page->program, (int)page->pid, since,
		       is_running(page->pid) ? "" : ", ended");
	}
	for (int i = 0; i < STATISTIC_COUNT; i++)
		printf("  %-24s %14" PRIu64 "  %s\n", statistic_name((enum statistic)i),
		       page->values[i], statistic_help((enum statistic)i));
}

/* A program's name is whatever its file was called. */
static void print_json_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void print_json(const struct pages *pages)
{
	printf("[");
	for (size_t i = 0; i < pages->count; i++) {
		const struct statistics_snapshot *page = &pages->entries[i];

		printf("%s\n {\"pid\": %d, \"program\": ", i ? "," : "", (int)page->pid);
		print_json_text(page->program);
		printf(", \"running\": %s, \"start_time\": %" PRIu64 ",\n  \"counters\": {",
		       is_running(page->pid) ? "true" : "false", page->start_time);
		for (int j = 0; j < STATISTIC_COUNT; j++)
			printf("%s\"%s\": %" PRIu64, j ? ", " : "",
			       statistic_name((enum statistic)j), page->values[j]);
		printf("}}");
	}
	printf("%s]\n", pages->count ? "\n" : "");
}

static void pages_sum(struct pages *pages)
{
	struct statistics_snapshot sum = { 0 };

	for (size_t i = 0; i < pages->count; i++)
		for (int j = 0; j < STATISTIC_COUNT; j++)
			sum.values[j] += pages->entries[i].values[j];
	free(pages->entries);
	*pages = (struct pages){ 0 };
	if (pages_add(pages, &sum))
		command_error("stat", "%s", strerror(ENOMEM));
}

int command_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "sum", no_argument, NULL, 's' },
		{ "clean", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool json = false, sum = false, clean = false, named;
	struct pages pages = { 0 };
	int option, status = EXIT_SUCCESS;

	while ((option = getopt_long(argc, argv, "jsch", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 's':
			sum = true;
			break;
		case 'c':
			clean = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_SUCCESS;
		default:
			return command_usage_error("stat");
		}
	}
	named = optind < argc;
	if (clean && (named || json || sum)) {
		command_error("stat", "--clean stands alone");
		return command_usage_error("stat");
	}
	settings_open();

	if (!named && pages_add_directory(&pages, clean))
		status = EXIT_FAILURE;
	for (; optind < argc; optind++)
		if (pages_add_word(&pages, argv[optind]))
			status = EXIT_FAILURE;
	if (clean)
		return status;

	if (sum)
		pages_sum(&pages);
	if (json)
		print_json(&pages);
	else if (named || sum)
		for (size_t i = 0; i < pages.count; i++)
			print_counters(&pages.entries[i], !sum);
	else
		print_table(&pages);
	free(pages.entries);
	return status;
}
