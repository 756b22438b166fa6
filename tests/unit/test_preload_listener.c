// SPDX-License-Identifier: BSD-2-Clause
/*
 * Listening and accepting through the wrappers, alone, beside others, and in a child.
 */
#include "preload_fixture.h"

#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "libc_calls.h"
#include "socket_state.h"
#include "system.h"
#include "waiter.h"

/* ---- libc's accept4, as seen when others have the socket too ---- */

static __typeof__(libc_call.accept4) real_accept4;
static atomic_bool was_there;

/* Another process is faster, once. */
static int accept_too_late(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	if (!atomic_load(&was_there)) {
		close(real_accept4(fd, NULL, NULL, 0));
		atomic_store(&was_there, true);
	}
	return real_accept4(fd, address, length, flags);
}

static int accept_cancelled(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	pthread_cancel(pthread_self());
	return real_accept4(fd, address, length, flags);
}

START_TEST(a_thread_that_is_stuck_holds_nobody_up)
{
	in_port_t port, other_port;
	int listener = listener_open(&port), other = listener_open(&other_port);
	int first, second, fd;
	pthread_t thread;

	real_accept4 = libc_call.accept4;
	libc_call.accept4 = accept_too_late;
	ck_assert_int_eq(pthread_create(&thread, NULL, accept_one, &listener), 0);
	first = tcp_client(port);
	while (!atomic_load(&was_there))
		usleep(1000);
	nonblocking(other);
	fails(accept(other, NULL, NULL), EAGAIN);
	/* It is not seen over the SAN, so it comes over TCP. */
	second = san_client(port);
	ck_assert(!descriptor_is_known(second));
	fd = joined(thread);
	ck_assert_int_ge(fd, 0);
	close(first);
	close(second);
	close(fd);
	/* And all is as before. */
	second = san_client(port);
	ck_assert(descriptor_is_known(second));
	fd = accept(listener, NULL, NULL);
	ck_assert(descriptor_is_known(fd));
	close(second);
	close(fd);
	close(listener);
	close(other);
	attention_drain(2000);
}
END_TEST

/* As new processes of a server do when the old ones go. */
START_TEST(it_gets_the_port_when_another_process_has_left_it)
{
	struct sockaddr_in address = any_address(0);
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client;

	loopback_port_taken = true;
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 10), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	ck_assert(!descriptor_is_known(listener));
	loopback_port_taken = false;
	/* Not all the time. */
	client = tcp_client(address.sin_port);
	close(accept(listener, NULL, NULL));
	close(client);
	ck_assert(!descriptor_is_known(listener));
	sleep(3);
	client = tcp_client(address.sin_port);
	close(accept(listener, NULL, NULL));
	close(client);
	ck_assert(descriptor_is_known(listener));
	client = san_client(address.sin_port);
	ck_assert(descriptor_is_known(client));
	close(accept(listener, NULL, NULL));
	close(client);
	/* What does not listen is left alone. */
	client = socket(AF_INET, SOCK_STREAM, 0);
	sleep(3);
	fails(accept(client, NULL, NULL), EINVAL);
	ck_assert(!descriptor_is_known(client));
	close(client);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* As workers of a server are when they start: none gets the port while both are bound to it. */
START_TEST(who_meets_another_at_the_port_tries_again)
{
	in_port_t port;
	int listener;

	loopback_port_contended = 2;
	listener = listener_open(&port);
	close(san_client(port));
	close(listener);
	attention_drain(2000);
}
END_TEST

/* Those for whom the SAN has no room wait over TCP, whether they come one by one or at once. */
START_TEST(nobody_is_refused_for_want_of_room)
{
	enum { CLIENTS = 160 };
	bool at_once = _i;
	in_port_t port;
	int listener = listener_open(&port), clients[CLIENTS], fd, over_san = 0;
	struct socket *object = descriptor_get(listener);

	ck_assert_int_eq(listen(listener, CLIENTS), 0);
	if (at_once)
		socket_lock(object);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (at_once) {
			nonblocking(clients[i]);
			fails(connect_to(SAN, clients[i], port), EINPROGRESS);
		} else {
			ck_assert_int_eq(connect_to(SAN, clients[i], port), 0);
		}
	}
	if (at_once)
		socket_unlock(object);
	for (int i = 0; i < CLIENTS; i++) {
		struct pollfd entry = { .fd = clients[i], .events = POLLOUT };

		ck_assert_int_eq(poll(&entry, 1, 10000), 1);
		ck_assert_int_eq(pending_error(clients[i]), 0);
	}
	for (int i = 0; i < CLIENTS; i++) {
		wait_readable(listener);
		fd = accept(listener, NULL, NULL);
		over_san += descriptor_is_known(fd);
		close(fd);
	}
	ck_assert_int_gt(over_san, 0);
	for (int i = 0; i < CLIENTS; i++)
		close(clients[i]);
	socket_put(object);
	close(listener);
	attention_drain(2000);
}
END_TEST

