// SPDX-License-Identifier: BSD-2-Clause
/*
 * Wrappers: another program takes over the process. The switch's thread ends with the old one,
 * so what closed connections still have to send goes out before; the kernel would deliver it.
 *
 * A child of vfork() comes by here, too, and handlers of signals: switch_executing() is made for
 * both, and nothing here allocates.
 */
#include <alloca.h>

#include "lifetime.h"
#include "preload.h"

int preload_execve(const char *path, char *const *arguments, char *const *environment)
{
	switch_executing();
	return libc_call.execve(path, arguments, environment);
}

int preload_execv(const char *path, char *const *arguments)
{
	switch_executing();
	return libc_call.execv(path, arguments);
}

int preload_execvp(const char *name, char *const *arguments)
{
	switch_executing();
	return libc_call.execvp(name, arguments);
}

int preload_execvpe(const char *name, char *const *arguments, char *const *environment)
{
	switch_executing();
	return libc_call.execvpe(name, arguments, environment);
}

int preload_fexecve(int fd, char *const *arguments, char *const *environment)
{
	switch_executing();
	return libc_call.fexecve(fd, arguments, environment);
}

int preload_execveat(int directory, const char *path, char *const *arguments,
		     char *const *environment, int flags)
{
	switch_executing();
	return libc_call.execveat(directory, path, arguments, environment, flags);
}

/* ---- arguments as a list, which a null pointer ends ---- */

static size_t list_length(const char *first, va_list list)
{
	size_t length = 0;

	for (const char *argument = first; argument; argument = va_arg(list, const char *))
		length++;
	return length;
}

/* Takes the null pointer, too. */
static void list_copy(char **vector, const char *first, va_list list)
{
	for (const char *argument = first; argument; argument = va_arg(list, const char *))
		*vector++ = (char *)(uintptr_t)argument;
	*vector = NULL;
}

/* Leaves the list open behind its null pointer; the vector lives as long as the caller. */
#define VECTOR_OF_LIST(vector, first, list) do {					\
	va_start(list, first);								\
	(vector) = alloca((list_length(first, list) + 1) * sizeof(*(vector)));		\
	va_end(list);									\
	va_start(list, first);								\
	list_copy(vector, first, list);							\
} while (0)

int preload_execl(const char *path, const char *first, ...)
{
	char **vector;
	va_list list;

	VECTOR_OF_LIST(vector, first, list);
	va_end(list);
	return preload_execv(path, vector);
}

int preload_execlp(const char *name, const char *first, ...)
{
	char **vector;
	va_list list;

	VECTOR_OF_LIST(vector, first, list);
	va_end(list);
	return preload_execvp(name, vector);
}

int preload_execle(const char *path, const char *first, ...)
{
	char *const *environment;
	char **vector;
	va_list list;

	VECTOR_OF_LIST(vector, first, list);
	environment = va_arg(list, char *const *);
	va_end(list);
	return preload_execve(path, vector, environment);
}
