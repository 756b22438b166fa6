// SPDX-License-Identifier: BSD-2-Clause
/*
 * Listening, accepting and connecting through the wrappers where both kinds of connection
 * arrive: the SAN is the loopback provider, the other kind the kernel's. 127.0.0.1 is never
 * reached over a SAN, 0.0.0.0 (which is the same host) is.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cancelled.h"
#include "attention.h"
#include "descriptors.h"
#include "libc_calls.h"
#include "loopback_provider.h"
#include "socket_state.h"
#include "waiter.h"

enum { TCP, SAN, KINDS };

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

static int connect_to(int kind, int fd, in_port_t port)
{
	struct sockaddr_in address = any_address(port);

	if (kind == TCP)
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static int san_client(in_port_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect_to(SAN, fd, port), 0);
	return fd;
}

static int tcp_client(in_port_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect_to(TCP, fd, port), 0);
	ck_assert(!descriptor_is_known(fd));
	return fd;
}

static void fails(long result, int error)
{
	ck_assert_int_eq(result, -1);
	ck_assert_int_eq(errno, error);
}

static void nonblocking(int fd)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static void wait_readable(int fd)
{
	struct pollfd entry = { .fd = fd, .events = POLLIN };

	ck_assert_int_eq(poll(&entry, 1, 5000), 1);
}

static void *accept_one(void *listener)
{
	return (void *)(intptr_t)accept(*(int *)listener, NULL, NULL);
}

static int joined(pthread_t thread)
{
	void *result;

	pthread_join(thread, &result);
	return (int)(intptr_t)result;
}

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

/* The lowest of a while: the switch thread holds one more whenever it looks. */
static unsigned int references_of(struct socket *socket)
{
	unsigned int lowest = socket->references;

	for (int i = 0; i < 50; i++) {
		unsigned int now = socket->references;

		lowest = now < lowest ? now : lowest;
		usleep(1000);
	}
	return lowest;
}

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

/* ---- connecting ---- */

static int pending_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
	return error;
}

static void wait_writable(int fd)
{
	struct pollfd entry = { .fd = fd, .events = POLLOUT };

	ck_assert_int_eq(poll(&entry, 1, 5000), 1);
}

START_TEST(a_failed_connect_may_be_tried_again)
{
	in_port_t port, closed;
	int listener = listener_open(&port), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	close(listener_open(&closed));
	fails(connect_to(_i, fd, closed), EINPROGRESS);
	wait_writable(fd);
	ck_assert_int_eq(pending_error(fd), ECONNREFUSED);
	fails(connect_to(_i, fd, closed), ECONNABORTED);
	fails(connect_to(_i, fd, closed), EINPROGRESS);
	wait_writable(fd);
	fails(connect_to(_i, fd, closed), ECONNREFUSED);
	fails(connect_to(_i, fd, port), EINPROGRESS);
	wait_writable(fd);
	ck_assert_int_eq(descriptor_is_known(fd), _i == SAN);
	ck_assert_int_eq(pending_error(fd), 0);
	ck_assert_int_eq(connect_to(_i, fd, port), 0);
	fails(connect_to(_i, fd, port), EISCONN);
	close(fd);
	close(accept(listener, NULL, NULL));
	close(listener);
	attention_drain(2000);
}
END_TEST

static void handle(int number)
{
	(void)number;
}

static void handle_with(int flags)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = flags };

	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
}

struct caller {
	pthread_t thread;
	int fd;
	in_port_t port;
	int result, error;
};

static void *connect_one(void *argument)
{
	struct caller *caller = argument;

	caller->result = connect_to(SAN, caller->fd, caller->port);
	caller->error = errno;
	return NULL;
}

/* A blocking connect that the SAN does not answer, hit by a signal. */
static void connect_interrupted(struct caller *caller, in_port_t port)
{
	loopback_silent = true;
	caller->fd = socket(AF_INET, SOCK_STREAM, 0);
	caller->port = port;
	ck_assert_int_eq(pthread_create(&caller->thread, NULL, connect_one, caller), 0);
	usleep(100000);
	pthread_kill(caller->thread, SIGUSR1);
}

