// SPDX-License-Identifier: BSD-2-Clause
/*
 * Connecting through the wrappers, and how connections end: with their thread, or with the
 * process.
 */
#include "preload_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cancelled.h"
#include "libc_calls.h"
#include "socket_state.h"
#include "waiter.h"

/* ---- connecting ---- */

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

/* Programs ask so whether they are connected, however long ago it was decided how. */
START_TEST(what_tcp_has_connected_is_connected)
{
	in_port_t port;
	int listener = listener_open(&port), client = tcp_client(port), fd;
	char byte;

	fails(connect_to(SAN, client, port), EISCONN);
	nonblocking(client);
	fails(connect_to(SAN, client, port), EISCONN);
	ck_assert(!descriptor_is_known(client));
	fd = accept(listener, NULL, NULL);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	wait_readable(client);
	ck_assert_int_eq(recv(client, &byte, 1, 0), 1);
	close(client);
	close(fd);
	close(listener);
}
END_TEST

static ssize_t send_opening(int fd, in_port_t port, int flags, bool message)
{
	struct sockaddr_in address = any_address(port);
	struct iovec vector = { (char *)(uintptr_t)"x", 1 };
	struct msghdr header = { .msg_name = &address, .msg_namelen = sizeof(address),
				 .msg_iov = &vector, .msg_iovlen = 1 };

	return message ? sendmsg(fd, &header, flags | MSG_FASTOPEN) :
	       sendto(fd, "x", 1, flags | MSG_FASTOPEN, (struct sockaddr *)&address,
		      sizeof(address));
}

/* TCP Fast Open, by one call and by the other. */
START_TEST(who_connects_by_sending_comes_over_the_san)
{
	in_port_t port;
	int listener = listener_open(&port), client = socket(AF_INET, SOCK_STREAM, 0), fd;
	char byte;

	ck_assert_int_eq(send_opening(client, port, 0, _i), 1);
	ck_assert(descriptor_is_known(client));
	fails(send_opening(client, port, 0, _i), EISCONN);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 'x');
	close(client);
	close(fd);

	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	fails(send_opening(client, port, 0, _i), EINPROGRESS);
	wait_writable(client);
	ck_assert_int_eq(pending_error(client), 0);
	ck_assert(descriptor_is_known(client));
	ck_assert_int_eq(send(client, "y", 1, 0), 1);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 'y');
	close(client);
	close(fd);

	/* Whom the SAN does not answer TCP does. */
	loopback_silent = true;
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(send_opening(client, port, 0, _i), 1);
	ck_assert(!descriptor_is_known(client));
	fd = accept(listener, NULL, NULL);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	close(client);
	close(fd);
	close(listener);
	attention_drain(2000);
}
END_TEST