START_TEST(its_number_may_have_been_a_set_s)
{
	in_port_t port;
	int set = epoll_create1(0), listener;

	system_close(set);
	listener = listener_open(&port);
	ck_assert_int_eq(listener, set);
	ck_assert(!descriptor_is_epoll(listener));
	close(san_client(port));
	close(listener);
}
END_TEST

START_TEST(it_stays_while_there_is_no_descriptor)
{
	in_port_t port;
	int listener = listener_open(&port), client, fd;
	struct pollfd entry = { .fd = listener, .events = POLLIN };
	struct rlimit limit, none;

	/* What a thread needs once in order to wait is there. */
	ck_assert_int_eq(poll(&entry, 1, 1), 0);
	client = _i == SAN ? san_client(port) : tcp_client(port);
	wait_readable(listener);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	/* All below the listener were taken when it was made. */
	none = (struct rlimit){ (rlim_t)listener + 1, limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	fails(accept(listener, NULL, NULL), EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	wait_readable(listener);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_eq(descriptor_is_known(fd), _i == SAN);
	ck_assert_int_eq(send(client, "x", 1, 0), 1);
	close(fd);
	close(client);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* Closed by a system call past libc; the next connection gets the number. */
START_TEST(a_number_that_is_given_out_again_is_new)
{
	in_port_t port;
	int listener = listener_open(&port), first = san_client(port), second, fd;
	char byte;

	wait_readable(listener);
	fd = accept(listener, NULL, NULL);
	second = _i == SAN ? san_client(port) : tcp_client(port);
	wait_readable(listener);
	ck_assert_int_eq(system_close(fd), 0);
	ck_assert_int_eq(accept(listener, NULL, NULL), fd);
	ck_assert(descriptor_is_known(fd) == (_i == SAN));
	ck_assert_int_eq(send(second, "2", 1, 0), 1);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, '2');
	ck_assert_int_eq(recv(first, &byte, 1, 0), 0);
	close(first);
	close(second);
	close(fd);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* A connection of either kind is seen by those who do not wait as by those who do. */
START_TEST(it_is_seen_without_waiting)
{
	in_port_t port;
	int listener = listener_open(&port), client = _i ? san_client(port) : tcp_client(port);
	struct pollfd entry = { .fd = listener, .events = POLLIN };
	struct timeval none = { 0, 0 };
	fd_set in;

	FD_ZERO(&in);
	FD_SET(listener, &in);
	ck_assert_int_eq(poll(&entry, 1, 0), 1);
	ck_assert_int_eq(entry.revents, POLLIN);
	ck_assert_int_eq(select(listener + 1, &in, NULL, NULL, &none), 1);
	ck_assert_int_eq(poll(&entry, 1, -1), 1);
	close(accept(listener, NULL, NULL));
	ck_assert_int_eq(poll(&entry, 1, 0), 0);
	close(client);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* The kernel's table is larger for our own descriptors, the program's fd_set is not. */
START_TEST(select_leaves_alone_what_is_behind_a_set)
{
	in_port_t port;
	int listener = listener_open(&port), pipe_fds[2];
	struct { fd_set in; unsigned char behind[4096]; } set = { .behind[100] = 1 };
	struct timeval none = { 0, 0 };
	struct timespec no_time = { 0, 0 };
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur <= FD_SETSIZE)
		return;
	ck_assert_int_eq(pipe(pipe_fds), 0);
	FD_SET(_i ? listener : pipe_fds[0], &set.in);
	ck_assert_int_eq(select(getdtablesize(), &set.in, NULL, NULL, &none), 0);
	ck_assert_int_eq(set.behind[100], 1);
	ck_assert_int_eq(pselect(getdtablesize(), &set.in, NULL, NULL, &no_time, NULL), 0);
	ck_assert_int_eq(set.behind[100], 1);
	/* What the program has up there is looked at. */
	FD_SET(_i ? listener : pipe_fds[0], &set.in);
	ck_assert_int_eq(dup2(pipe_fds[1], FD_SETSIZE + 7), FD_SETSIZE + 7);
	memset(set.behind, 0, sizeof(set.behind));
	set.behind[0] = 1 << 7;
	ck_assert_int_eq(select(getdtablesize(), NULL, &set.in, NULL, &none), 1);
	ck_assert_int_eq(set.behind[0], 1 << 7);
	close(FD_SETSIZE + 7);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(listener);
}
END_TEST

/* Cancelled in the kernel's accept, or asleep. */
START_TEST(a_cancelled_accept_leaves_nothing)
{
	in_port_t port;
	int listener = listener_open(&port), client = -1, fd;
	struct socket *socket = descriptor_get(listener);
	unsigned int before = references_of(socket);
	pthread_t thread;

	real_accept4 = libc_call.accept4;
	if (_i == 0) {
		libc_call.accept4 = accept_cancelled;
		client = tcp_client(port);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, accept_one, &listener), 0);
	if (_i == 1) {
		while (waiter_list_empty(&socket->waiters))
			usleep(1000);
		pthread_cancel(thread);
		client = tcp_client(port);
	}
	ck_assert_int_eq(joined(thread), (int)(intptr_t)PTHREAD_CANCELED);
	libc_call.accept4 = real_accept4;
	ck_assert_uint_eq(references_of(socket), before);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	socket_put(socket);
	close(fd);
	close(client);
	close(listener);
}
END_TEST

/* ---- fork ---- */

/* ck_assert() would speak to the wrong process. */
#define CHILD(condition) do {			\
	if (!(condition))			\
		return __LINE__ % 256;		\
} while (0)

static int use_inherited_set(int set, int duplicate, int listener, in_port_t port)
{
	struct epoll_event event = { 0 };
	int64_t start = clock_now();
	int client, fd;

	CHILD(epoll_wait(set, &event, 1, 50) == 0);
	CHILD(clock_now() - start >= 50000000);
	client = tcp_client(port);
	CHILD(epoll_wait(set, &event, 1, 5000) == 1);
	CHILD(event.data.u64 == 5);
	CHILD(epoll_wait(duplicate, &event, 1, 5000) == 1);
	close(accept(listener, NULL, NULL));
	close(client);
	client = san_client(port);
	CHILD(epoll_wait(set, &event, 1, 5000) == 1);
	fd = accept(listener, NULL, NULL);
	CHILD(descriptor_is_known(fd));
	event = (struct epoll_event){ .events = EPOLLIN, .data.u64 = 6 };
	CHILD(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
	CHILD(epoll_wait(set, &event, 1, 0) == 0);
	CHILD(send(client, "x", 1, 0) == 1);
	CHILD(epoll_wait(set, &event, 1, 5000) == 1);
	CHILD(event.data.u64 == 6);
	CHILD(epoll_ctl(duplicate, EPOLL_CTL_DEL, fd, &event) == 0);
	CHILD(epoll_ctl(set, EPOLL_CTL_DEL, listener, &event) == 0);
	return 0;
}

/* The listener was waited for before, so that its companion stays with the parent, or not. */
START_TEST(a_child_uses_an_inherited_set)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 5 };
	in_port_t port;
	int listener = listener_open(&port), set = epoll_create1(EPOLL_CLOEXEC);
	int duplicate = dup(set), client, status;
	pid_t pid;

	ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event), 0);
	if (_i)
		ck_assert_int_eq(epoll_wait(set, &event, 1, 0), 0);
	/* A sanitizer's malloc does not survive a fork while another thread is in it. */
	usleep(100000);
	pid = fork();
	if (!pid)
		_exit(use_inherited_set(set, duplicate, listener, port));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(epoll_wait(set, &event, 1, 0), 0);
	client = tcp_client(port);
	ck_assert_int_eq(epoll_wait(set, &event, 1, 5000), 1);
	ck_assert_uint_eq(event.data.u64, 5);
	close(client);
	close(listener);
	close(set);
	close(duplicate);
}
END_TEST

