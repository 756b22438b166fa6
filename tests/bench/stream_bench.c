// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a plain socket program gets: throughput of sends of one size, latency of
 * a ping-pong, and the memory of idle connections. It uses nothing but ordinary
 * blocking socket calls, so that the same program measures TCP, rsockets (under
 * librspreload) and wsdirect.
 *
 * usage: stream_bench server ADDRESS PORT
 *        stream_bench stream ADDRESS PORT SIZE SECONDS   megabytes per second
 *        stream_bench latency ADDRESS PORT SIZE SECONDS  microseconds, one way: median, mean;
 *                 what passes from one answer to the next, as in tools that know the mean only
 *        stream_bench latency ADDRESS PORT SIZE SECONDS IN OUT
 *                 the same in turns with others: waits for a byte from the descriptor IN before
 *                 each turn and writes one to OUT behind it; as many turns for all of them
 *        stream_bench idle ADDRESS PORT COUNT            KiB per connection: server, client
 *        stream_bench quit ADDRESS PORT                  ends the server
 *
 * The result is one line on standard output; exit status 0, or 1 with a reason.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum work { WORK_STREAM, WORK_LATENCY, WORK_IDLE, WORK_QUIT };

/* Opens every connection. */
struct request {
	uint32_t work;
	uint32_t size;		/* bytes of a send, or connections */
};

/* Closes a stream: what the server got, and how long it took. */
struct account {
	uint64_t bytes;
	double seconds;
};

/*
 * A turn takes about a tenth of a second. The first round trips of a turn are not counted, for both
 * ends were asleep, nor is the last turn: the others may be ending.
 */
enum {
	LATENCY_SAMPLES = 200000, IDLE_MOST = 4096, RECEIVE_LEAST = 64 * 1024,
	TURN_ROUND_TRIPS = 4000, TURN_UNCOUNTED = 500, TURNS_A_SECOND = 10,
};

/* Whom to take turns with; in: -1 if with nobody. */
struct turns {
	int in, out;
	unsigned int left;
};

static void die(const char *what)
{
	fprintf(stderr, "stream_bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static char *make_buffer(size_t size)
{
	char *buffer = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);

	if (!buffer)
		die("memory");
	memset(buffer, 'w', size);
	return buffer;
}

static void send_all(int fd, const void *data, size_t size)
{
	const char *next = data;

	while (size) {
		ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			die("send");
		next += sent;
		size -= (size_t)sent;
	}
}

static void receive_all(int fd, void *data, size_t size)
{
	char *next = data;

	while (size) {
		ssize_t received = recv(fd, next, size, 0);

		if (received < 0 && errno == EINTR)
			continue;
		if (!received)
			errno = ECONNRESET;
		if (received <= 0)
			die("recv");
		next += received;
		size -= (size_t)received;
	}
}

static uint64_t resident_kib(void)
{
	char line[256];
	unsigned long kib = 0;
	FILE *status = fopen("/proc/self/status", "r");

	if (!status)
		die("/proc/self/status");
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "VmRSS: %lu", &kib) == 1)
			break;
	fclose(status);
	return kib;
}

static struct sockaddr_in parse_address(const char *address, const char *port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1) {
		fprintf(stderr, "stream_bench: not an IPv4 address: %s\n", address);
		exit(2);
	}
	return name;
}

/* ---- server ------------------------------------------------------------ */

static void serve_stream(int fd, uint32_t size)
{
	size_t room = size > RECEIVE_LEAST ? size : RECEIVE_LEAST;
	char *buffer = make_buffer(room);
	struct account account = { 0 };
	double start = now();

	for (;;) {
		ssize_t received = recv(fd, buffer, room, 0);

		if (received < 0)
			die("recv");
		if (!received)
			break;
		account.bytes += (uint64_t)received;
	}
	account.seconds = now() - start;
	send_all(fd, &account, sizeof(account));
	free(buffer);
}

static void serve_latency(int fd, uint32_t size)
{
	char *buffer = make_buffer(size);

	for (;;) {
		size_t got = 0;

		while (got < size) {
			ssize_t received = recv(fd, buffer + got, size - got, 0);

			if (received < 0)
				die("recv");
			if (!received) {
				free(buffer);
				return;
			}
			got += (size_t)received;
		}
		send_all(fd, buffer, size);
	}
}

/* The first connection asks, @count more come, each with a byte that is answered. */
static void serve_idle(int listener, int fd, uint32_t count)
{
	int *idle = calloc(count, sizeof(*idle));
	uint64_t before = resident_kib(), after;
	char byte;

	if (!idle)
		die("memory");
	send_all(fd, "r", 1);
	for (uint32_t i = 0; i < count; i++) {
		idle[i] = accept(listener, NULL, NULL);
		if (idle[i] < 0)
			die("accept");
		receive_all(idle[i], &byte, 1);
		send_all(idle[i], &byte, 1);
	}
	after = resident_kib();
	send_all(fd, &before, sizeof(before));
	send_all(fd, &after, sizeof(after));
	receive_all(fd, &byte, 1);
	for (uint32_t i = 0; i < count; i++)
		close(idle[i]);
	free(idle);
}

