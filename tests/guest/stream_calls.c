// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every call that moves a stream's bytes moves them alike: each way of sending
 * meets each way of receiving, small and large. Built with _FORTIFY_SOURCE, so
 * that the checked variants of libc are among them.
 */
#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SMALL = 600, LARGE = 150 * 1000 };

typedef ssize_t (*move)(int fd, char *buffer, size_t size);

static ssize_t send_vector(int fd, char *buffer, size_t size)
{
	struct iovec parts[] = {
		{ buffer, size / 3 }, { NULL, 0 }, { buffer + size / 3, size - size / 3 },
	};

	return writev(fd, parts, 3);
}

static ssize_t receive_vector(int fd, char *buffer, size_t size)
{
	struct iovec parts[] = {
		{ buffer, size / 3 }, { NULL, 0 }, { buffer + size / 3, size - size / 3 },
	};

	return readv(fd, parts, 3);
}

static ssize_t send_plain(int fd, char *buffer, size_t size)
{
	return send(fd, buffer, size, 0);
}

static ssize_t receive_plain(int fd, char *buffer, size_t size)
{
	return recv(fd, buffer, size, 0);
}

static ssize_t send_write(int fd, char *buffer, size_t size)
{
	return write(fd, buffer, size);
}

static ssize_t receive_read(int fd, char *buffer, size_t size)
{
	return read(fd, buffer, size);
}

static ssize_t send_to(int fd, char *buffer, size_t size)
{
	return sendto(fd, buffer, size, 0, NULL, 0);
}

static ssize_t receive_from(int fd, char *buffer, size_t size)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	ssize_t count = recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &length);

	/* A stream names no sender. */
	check(count < 0 || length == 0);
	return count;
}

static ssize_t send_message(int fd, char *buffer, size_t size)
{
	struct iovec part = { buffer, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	return sendmsg(fd, &message, 0);
}

static ssize_t receive_message(int fd, char *buffer, size_t size)
{
	struct iovec part = { buffer, size };
	char control[64];
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
		.msg_flags = -1,
	};
	ssize_t count = recvmsg(fd, &message, 0);

	check(count < 0 || (message.msg_controllen == 0 && message.msg_flags == 0));
	return count;
}

static ssize_t send_messages(int fd, char *buffer, size_t size)
{
	struct iovec parts[2] = { { buffer, size / 2 }, { buffer + size / 2, size - size / 2 } };
	struct mmsghdr messages[2] = {
		{ .msg_hdr = { .msg_iov = &parts[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &parts[1], .msg_iovlen = 1 } },
	};
	int sent = sendmmsg(fd, messages, 2, 0);

	if (sent < 0)
		return -1;
	check(sent == 1 || messages[0].msg_len == size / 2);
	return (ssize_t)messages[0].msg_len + (sent == 2 ? (ssize_t)messages[1].msg_len : 0);
}

static ssize_t receive_messages(int fd, char *buffer, size_t size)
{
	struct iovec part = { buffer, size };
	struct mmsghdr message = { .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } };
	int received = recvmmsg(fd, &message, 1, MSG_WAITFORONE, NULL);

	return received < 0 ? -1 : (ssize_t)message.msg_len;
}

/* From a file, at an offset and from the file's own position. */
static ssize_t send_file(int fd, char *buffer, size_t size)
{
	int file = memfd_create("stream", 0);
	off_t offset = 100;
	ssize_t sent;

	check(file >= 0);
	check_count(pwrite(file, buffer, size, offset), size);
	if (size > SMALL) {
		sent = sendfile(fd, file, &offset, size);
		check(sent < 0 || offset == 100 + sent);
	} else {
		check_count(lseek(file, offset, SEEK_SET), offset);
		sent = sendfile(fd, file, NULL, size);
		check(sent < 0 || lseek(file, 0, SEEK_CUR) == offset + sent);
	}
	close(file);
	return sent;
}

/* Through a pipe, where size allows, both ways. */
static ssize_t send_splice(int fd, char *buffer, size_t size)
{
	int pipes[2];
	ssize_t sent;

	check(pipe(pipes) == 0);
	if (size > 4096)
		size = 4096;
	check_count(write(pipes[1], buffer, size), size);
	sent = splice(pipes[0], NULL, fd, NULL, size, 0);
	/* Not every descriptor can be spliced; programs copy then. */
	if (sent < 0 && errno == EINVAL)
		sent = write(fd, buffer, size);
	check(sent <= 0 || (size_t)sent == size);
	close(pipes[0]);
	close(pipes[1]);
	return sent;
}