enum { CLOSES, RECEIVES, SENDS, POLLS, EXECUTES, CHILDREN };

static int serve(int kind, int fd)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);
	char byte;

	CHILD(getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET);
	switch (kind) {
	case CLOSES:
		return close(fd);
	case RECEIVES:
		CHILD(recv(fd, &byte, 1, 0) == -1 && errno == EOPNOTSUPP);
		return 0;
	case SENDS:
		CHILD(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EOPNOTSUPP);
		return 0;
	case POLLS:
		CHILD(poll(&entry, 1, 5000) == 1 && entry.revents & POLLERR);
		return 0;
	case EXECUTES:
		CHILD(dup2(fd, STDIN_FILENO) == STDIN_FILENO);
		execl("/bin/true", "true", NULL);
		break;
	}
	return 1;
}

/* vsftpd makes its children by system calls. */
static const struct clone_args like_fork = { .exit_signal = SIGCHLD };
static const struct { long number, first, second; } children[] = {
	{ 0 },
	{ SYS_clone, SIGCHLD, 0 },
	{ SYS_clone3, (long)&like_fork, sizeof(like_fork) },
#ifdef SYS_fork
	{ SYS_fork, 0, 0 },
#endif
};

static pid_t child_new(int how)
{
	if (!how)
		return fork();
	return (pid_t)syscall(children[how].number, children[how].first, children[how].second, 0l,
			      0l, 0l);
}

