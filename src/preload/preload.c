// SPDX-License-Identifier: BSD-2-Clause
/*
 * The library's start, and what happens to it in a fork.
 *
 * The child's handler may run in a child of a process with many threads: it
 * only resets what those threads may have held. vfork() needs no wrapper: the
 * descriptor table knows its process and ignores what the child does.
 */
#include <pthread.h>

#include "epoll.h"
#include "lifetime.h"
#include "preload.h"

static void forking(void)
{
	int saved = errno;

	switch_forking();
	errno = saved;
}

static void forked_child(void)
{
	int saved = errno;

	descriptors_open();
	epoll_forked_child();
	stream_forked_child();
	switch_forked_child();
	errno = saved;
}

/* As early as a library may, since other libraries' constructors use sockets too. */
__attribute__((constructor(101))) static void preload_start(void)
{
	int saved = errno;

	libc_calls_resolve();
	descriptors_open();
	switch_open();
	/* Fails only for lack of memory, at a time when nothing was allocated. */
	pthread_atfork(forking, NULL, forked_child);
	errno = saved;
}

/* fork() calls the handlers above; this one is meant not to. Ours must run all the same. */
pid_t preload__Fork(void)
{
	pid_t pid;

	forking();
	pid = libc_call._Fork();

	if (pid == 0)
		forked_child();
	return pid;
}
