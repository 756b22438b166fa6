// SPDX-License-Identifier: BSD-2-Clause
/*
 * libc's calls on both kinds of connection. This program contains the wrappers and
 * the switch, so that its own calls of libc run through them; its SAN is the
 * loopback provider. Each scenario runs on TCP, where the kernel says what is
 * right, and on the SAN.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attention.h"
#include "descriptors.h"
#include "loopback_provider.h"
#include "preload_fixture.h"
#include "socket_state.h"


struct pair {
	int a, b;
	bool san;
};

static struct socket *san_end(SOCKET companion)
{
	struct socket *socket = socket_new(SOCKET_CONNECTED);

	ck_assert_int_eq(session_open(&socket->session, &loopback_provider, companion), 0);
	return socket;
}

static int san_descriptor(struct socket *end)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(descriptor_set(fd, end), 0);
	attention_add(end);
	return fd;
}

static struct pair pair_open(int kind)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	socklen_t length = sizeof(address);
	struct pair pair = { .san = kind == SAN };
	int listener;

	if (kind == SAN) {
		struct socket *one, *other;
		SOCKET companions[2];

		loopback_pair(&companions[0], &companions[1]);
		one = san_end(companions[0]);
		other = san_end(companions[1]);
		ck_assert_int_eq(session_hello(&one->session), 0);
		ck_assert_int_eq(session_hello(&other->session), 0);
		for (int i = 0; i < 3; i++) {
			session_progress(&one->session, 1);
			session_progress(&other->session, 1);
		}
		ck_assert_int_eq(attention_start(), 0);
		pair.a = san_descriptor(one);
		pair.b = san_descriptor(other);
		return pair;
	}
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	pair.a = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(pair.a, (struct sockaddr *)&address, length), 0);
	pair.b = accept(listener, NULL, NULL);
	close(listener);
	return pair;
}

/* Reads exactly that text. */
static void expect(int fd, const char *text)
{
	char buffer[512] = { 0 };
	size_t length = strlen(text), done = 0;

	while (done < length) {
		ssize_t part = recv(fd, buffer + done, length - done, 0);

		ck_assert_int_gt(part, 0);
		done += (size_t)part;
	}
	ck_assert_str_eq(buffer, text);
}

/* ---- bytes ---- */

static void every_way_of_sending(struct pair *pair)
{
	char one[] = "one ", two[] = "two ", three[] = "three";
	struct iovec vector[] = { { one, 4 }, { NULL, 0 }, { two, 4 }, { three, 5 } };
	struct sockaddr_in nowhere = { .sin_family = AF_INET };
	struct msghdr message = { .msg_iov = vector, .msg_iovlen = 4 };
	struct mmsghdr messages[] = { { message, 0 }, { message, 0 } };

	errno = 4242;
	ck_assert_int_eq(write(pair->a, "write", 5), 5);
	ck_assert_int_eq(send(pair->a, "send", 4, MSG_MORE), 4);
	ck_assert_int_eq(sendto(pair->a, "sendto", 6, 0, (struct sockaddr *)&nowhere,
				sizeof(nowhere)), 6);
	expect(pair->b, "writesendsendto");
	ck_assert_int_eq(writev(pair->a, vector, 4), 13);
	ck_assert_int_eq(pwritev2(pair->a, vector, 4, -1, 0), 13);
	ck_assert_int_eq(sendmsg(pair->a, &message, MSG_NOSIGNAL), 13);
	expect(pair->b, "one two threeone two threeone two three");
	ck_assert_int_eq(sendmmsg(pair->a, messages, 2, 0), 2);
	ck_assert_uint_eq(messages[1].msg_len, 13);
	ck_assert_int_eq(dprintf(pair->a, "<%d>", 17), 4);
	ck_assert_int_eq(errno, 4242);
	expect(pair->b, "one two threeone two three<17>");
}

