// SPDX-License-Identifier: BSD-2-Clause
/*
 * MSG_ZEROCOPY through the wrappers: the completions that a program waits for before it touches
 * what it sent. What can be is compared with the kernel's own sockets.
 */
#include "preload_fixture.h"

#include <linux/errqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct pair {
	int a, b;
};

static void enable(int fd)
{
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &(int){ 1 }, sizeof(int)), 0);
}

/* Enabled for the listener, that is, for pair.b. */
static struct pair pair_open(int kind)
{
	in_port_t port;
	int listener = listener_open(&port);
	struct pair pair;

	enable(listener);
	pair.a = kind == SAN ? san_client(port) : tcp_client(port);
	pair.b = accept(listener, NULL, NULL);
	ck_assert_int_eq(descriptor_is_known(pair.b), kind == SAN);
	close(listener);
	return pair;
}

static void pair_close(struct pair *pair)
{
	close(pair->a);
	close(pair->b);
	attention_drain(2000);
}

static short events(int fd, int timeout)
{
	struct pollfd entry = { .fd = fd };

	poll(&entry, 1, timeout);
	return entry.revents;
}

/* Which sends are complete; fetches one range. */
static struct sock_extended_err fetch(int fd)
{
	union {
		struct cmsghdr header;
		char bytes[256];
	} control;
	char name[64];
	struct msghdr message = {
		.msg_control = &control, .msg_controllen = sizeof(control), .msg_name = name,
		.msg_namelen = sizeof(name),
	};
	struct sock_extended_err error;

	ck_assert_int_eq(recvmsg(fd, &message, MSG_ERRQUEUE), 0);
	ck_assert_int_eq(message.msg_flags, MSG_ERRQUEUE);
	ck_assert_uint_eq(message.msg_namelen, 0);
	ck_assert_int_eq(control.header.cmsg_level, SOL_IP);
	ck_assert_int_eq(control.header.cmsg_type, IP_RECVERR);
	ck_assert_uint_eq(control.header.cmsg_len,
			  CMSG_LEN(sizeof(error) + sizeof(struct sockaddr_in)));
	ck_assert_uint_eq(message.msg_controllen,
			  CMSG_SPACE(sizeof(error) + sizeof(struct sockaddr_in)));
	memcpy(&error, CMSG_DATA(&control.header), sizeof(error));
	ck_assert_uint_eq(error.ee_errno, 0);
	ck_assert_uint_eq(error.ee_origin, SO_EE_ORIGIN_ZEROCOPY);
	return error;
}

static void take(int fd, ssize_t size)
{
	char buffer[64];

	ck_assert_int_eq(recv(fd, buffer, (size_t)size, MSG_WAITALL), size);
}

START_TEST(each_send_is_completed_once)
{
	struct pair pair = pair_open(_i);
	struct msghdr none = { 0 };
	uint32_t next = 0;

	enable(pair.a);
	ck_assert_int_eq(send(pair.a, "not asked for", 13, 0), 13);
	ck_assert_int_eq(send(pair.a, "", 0, MSG_ZEROCOPY), 0);
	take(pair.b, 13);
	ck_assert_int_eq(events(pair.a, 0), 0);
	fails(recvmsg(pair.a, &none, MSG_ERRQUEUE), EAGAIN);
	ck_assert_int_eq(send(pair.a, "zero", 4, MSG_ZEROCOPY), 4);
	ck_assert_int_eq(send(pair.a, "one", 3, MSG_ZEROCOPY), 3);
	ck_assert_int_eq(send(pair.a, "two", 3, MSG_ZEROCOPY), 3);
	take(pair.b, 10);
	while (next < 3) {
		struct sock_extended_err error;

		ck_assert_int_eq(events(pair.a, 5000), POLLERR);
		error = fetch(pair.a);
		ck_assert_uint_eq(error.ee_info, next);
		ck_assert_uint_lt(error.ee_data, 3);
		ck_assert_uint_eq(error.ee_code, SO_EE_CODE_ZEROCOPY_COPIED);
		next = error.ee_data + 1;
	}
	ck_assert_int_eq(events(pair.a, 0), 0);
	fails(recvmsg(pair.a, &none, MSG_ERRQUEUE), EAGAIN);
	pair_close(&pair);
}
END_TEST