/* One that is busy is late: then TCP carries a connection, but not all of the next minute. */
START_TEST(who_spoke_the_san_is_asked_again)
{
	bool before = _i;
	in_port_t port;
	int listener = listener_open(&port), client;

	if (before) {
		client = san_client(port);
		ck_assert(descriptor_is_known(client));
		close(client);
		close(accept(listener, NULL, NULL));
	}
	loopback_silent = true;
	client = san_client(port);
	ck_assert(!descriptor_is_known(client));
	close(client);
	close(accept(listener, NULL, NULL));
	loopback_silent = false;
	sleep(1);
	usleep(100000);
	client = san_client(port);
	ck_assert_int_eq(descriptor_is_known(client), before);
	close(client);
	close(accept(listener, NULL, NULL));
	close(listener);
	attention_drain(2000);
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

/* As libuv does it. */
START_TEST(closed_by_syscall)
{
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port), fd;
	char byte;

	wait_readable(listener);
	fd = accept(listener, NULL, NULL);
	ck_assert(descriptor_is_known(fd));
	if (_i)
		ck_assert_int_eq(syscall(SYS_close_range, fd, fd, 0), 0);
	else
		ck_assert_int_eq(syscall(SYS_close, fd), 0);
	ck_assert(!descriptor_is_known(fd));
	ck_assert_int_eq(recv(client, &byte, 1, 0), 0);
	fails(syscall(SYS_close, fd), EBADF);
	fails(syscall(SYS_io_uring_setup, 0, NULL), ENOSYS);
	/* All others are the kernel's. */
	fails(syscall(SYS_pread64, fd, &byte, 1, 0), EBADF);
	ck_assert_int_eq(syscall(SYS_getpid), getpid());
	close(client);
	close(listener);
	attention_drain(2000);
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

enum { BY_EXIT, BY_EXECVE, BY_EXECV, BY_EXECVP, BY_EXECVPE, BY_FEXECVE, BY_EXECVEAT, BY_EXECL,
       BY_EXECLP, BY_EXECLE, WAYS };

/* With the status 7, whichever way. */
static void leave(int way)
{
	static char name[] = "sh", option[] = "-c", script[] = "exit $status", setting[] = "status=7";
	char *arguments[] = { name, option, script, NULL }, *environment[] = { setting, NULL };

	setenv("status", "7", 1);
	switch (way) {
	case BY_EXIT:
		_exit(7);
	case BY_EXECVE:
		execve("/bin/sh", arguments, environment);
		break;
	case BY_EXECV:
		execv("/bin/sh", arguments);
		break;
	case BY_EXECVP:
		execvp("sh", arguments);
		break;
	case BY_EXECVPE:
		execvpe("sh", arguments, environment);
		break;
	case BY_FEXECVE:
		fexecve(open("/bin/sh", O_RDONLY | O_CLOEXEC), arguments, environment);
		break;
	case BY_EXECVEAT:
		execveat(AT_FDCWD, "/bin/sh", arguments, environment, 0);
		break;
	case BY_EXECL:
		execl("/bin/sh", name, option, script, NULL);
		break;
	case BY_EXECLP:
		execlp("sh", name, option, script, NULL);
		break;
	case BY_EXECLE:
		execle("/bin/sh", name, option, script, NULL, environment);
		break;
	}
	abort();
}

/* Its peer takes nothing for 300 ms, and is not left alone meanwhile. */
static void send_close_and_leave(int way)
{
	static char data[1 << 20];
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int peer = accept(listener, NULL, NULL);
	pthread_t thread;

	pthread_create(&thread, NULL, read_late, &peer);
	send(client, data, sizeof(data), MSG_DONTWAIT);
	close(client);
	leave(way);
}

START_TEST(what_was_closed_is_delivered_before_the_end)
{
	int64_t start = clock_now();
	int status;
	pid_t pid = fork();

	if (!pid)
		send_close_and_leave(_i);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(WEXITSTATUS(status), 7);
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

static _Thread_local enum { QUIET, CANCELLED_THERE, HANDLED_THERE, LOOKED_AT } doorbell;
static int device, other, forbidden_there;
static bool rung, rung_well;

/* What a driver does, in a thread that is cancelled just there. Check's assertions write, too. */
static void ring(void)
{
	int fd = dup(device);
	char byte = 0;

	if (doorbell == HANDLED_THERE) {
		/* A signal handler may use another connection. */
		doorbell = QUIET;
		send(other, "x", 1, 0);
		doorbell = CANCELLED_THERE;
	}
	if (doorbell == CANCELLED_THERE)
		pthread_cancel(pthread_self());
	if (doorbell == LOOKED_AT) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &forbidden_there);
		pthread_setcancelstate(forbidden_there, NULL);
	}
	rung = true;
	rung_well &= write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1 && !close(fd) &&
		     close(fd) == -1 && errno == EBADF;
}

static void *send_one(void *fd)
{
	pthread_cleanup_push(frames_are_gone, NULL);
	if (!doorbell)
		doorbell = CANCELLED_THERE;
	send(*(int *)fd, "x", 1, 0);
	pthread_testcancel();
	pthread_cleanup_pop(0);
	return NULL;
}

static void *send_one_and_handle(void *fd)
{
	doorbell = HANDLED_THERE;
	return send_one(fd);
}

/* The buffer of the first is posted again while it waits for the second. */
static void *receive_two(void *fd)
{
	char bytes[2];

	pthread_cleanup_push(frames_are_gone, NULL);
	recv(*(int *)fd, bytes, 1, 0);
	doorbell = CANCELLED_THERE;
	recv(*(int *)fd, bytes, 1, 0);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *send_one_asynchronously(void *fd)
{
	int type;

	doorbell = LOOKED_AT;
	ck_assert_int_eq(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type), 0);
	ck_assert_int_eq(type, PTHREAD_CANCEL_DEFERRED);
	send(*(int *)fd, "x", 1, 0);
	ck_assert_int_eq(pthread_setcanceltype(type, NULL), 0);
	ck_assert_int_eq(forbidden_there, PTHREAD_CANCEL_DISABLE);
	send(*(int *)fd, "x", 1, 0);
	ck_assert_int_eq(forbidden_there, PTHREAD_CANCEL_ENABLE);
	return NULL;
}