/* Served by a child, as forking servers and inetd do. */
static void one_connection(int kind, int how, int listener, int client)
{
	int fd = accept(listener, NULL, NULL), status;
	pid_t pid;

	ck_assert_int_ge(fd, 0);
	usleep(100000);		/* see above */
	pid = child_new(how);
	if (!pid)
		_exit(serve(kind, fd));
	close(fd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(client);
}

START_TEST(who_leaves_connections_to_children_gets_them_over_tcp)
{
	in_port_t port;
	int listener = listener_open(&port), fd, kind = _i % CHILDREN, how = _i / CHILDREN;
	pid_t pid;
	char byte;

	one_connection(kind, how, listener, san_client(port));
	for (int i = 0; i < 2; i++) {
		int client = san_client(port);

		ck_assert_int_eq(descriptor_is_known(client), kind == CLOSES);
		fd = accept(listener, NULL, NULL);
		ck_assert_int_eq(descriptor_is_known(fd), kind == CLOSES);
		if (kind != CLOSES) {
			pid = child_new(how);
			if (!pid)
				_exit(send(fd, "x", 1, 0) != 1);
			ck_assert_int_eq(recv(client, &byte, 1, 0), 1);
			ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		}
		close(client);
		close(fd);
	}
	close(listener);
	attention_drain(2000);
}
END_TEST

START_TEST(who_passes_connections_on_gets_them_over_tcp)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr head; } control = {
		.head = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS },
	};
	char byte = 'x';
	struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	in_port_t port;
	int listener = listener_open(&port), ends[2], client, fd;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	for (int i = 0; i < 2; i++) {
		client = san_client(port);
		ck_assert_int_eq(descriptor_is_known(client), i == 0);
		wait_readable(listener);
		fd = accept(listener, NULL, NULL);
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		ck_assert_int_eq(sendmsg(ends[0], &message, 0), 1);
		close(client);
		close(fd);
	}
	close(ends[0]);
	close(ends[1]);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* That is another matter: the child of a client. */
START_TEST(a_child_may_try_what_its_parent_connected)
{
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port), fd, status;
	pid_t pid;

	fd = accept(listener, NULL, NULL);
	usleep(100000);
	pid = fork();
	if (!pid)
		_exit(serve(RECEIVES, client));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(client);
	close(fd);
	client = san_client(port);
	ck_assert(descriptor_is_known(client));
	close(client);
	close(accept(listener, NULL, NULL));
	close(listener);
	attention_drain(2000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("listener");
	TCase *cases = tcase_create("listener");

	tcase_set_timeout(cases, 20);
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_test(cases, a_thread_that_is_stuck_holds_nobody_up);
	tcase_add_test(cases, it_gets_the_port_when_another_process_has_left_it);
	tcase_add_test(cases, who_meets_another_at_the_port_tries_again);
	tcase_add_loop_test(cases, nobody_is_refused_for_want_of_room, 0, 2);
	tcase_add_test(cases, its_number_may_have_been_a_set_s);
	tcase_add_loop_test(cases, it_stays_while_there_is_no_descriptor, 0, KINDS);
	tcase_add_loop_test(cases, select_leaves_alone_what_is_behind_a_set, 0, 2);
	tcase_add_loop_test(cases, a_number_that_is_given_out_again_is_new, 0, KINDS);
	tcase_add_loop_test(cases, it_is_seen_without_waiting, 0, KINDS);
	tcase_add_loop_test(cases, a_cancelled_accept_leaves_nothing, 0, 2);
	tcase_add_loop_test(cases, a_child_uses_an_inherited_set, 0, 2);
	tcase_add_loop_test(cases, who_leaves_connections_to_children_gets_them_over_tcp, 0,
			    CHILDREN * (int)(sizeof(children) / sizeof(children[0])));
	tcase_add_test(cases, who_passes_connections_on_gets_them_over_tcp);
	tcase_add_test(cases, a_child_may_try_what_its_parent_connected);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