static void every_way_of_receiving(struct pair *pair)
{
	char buffers[2][8] = { { 0 } }, control[64];
	struct iovec vector[] = { { buffers[0], 2 }, { buffers[1], 3 } };
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct msghdr message = {
		.msg_iov = vector, .msg_iovlen = 2, .msg_control = control,
		.msg_controllen = sizeof(control), .msg_name = &address,
		.msg_namelen = sizeof(address), .msg_flags = -1,
	};
	struct mmsghdr messages[] = { { message, 0 }, { message, 0 }, { message, 0 } };

	ck_assert_int_eq(write(pair->a, "0123456789abcdefghijklmnopqrstuvwxyz", 36), 36);
	wait_readable(pair->b);
	errno = 4242;
	ck_assert_int_eq(read(pair->b, buffers[0], 2), 2);
	ck_assert_mem_eq(buffers[0], "01", 2);
	ck_assert_int_eq(recv(pair->b, buffers[0], 2, MSG_PEEK), 2);
	ck_assert_int_eq(recv(pair->b, buffers[0], 2, MSG_WAITALL), 2);
	ck_assert_mem_eq(buffers[0], "23", 2);
	ck_assert_int_eq(recvfrom(pair->b, buffers[0], 2, 0, (struct sockaddr *)&address, &length),
			 2);
	ck_assert_uint_eq(length, 0);
	ck_assert_int_eq(readv(pair->b, vector, 2), 5);
	ck_assert_mem_eq(buffers[0], "67", 2);
	ck_assert_mem_eq(buffers[1], "89a", 3);
	ck_assert_int_eq(preadv2(pair->b, vector, 2, -1, 0), 5);
	ck_assert_int_eq(recvmsg(pair->b, &message, 0), 5);
	ck_assert_mem_eq(buffers[0], "gh", 2);
	ck_assert_uint_eq(message.msg_controllen, 0);
	ck_assert_uint_eq(message.msg_namelen, 0);
	ck_assert_int_eq(message.msg_flags, 0);
	ck_assert_int_eq(recvmmsg(pair->b, messages, 2, 0, NULL), 2);
	ck_assert_uint_eq(messages[1].msg_len, 5);
	ck_assert_int_eq(recv(pair->b, NULL, 2, MSG_TRUNC), 2);
	ck_assert_int_eq(read(pair->b, buffers[1], 8), 3);
	ck_assert_mem_eq(buffers[1], "xyz", 3);
	ck_assert_int_eq(write(pair->a, "....", 4), 4);
	wait_readable(pair->b);
	ck_assert_int_eq(recvmmsg(pair->b, messages, 3, MSG_WAITFORONE, NULL), 1);
	ck_assert_int_eq(errno, 4242);
}

