// SPDX-License-Identifier: BSD-2-Clause
/*
 * Several connections between two processes, each with threads that send from and receive
 * into buffers while other threads change these buffers' memory in every way the kernel has
 * (changes.c). Who has a buffer has it alone (buffer.h), so every byte that arrives is known
 * beforehand, and is checked.
 *
 * An ordinary socket program (stream.h). Under the library it also takes part in registering:
 * registrations.h.
 *
 * ARGUMENTS: [SECONDS [SEED [LIMIT]]]
 *   SECONDS  how long (default 60)
 *   SEED     of all random choices (default: a random one, which is printed)
 *   LIMIT    seconds until memory that went must be given back (default 20: generous, for an
 *            emulated machine)
 */
#include "stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "buffer.h"
#include "changes.h"
#include "registrations.h"

enum {
	CONNECTIONS = 4,		/* one way each, in turn */
	CHANGERS = 2,
	LEAST_DIRECT = 32768,		/* of this many bytes on, the buffer itself is registered */
	COMMON_MOST = 64 * PAGE,
};

/* What is said before the bytes of a transfer: where they are from. */
struct header {
	uint64_t source;
	uint32_t offset;
	uint32_t size;			/* 0: there are no more */
};

struct worker {
	pthread_t thread;
	int fd;
	uint64_t random;
};

static double seconds = 60;
static double held_limit = 20;
static double stop_at;
static uint64_t seed;
static _Atomic bool stop_changing;
static _Atomic unsigned transfers;
static _Atomic uint64_t bytes;

/* ---- sending ---- */

/* The part of the buffer that goes next. */
static void choose_part(const struct buffer *buffer, uint64_t *random, size_t *offset, size_t *size)
{
	size_t all = (size_t)buffer->pages * PAGE, most;

	*offset = 0;
	if (below(random, 2))
		*offset = below(random, (unsigned)(all - LEAST_DIRECT));
	if (below(random, 2))
		*offset -= *offset % PAGE;
	most = all - *offset;
	if (most > COMMON_MOST && below(random, 8))
		most = COMMON_MOST;
	*size = most;
	if (!below(random, 8))
		*size = 1 + below(random, LEAST_DIRECT - 1);
	else if (most > LEAST_DIRECT && below(random, 2))
		*size = LEAST_DIRECT + below(random, (unsigned)(most - LEAST_DIRECT));
}

static void send_part(struct worker *worker, struct buffer *buffer, size_t offset, size_t size,
		      bool exchange)
{
	struct { struct header header; uint32_t generations[LARGE_PAGES]; } about;
	unsigned first = (unsigned)(offset / PAGE);
	unsigned count = (unsigned)((offset + size - 1) / PAGE) - first + 1;
	struct exchange other = { .fresh = NULL };

	if (exchange)
		other = exchange_prepare(buffer, &worker->random);
	about.header = (struct header){
		.source = buffer_source(buffer), .offset = (uint32_t)offset, .size = (uint32_t)size,
	};
	for (unsigned i = 0; i < count; i++)
		about.generations[i] = buffer->page[first + i].generation;
	stream_send_all(worker->fd, &about, sizeof(about.header) + count * sizeof(uint32_t));
	registrations_transfer_begins(buffer, !below(&worker->random, 4));
	/* No time between the change and the transfer. */
	exchange_now(&other);
	stream_send_all(worker->fd, buffer->address + offset, size);
	registrations_transfer_ends();
	buffer_check(buffer, (size_t)below(&worker->random, buffer->pages) * PAGE, PAGE);
	transfers++;
}

static void *send_all(void *argument)
{
	struct worker *worker = argument;
	struct header end = { .size = 0 };

	while (stream_now() < stop_at) {
		struct buffer *buffer = buffer_take(&worker->random, false);
		unsigned rounds = 1 + below(&worker->random, 4);
		size_t offset, size;

		choose_part(buffer, &worker->random, &offset, &size);
		/* The same part again finds it registered. */
		for (unsigned i = 0; i < rounds; i++)
			send_part(worker, buffer, offset, size, i && below(&worker->random, 4));
		buffer_give(buffer);
	}
	stream_send_all(worker->fd, &end, sizeof(end));
	return NULL;
}

/* ---- receiving ---- */

/* All but the received part of the pages it touches is as it was. */
static void check_around(const struct buffer *buffer, size_t offset, size_t size)
{
	size_t before = offset % PAGE, end = offset + size, after = -end % PAGE;

	buffer_check(buffer, offset - before, before);
	buffer_check(buffer, end, after);
}

/* Receives up to @size bytes of what the generations tell; returns how many. */
static size_t receive_part(struct worker *worker, const struct header *header, size_t done,
			   const uint32_t *generations)
{
	struct buffer *buffer = buffer_take(&worker->random, true);
	struct exchange exchange = { .fresh = NULL };
	size_t offset, size, from = header->offset + done;
	unsigned first, count;

	choose_part(buffer, &worker->random, &offset, &size);
	if (size > header->size - done)
		size = header->size - done;
	first = (unsigned)(offset / PAGE);
	count = (unsigned)((offset + size - 1) / PAGE) - first + 1;
	if (!below(&worker->random, 3))
		exchange = exchange_prepare(buffer, &worker->random);
	registrations_transfer_begins(buffer, !below(&worker->random, 4));
	exchange_now(&exchange);
	if (below(&worker->random, 2))
		check_count(recv(worker->fd, buffer->address + offset, size, MSG_WAITALL), size);
	else
		stream_receive_all(worker->fd, buffer->address + offset, size);
	registrations_transfer_ends();
	contents_check(buffer->address + offset, size, header->source, from,
		       generations + (from / PAGE - header->offset / PAGE), buffer, offset);
	check_around(buffer, offset, size);
	buffer_fill(buffer, first, count);
	buffer_give(buffer);
	return size;
}

