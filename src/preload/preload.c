// SPDX-License-Identifier: BSD-2-Clause
/*
 * The library's start, what happens to it in a fork, and the end.
 *
 * The child's handler may run in a child of a process with many threads: it
 * only resets what those threads may have held. vfork() needs no wrapper: the
 * descriptor table knows its process and ignores what the child does.
 */
#include <pthread.h>
#include <stdlib.h>

#include "cancellation.h"
#include "epoll.h"
#include "lifetime.h"
#include "preload.h"

void preload_forked_child(void)
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
	pthread_atfork(NULL, NULL, preload_forked_child);
	at_quick_exit(switch_exit);
	errno = saved;
}

/*
 * After the program's exit handlers and its own destructors, which may still talk to peers,
 * and before those of the provider and of its libraries, which were loaded later.
 */
__attribute__((destructor)) static void preload_end(void)
{
	stream_flush_all();
	switch_exit();
}

int preload_pthread_cancel(pthread_t thread)
{
	atomic_store(&cancellation_used, true);
	return libc_call.pthread_cancel(thread);
}

int preload_pthread_setcanceltype(int type, int *old)
{
	int error = libc_call.pthread_setcanceltype(type, old);

	if (!error)
		cancellation.anywhere = type == PTHREAD_CANCEL_ASYNCHRONOUS;
	return error;
}

/* Children of servers end so, right after close(): the kernel would deliver what they sent. */
void preload__exit(int status)
{
	switch_leaving();
	libc_call._exit(status);
}
PRELOAD_ALIAS(_Exit, _exit)

/* fork() calls the handlers above; this one is meant not to. Ours must run all the same. */
pid_t preload__Fork(void)
{
	pid_t pid;

	switch_forking();
	pid = libc_call._Fork();

	if (pid == 0)
		preload_forked_child();
	return pid;
}