static void serve(struct sockaddr_in name)
{
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0)
		die("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&name, sizeof(name)))
		die("bind");
	if (listen(listener, 512))
		die("listen");
	for (;;) {
		struct request request;
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			die("accept");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		receive_all(fd, &request, sizeof(request));
		switch (request.work) {
		case WORK_STREAM:
			serve_stream(fd, request.size);
			break;
		case WORK_LATENCY:
			serve_latency(fd, request.size);
			break;
		case WORK_IDLE:
			if (request.size <= IDLE_MOST)
				serve_idle(listener, fd, request.size);
			break;
		case WORK_QUIT:
			send_all(fd, "q", 1);
			close(fd);
			close(listener);
			return;
		}
		close(fd);
	}
}

/* ---- client ------------------------------------------------------------ */

static int connect_to(const struct sockaddr_in *name)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (const struct sockaddr *)name, sizeof(*name)))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int ask(const struct sockaddr_in *name, enum work work, uint32_t size)
{
	struct request request = { .work = work, .size = size };
	int fd = connect_to(name);

	send_all(fd, &request, sizeof(request));
	return fd;
}

static void measure_stream(const struct sockaddr_in *name, uint32_t size, double seconds)
{
	char *buffer = make_buffer(size);
	int fd = ask(name, WORK_STREAM, size);
	struct account account;
	double end = now() + seconds;

	/* Small sends would otherwise measure the clock. */
	for (unsigned i = 0; i % 16 || now() < end; i++)
		send_all(fd, buffer, size);
	shutdown(fd, SHUT_WR);
	receive_all(fd, &account, sizeof(account));
	close(fd);
	free(buffer);
	printf("%.2f\n", (double)account.bytes / account.seconds / 1e6);
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Hands the turn on if it was taken, and waits for the next. False: that was the last. */
static bool next_turn(struct turns *turns, bool taken)
{
	char byte = '.';

	if (taken && write(turns->out, &byte, 1) != 1)
		die("the next one's turn");
	if (taken && !--turns->left)
		return false;
	if (read(turns->in, &byte, 1) != 1)
		die("waiting for a turn");
	return true;
}

static void measure_latency(const struct sockaddr_in *name, uint32_t size, double seconds,
			    struct turns *turns)
{
	bool in_turns = turns->in >= 0;
	size_t uncounted = in_turns ? TURN_UNCOUNTED : 50, done = 0, count = 0;
	size_t most = in_turns ? (size_t)turns->left * TURN_ROUND_TRIPS : LATENCY_SAMPLES;
	double *samples = calloc(most, sizeof(*samples)), sum = 0, end, last, answered;
	char *buffer = make_buffer(size);
	int fd = ask(name, WORK_LATENCY, size);

	if (!samples)
		die("memory");
	last = now();
	end = last + seconds;
	do {
		if (in_turns && done % TURN_ROUND_TRIPS == 0) {
			if (!next_turn(turns, done > 0))
				break;
			done = 0;
		}
		send_all(fd, buffer, size);
		receive_all(fd, buffer, size);
		answered = now();
		if (done++ >= uncounted && !(in_turns && turns->left == 1)) {
			samples[count] = answered - last;
			sum += samples[count++];
		}
		last = answered;
	} while (count < most && (in_turns || !count || last <= end));
	close(fd);
	qsort(samples, count, sizeof(*samples), compare);
	printf("%.2f %.2f\n", samples[count / 2] / 2 * 1e6, sum / (double)count / 2 * 1e6);
	free(samples);
	free(buffer);
}

static void measure_idle(const struct sockaddr_in *name, uint32_t count)
{
	int *idle = calloc(count, sizeof(*idle));
	int fd = ask(name, WORK_IDLE, count);
	uint64_t before = resident_kib(), after, server_before, server_after;
	char byte;

	if (!idle || !count)
		die("memory");
	receive_all(fd, &byte, 1);
	for (uint32_t i = 0; i < count; i++) {
		idle[i] = connect_to(name);
		send_all(idle[i], "i", 1);
		receive_all(idle[i], &byte, 1);
	}
	after = resident_kib();
	receive_all(fd, &server_before, sizeof(server_before));
	receive_all(fd, &server_after, sizeof(server_after));
	send_all(fd, "d", 1);
	for (uint32_t i = 0; i < count; i++)
		close(idle[i]);
	close(fd);
	free(idle);
	printf("%.1f %.1f\n", (double)(server_after - server_before) / count,
	       (double)(after - before) / count);
}

static int usage(void)
{
	fprintf(stderr, "usage: stream_bench server|stream|latency|idle|quit ADDRESS PORT "
		"[SIZE [SECONDS]]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_in name;
	struct turns turns = { .in = -1 };
	struct rlimit files;
	uint32_t size;
	double seconds;

	if (argc < 4)
		return usage();
	name = parse_address(argv[2], argv[3]);
	size = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0;
	seconds = argc > 5 ? strtod(argv[5], NULL) : 1;
	if (argc > 7)
		turns = (struct turns){
			.in = atoi(argv[6]), .out = atoi(argv[7]),
			.left = (unsigned int)(seconds * TURNS_A_SECOND + 2),
		};
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}

	if (!strcmp(argv[1], "server")) {
		serve(name);
	} else if (!strcmp(argv[1], "quit")) {
		char byte;

		receive_all(ask(&name, WORK_QUIT, 0), &byte, 1);
	} else if (!size) {
		return usage();
	} else if (!strcmp(argv[1], "stream")) {
		measure_stream(&name, size, seconds);
	} else if (!strcmp(argv[1], "latency")) {
		measure_latency(&name, size, seconds, &turns);
	} else if (!strcmp(argv[1], "idle")) {
		measure_idle(&name, size);
	} else {
		return usage();
	}
	return 0;
}