START_TEST(a_second_connect_waits_for_the_first)
{
	struct caller caller;
	in_port_t port;
	int listener = listener_open(&port);

	handle_with(0);
	connect_interrupted(&caller, port);
	pthread_join(caller.thread, NULL);
	ck_assert_int_eq(caller.result, -1);
	ck_assert_int_eq(caller.error, EINTR);
	nonblocking(caller.fd);
	fails(connect_to(SAN, caller.fd, port), EALREADY);
	ck_assert_int_eq(fcntl(caller.fd, F_SETFL, 0), 0);
	ck_assert_int_eq(connect_to(SAN, caller.fd, port), 0);
	ck_assert(!descriptor_is_known(caller.fd));
	ck_assert_int_eq(fcntl(caller.fd, F_GETFL) & O_NONBLOCK, 0);
	close(accept(listener, NULL, NULL));
	close(caller.fd);
	close(listener);
}
END_TEST

START_TEST(a_cancelled_connect_goes_on)
{
	struct caller caller;
	in_port_t port;
	int listener = listener_open(&port);

	handle_with(SA_RESTART);
	connect_interrupted(&caller, port);
	pthread_cancel(caller.thread);
	ck_assert_int_eq(joined(caller.thread), (int)(intptr_t)PTHREAD_CANCELED);
	wait_writable(caller.fd);
	ck_assert_int_eq(pending_error(caller.fd), 0);
	close(accept(listener, NULL, NULL));
	close(caller.fd);
	close(listener);
}
END_TEST

START_TEST(closed_while_it_connects)
{
	struct caller caller;
	in_port_t port;
	int listener = listener_open(&port);

	handle_with(SA_RESTART);
	connect_interrupted(&caller, port);
	close(caller.fd);
	pthread_join(caller.thread, NULL);
	ck_assert_int_eq(caller.result, -1);
	ck_assert_int_eq(caller.error, EBADF);
	close(listener);
}
END_TEST

START_TEST(restarted_after_a_signal)
{
	struct caller caller;
	in_port_t port;
	int listener = listener_open(&port), fd;
	pthread_t thread;

	handle_with(SA_RESTART);
	connect_interrupted(&caller, port);
	pthread_join(caller.thread, NULL);
	ck_assert_int_eq(caller.result, 0);
	close(accept(listener, NULL, NULL));
	close(caller.fd);
	ck_assert_int_eq(pthread_create(&thread, NULL, accept_one, &listener), 0);
	usleep(100000);
	pthread_kill(thread, SIGUSR1);
	usleep(100000);
	close(tcp_client(port));
	fd = joined(thread);
	ck_assert_int_ge(fd, 0);
	close(fd);
	close(listener);
}
END_TEST

/* As signal(7): not with a timeout. */
START_TEST(not_restarted_with_a_timeout)
{
	struct timeval timeout = { 5, 0 };
	in_port_t port;
	int listener = listener_open(&port);
	pthread_t thread;

	handle_with(SA_RESTART);
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, accept_one, &listener), 0);
	usleep(100000);
	pthread_kill(thread, SIGUSR1);
	ck_assert_int_eq(joined(thread), -1);
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

/* ---- exit ---- */

static int leaver, leaver_pipe[2];

static void say_goodbye(void)
{
	ssize_t result = send(leaver, "bye", 3, MSG_NOSIGNAL);

	(void)!write(leaver_pipe[1], &result, sizeof(result));
}

