/* SPDX-License-Identifier: BSD-2-Clause */
/* What the torture test does to the memory of a buffer: every way that the kernel has. */
#ifndef TESTS_TORTURE_CHANGES_H
#define TESTS_TORTURE_CHANGES_H

#include <stdint.h>

struct buffer;

/* A random change of a buffer that the caller has. */
void change_at_random(struct buffer *buffer, uint64_t *random);

/*
 * A change in two steps, to be followed by a transfer at once: prepared are pages with a
 * new generation, of all of the buffer or some; they take their place by one call.
 */
struct exchange {
	char *fresh;		/* NULL: this buffer is not to be exchanged */
	char *address;
	unsigned long size;
	int raw;
};

struct exchange exchange_prepare(struct buffer *buffer, uint64_t *random);
void exchange_now(const struct exchange *exchange);

/* Waits for the children that changes left behind. */
void changes_await_children(void);

/* Prints how often which change was made. */
void changes_report(const char *who);

#endif
