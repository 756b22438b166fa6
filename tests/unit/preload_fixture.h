/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections through the wrappers where both kinds arrive: the SAN is the loopback provider,
 * the other kind the kernel's. 127.0.0.1 is never reached over a SAN, 0.0.0.0 (which is the
 * same host) is.
 */
#ifndef WSD_TESTS_PRELOAD_FIXTURE_H
#define WSD_TESTS_PRELOAD_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attention.h"
#include "descriptors.h"
#include "loopback_provider.h"
#include "socket_state.h"

enum { TCP, SAN, KINDS };

static inline struct sockaddr_in any_address(in_port_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
}

/* A listener with a companion; *port is in network order. */
static inline int listener_open(in_port_t *port)
{
	struct sockaddr_in address = any_address(0);
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(fd, 10), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	ck_assert(descriptor_is_known(fd));
	*port = address.sin_port;
	return fd;
}

static inline int connect_to(int kind, int fd, in_port_t port)
{
	struct sockaddr_in address = any_address(port);

	if (kind == TCP)
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static inline int san_client(in_port_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect_to(SAN, fd, port), 0);
	return fd;
}

static inline int tcp_client(in_port_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect_to(TCP, fd, port), 0);
	ck_assert(!descriptor_is_known(fd));
	return fd;
}

static inline void fails(long result, int error)
{
	ck_assert_int_eq(result, -1);
	ck_assert_int_eq(errno, error);
}

static inline int pending_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
	return error;
}

static inline void nonblocking(int fd)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static inline void wait_readable(int fd)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(poll(&entry, 1, 5000), 1);
}

static inline void *accept_one(void *listener)
{
	return (void *)(intptr_t)accept(*(int *)listener, NULL, NULL);
}

static inline int joined(pthread_t thread)
{
	void *result;

	pthread_join(thread, &result);
	return (int)(intptr_t)result;
}

/* The lowest of a while: the switch thread holds one more whenever it looks. */
static inline unsigned int references_of(struct socket *socket)
{
	unsigned int lowest = socket->references;

	for (int i = 0; i < 50; i++) {
		unsigned int now = socket->references;

		lowest = now < lowest ? now : lowest;
		usleep(1000);
	}
	return lowest;
}

/* Before each test. */
static inline void set_up(void)
{
	loopback_connects = true;
	/* Handlers of Check's and of the sanitizers' would tell that calls are not restarted. */
	for (int number = 1; number <= SIGSYS; number++)
		signal(number, SIG_DFL);
}

/* The exit status. */
static inline int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