static void *receive_all(void *argument)
{
	struct worker *worker = argument;
	struct header header;
	uint32_t generations[LARGE_PAGES];

	for (;;) {
		unsigned count;

		stream_receive_all(worker->fd, &header, sizeof(header));
		if (!header.size)
			break;
		check(header.size <= LARGE_PAGES * PAGE);
		check(header.offset < LARGE_PAGES * PAGE);
		count = (header.offset + header.size - 1) / PAGE - header.offset / PAGE + 1;
		check(count <= LARGE_PAGES);
		stream_receive_all(worker->fd, generations, count * sizeof(generations[0]));
		for (size_t done = 0; done < header.size;)
			done += receive_part(worker, &header, done, generations);
		bytes += header.size;
	}
	check_count(recv(worker->fd, &header, 1, 0), 0);
	return NULL;
}

/* ---- changing ---- */

static void *change_all(void *argument)
{
	struct worker *worker = argument;

	while (!stop_changing) {
		struct buffer *buffer = buffer_take(&worker->random, false);

		change_at_random(buffer, &worker->random);
		buffer_give(buffer);
		usleep(below(&worker->random, 3000));
	}
	return NULL;
}

/* ---- both ends ---- */

static void *watch(void *argument)
{
	(void)argument;
	while (!stop_changing) {
		registrations_check(held_limit);
		usleep(500000);
	}
	return NULL;
}

static void start(struct worker *worker, void *(*run)(void *), int fd, uint64_t random)
{
	*worker = (struct worker){ .fd = fd, .random = random };
	check(pthread_create(&worker->thread, NULL, run, worker) == 0);
}

static void report(const char *who)
{
	unsigned held, made, changed;

	registrations_count(&held, &made, &changed);
	changes_report(who);
	printf("%s: %u transfers, %llu bytes received; %u registrations, %u changed meanwhile, "
	       "%u still held; %s huge pages of hugetlb\n", who, transfers,
	       (unsigned long long)bytes, made, changed, held, buffers_hugetlb() ? "with" : "no");
	fflush(stdout);
}

static void run(const int *fds, bool client)
{
	struct worker changers[CHANGERS], workers[CONNECTIONS], watcher;
	uint64_t random = seed * 2 + client;

	stop_at = stream_now() + seconds;
	buffers_create(1 + client, stream_random(&random));
	start(&watcher, watch, -1, 0);
	for (int i = 0; i < CHANGERS; i++)
		start(&changers[i], change_all, -1, stream_random(&random));
	for (int i = 0; i < CONNECTIONS; i++)
		start(&workers[i], i % 2 == client ? send_all : receive_all, fds[i],
		      stream_random(&random));
	for (int i = 0; i < CONNECTIONS; i++) {
		check(pthread_join(workers[i].thread, NULL) == 0);
		if (i % 2 == client)
			check(shutdown(fds[i], SHUT_WR) == 0);
	}
	stop_changing = true;
	for (int i = 0; i < CHANGERS; i++)
		check(pthread_join(changers[i].thread, NULL) == 0);
	check(pthread_join(watcher.thread, NULL) == 0);
	while (registrations_check(held_limit))
		usleep(50000);
	changes_await_children();
	report(client ? "client" : "server");
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
}

static void read_arguments(void)
{
	char **words = stream_arguments();
	const char *number = getenv("TORTURE_SEED");

	if (words[0]) {
		seconds = atof(words[0]);
		if (words[1]) {
			number = words[1];
			if (words[2])
				held_limit = atof(words[2]);
		}
	}
	check(number != NULL);
	seed = strtoull(number, NULL, 0);
}

static void server(int listener)
{
	int fds[CONNECTIONS];

	read_arguments();
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = stream_accept(listener);
		unsigned char number;

		stream_receive_all(fd, &number, 1);
		check(number < CONNECTIONS);
		fds[number] = fd;
	}
	run(fds, false);
}

static void client(const struct sockaddr_in *peer)
{
	int fds[CONNECTIONS];

	read_arguments();
	for (unsigned char i = 0; i < CONNECTIONS; i++) {
		fds[i] = stream_connect(peer);
		stream_send_all(fds[i], &i, 1);
	}
	run(fds, true);
}

int main(int argc, char **argv)
{
	char number[32];
	uint32_t drawn;

	/* Drawn once, for both ends. */
	if (argc <= 4 && !getenv("TORTURE_SEED")) {
		check_count(getrandom(&drawn, sizeof(drawn), 0), sizeof(drawn));
		snprintf(number, sizeof(number), "%u", drawn);
		setenv("TORTURE_SEED", number, 1);
		printf("seed %u\n", drawn);
		fflush(stdout);
	}
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