static void nothing_there(struct pair *pair)
{
	struct timespec none = { 0, 0 }, bad = { 0, 2000000000 };
	struct iovec empty = { NULL, 0 }, single = { NULL, 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_iov = &single, .msg_iovlen = 1 } };
	char byte;
	int count;

	single.iov_base = &byte;
	ck_assert_int_eq(read(pair->b, &byte, 0), 0);
	ck_assert_int_eq(read(pair->b, NULL, 0), 0);
	ck_assert_int_eq(readv(pair->b, &empty, 1), 0);
	ck_assert_int_eq(write(pair->a, NULL, 0), 0);
	ck_assert_int_eq(send(pair->a, &byte, 0, 0), 0);
	fails(recv(pair->b, &byte, 1, MSG_DONTWAIT), EAGAIN);
	fails(recv(pair->b, &byte, 1, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
	fails(recv(pair->b, &byte, 1, MSG_ERRQUEUE), EAGAIN);
	fails(recv(pair->b, &byte, 1, MSG_OOB), EINVAL);
	fails(recvmmsg(pair->b, &message, 1, 0, &bad), EINVAL);
	fails(recvmmsg(pair->b, &message, 1, MSG_DONTWAIT, &none), EAGAIN);
	ck_assert_int_eq(sendmmsg(pair->a, NULL, 0, 0), 0);
	nonblocking(pair->b);
	fails(read(pair->b, &byte, 1), EAGAIN);
	ck_assert_int_eq(ioctl(pair->b, FIONREAD, &count), 0);
	ck_assert_int_eq(count, 0);
	ck_assert_int_eq(write(pair->a, "abc", 3), 3);
	wait_readable(pair->b);
	ck_assert_int_eq(ioctl(pair->b, FIONREAD, &count), 0);
	ck_assert_int_eq(count, 3);
	count = 0;
	ck_assert_int_eq(ioctl(pair->b, FIONBIO, &count), 0);
	ck_assert_int_eq(fcntl(pair->b, F_GETFL) & O_NONBLOCK, 0);
}

/* The compiler would warn of the constants. */
static void *volatile no_address;
static volatile int less_than_none = -1;

static void bad_arguments(struct pair *pair)
{
	struct iovec null = { NULL, 4 }, huge = { &null, (size_t)SSIZE_MAX + 1 };
	struct iovec many[IOV_MAX + 1] = { { 0 } };
	struct msghdr message = { .msg_iov = many, .msg_iovlen = IOV_MAX + 1 };
	struct msghdr nowhere = { .msg_iov = &null, .msg_iovlen = 1 };
	char byte = 'x';
	struct sockaddr_storage address;

	ck_assert_int_eq(write(pair->b, "xxxx", 4), 4);
	wait_readable(pair->a);
	fails(write(pair->a, no_address, 4), EFAULT);
	fails(send(pair->a, no_address, 4, 0), EFAULT);
	fails(read(pair->a, no_address, 4), EFAULT);
	fails(recv(pair->a, no_address, 4, 0), EFAULT);
	fails(readv(pair->a, no_address, 1), EFAULT);
	fails(writev(pair->a, no_address, 1), EFAULT);
	fails(writev(pair->a, &null, 1), EFAULT);
	fails(sendmsg(pair->a, no_address, 0), EFAULT);
	fails(recvmsg(pair->a, no_address, 0), EFAULT);
	fails(recvmsg(pair->a, &nowhere, 0), EFAULT);
	fails(sendmsg(pair->a, &nowhere, 0), EFAULT);
	fails(writev(pair->a, &huge, 1), EINVAL);
	fails(readv(pair->a, &huge, 1), EINVAL);
	fails(readv(pair->a, many, IOV_MAX + 1), EINVAL);
	fails(writev(pair->a, many, less_than_none), EINVAL);
	fails(sendmsg(pair->a, &message, 0), EMSGSIZE);
	fails(recvmsg(pair->a, &message, 0), EMSGSIZE);
	fails(sendto(pair->a, &byte, 1, 0, (struct sockaddr *)&address, 4096), EINVAL);
	fails(preadv2(pair->a, &null, 1, 0, 0), ESPIPE);
	fails(pwritev2(pair->a, &null, 1, 7, 0), ESPIPE);
	fails(preadv2(pair->a, &null, 1, -1, 1 << 20), EOPNOTSUPP);
	fails(pread(pair->a, &byte, 1, 0), ESPIPE);
	fails(lseek(pair->a, 0, SEEK_CUR), ESPIPE);
	fails(send(pair->a, &byte, 1, MSG_FASTOPEN), EISCONN);
	/* Nothing of all that was received or sent. */
	expect(pair->a, "xxxx");
	fails(recv(pair->b, &byte, 1, MSG_DONTWAIT), EAGAIN);
}

static atomic_int pipes;

static void count_pipe(int number)
{
	(void)number;
	pipes++;
}

static void broken_pipe(struct pair *pair)
{
	struct iovec vector = { pair, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
	FILE *file = tmpfile();

	fputs("some", file);
	fflush(file);
	signal(SIGPIPE, count_pipe);
	ck_assert_int_eq(shutdown(pair->a, SHUT_WR), 0);
	fails(write(pair->a, "x", 1), EPIPE);
	ck_assert_int_eq(pipes, 1);
	fails(send(pair->a, "x", 1, MSG_NOSIGNAL), EPIPE);
	fails(sendmsg(pair->a, &message, MSG_NOSIGNAL), EPIPE);
	ck_assert_int_eq(pipes, 1);
	fails(writev(pair->a, &vector, 1), EPIPE);
	ck_assert_int_eq(pipes, 2);
	fails(sendmsg(pair->a, &message, 0), EPIPE);
	ck_assert_int_eq(pipes, 3);
	fails(sendfile(pair->a, fileno(file), &(off_t){ 0 }, 4), EPIPE);
	ck_assert_int_eq(pipes, 4);
	fclose(file);
	ck_assert_int_eq(read(pair->b, &vector, 1), 0);
}

/* Both ends write, a little at a time, before either reads: there is room for that. */
static void small_writes_before_reading(struct pair *pair)
{
	char wanted[101] = { 0 };
	int i;

	for (i = 0; i < 100; i++) {
		wanted[i] = (char)('0' + i % 10);
		ck_assert_int_eq(write(pair->a, &wanted[i], 1), 1);
		ck_assert_int_eq(write(pair->b, &wanted[i], 1), 1);
	}
	expect(pair->a, wanted);
	expect(pair->b, wanted);
}

/* ---- files ---- */

static char *file_make(int fd, size_t size)
{
	char *data = malloc(size);

	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 2654435761u >> 11);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	return data;
}

struct reader {
	pthread_t thread;
	int fd;
	char *data;
	size_t size, done;
};

static void *reader_run(void *argument)
{
	struct reader *reader = argument;
	ssize_t part;

	while (reader->done < reader->size &&
	       (part = read(reader->fd, reader->data + reader->done,
			    reader->size - reader->done)) > 0)
		reader->done += (size_t)part;
	return NULL;
}

static void whole_file(struct pair *pair)
{
	size_t size = 5000000;
	int fd = memfd_create("file", 0), pipe_fds[2], writer = open("/dev/null", O_WRONLY);
	struct reader reader = { .fd = pair->b, .size = size - 1000, .data = malloc(size) };
	off_t offset = 1000;
	size_t sent = 0;
	char *data = file_make(fd, size);

	pthread_create(&reader.thread, NULL, reader_run, &reader);
	while (sent < size - 1000) {
		ssize_t part = sendfile(pair->a, fd, &offset, size);

		ck_assert_int_gt(part, 0);
		sent += (size_t)part;
		ck_assert_int_eq(offset, (off_t)(1000 + sent));
	}
	pthread_join(reader.thread, NULL);
	ck_assert_mem_eq(reader.data, data + 1000, size - 1000);
	/* The file's own position is not moved by a call with an offset, but by one without. */
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), (off_t)size);
	ck_assert_int_eq(sendfile(pair->a, fd, &offset, 10), 0);
	ck_assert_int_eq(lseek(fd, 7, SEEK_SET), 7);
	ck_assert_int_eq(sendfile(pair->a, fd, NULL, 5), 5);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 12);
	ck_assert_int_eq(sendfile(pair->a, fd, NULL, 0), 0);
	ck_assert_int_eq(read(pair->b, reader.data, 10), 5);
	ck_assert_mem_eq(reader.data, data + 7, 5);

	ck_assert_int_eq(pipe(pipe_fds), 0);
	fails(sendfile(pair->a, 999, NULL, 5), EBADF);
	fails(sendfile(pair->a, writer, NULL, 5), EBADF);
	offset = -1;
	fails(sendfile(pair->a, fd, &offset, 5), EINVAL);
	fails(sendfile(pair->a, pair->b, NULL, 5), EINVAL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(writer);
	close(fd);
	free(data);
	free(reader.data);
}

