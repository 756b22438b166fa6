// SPDX-License-Identifier: BSD-2-Clause
/*
 * Listening, accepting and connecting through the wrappers where both kinds of connection
 * arrive: the SAN is the loopback provider, the other kind the kernel's. 127.0.0.1 is never
 * reached over a SAN, 0.0.0.0 (which is the same host) is.
 */
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attention.h"
#include "descriptors.h"
#include "loopback_provider.h"

static struct sockaddr_in any_address(in_port_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
}

/* A listener with a companion; *port is in network order. */
static int listener_open(in_port_t *port)
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

static int connect_to(int fd, in_port_t port)
{
	struct sockaddr_in address = any_address(port);

	return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static int san_client(in_port_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect_to(fd, port), 0);
	return fd;
}

static int joined(pthread_t thread)
{
	void *result;

	pthread_join(thread, &result);
	return (int)(intptr_t)result;
}

/* Cancelled meanwhile, it sends what does not have to wait. */
static void *send_cancelled(void *fd)
{
	pthread_cancel(pthread_self());
	for (int i = 0; i < 30; i++)
		send(*(int *)fd, "x", 1, MSG_DONTWAIT);
	return NULL;
}

START_TEST(a_cancelled_sender_leaves_no_lock)
{
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int fd = accept(listener, NULL, NULL);
	pthread_t thread;

	/* Until the switch thread leaves them alone and has to be woken. */
	usleep(300000);
	ck_assert_int_eq(pthread_create(&thread, NULL, send_cancelled, &client), 0);
	joined(thread);
	ck_assert_int_eq(send(client, "x", 1, MSG_DONTWAIT), 1);
	close(client);
	close(fd);
	close(listener);
	attention_drain(2000);
}
END_TEST

static void set_up(void)
{
	loopback_connects = true;
}

int main(void)
{
	Suite *suite = suite_create("listener");
	TCase *cases = tcase_create("listener");
	SRunner *runner;
	int failed;

	tcase_set_timeout(cases, 20);
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_test(cases, a_cancelled_sender_leaves_no_lock);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
