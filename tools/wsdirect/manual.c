// SPDX-License-Identifier: BSD-2-Clause
/*
 * Fills the tables of a manual page from the lists that the code is made of,
 * so that page and code cannot disagree: copies standard input to standard
 * output and replaces the lines @SETTINGS@, @CALLS@ and @COUNTERS@.
 * Runs while building; not installed.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libc_calls.h"
#include "settings.h"
#include "statistics.h"

/* roff would take a leading dot for a request, and '-' for a hyphen. */
static void put_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", stdout);
		else if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '.' || *text == '\'')
			printf("\\&%c", *text);
		else
			putchar(*text);
	}
}

/* A help text as a sentence of its own. */
static void put_sentence(const char *text)
{
	putchar(toupper((unsigned char)*text));
	put_text(text + 1);
	puts(".");
}

static void put_term(const char *name)
{
	printf(".TP\n.B ");
	put_text(name);
	putchar('\n');
}

static void put_number(const char *name, uint64_t initial, uint64_t least, uint64_t most,
		       const char *text)
{
	put_term(name);
	put_sentence(text);
	printf("Default %" PRIu64 ", from %" PRIu64 " to %" PRIu64 ".\n", initial, least, most);
}

static void put_string(const char *name, const char *initial, const char *text)
{
	put_term(name);
	put_sentence(text);
	printf("Default ");
	if (initial[0]) {
		printf("\\fI");
		put_text(initial);
		printf("\\fR");
	} else {
		printf("empty");
	}
	puts(".");
}

static void put_settings(void)
{
#define PUT_NUMBER(name, initial, least, most, text) put_number(#name, initial, least, most, text);
#define PUT_TEXT(name, initial, text) put_string(#name, initial, text);
	SETTINGS_LIST(PUT_NUMBER, PUT_TEXT)
}

static void put_counters(void)
{
#define PUT_COUNTER(name, text) \
	put_term(#name); \
	put_sentence(text);
	STATISTICS_LIST(PUT_COUNTER)
}

/*
 * What a program writes; libc's names for variants of them are left out, and splice, which is
 * wrapped only to fail (LIMITS has it).
 */
static void put_calls(void)
{
	static const char *const names[] = {
#define CALL_NAME(type, failure, name, parameters, arguments) #name,
#define CALL_VARIADIC(name, parameters, first, second) #name,
#define CALL_EXTRA(type, name, parameters) #name,
#define CALL_ALIAS(name, target)
		LIBC_CALLS(CALL_NAME, CALL_VARIADIC, CALL_EXTRA, CALL_ALIAS)
	};
	bool first = true;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i][0] == '_' || !strcmp(names[i], "splice"))
			continue;
		fputs(first ? "" : ",\n", stdout);
		fputs(names[i], stdout);
		first = false;
	}
	puts(".");
}

int main(void)
{
	static const struct {
		const char *line;
		void (*put)(void);
	} tables[] = {
		{ "@SETTINGS@\n", put_settings },
		{ "@CALLS@\n", put_calls },
		{ "@COUNTERS@\n", put_counters },
	};
	char line[1024];

	while (fgets(line, sizeof(line), stdin)) {
		size_t i, count = sizeof(tables) / sizeof(tables[0]);

		for (i = 0; i < count && strcmp(line, tables[i].line); i++)
			;
		if (i < count)
			tables[i].put();
		else
			fputs(line, stdout);
	}
	return ferror(stdin) || fflush(stdout) || ferror(stdout);
}