/* Not even in the shortest send and receive, which forbid no cancellation. */
START_TEST(nobody_is_cancelled_in_a_driver)
{
	static void *(*const callers[])(void *) = { send_one, receive_two,
		send_one_and_handle, send_one_asynchronously };
	static const int arrive[] = { 3, 2, 3, 4 };
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int fd = accept(listener, NULL, NULL);
	pthread_t thread;
	void *result;
	char bytes[8];

	other = san_client(port);
	device = open("/dev/zero", O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	rung_well = true;
	loopback_doorbell = ring;
	ck_assert_int_eq(pthread_create(&thread, NULL, callers[_i], &client), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	loopback_doorbell = NULL;
	ck_assert_ptr_eq(result, _i < 3 ? PTHREAD_CANCELED : NULL);
	ck_assert(rung && rung_well);
	/* What it was about to do is done, and no lock is left behind. */
	ck_assert_int_eq(send(client, "xx", 2, MSG_DONTWAIT), 2);
	ck_assert_int_eq(recv(fd, bytes, arrive[_i], MSG_WAITALL), arrive[_i]);
	close(device);
	close(other);
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

static void *receive_one(void *fd)
{
	char byte;

	recv(*(int *)fd, &byte, 1, 0);
	return NULL;
}

static bool somebody_sleeps(struct socket *socket)
{
	bool sleeping;

	light_lock_acquire(&socket->lock);
	sleeping = socket->session.sleepers;
	light_lock_release(&socket->lock);
	return sleeping;
}

static bool sends;

static void *call_after_cancel(void *fd)
{
	char byte = 'x';

	pthread_cancel(pthread_self());
	if (sends)
		send(*(int *)fd, &byte, 1, 0);
	else
		recv(*(int *)fd, &byte, 1, 0);
	return NULL;
}

static void passes(int from, int to, char byte)
{
	char got = 0;

	ck_assert_int_eq(write(from, &byte, 1), 1);
	ck_assert_int_eq(read(to, &got, 1), 1);
	ck_assert_int_eq(got, byte);
}

/* pthreads(7): these are cancellation points, whether they wait or not. */
START_TEST(who_was_cancelled_before_neither_sends_nor_receives)
{
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int fd = accept(listener, NULL, NULL);
	pthread_t thread;
	char byte = 0;

	ck_assert_int_eq(write(fd, "y", 1), 1);
	for (int i = 0; i < 2; i++) {
		sends = i;
		ck_assert_int_eq(pthread_create(&thread, NULL, call_after_cancel, &client), 0);
		ck_assert_int_eq(joined(thread), (int)(intptr_t)PTHREAD_CANCELED);
	}
	ck_assert_int_eq(read(client, &byte, 1), 1);
	ck_assert_int_eq(byte, 'y');
	passes(client, fd, 'z');
	close(client);
	close(fd);
	close(listener);
	attention_drain(2000);
}
END_TEST

START_TEST(a_cancelled_reader_holds_nothing_any_more)
{
	in_port_t port;
	int listener = listener_open(&port), client = san_client(port);
	int fd = accept(listener, NULL, NULL);
	struct socket *socket = descriptor_get(client);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, receive_one, &client), 0);
	while (!somebody_sleeps(socket))
		usleep(1000);
	pthread_cancel(thread);
	ck_assert_int_eq(joined(thread), (int)(intptr_t)PTHREAD_CANCELED);
	/* No lock is left behind. */
	passes(fd, client, 'x');
	/* Nor a hold, which would be a reference by now. */
	close(client);
	close(fd);
	close(listener);
	attention_drain(2000);
	ck_assert_uint_eq(references_of(socket), 1);
	socket_put(socket);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("connection");
	TCase *cases = tcase_create("connection");

	tcase_set_timeout(cases, 20);
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_loop_test(cases, a_failed_connect_may_be_tried_again, 0, KINDS);
	tcase_add_test(cases, a_second_connect_waits_for_the_first);
	tcase_add_test(cases, what_tcp_has_connected_is_connected);
	tcase_add_loop_test(cases, who_connects_by_sending_comes_over_the_san, 0, 2);
	tcase_add_test(cases, a_cancelled_connect_goes_on);
	tcase_add_test(cases, closed_while_it_connects);
	tcase_add_loop_test(cases, closed_by_syscall, 0, 2);
	tcase_add_test(cases, restarted_after_a_signal);
	tcase_add_test(cases, not_restarted_with_a_timeout);
	tcase_add_loop_test(cases, exit_handlers_may_still_send, 0, 2);
	tcase_add_loop_test(cases, what_was_closed_is_delivered_before_the_end, 0, WAYS);
	tcase_add_test(cases, a_cancelled_sender_leaves_no_lock);
	tcase_add_loop_test(cases, nobody_is_cancelled_in_a_driver, 0, 4);
	tcase_add_test(cases, who_was_cancelled_before_neither_sends_nor_receives);
	tcase_add_test(cases, a_cancelled_reader_holds_nothing_any_more);
	tcase_add_loop_test(cases, a_thread_that_streams_can_be_cancelled, 0, 2);
	tcase_add_loop_test(cases, who_spoke_the_san_is_asked_again, 0, 2);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
