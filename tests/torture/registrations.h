/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the torture test sees of the RDMA device's registrations: it stands in front of
 * libibverbs, to change memory in the middle of registering it and to hold the library to
 * giving memory back. Nothing here happens over plain TCP.
 */
#ifndef TESTS_TORTURE_REGISTRATIONS_H
#define TESTS_TORTURE_REGISTRATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

/*
 * While this thread transfers from or to its buffer: the next registration of a part of it
 * finds other pages at its addresses by the time it is made, if @change. The contents are
 * the same; the pages that were registered get others.
 */
void registrations_transfer_begins(struct buffer *buffer, bool change);
void registrations_transfer_ends(void);

/* The pages there go or are replaced, by @how: who registers them must let them go soon. */
void registrations_end(const void *address, size_t size, const char *how);

/*
 * Ends the test if a registration is still held of memory that has been gone for @seconds.
 * Returns whether some are held of memory that went more lately.
 */
bool registrations_check(double seconds);

/* How many there are of buffers, and how many were made and changed meanwhile. */
void registrations_count(unsigned *held, unsigned *made, unsigned *changed);

#endif
