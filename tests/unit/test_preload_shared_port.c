// SPDX-License-Identifier: BSD-2-Clause
/*
 * Listeners that share a port, through the wrappers: two of one process by SO_REUSEPORT, and
 * an inherited one of a child. What one may do is the same (shared_port.h).
 */
#include "preload_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "socket_state.h"
#include "system.h"

/* A listener at the port, as well as others; 0: at any. */
static int listener_beside(in_port_t *port)
{
	struct sockaddr_in address = any_address(*port);
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(fd, 10), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	ck_assert(descriptor_is_known(fd));
	*port = address.sin_port;
	return fd;
}

/* Looks for connections now and then, and accepts none. */
struct looker {
	int fds[2], set;
	atomic_bool stop;
	pthread_t thread;
};

static void *look(void *argument)
{
	struct looker *looker = argument;
	struct pollfd polled[2] = { { .fd = looker->fds[0], .events = POLLIN },
				    { .fd = looker->fds[1], .events = POLLIN } };
	struct epoll_event event;

	while (!atomic_load(&looker->stop)) {
		if (looker->set >= 0)
			epoll_wait(looker->set, &event, 1, 0);
		else
			poll(polled, 2, 0);
		usleep(1000);
	}
	return NULL;
}

/* At one or two, by poll(); or by an epoll set. */
static void looker_start(struct looker *looker, int fd, int other, int set)
{
	*looker = (struct looker){ .fds = { fd, other }, .set = set };
	ck_assert_int_eq(pthread_create(&looker->thread, NULL, look, looker), 0);
}

static void looker_stop(struct looker *looker)
{
	atomic_store(&looker->stop, true);
	pthread_join(looker->thread, NULL);
}

static int set_of(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(EPOLL_CLOEXEC);

	ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), 0);
	ck_assert_int_eq(epoll_wait(set, &event, 1, 1), 0);
	return set;
}

static in_port_t port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	ck_assert_int_eq(name(fd, (struct sockaddr *)&address, &length), 0);
	return address.sin_port;
}

static int accepts_over_san(int listener, in_port_t port)
{
	int fd = accept(listener, NULL, NULL);

	ck_assert(descriptor_is_known(fd));
	ck_assert_int_eq(port_of(fd, getsockname), port);
	return fd;
}

/* The next connection is for this listener. */
static void is_given_one(int listener, in_port_t port)
{
	int client = san_client(port);

	ck_assert(descriptor_is_known(client));
	close(accepts_over_san(listener, port));
	close(client);
}

START_TEST(who_shares_a_port_shares_its_connections)
{
	in_port_t port = 0;
	int one = listener_beside(&port), other = listener_beside(&port), clients[6], fds[4];
	struct looker looker;

	looker_start(&looker, one, other, -1);
	for (int i = 0; i < 4; i++) {
		clients[i] = san_client(port);
		ck_assert(descriptor_is_known(clients[i]));
		ck_assert_int_eq(port_of(clients[i], getpeername), port);
	}
	/* In turns, so two are with each. */
	for (int i = 0; i < 4; i++)
		fds[i] = accepts_over_san(i % 2 ? one : other, port);
	/* Then who has the fewest, be they accepted, gets one. */
	close(fds[0]);
	close(fds[2]);
	clients[4] = san_client(port);
	clients[5] = san_client(port);
	close(accepts_over_san(other, port));
	close(accepts_over_san(other, port));
	close(fds[1]);
	close(fds[3]);
	looker_stop(&looker);
	for (int i = 0; i < 6; i++)
		close(clients[i]);
	close(one);
	close(other);
	attention_drain(2000);
}
END_TEST

