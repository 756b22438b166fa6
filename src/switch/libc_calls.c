// SPDX-License-Identifier: BSD-2-Clause
/*
 * Finds libc's calls behind our wrappers.
 *
 * Each member of libc_call starts as a function that looks the call up, stores
 * it and makes it, so that a call from another library's constructor, before
 * ours has run, works. Two threads that meet there store the same value.
 */
#include "libc_calls.h"

#include <dlfcn.h>
#include <errno.h>

/* What stands for a call that this libc does not have. */
#define MISSING(type, failure, name, parameters, arguments) \
	static type missing_##name parameters;
#define MISSING_VARIADIC(name, parameters, first, second) \
	static int missing_##name parameters;
#define FIRST(type, failure, name, parameters, arguments) static type first_##name parameters;
#define FIRST_VARIADIC(name, parameters, first, second) static int first_##name parameters;
#define NOTHING(...)

LIBC_CALLS(MISSING, MISSING_VARIADIC, NOTHING, NOTHING)
LIBC_CALLS(FIRST, FIRST_VARIADIC, NOTHING, NOTHING)

#define MEMBER(type, failure, name, parameters, arguments) .name = first_##name,
#define MEMBER_VARIADIC(name, parameters, first, second) .name = first_##name,
struct libc_calls libc_call = {
	LIBC_CALLS(MEMBER, MEMBER_VARIADIC, NOTHING, NOTHING)
};

/* ISO C has no conversion from void * to a pointer to function; POSIX has this one. */
#define LOOK_UP(name) do {						\
	union {								\
		void *symbol;						\
		__typeof__(libc_call.name) call;			\
	} found = { .symbol = dlsym(RTLD_NEXT, #name) };		\
	__atomic_store_n(&libc_call.name,				\
			 found.symbol ? found.call : missing_##name,	\
			 __ATOMIC_RELAXED);				\
} while (0)

#undef MISSING
#undef MISSING_VARIADIC
#define MISSING(type, failure, name, parameters, arguments)		\
	static type missing_##name parameters				\
	{								\
		errno = ENOSYS;						\
		return failure;						\
	}
#define MISSING_VARIADIC(name, parameters, first, second)		\
	static int missing_##name parameters				\
	{								\
		errno = ENOSYS;						\
		return -1;						\
	}

#undef FIRST
#undef FIRST_VARIADIC
#define FIRST(type, failure, name, parameters, arguments)		\
	static type first_##name parameters				\
	{								\
		int saved = errno;					\
									\
		LOOK_UP(name);						\
		errno = saved;						\
		return libc_call.name arguments;			\
	}
#define FIRST_VARIADIC(name, parameters, first, second)			\
	static int first_##name parameters				\
	{								\
		int saved = errno;					\
		va_list values;						\
		void *argument;						\
									\
		va_start(values, second);				\
		argument = va_arg(values, void *);			\
		va_end(values);						\
		LOOK_UP(name);						\
		errno = saved;						\
		return libc_call.name(first, second, argument);		\
	}

/* An argument that a call does not use is passed on by the list all the same. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
LIBC_CALLS(MISSING, MISSING_VARIADIC, NOTHING, NOTHING)
#pragma GCC diagnostic pop
LIBC_CALLS(FIRST, FIRST_VARIADIC, NOTHING, NOTHING)

void libc_calls_resolve(void)
{
	int saved = errno;

#define RESOLVE(type, failure, name, parameters, arguments) LOOK_UP(name);
#define RESOLVE_VARIADIC(name, parameters, first, second) LOOK_UP(name);
	LIBC_CALLS(RESOLVE, RESOLVE_VARIADIC, NOTHING, NOTHING)
	errno = saved;
}
