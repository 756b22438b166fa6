/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests that cancel threads. */
#ifndef WSD_TESTS_CANCELLED_H
#define WSD_TESTS_CANCELLED_H

#include <pthread.h>
#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define __asan_unpoison_memory_region(address, size)
#endif

/*
 * The outermost clean-up handler of a thread that is cancelled: its frames are gone without
 * the address sanitizer's knowledge, which uses that stack itself at the thread's end.
 */
static inline void frames_are_gone(void *unused)
{
	pthread_attr_t attributes;
	size_t size;
	void *stack;

	(void)unused;
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstack(&attributes, &stack, &size);
	pthread_attr_destroy(&attributes);
	__asan_unpoison_memory_region(stack, size);
}

#endif