/* As where processes take turns: it has been looked at, by a set, but nobody is there. */
START_TEST(who_does_not_wait_leaves_connections_to_others)
{
	in_port_t port = 0;
	int one = listener_beside(&port), other = listener_beside(&port), client, fd;
	struct pollfd kernel[2] = { { .fd = one, .events = POLLIN },
				    { .fd = other, .events = POLLIN } };
	struct looker looker;
	int set = set_of(other);

	looker_start(&looker, one, -1, -1);
	client = san_client(port);
	ck_assert(!descriptor_is_known(client));
	/* The kernel gives it to either. */
	ck_assert_int_eq(poll(kernel, 2, 5000), 1);
	fd = accept(kernel[kernel[0].revents == 0].fd, NULL, NULL);
	ck_assert(!descriptor_is_known(fd));
	close(fd);
	close(client);
	/* It is left out of the turns now. */
	for (int i = 0; i < 3; i++)
		is_given_one(one, port);
	/* When nobody is there at all, TCP is for who comes first. */
	looker_stop(&looker);
	client = san_client(port);
	ck_assert(!descriptor_is_known(client));
	close(client);
	client = san_client(port);
	ck_assert(!descriptor_is_known(client));
	close(client);
	/* Alone it need not be waited for. */
	close(other);
	close(set);
	sleep(1);
	usleep(100000);
	client = san_client(port);
	ck_assert(descriptor_is_known(client));
	nonblocking(one);
	while ((fd = accept(one, NULL, NULL)) >= 0 && !descriptor_is_known(fd))
		close(fd);
	ck_assert_int_ge(fd, 0);
	close(fd);
	close(client);
	close(one);
	attention_drain(2000);
}
END_TEST

/* A busy program is seldom asleep in epoll_wait(). */
START_TEST(who_looks_now_and_then_is_there)
{
	in_port_t port = 0;
	int one = listener_beside(&port), other = listener_beside(&port), client;
	int set = set_of(other);
	struct looker looker;

	looker_start(&looker, -1, -1, set);
	client = san_client(port);
	ck_assert(descriptor_is_known(client));
	looker_stop(&looker);
	close(accepts_over_san(other, port));
	close(client);
	close(one);
	close(other);
	close(set);
	attention_drain(2000);
}
END_TEST

START_TEST(who_is_left_gets_the_port)
{
	in_port_t port = 0;
	int one = listener_beside(&port), other = listener_beside(&port), client;

	close(one);
	sleep(3);
	/* One that nobody answered on the SAN comes so. */
	client = tcp_client(port);
	close(accept(other, NULL, NULL));
	close(client);
	for (int i = 0; i < 3; i++)
		is_given_one(other, port);
	close(other);
	attention_drain(2000);
}
END_TEST

START_TEST(who_leaves_its_port_is_not_sent_to)
{
	in_port_t port = 0;
	int one = listener_beside(&port), other = listener_beside(&port);

	close(other);
	for (int i = 0; i < 3; i++)
		is_given_one(one, port);
	close(one);
	attention_drain(2000);
}
END_TEST

/* ---- a listener on the SAN that is not ours ---- */

struct stranger {
	in_port_t port;
	SOCKET companion;
	int event;
	uint32_t magic;
	uint16_t elsewhere;
	atomic_int asked;
	pthread_t thread;
};

static int decline(LPWSABUF caller, LPWSABUF caller_data, LPQOS sqos, LPQOS gqos, LPWSABUF callee,
		   LPWSABUF callee_data, GROUP *group, DWORD_PTR context)
{
	struct stranger *stranger = (struct stranger *)context;
	struct elsewhere answer = { .magic = htole32(stranger->magic),
				    .port = htole16(stranger->elsewhere) };

	(void)caller;
	(void)caller_data;
	(void)sqos;
	(void)gqos;
	(void)callee;
	(void)group;
	atomic_fetch_add(&stranger->asked, 1);
	memcpy(callee_data->buf, &answer, sizeof(answer));
	callee_data->len = sizeof(answer);
	return CF_WSDIRECT_DECLINE;
}

static void *decline_all(void *argument)
{
	struct stranger *stranger = argument;
	struct pollfd wanted = { .fd = stranger->event, .events = POLLIN };
	eventfd_t count;
	int error;

	while (poll(&wanted, 1, -1) == 1 && !eventfd_read(stranger->event, &count) && count < 1000)
		while (loopback_provider.table.lpWSPAccept(stranger->companion, NULL, NULL, decline,
							   (DWORD_PTR)stranger,
							   &error) == INVALID_SOCKET &&
		       error == WSAECONNREFUSED)
			;
	return NULL;
}