/* More than the socket takes: a short count, and the position says how much. */
static void nonblocking_file(struct pair *pair)
{
	size_t size = 64 << 20;
	int fd = memfd_create("file", 0);
	struct reader reader = { .fd = pair->b, .data = malloc(size) };
	off_t offset = 0;
	char *data;
	ssize_t sent;

	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (size_t i = 0; i < size; i += 512)
		memcpy(data + i, &i, sizeof(i));
	nonblocking(pair->a);
	sent = sendfile(pair->a, fd, &offset, size);
	ck_assert_int_gt(sent, 0);
	ck_assert_int_lt(sent, (ssize_t)size);
	ck_assert_int_eq(offset, sent);
	while ((sent = sendfile(pair->a, fd, &offset, size)) > 0)
		;
	fails(sent, EAGAIN);
	reader.size = (size_t)offset;
	reader_run(&reader);
	ck_assert_uint_eq(reader.done, (size_t)offset);
	ck_assert_mem_eq(reader.data, data, (size_t)offset);
	munmap(data, size);
	free(reader.data);
	close(fd);
}

/* ---- stdio ---- */

static void streams(struct pair *pair)
{
	int back = dup(pair->a);
	FILE *out = fdopen(pair->a, "w"), *in = fdopen(pair->b, "r+");
	char line[64];

	ck_assert_ptr_nonnull(out);
	ck_assert_ptr_nonnull(in);
	ck_assert_int_eq(fileno(out), pair->a);
	ck_assert_int_eq(fileno(in), pair->b);
	ck_assert_int_gt(fprintf(out, "hello %d\nworld\n", 5), 0);
	ck_assert_int_eq(fflush(out), 0);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), in));
	ck_assert_str_eq(line, "hello 5\n");
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), in));
	/* A socket's stream may turn round without being rewound. */
	fseek(in, 0, SEEK_CUR);
	ck_assert_int_gt(fprintf(in, "answer\n"), 0);
	ck_assert_int_eq(fflush(in), 0);
	ck_assert_int_eq(read(pair->a, line, sizeof(line)), 7);
	fails(fseek(out, 0, SEEK_SET), ESPIPE);
	/* Closing writes what is buffered, and closes. */
	close(back);
	ck_assert_int_gt(fprintf(out, "last"), 0);
	ck_assert_int_eq(fclose(out), 0);
	fails(fcntl(pair->a, F_GETFD), EBADF);
	ck_assert_int_eq(read(pair->b, line, sizeof(line)), 4);
	ck_assert_int_eq(read(pair->b, line, sizeof(line)), 0);
	ck_assert_int_eq(fclose(in), 0);
	fails(read(pair->b, line, 1), EBADF);
	ck_assert_ptr_null(fdopen(999, "r"));
	pair->a = pair->b = -1;
}