START_TEST(exit_handlers_may_still_send)
{
	in_port_t port;
	ssize_t result = -1;
	int status;
	pid_t pid;

	ck_assert_int_eq(pipe(leaver_pipe), 0);
	pid = fork();
	if (!pid) {
		if (_i)
			at_quick_exit(say_goodbye);
		else
			atexit(say_goodbye);
		leaver = listener_open(&port);
		leaver = san_client(port);
		if (_i)
			quick_exit(0);
		exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(read(leaver_pipe[0], &result, sizeof(result)), sizeof(result));
	ck_assert_int_eq(result, 3);
}
END_TEST

static void *read_late(void *fd)
{
	char buffer[65536];

	usleep(300000);
	while (read(*(int *)fd, buffer, sizeof(buffer)) > 0)
		;
	return NULL;
}

/* Its peer takes nothing for 300 ms, and is not left alone meanwhile. */
static void send_close_and_leave(void)
{
	static char data[1 << 20];
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int peer = accept(listener, NULL, NULL);
	pthread_t thread;

	pthread_create(&thread, NULL, read_late, &peer);
	send(client, data, sizeof(data), MSG_DONTWAIT);
	close(client);
	_exit(0);
}

START_TEST(what_was_closed_is_delivered_before_exit)
{
	int64_t start = clock_now();
	int status;
	pid_t pid = fork();

	if (!pid)
		send_close_and_leave();
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_ge(clock_now() - start, 300000000);
	ck_assert_int_lt(clock_now() - start, 5000000000);
}
END_TEST

/* Cancelled meanwhile, it sends what does not have to wait. */
static void *send_cancelled(void *fd)
{
	pthread_cleanup_push(frames_are_gone, NULL);
	pthread_cancel(pthread_self());
	for (int i = 0; i < 30; i++)
		send(*(int *)fd, "x", 1, MSG_DONTWAIT);
	pthread_cleanup_pop(0);
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

static uint8_t streamed[2][1 << 20];

static void *send_for_ever(void *fd)
{
	pthread_cleanup_push(frames_are_gone, NULL);
	while (send(*(int *)fd, streamed[0], sizeof(streamed[0]), MSG_NOSIGNAL) > 0)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

static void *receive_for_ever(void *fd)
{
	pthread_cleanup_push(frames_are_gone, NULL);
	while (recv(*(int *)fd, streamed[1], sizeof(streamed[1]), 0) > 0)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

/* It hardly ever sleeps where it may be cancelled. */
START_TEST(a_thread_that_streams_can_be_cancelled)
{
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int fd = accept(listener, NULL, NULL);
	pthread_t threads[2];

	ck_assert_int_eq(pthread_create(&threads[0], NULL, send_for_ever, &client), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, receive_for_ever, &fd), 0);
	usleep(100000);
	pthread_cancel(threads[_i]);
	joined(threads[_i]);
	close(_i ? fd : client);
	joined(threads[!_i]);
	close(_i ? client : fd);
	close(listener);
	attention_drain(2000);
}
END_TEST

static void set_up(void)
{
	loopback_connects = true;
	/* Handlers of Check's and of the sanitizers' would tell that calls are not restarted. */
	for (int number = 1; number <= SIGSYS; number++)
		signal(number, SIG_DFL);
}

int main(void)
{
	Suite *suite = suite_create("listener");
	TCase *cases = tcase_create("listener");
	SRunner *runner;
	int failed;

	tcase_set_timeout(cases, 20);
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_test(cases, a_thread_that_is_stuck_holds_nobody_up);
	tcase_add_loop_test(cases, it_stays_while_there_is_no_descriptor, 0, KINDS);
	tcase_add_loop_test(cases, select_leaves_alone_what_is_behind_a_set, 0, 2);
	tcase_add_loop_test(cases, it_is_seen_without_waiting, 0, KINDS);
	tcase_add_loop_test(cases, a_cancelled_accept_leaves_nothing, 0, 2);
	tcase_add_loop_test(cases, a_failed_connect_may_be_tried_again, 0, KINDS);
	tcase_add_test(cases, a_second_connect_waits_for_the_first);
	tcase_add_test(cases, a_cancelled_connect_goes_on);
	tcase_add_test(cases, closed_while_it_connects);
	tcase_add_test(cases, restarted_after_a_signal);
	tcase_add_test(cases, not_restarted_with_a_timeout);
	tcase_add_loop_test(cases, a_child_uses_an_inherited_set, 0, 2);
	tcase_add_loop_test(cases, exit_handlers_may_still_send, 0, 2);
	tcase_add_test(cases, what_was_closed_is_delivered_before_exit);
	tcase_add_test(cases, a_cancelled_sender_leaves_no_lock);
	tcase_add_loop_test(cases, a_thread_that_streams_can_be_cancelled, 0, 2);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