static const struct { bool itself, magic; int asked; } answers[] = {
	{ true, true, 2 }, { true, false, 1 }, { false, true, 1 },
};

START_TEST(nobody_is_sent_on_for_ever)
{
	struct sockaddr_in address = any_address(0);
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client, error;
	struct stranger stranger = { .event = eventfd(0, EFD_NONBLOCK) };

	loopback_port_taken = true;
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 10), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	loopback_port_taken = false;
	stranger.magic = answers[_i].magic ? ELSEWHERE_MAGIC : PROTOCOL_MAGIC;
	stranger.elsewhere = answers[_i].itself ? ntohs(address.sin_port) : 0;
	stranger.companion = loopback_provider.table.lpWSPSocket(AF_INET, SOCK_STREAM, 0, NULL, 0, 0,
								 &error);
	loopback_provider.table.lpWSPBind(stranger.companion, (struct sockaddr *)&address,
					  sizeof(address), &error);
	loopback_provider.table.lpWSPEventSelect(stranger.companion,
						 WSDIRECT_EVENT_HANDLE(stranger.event), FD_ACCEPT,
						 &error);
	ck_assert_int_eq(loopback_provider.table.lpWSPListen(stranger.companion, 5, &error), 0);
	ck_assert_int_eq(pthread_create(&stranger.thread, NULL, decline_all, &stranger), 0);
	client = san_client(address.sin_port);
	ck_assert(!descriptor_is_known(client));
	ck_assert_int_eq(atomic_load(&stranger.asked), answers[_i].asked);
	eventfd_write(stranger.event, 1000);
	pthread_join(stranger.thread, NULL);
	close(accept(listener, NULL, NULL));
	close(client);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* A child whose place in the parent's page is all that the parent's provider knows of it. */
START_TEST(a_child_that_is_not_there_any_more_gets_no_connection)
{
	int listener, client, fd, status, ready[2], end[2];
	in_port_t port;
	pid_t pid;
	char byte;

	listener = listener_open(&port);
	nonblocking(listener);
	fails(accept(listener, NULL, NULL), EAGAIN);
	ck_assert_int_eq(pipe(ready), 0);
	ck_assert_int_eq(pipe(end), 0);
	pid = fork();
	if (!pid) {
		loopback_port_taken = true;
		fd = accept(listener, NULL, NULL);
		status = !(fd == -1 && errno == EAGAIN && descriptor_is_known(listener) &&
			   write(ready[1], "r", 1) == 1 && read(end[0], &byte, 1) == 1);
		system_raw(SYS_exit_group, status);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	/* Sent on to nobody: a refusal there says nothing of TCP. */
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect_to(SAN, client, port), 0);
	ck_assert(!descriptor_is_known(client));
	while ((fd = accept(listener, NULL, NULL)) < 0)
		usleep(1000);
	ck_assert(!descriptor_is_known(fd));
	close(fd);
	close(client);
	ck_assert_int_eq(write(end[1], "e", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* Such a failure is remembered for a second. */
	sleep(1);
	usleep(100000);
	for (int i = 0; i < 3; i++)
		is_given_one(listener, port);
	close(listener);
	attention_drain(2000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shared port");
	TCase *cases = tcase_create("shared port");

	tcase_set_timeout(cases, 40);
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_test(cases, who_shares_a_port_shares_its_connections);
	tcase_add_test(cases, who_does_not_wait_leaves_connections_to_others);
	tcase_add_test(cases, who_looks_now_and_then_is_there);
	tcase_add_test(cases, who_is_left_gets_the_port);
	tcase_add_test(cases, who_leaves_its_port_is_not_sent_to);
	tcase_add_loop_test(cases, nobody_is_sent_on_for_ever, 0,
			    sizeof(answers) / sizeof(answers[0]));
	tcase_add_test(cases, a_child_that_is_not_there_any_more_gets_no_connection);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