static void bad_streams(struct pair *pair)
{
	ck_assert_ptr_null(fdopen(pair->a, "x"));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(fdopen(pair->a, ""));
	ck_assert_int_eq(errno, EINVAL);
}

/* ---- descriptors ---- */

static void duplicates(struct pair *pair)
{
	int others[5], fd;

	others[0] = dup(pair->a);
	others[1] = dup2(pair->a, 300);
	others[2] = dup3(pair->a, 301, O_CLOEXEC);
	others[3] = fcntl(pair->a, F_DUPFD, 310);
	others[4] = fcntl(pair->a, F_DUPFD_CLOEXEC, 310);
	ck_assert_int_eq(others[1], 300);
	ck_assert_int_eq(others[2], 301);
	ck_assert_int_eq(others[3], 310);
	ck_assert_int_eq(fcntl(others[4], F_GETFD), FD_CLOEXEC);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(write(others[i], "x", 1), 1);
	expect(pair->b, "xxxxx");
	ck_assert_int_eq(dup2(pair->a, pair->a), pair->a);
	fails(dup3(pair->a, pair->a, 0), EINVAL);
	fails(dup2(999, pair->a), EBADF);
	ck_assert_int_eq(write(pair->a, "y", 1), 1);
	expect(pair->b, "y");
	/* A file takes the place of one of them. */
	fd = memfd_create("file", 0);
	ck_assert_int_eq(dup2(fd, others[1]), others[1]);
	ck_assert_int_eq(write(others[1], "file", 4), 4);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 4);
	close(others[1]);
	close(fd);
	close(pair->a);
	ck_assert_int_eq(write(others[0], "z", 1), 1);
	close(others[0]);
	close(others[2]);
	close(others[3]);
	expect(pair->b, "z");
	fails(recv(pair->b, &fd, 1, MSG_DONTWAIT), EAGAIN);
	/* The last one ends the connection. */
	ck_assert_int_eq(close(others[4]), 0);
	ck_assert_int_eq(read(pair->b, &fd, 1), 0);
	fails(close(others[4]), EBADF);
	pair->a = -1;
}

