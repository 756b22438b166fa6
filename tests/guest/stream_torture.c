// SPDX-License-Identifier: BSD-2-Clause
/*
 * Random sizes in both directions at once on several connections, a sending and
 * a receiving thread for each end of each, by a random choice of calls and of
 * blocking and nonblocking sockets; every byte is checked.
 *
 * ARGUMENTS: [MEGABYTES per direction and connection [SEED]]
 */
#include "stream.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CONNECTIONS = 3, LARGEST = 300 * 1000, PARTS = 5 };

struct flow {
	int fd;
	uint64_t stream;	/* names the contents */
	uint64_t total;
	uint64_t state;		/* of the random choices */
};

/* Small, middling and large in equal shares: each takes another path. */
static size_t random_size(struct flow *flow)
{
	static const size_t most[] = { 64, 5000, LARGEST };

	return 1 + stream_random(&flow->state) % most[stream_random(&flow->state) % 3];
}

/* Cuts a buffer at random into an iovec. */
static int random_parts(struct flow *flow, char *buffer, size_t size, struct iovec *parts)
{
	int count = 0;

	while (count < PARTS - 1 && size > 1) {
		size_t piece = stream_random(&flow->state) % size;

		parts[count++] = (struct iovec){ buffer, piece };
		buffer += piece;
		size -= piece;
	}
	parts[count++] = (struct iovec){ buffer, size };
	return count;
}

static ssize_t send_somehow(struct flow *flow, char *buffer, size_t size)
{
	struct iovec parts[PARTS];
	struct msghdr message = { .msg_iov = parts };

	switch (stream_random(&flow->state) % 5) {
	case 0:
		return write(flow->fd, buffer, size);
	case 1:
		return send(flow->fd, buffer, size, MSG_DONTWAIT);
	case 2:
		return writev(flow->fd, parts, random_parts(flow, buffer, size, parts));
	case 3:
		message.msg_iovlen = (size_t)random_parts(flow, buffer, size, parts);
		return sendmsg(flow->fd, &message, 0);
	default:
		return send(flow->fd, buffer, size, 0);
	}
}

static ssize_t receive_somehow(struct flow *flow, char *buffer, size_t size)
{
	struct iovec parts[PARTS];
	struct msghdr message = { .msg_iov = parts };

	switch (stream_random(&flow->state) % 6) {
	case 0:
		return read(flow->fd, buffer, size);
	case 1:
		return recv(flow->fd, buffer, size, MSG_DONTWAIT);
	case 2:
		return readv(flow->fd, parts, random_parts(flow, buffer, size, parts));
	case 3:
		message.msg_iovlen = (size_t)random_parts(flow, buffer, size, parts);
		return recvmsg(flow->fd, &message, 0);
	case 4:
		return recv(flow->fd, buffer, size, MSG_WAITALL);
	default:
		return recv(flow->fd, buffer, size, 0);
	}
}

static void *send_flow(void *argument)
{
	struct flow *flow = argument;
	char *buffer = malloc(LARGEST);
	uint64_t offset = 0;

	check(buffer != NULL);
	while (offset < flow->total) {
		size_t size = random_size(flow), done = 0;

		if (size > flow->total - offset)
			size = flow->total - offset;
		stream_pattern_fill(buffer, size, flow->stream, offset);
		while (done < size) {
			ssize_t sent = send_somehow(flow, buffer + done, size - done);

			if (sent < 0 && errno == EAGAIN) {
				stream_poll(flow->fd, POLLOUT);
				continue;
			}
			check(sent > 0 && (size_t)sent <= size - done);
			done += (size_t)sent;
		}
		offset += size;
	}
	check(shutdown(flow->fd, SHUT_WR) == 0);
	free(buffer);
	return NULL;
}

static void *receive_flow(void *argument)
{
	struct flow *flow = argument;
	char *buffer = malloc(LARGEST);
	uint64_t offset = 0;

	check(buffer != NULL);
	for (;;) {
		size_t size = random_size(flow);
		ssize_t received = receive_somehow(flow, buffer, size);

		if (received < 0 && errno == EAGAIN) {
			stream_poll(flow->fd, POLLIN);
			continue;
		}
		check(received >= 0 && (size_t)received <= size);
		if (!received)
			break;
		stream_pattern_check(buffer, (size_t)received, flow->stream, offset);
		offset += (uint64_t)received;
	}
	check_count(offset, flow->total);
	free(buffer);
	return NULL;
}

static void run_flows(const int *fds, bool client)
{
	char **words = stream_arguments();
	uint64_t total = (words[0] ? strtoull(words[0], NULL, 0) : 4) << 20;
	uint64_t seed = words[0] && words[1] ? strtoull(words[1], NULL, 0) : 1;
	pthread_t threads[2 * CONNECTIONS];
	struct flow flows[2 * CONNECTIONS];

	for (int i = 0; i < 2 * CONNECTIONS; i++) {
		bool sends = i % 2;

		flows[i] = (struct flow){
			.fd = fds[i / 2],
			/* What one end sends is what the other receives. */
			.stream = 2 * (uint64_t)(i / 2) + (sends == client),
			.total = total,
			.state = seed * 1000 + (uint64_t)i + (client ? 500 : 0),
		};
		check(pthread_create(&threads[i], NULL, sends ? send_flow : receive_flow,
				     &flows[i]) == 0);
	}
	for (int i = 0; i < 2 * CONNECTIONS; i++)
		check(pthread_join(threads[i], NULL) == 0);
	for (int i = 0; i < CONNECTIONS; i++)
		check(close(fds[i]) == 0);
}

static void server(int listener)
{
	int fds[CONNECTIONS];

	/* In the order the client connects: each says which it is. */
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = stream_accept(listener);
		char which;

		stream_receive_all(fd, &which, 1);
		check(which >= 0 && which < CONNECTIONS);
		fds[(int)which] = fd;
		stream_set_nonblocking(fd, which == 1);
	}
	run_flows(fds, false);
}

static void client(const struct sockaddr_in *peer)
{
	int fds[CONNECTIONS];

	for (char i = 0; i < CONNECTIONS; i++) {
		fds[(int)i] = stream_connect(peer);
		stream_send_all(fds[(int)i], &i, 1);
		stream_set_nonblocking(fds[(int)i], i == 2);
	}
	run_flows(fds, true);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
