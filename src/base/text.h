/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Formatting and comparing text without stdio, malloc or locale, for code
 * that may run in a signal handler or before main().
 */
#ifndef WSD_BASE_TEXT_H
#define WSD_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Like snprintf, but returns the bytes written (never more than size - 1) and
 * ends cut text in "...". Knows %s %.*s %c %d %i %u %x %X %p %%, the lengths
 * hh h l ll z j t, a field width and the flags 0 and -. Control characters inside
 * a string argument are shown as '?', so that one call makes one line.
 * A conversion it does not know ends the text with it.
 */
size_t text_format(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
size_t text_format_list(char *out, size_t size, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

/*
 * A whole decimal number with an optional suffix k, m or g (1024's powers),
 * as @length bytes at @text. 0, -EINVAL (not a number) or -ERANGE (over 64 bits).
 */
int text_to_number(const char *text, size_t length, uint64_t *number);

/* Whether @word (of @length bytes) is one of those in @list, "a|b|c". */
bool text_in_list(const char *word, size_t length, const char *list);

#endif