static void ranges_closed(struct pair *pair)
{
	int low = fcntl(pair->a, F_DUPFD, 400), high = fcntl(pair->a, F_DUPFD, 500), byte;

	close(pair->a);
	ck_assert_int_eq(close_range(400, 450, 0), 0);
	fails(write(low, "x", 1), EBADF);
	ck_assert_int_eq(write(high, "x", 1), 1);
	ck_assert_int_eq(close_range(450, UINT_MAX, CLOSE_RANGE_CLOEXEC), 0);
	ck_assert_int_eq(fcntl(high, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(write(high, "x", 1), 1);
	expect(pair->b, "xx");
	fails(close_range(5, 4, 0), EINVAL);
	closefrom(450);
	fails(write(high, "x", 1), EBADF);
	ck_assert_int_eq(read(pair->b, &byte, 1), 0);
	pair->a = -1;
}

/* A child has the parent's descriptors; what it does to them is its own affair. */
static void closed_in_a_child(struct pair *pair)
{
	int status, kind;
	pid_t pid;

	for (kind = 0; kind < 2; kind++) {
		pid = kind ? vfork() : fork();
		if (pid == 0) {
			if (dup2(open("/dev/null", O_RDWR), pair->a) != pair->a)
				_exit(1);
			close(pair->a);
			close(pair->b);
			_exit(0);
		}
		ck_assert_int_gt(pid, 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		ck_assert_int_eq(write(pair->a, "still here", 10), 10);
		expect(pair->b, "still here");
	}
}

/* ---- waiting ---- */

static void waiting(struct pair *pair)
{
	struct pollfd fds[] = { { pair->a, POLLIN | POLLOUT, 0 }, { pair->b, POLLIN, 0 } };
	struct timespec time = { 0, 30000000 }, bad = { 0, -1 };
	struct timeval left = { 5, 0 }, brief = { 0, 20000 }, wrong = { -1, 0 };
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 5 };
	int set = epoll_create1(EPOLL_CLOEXEC);
	fd_set in;

	ck_assert_int_eq(poll(fds, 2, 20), 1);
	ck_assert_int_eq(fds[0].revents, POLLOUT);
	ck_assert_int_eq(ppoll(fds + 1, 1, &time, NULL), 0);
	ck_assert_int_eq(time.tv_nsec, 30000000);
	fails(ppoll(fds + 1, 1, &bad, NULL), EINVAL);
	FD_ZERO(&in);
	FD_SET(pair->b, &in);
	ck_assert_int_eq(select(pair->b + 1, &in, NULL, NULL, &brief), 0);
	ck_assert(!FD_ISSET(pair->b, &in));
	ck_assert_int_eq(brief.tv_sec + brief.tv_usec, 0);
	FD_SET(pair->b, &in);
	fails(select(pair->b + 1, &in, NULL, NULL, &wrong), EINVAL);
	fails(pselect(pair->b + 1, &in, NULL, NULL, &bad, NULL), EINVAL);
	ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, pair->b, &event), 0);
	ck_assert_int_eq(epoll_wait(set, &event, 1, 20), 0);
	fails(epoll_wait(set, &event, 0, 20), EINVAL);
	fails(epoll_ctl(set, EPOLL_CTL_ADD, pair->b, &event), EEXIST);
	fails(epoll_pwait2(set, &event, 1, &bad, NULL), EINVAL);

	ck_assert_int_eq(write(pair->a, "x", 1), 1);
	errno = 4242;
	ck_assert_int_eq(poll(fds + 1, 1, -1), 1);
	ck_assert_int_eq(fds[1].revents, POLLIN);
	ck_assert_int_eq(select(pair->b + 1, &in, NULL, NULL, &left), 1);
	ck_assert(FD_ISSET(pair->b, &in));
	ck_assert_int_eq(left.tv_sec, 4);
	ck_assert_int_eq(pselect(pair->b + 1, &in, NULL, NULL, NULL, NULL), 1);
	ck_assert_int_eq(epoll_wait(set, &event, 1, -1), 1);
	ck_assert_uint_eq(event.data.u64, 5);
	ck_assert_int_eq(epoll_pwait(set, &event, 1, -1, NULL), 1);
	ck_assert_int_eq(epoll_pwait2(set, &event, 1, NULL, NULL), 1);
	ck_assert_int_eq(errno, 4242);
	close(set);
}

static void closing_while_watched(struct pair *pair)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 5 };
	int set = epoll_create1(EPOLL_CLOEXEC);

	ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, pair->b, &event), 0);
	ck_assert_int_eq(write(pair->a, "x", 1), 1);
	ck_assert_int_eq(epoll_wait(set, &event, 1, -1), 1);
	close(pair->b);
	ck_assert_int_eq(epoll_wait(set, &event, 1, 20), 0);
	fails(epoll_ctl(set, EPOLL_CTL_DEL, pair->b, &event), EBADF);
	close(set);
	pair->b = -1;
}

/* ---- options ---- */

