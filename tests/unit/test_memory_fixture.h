/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of the registration cache start from: a cache of two devices over
 * a pretended address space, and short ways to use it. At the end of every test
 * everything must have been given back.
 */
#ifndef WSD_TEST_MEMORY_FIXTURE_H
#define WSD_TEST_MEMORY_FIXTURE_H

#include <check.h>

#include "statistics.h"
#include "test_memory_double.h"

extern struct space *space;
extern struct cache *cache;
extern struct device_double nic, other_nic;
extern struct cache_device *device, *other_device;

/* A new cache in place of the one there is. */
void fixture_restart(size_t regions, uint64_t bytes);

/* A region of whole pages, which the test puts; the test fails if there is none. */
struct cache_region *get_from(struct cache_device *from, unsigned first, unsigned pages,
			      unsigned access);
struct cache_region *get(unsigned first, unsigned pages, unsigned access);

/* Gets and puts. */
void touch(unsigned first, unsigned pages, unsigned access);

int get_error(unsigned first, unsigned pages, unsigned access);
int release(unsigned first, unsigned pages);

const struct registration_double *registration(const struct cache_region *region);
size_t cached(void);
size_t leaving(void);

/* How much a counter grew since the last call for it. */
uint64_t grown(enum statistic which);

/* A test case in which every test starts with a cache of 256 regions. */
TCase *fixture_case(Suite *suite, const char *name);

/* Runs the suite; the program's exit status. */
int fixture_run(Suite *suite);

#endif
