// SPDX-License-Identifier: BSD-2-Clause
/*
 * Reads the settings, from the environment before the file, once.
 *
 * Everything is copied: programs that write their title over their arguments
 * write over the environment behind them too. No malloc, since a program's own
 * malloc may not be ready when a preloaded library starts.
 *
 * The log needs settings and the settings need the log to report bad ones. So
 * the sources are read twice: a first pass takes values and stays silent, then
 * the log is started, then a second pass takes nothing and reports.
 */
#include "settings.h"

#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "log.h"
#include "log_start.h"
#include "system.h"
#include "text.h"

#define VARIABLE_PREFIX	"WSDIRECT_"
#define LIBRARY_PREFIX	"libwsdirect-"

#define TEXT_SIZE	4096	/* of one text, with its end */
#define FILE_LINE_SIZE	4096
#define LONGEST_NAME	32

enum setting_kind { KIND_NUMBER, KIND_TEXT };

struct setting {
	const char *name;
	enum setting_kind kind;
	int which;		/* enum setting_number or enum setting_text */
	uint64_t least, most;	/* of a number */
};

#define SETTING_NUMBER_ROW(id, start, low, high, text) \
	{ .name = #id, .kind = KIND_NUMBER, .which = SETTING_##id, .least = (low), .most = (high) },
#define SETTING_TEXT_ROW(id, start, text) \
	{ .name = #id, .kind = KIND_TEXT, .which = SETTING_##id },

static const struct setting settings[] = {
	SETTINGS_LIST(SETTING_NUMBER_ROW, SETTING_TEXT_ROW)
};
#define SETTINGS_COUNT (sizeof(settings) / sizeof(settings[0]))

/* Texts of which only some words make sense. */
static const char *const text_choices[SETTING_TEXTS] = {
	[SETTING_log] = "off|error|warn|info|debug",
	[SETTING_rdma_direction] = "read|write|auto",
	[SETTING_memory_monitor] = "auto|module|none|userfaultfd",
};

#define SETTING_NUMBER_INITIAL(id, start, low, high, text) [SETTING_##id] = (start),
#define SETTING_TEXT_INITIAL(id, start, text) [SETTING_##id] = (start),
#define SETTING_SKIP_NUMBER(id, start, low, high, text)
#define SETTING_SKIP_TEXT(id, start, text)

/*
 * Variables of the scripts under tools/. Programs that those start inherit them, so they are
 * no mistake of the user's, though no settings either.
 */
static const char *const tool_variables[] = {
	VARIABLE_PREFIX "BUILD", VARIABLE_PREFIX "CACHE", VARIABLE_PREFIX "GUEST",
	VARIABLE_PREFIX "OUT",
};

/* All of it is written by settings_load() and its like only, under settings_once. */
uint64_t setting_numbers[SETTING_NUMBERS] = {
	SETTINGS_LIST(SETTING_NUMBER_INITIAL, SETTING_SKIP_TEXT)
};
static const char *texts[SETTING_TEXTS] = {
	SETTINGS_LIST(SETTING_SKIP_NUMBER, SETTING_TEXT_INITIAL)
};
static bool from_environment[SETTINGS_COUNT];	/* so the file does not count */
static char text_values[SETTING_TEXTS][TEXT_SIZE];
static bool file_failed;

static pthread_once_t settings_once = PTHREAD_ONCE_INIT;

/* Where a value stands, for the error line. @line 0: the environment. */
struct source {
	const char *path;
	unsigned line;
	bool report;
};

static void __attribute__((format(printf, 3, 4)))
source_complain(const struct source *source, const char *name, const char *format, ...)
{
	char what[256];
	va_list arguments;

	if (!source->report)
		return;
	va_start(arguments, format);
	text_format_list(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (source->line > 0)
		log_error("%s:%u: %s: %s", source->path, source->line, name, what);
	else
		log_error("%s: %s", name, what);
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Index in settings[], or -ENOENT. A variable's name is in upper case. */
static int setting_find(const char *name, size_t length, bool variable)
{
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		const char *known = settings[i].name;
		size_t at = 0;

		while (at < length && known[at] &&
		       name[at] == (variable ? upper(known[at]) : known[at]))
			at++;
		if (at == length && known[at] == '\0')
			return (int)i;
	}
	return -ENOENT;
}

static void number_take(const struct setting *setting, const struct source *source,
			const char *name, const char *value, size_t length)
{
	uint64_t number;
	int error = text_to_number(value, length, &number);

	if (error == -EINVAL)
		source_complain(source, name, "'%.*s' is not a number; using %llu", (int)length,
				value, (unsigned long long)setting_numbers[setting->which]);
	else if (error || number < setting->least || number > setting->most)
		source_complain(source, name, "'%.*s' is not from %llu to %llu; using %llu",
				(int)length, value, (unsigned long long)setting->least,
				(unsigned long long)setting->most,
				(unsigned long long)setting_numbers[setting->which]);
	else if (!source->report)
		setting_numbers[setting->which] = number;
}

static void text_take(const struct setting *setting, const struct source *source,
		      const char *name, const char *value, size_t length)
{
	const char *choices = text_choices[setting->which];
	char *kept = text_values[setting->which];

	if (choices && !text_in_list(value, length, choices)) {
		source_complain(source, name, "'%.*s' is not one of %s; using %s", (int)length,
				value, choices, texts[setting->which]);
	} else if (length >= TEXT_SIZE) {
		source_complain(source, name, "longer than %d bytes; using '%s'", TEXT_SIZE - 1,
				texts[setting->which]);
	} else if (!source->report) {
		memcpy(kept, value, length);
		kept[length] = '\0';
		texts[setting->which] = kept;
	}
}

static void setting_take(const struct setting *setting, const struct source *source,
			 const char *name, const char *value, size_t length)
{
	if (setting->kind == KIND_NUMBER)
		number_take(setting, source, name, value, length);
	else
		text_take(setting, source, name, value, length);
}

static bool is_tool_variable(const char *name)
{
	for (size_t i = 0; i < sizeof(tool_variables) / sizeof(tool_variables[0]); i++) {
		if (strcmp(name, tool_variables[i]) == 0)
			return true;
	}
	return false;
}

static void environment_read(bool report)
{
	struct source source = { .report = report };

	for (char **at = environ; at && *at; at++) {
		const char *variable = *at;
		const char *equals = strchr(variable, '=');
		const char *name = variable + strlen(VARIABLE_PREFIX);
		char shown[sizeof(VARIABLE_PREFIX) + LONGEST_NAME];
		int index;

		if (!equals || strncmp(variable, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0)
			continue;
		text_format(shown, sizeof(shown), "%.*s", (int)(equals - variable), variable);
		if (is_tool_variable(shown))
			continue;
		index = equals < name ? -ENOENT : setting_find(name, (size_t)(equals - name), true);
		if (index < 0) {
			source_complain(&source, shown, "no such setting");
			continue;
		}
		from_environment[index] = true;
		setting_take(&settings[index], &source, shown, equals + 1, strlen(equals + 1));
	}
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void file_line(const struct source *source, const char *line, size_t length)
{
	const char *end = line + length;
	const char *equals;
	const char *name_end;
	char shown[LONGEST_NAME + 1];
	int index;

	while (line < end && is_space(*line))
		line++;
	while (end > line && is_space(end[-1]))
		end--;
	if (line == end || *line == '#')
		return;
	equals = memchr(line, '=', (size_t)(end - line));
	name_end = equals ? equals : end;
	while (name_end > line && is_space(name_end[-1]))
		name_end--;
	text_format(shown, sizeof(shown), "%.*s", (int)(name_end - line), line);
	index = setting_find(line, (size_t)(name_end - line), false);
	if (!equals) {
		source_complain(source, shown, "not a line of the form name = value");
	} else if (index < 0) {
		source_complain(source, shown, "no such setting");
	} else if (settings[index].kind == KIND_TEXT && settings[index].which == SETTING_config) {
		source_complain(source, shown, "only the environment can name the file");
	} else if (!from_environment[index]) {
		const char *value = equals + 1;

		while (value < end && is_space(*value))
			value++;
		setting_take(&settings[index], source, shown, value, (size_t)(end - value));
	}
}

/* Hands every line of @fd to file_line(); a line that is too long is reported and skipped. */
static void file_lines(int fd, struct source *source)
{
	char buffer[FILE_LINE_SIZE];
	size_t filled = 0;
	bool skipping = false;
	bool more = true;

	source->line = 1;
	while (more) {
		ssize_t got = system_read(fd, buffer + filled, sizeof(buffer) - filled);
		size_t start = 0;
		char *newline;

		if (got == -EINTR)
			continue;
		if (got < 0) {
			file_failed = true;
			source_complain(source, "read", "%s", log_errno_name((int)got));
		}
		more = got > 0;
		filled += more ? (size_t)got : 0;
		while ((newline = memchr(buffer + start, '\n', filled - start))) {
			if (!skipping)
				file_line(source, buffer + start,
					  (size_t)(newline - buffer) - start);
			skipping = false;
			start = (size_t)(newline - buffer) + 1;
			source->line++;
		}
		filled -= start;
		memmove(buffer, buffer + start, filled);
		if (filled == sizeof(buffer)) {
			if (!skipping)
				source_complain(source, "line", "longer than %d bytes; ignored",
						FILE_LINE_SIZE);
			skipping = true;
			filled = 0;
		}
	}
	if (filled > 0 && !skipping)
		file_line(source, buffer, filled);
}

static void file_read(bool report)
{
	const char *path = texts[SETTING_config];
	struct source source = { .path = path, .report = report };
	struct stat st;
	int fd;

	if (path[0] == '\0')
		return;
	/* O_NONBLOCK: opening a FIFO must not hang the program. */
	fd = system_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0) {
		bool asked = from_environment[setting_find("config", strlen("config"), false)];

		file_failed = asked || (fd != -ENOENT && fd != -ENOTDIR);
		if (report && file_failed)
			log_error("config %s: %s", path, log_errno_name(fd));
		return;
	}
	file_failed = system_fstat(fd, &st) < 0 || !S_ISREG(st.st_mode);
	if (!file_failed)
		file_lines(fd, &source);
	else if (report)
		log_error("config %s: not a regular file", path);
	system_close(fd);
}

struct library_search {
	uintptr_t self;
	bool first;
};

static int library_visit(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct library_search *search = argument;
	const char *slash = strrchr(info->dlpi_name, '/');
	const char *base = slash ? slash + 1 : info->dlpi_name;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_LOAD &&
		    search->self - (info->dlpi_addr + segment->p_vaddr) < segment->p_memsz)
			return 1;
	}
	if (strncmp(base, LIBRARY_PREFIX, strlen(LIBRARY_PREFIX)) == 0) {
		search->first = false;
		return 1;
	}
	return 0;
}

/*
 * The preload library and the provider each hold a copy of this code and read
 * the same sources. Only the first of our libraries in the process reports,
 * so that a bad value is one line and not two.
 */
static bool library_is_first(void)
{
	struct library_search search = { .self = (uintptr_t)&settings_once, .first = true };

	dl_iterate_phdr(library_visit, &search);
	return search.first;
}

static void sources_read(bool report)
{
	/*
	 * A set-user-ID program would open files and load a provider with rights
	 * its caller does not have: there the caller's environment has no say.
	 */
	if (!getauxval(AT_SECURE))
		environment_read(report);
	file_read(report);
}

static void settings_load(void)
{
	int saved = errno;

	sources_read(false);
	log_start();
	if (log_threshold != LOG_OFF && library_is_first())
		sources_read(true);
	errno = saved;
}

void settings_open(void)
{
	pthread_once(&settings_once, settings_load);
}

static void settings_load_silently(void)
{
	sources_read(false);
}

void settings_open_silently(void)
{
	pthread_once(&settings_once, settings_load_silently);
}

bool settings_file_failed(void)
{
	return file_failed;
}

const char *setting_text(enum setting_text which)
{
	return texts[which];
}
