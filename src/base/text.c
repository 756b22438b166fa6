// SPDX-License-Identifier: BSD-2-Clause
/* The formatter and number parser behind the log, settings and statistics. */
#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

struct output {
	char *at;
	char *end;	/* of the room for text; the terminator goes here at the latest */
	bool cut;
};

struct conversion {
	bool zero;
	bool left;
	size_t width;
	int precision;	/* -1: none */
	int length;	/* -2 hh, -1 h, 0 int, 1 l, 2 ll, and 'z', 'j', 't' */
};

static void output_put(struct output *out, char c)
{
	if (out->at < out->end)
		*out->at++ = c;
	else
		out->cut = true;
}

static void output_pad(struct output *out, char c, size_t count)
{
	while (count-- > 0 && !out->cut)
		output_put(out, c);
}

static void output_string(struct output *out, const struct conversion *how, const char *text)
{
	size_t length;

	if (!text)
		text = "(null)";
	length = how->precision < 0 ? strlen(text) : strnlen(text, (size_t)how->precision);
	if (!how->left && how->width > length)
		output_pad(out, ' ', how->width - length);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		output_put(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
	if (how->left && how->width > length)
		output_pad(out, ' ', how->width - length);
}

static void output_number(struct output *out, const struct conversion *how, uint64_t value,
			  bool negative, unsigned base, const char *prefix, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char reversed[24];
	size_t count = 0;
	size_t length;

	do {
		reversed[count++] = digits[value % base];
		value /= base;
	} while (value > 0);

	length = count + strlen(prefix) + negative;
	if (!how->left && !how->zero && how->width > length)
		output_pad(out, ' ', how->width - length);
	if (negative)
		output_put(out, '-');
	while (*prefix)
		output_put(out, *prefix++);
	if (!how->left && how->zero && how->width > length)
		output_pad(out, '0', how->width - length);
	while (count > 0)
		output_put(out, reversed[--count]);
	if (how->left && how->width > length)
		output_pad(out, ' ', how->width - length);
}

static int64_t argument_signed(const struct conversion *how, va_list *arguments)
{
	switch (how->length) {
	case -2:
		return (signed char)va_arg(*arguments, int);
	case -1:
		return (short)va_arg(*arguments, int);
	case 0:
		return va_arg(*arguments, int);
	case 1:
		return va_arg(*arguments, long);
	case 'z':
		return va_arg(*arguments, ssize_t);
	case 't':
		return va_arg(*arguments, ptrdiff_t);
	case 'j':
		return va_arg(*arguments, intmax_t);
	default:
		return va_arg(*arguments, long long);
	}
}

static uint64_t argument_unsigned(const struct conversion *how, va_list *arguments)
{
	switch (how->length) {
	case -2:
		return (unsigned char)va_arg(*arguments, unsigned int);
	case -1:
		return (unsigned short)va_arg(*arguments, unsigned int);
	case 0:
		return va_arg(*arguments, unsigned int);
	case 1:
		return va_arg(*arguments, unsigned long);
	case 'z':
		return va_arg(*arguments, size_t);
	case 't':
		return (uint64_t)va_arg(*arguments, ptrdiff_t);
	case 'j':
		return va_arg(*arguments, uintmax_t);
	default:
		return va_arg(*arguments, unsigned long long);
	}
}

/* Reads flags, width, precision and length; returns where the letter stands. */
static const char *conversion_parse(const char *at, struct conversion *how, va_list *arguments)
{
	*how = (struct conversion){ .precision = -1 };
	for (;; at++) {
		if (*at == '0')
			how->zero = true;
		else if (*at == '-')
			how->left = true;
		else
			break;
	}
	if (*at == '*') {
		int width = va_arg(*arguments, int);

		how->left = how->left || width < 0;
		how->width = width < 0 ? 0 - (size_t)width : (size_t)width;
		at++;
	}
	for (; *at >= '0' && *at <= '9'; at++)
		if (how->width < 1000)
			how->width = how->width * 10 + (size_t)(*at - '0');
	if (*at == '.') {
		how->precision = 0;
		if (*++at == '*') {
			how->precision = va_arg(*arguments, int);
			at++;
		}
		for (; *at >= '0' && *at <= '9'; at++)
			if (how->precision < 100000)
				how->precision = how->precision * 10 + (*at - '0');
	}
	switch (*at) {
	case 'h':
		how->length = *++at == 'h' ? (at++, -2) : -1;
		break;
	case 'l':
		how->length = *++at == 'l' ? (at++, 2) : 1;
		break;
	case 'z':
	case 'j':
	case 't':
		how->length = *at++;
		break;
	}
	return at;
}

size_t text_format_list(char *out, size_t size, const char *format, va_list arguments)
{
	struct output output = { .at = out, .end = out + size - 1 };
	struct conversion how;
	const char *at = format;
	va_list list;
	char character[2] = "";

	if (size == 0)
		return 0;
	va_copy(list, arguments);
	for (; *at; at++) {
		const char *percent = at;
		int64_t number;

		if (*at != '%') {
			output_put(&output, *at);
			continue;
		}
		at = conversion_parse(at + 1, &how, &list);
		switch (*at) {
		case '%':
			output_put(&output, '%');
			break;
		case 'c':
			character[0] = (char)va_arg(list, int);
			output_string(&output, &how, character);
			break;
		case 's':
			output_string(&output, &how, va_arg(list, const char *));
			break;
		case 'd':
		case 'i':
			number = argument_signed(&how, &list);
			output_number(&output, &how, number < 0 ? 0 - (uint64_t)number : (uint64_t)number,
				      number < 0, 10, "", false);
			break;
		case 'u':
			output_number(&output, &how, argument_unsigned(&how, &list), false, 10, "", false);
			break;
		case 'x':
		case 'X':
			output_number(&output, &how, argument_unsigned(&how, &list), false, 16, "",
				      *at == 'X');
			break;
		case 'p':
			output_number(&output, &how, (uintptr_t)va_arg(list, void *), false, 16, "0x",
				      false);
			break;
		default:
			/* Its argument's size is unknown, so nothing after it can be read. */
			while (*percent)
				output_put(&output, *percent++);
			goto done;
		}
	}
done:
	va_end(list);
	if (output.cut && size > 3)
		memcpy(output.end - 3, "...", 3);
	*output.at = '\0';
	return (size_t)(output.at - out);
}

size_t text_format(char *out, size_t size, const char *format, ...)
{
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	length = text_format_list(out, size, format, arguments);
	va_end(arguments);
	return length;
}

int text_to_number(const char *text, size_t length, uint64_t *number)
{
	unsigned shift = 0;
	uint64_t value = 0;

	if (length == 0)
		return -EINVAL;
	switch (text[length - 1]) {
	case 'k': case 'K':
		shift = 10;
		break;
	case 'm': case 'M':
		shift = 20;
		break;
	case 'g': case 'G':
		shift = 30;
		break;
	}
	if (shift > 0 && --length == 0)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (unsigned)(text[i] - '0'), &value))
			return -ERANGE;
	}
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*number = value << shift;
	return 0;
}

bool text_in_list(const char *word, size_t length, const char *list)
{
	while (length > 0) {
		size_t item = strcspn(list, "|");

		if (item == length && memcmp(word, list, length) == 0)
			return true;
		if (list[item] == '\0')
			return false;
		list += item + 1;
	}
	return false;
}