START_TEST(only_who_enabled_it_hears)
{
	struct pair pair = pair_open(_i);
	char byte;

	ck_assert_int_eq(send(pair.a, "x", 1, MSG_ZEROCOPY), 1);
	take(pair.b, 1);
	ck_assert_int_eq(events(pair.a, 50), 0);
	fails(recv(pair.a, &byte, 1, MSG_ERRQUEUE), EAGAIN);
	ck_assert_int_eq(send(pair.b, "x", 1, MSG_ZEROCOPY), 1);
	take(pair.a, 1);
	ck_assert_int_eq(events(pair.b, 5000), POLLERR);
	pair_close(&pair);
}
END_TEST

START_TEST(without_room_for_it)
{
	struct pair pair = pair_open(_i);
	char byte, control[sizeof(struct cmsghdr) + 4];
	struct msghdr none = { 0 }, little = { .msg_control = control, .msg_controllen = sizeof(control) };

	enable(pair.a);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(send(pair.a, "x", 1, MSG_ZEROCOPY), 1);
		take(pair.b, 1);
		ck_assert_int_eq(events(pair.a, 5000), POLLERR);
		switch (i) {
		case 0:
			ck_assert_int_eq(recv(pair.a, &byte, 1, MSG_ERRQUEUE), 0);
			break;
		case 1:
			ck_assert_int_eq(recvmsg(pair.a, &none, MSG_ERRQUEUE), 0);
			ck_assert_int_eq(none.msg_flags, MSG_ERRQUEUE | MSG_CTRUNC);
			break;
		case 2:
			ck_assert_int_eq(recvmsg(pair.a, &little, MSG_ERRQUEUE), 0);
			ck_assert_int_eq(little.msg_flags, MSG_ERRQUEUE | MSG_CTRUNC);
			ck_assert_uint_eq(little.msg_controllen, sizeof(control));
			break;
		}
		ck_assert_int_eq(events(pair.a, 0), 0);
	}
	pair_close(&pair);
}
END_TEST

START_TEST(an_edge_for_each)
{
	struct pair pair = pair_open(_i);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(0);

	enable(pair.a);
	ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, pair.a, &event), 0);
	ck_assert_int_eq(epoll_wait(epoll, &event, 1, 0), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(send(pair.a, "x", 1, MSG_ZEROCOPY), 1);
		take(pair.b, 1);
		ck_assert_int_eq(epoll_wait(epoll, &event, 1, 5000), 1);
		ck_assert_uint_eq(event.events, EPOLLERR);
		ck_assert_int_eq(epoll_wait(epoll, &event, 1, 0), 0);
	}
	close(epoll);
	pair_close(&pair);
}
END_TEST

static void *take_all(void *argument)
{
	static char buffer[1 << 20];

	return (void *)recv(*(int *)argument, buffer, sizeof(buffer), MSG_WAITALL);
}

START_TEST(what_went_by_rdma_was_not_copied)
{
	static char data[1 << 20];
	struct pair pair = pair_open(SAN);
	struct sock_extended_err error;
	pthread_t reader;

	enable(pair.a);
	ck_assert_int_eq(pthread_create(&reader, NULL, take_all, &pair.b), 0);
	ck_assert_int_eq(send(pair.a, data, sizeof(data), MSG_ZEROCOPY), sizeof(data));
	ck_assert_int_eq(joined(reader), sizeof(data));
	error = fetch(pair.a);
	ck_assert_uint_eq(error.ee_code, 0);
	ck_assert_uint_eq(error.ee_info, 0);
	ck_assert_uint_eq(error.ee_data, 0);
	/* Of the next range, one was. */
	ck_assert_int_eq(pthread_create(&reader, NULL, take_all, &pair.b), 0);
	ck_assert_int_eq(send(pair.a, "x", 1, MSG_ZEROCOPY), 1);
	ck_assert_int_eq(send(pair.a, data, sizeof(data) - 1, MSG_ZEROCOPY), sizeof(data) - 1);
	ck_assert_int_eq(joined(reader), sizeof(data));
	error = fetch(pair.a);
	ck_assert_uint_eq(error.ee_code, SO_EE_CODE_ZEROCOPY_COPIED);
	ck_assert_uint_eq(error.ee_info, 1);
	ck_assert_uint_eq(error.ee_data, 2);
	pair_close(&pair);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zerocopy");
	TCase *cases = tcase_create("zerocopy");

	tcase_set_timeout(cases, 20);
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_loop_test(cases, each_send_is_completed_once, 0, KINDS);
	tcase_add_loop_test(cases, only_who_enabled_it_hears, 0, KINDS);
	tcase_add_loop_test(cases, without_room_for_it, 0, KINDS);
	tcase_add_loop_test(cases, an_edge_for_each, 0, KINDS);
	tcase_add_test(cases, what_went_by_rdma_was_not_copied);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