static void options(struct pair *pair)
{
	int value = 1;
	socklen_t length = sizeof(value);

	ck_assert_int_eq(getsockopt(pair->a, SOL_SOCKET, SO_TYPE, &value, &length), 0);
	ck_assert_int_eq(value, SOCK_STREAM);
	ck_assert_int_eq(getsockopt(pair->a, SOL_SOCKET, SO_ERROR, &value, &length), 0);
	ck_assert_int_eq(value, 0);
	ck_assert_int_eq(setsockopt(pair->a, SOL_SOCKET, SO_KEEPALIVE, &length, length), 0);
	fails(setsockopt(pair->a, SOL_SOCKET, SO_KEEPALIVE, &length, 1), EINVAL);
	fails(getsockopt(pair->a, SOL_SOCKET, 9999, &value, &length), ENOPROTOOPT);
	fails(shutdown(pair->a, 99), EINVAL);
	ck_assert_int_eq(shutdown(pair->a, SHUT_WR), 0);
	ck_assert_int_eq(read(pair->b, &value, 1), 0);
	ck_assert_int_eq(write(pair->b, "x", 1), 1);
	expect(pair->a, "x");
}

/* ---- fortified ---- */

extern ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
extern ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
extern ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags,
			      struct sockaddr *address, socklen_t *length);
extern int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
extern int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		       const sigset_t *mask, size_t room);

static void fortified(struct pair *pair)
{
	struct pollfd entry = { .fd = pair->b, .events = POLLIN };
	char buffer[4];

	ck_assert_int_eq(write(pair->a, "abcdef", 6), 6);
	ck_assert_int_eq(__poll_chk(&entry, 1, -1, sizeof(entry)), 1);
	ck_assert_int_eq(__ppoll_chk(&entry, 1, NULL, NULL, sizeof(entry)), 1);
	ck_assert_int_eq(__read_chk(pair->b, buffer, 2, 4), 2);
	ck_assert_int_eq(__recv_chk(pair->b, buffer, 2, 4, 0), 2);
	ck_assert_int_eq(__recvfrom_chk(pair->b, buffer, 2, 4, 0, NULL, NULL), 2);
	ck_assert_mem_eq(buffer, "ef", 2);
}

START_TEST(an_overflow_ends_the_program)
{
	struct pair pair = pair_open(_i & 1 ? SAN : TCP);
	struct pollfd entry = { .fd = pair.b };
	char buffer[4];

	freopen("/dev/null", "w", stderr);
	switch (_i / 2) {
	case 0:
		__read_chk(pair.b, buffer, 5, 4);
		break;
	case 1:
		__recv_chk(pair.b, buffer, 5, 4, 0);
		break;
	case 2:
		__poll_chk(&entry, 2, 0, sizeof(entry));
		break;
	}
}
END_TEST

/* A kernel socket's splice is as good as it was; a SAN's is refused. */
START_TEST(splice_is_refused)
{
	struct pair pair = pair_open(SAN), tcp = pair_open(TCP);
	int pipe_fds[2];

	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
	fails(splice(pipe_fds[0], NULL, pair.a, NULL, 1, 0), EINVAL);
	fails(splice(pair.a, NULL, pipe_fds[1], NULL, 1, 0), EINVAL);
	ck_assert_int_eq(splice(pipe_fds[0], NULL, tcp.a, NULL, 1, 0), 1);
	expect(tcp.b, "x");
	close(pair.a);
	close(pair.b);
	close(tcp.a);
	close(tcp.b);
}
END_TEST

static void (*const scenarios[])(struct pair *pair) = {
	every_way_of_sending, every_way_of_receiving, small_writes_before_reading, nothing_there,
	bad_arguments, broken_pipe,
	whole_file, nonblocking_file, streams, bad_streams, duplicates, ranges_closed,
	closed_in_a_child, waiting, closing_while_watched, options, fortified,
};

#define SCENARIOS (int)(sizeof(scenarios) / sizeof(scenarios[0]))

START_TEST(same_on_both)
{
	struct pair pair = pair_open(_i % KINDS);

	scenarios[_i / KINDS](&pair);
	if (pair.a >= 0)
		ck_assert_int_eq(close(pair.a), 0);
	if (pair.b >= 0)
		ck_assert_int_eq(close(pair.b), 0);
	attention_drain(2000);
	ck_assert_uint_eq(loopback_exposed(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("libc calls");
	TCase *cases = tcase_create("calls");

	tcase_set_timeout(cases, 20);
	tcase_add_loop_test(cases, same_on_both, 0, SCENARIOS * KINDS);
	tcase_add_loop_test_raise_signal(cases, an_overflow_ends_the_program, SIGABRT, 0, 6);
	tcase_add_test(cases, splice_is_refused);
	suite_add_tcase(suite, cases);
	return suite_run(suite);
}