static ssize_t receive_splice(int fd, char *buffer, size_t size)
{
	int pipes[2];
	ssize_t received;

	check(pipe(pipes) == 0);
	if (size > 4096)
		size = 4096;
	received = splice(fd, NULL, pipes[1], NULL, size, 0);
	if (received < 0 && errno == EINVAL) {
		received = read(fd, buffer, size);
		if (received > 0)
			check_count(write(pipes[1], buffer, (size_t)received), received);
	}
	if (received > 0)
		check_count(read(pipes[0], buffer, (size_t)received), received);
	close(pipes[0]);
	close(pipes[1]);
	return received;
}

static ssize_t send_stdio(int fd, char *buffer, size_t size)
{
	FILE *file = fdopen(dup(fd), "w");

	check(file != NULL);
	check_count(fwrite(buffer, 1, size, file), size);
	check(fclose(file) == 0);
	return (ssize_t)size;
}

static ssize_t receive_stdio(int fd, char *buffer, size_t size)
{
	FILE *file = fdopen(dup(fd), "r");
	size_t count;

	check(file != NULL);
	/* Unbuffered, or it would read past what is asked for. */
	setvbuf(file, NULL, _IONBF, 0);
	count = fread(buffer, 1, size, file);
	check(fclose(file) == 0);
	return (ssize_t)count;
}

static const struct { const char *name; move call; } senders[] = {
	{ "send", send_plain }, { "write", send_write }, { "writev", send_vector },
	{ "sendto", send_to }, { "sendmsg", send_message }, { "sendmmsg", send_messages },
	{ "sendfile", send_file }, { "splice", send_splice }, { "fwrite", send_stdio },
};
static const struct { const char *name; move call; } receivers[] = {
	{ "recv", receive_plain }, { "read", receive_read }, { "readv", receive_vector },
	{ "recvfrom", receive_from }, { "recvmsg", receive_message },
	{ "recvmmsg", receive_messages }, { "splice", receive_splice },
	{ "fread", receive_stdio },
};
enum {
	SENDERS = sizeof(senders) / sizeof(senders[0]),
	RECEIVERS = sizeof(receivers) / sizeof(receivers[0]),
};

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(LARGE);
	uint64_t stream = 0;

	check(buffer != NULL);
	for (int i = 0; i < SENDERS * RECEIVERS * 2; i++, stream++) {
		int how = i / 2 % RECEIVERS;
		size_t size = i % 2 ? LARGE : SMALL, total = 0;

		while (total < size) {
			ssize_t count = receivers[how].call(fd, buffer, size - total);

			if (count <= 0 || (size_t)count > size - total) {
				fprintf(stderr, "stream_calls: %s of %zu is %zd\n",
					receivers[how].name, size - total, count);
				check(count > 0);
			}
			stream_pattern_check(buffer, (size_t)count, stream, total);
			total += (size_t)count;
		}
	}

	/* MSG_TRUNC takes bytes of a stream away without showing them. */
	check_count(recv(fd, NULL, 10, MSG_TRUNC | MSG_WAITALL), 10);
	stream_receive_all(fd, buffer, 5);
	stream_pattern_check(buffer, 5, stream, 10);
	close(fd);
	free(buffer);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *buffer = malloc(LARGE);
	uint64_t stream = 0;

	check(buffer != NULL);
	for (int i = 0; i < SENDERS * RECEIVERS * 2; i++, stream++) {
		int how = i / 2 / RECEIVERS;
		size_t size = i % 2 ? LARGE : SMALL, total = 0;

		stream_pattern_fill(buffer, size, stream, 0);
		while (total < size) {
			ssize_t count = senders[how].call(fd, buffer + total, size - total);

			if (count <= 0 || (size_t)count > size - total) {
				fprintf(stderr, "stream_calls: %s of %zu is %zd\n",
					senders[how].name, size - total, count);
				check(count > 0);
			}
			total += (size_t)count;
		}
	}
	stream_pattern_fill(buffer, 15, stream, 0);
	stream_send_all(fd, buffer, 15);
	close(fd);
	free(buffer);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
