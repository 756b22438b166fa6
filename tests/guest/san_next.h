/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For tests whose functions stand in front of those of libibverbs and librdmacm, because the
 * program exports them: the libraries' own.
 */
#ifndef WSD_TEST_SAN_NEXT_H
#define WSD_TEST_SAN_NEXT_H

#include <dlfcn.h>
#include <stdint.h>

#include "san_common.h"

#define NEXT(name) ((__typeof__(name) *)(uintptr_t)next(#name))
#define EXPORT __attribute__((visibility("default")))

/* The needs of a library are searched too, so one finds both libraries' functions. */
static inline void *next(const char *name)
{
	static void *library;
	void *function;

	if (!library)
		library = dlopen("librdmacm.so.1", RTLD_NOW | RTLD_LOCAL);
	check(library);
	function = dlsym(library, name);
	check(function);
	return function;
}

#endif
