/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session between two switches, over the loopback provider: the byte stream,
 * the credits, and large data in each of its ways.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "attention.h"
#include "libc_calls.h"
#include "lifetime.h"
#include "loopback_provider.h"
#include "session_fixture.h"
#include "settings.h"
#include "statistics.h"
#include "waiter.h"

#define MIB (1024 * 1024)

/* Byte number n of a test stream. */
static uint8_t pattern(uint64_t n)
{
	return (uint8_t)(n * 2654435761u >> 13 ^ n >> 3);
}

static void fill(uint8_t *data, size_t size, uint64_t from)
{
	for (size_t i = 0; i < size; i++)
		data[i] = pattern(from + i);
}

static void compare(const uint8_t *data, size_t size, uint64_t from)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != pattern(from + i))
			ck_abort_msg("byte %llu is wrong", (unsigned long long)(from + i));
}

/* A thread that sends or receives a whole stream in pieces of random or fixed size. */
struct flow {
	struct socket *socket;
	size_t total, piece;		/* piece 0: random up to 200000 */
	bool sends;
	int flags;
	unsigned int seed;
};

static void *flow_run(void *argument)
{
	struct flow *flow = argument;
	uint8_t *buffer = malloc(4 * MIB);
	size_t done = 0;

	while (done < flow->total) {
		size_t size = flow->piece ? flow->piece :
			      rand_r(&flow->seed) % 3 ? (size_t)rand_r(&flow->seed) % 3000 + 1 :
							(size_t)rand_r(&flow->seed) % 200000 + 1;
		ssize_t part;

		if (size > flow->total - done)
			size = flow->total - done;
		if (flow->sends) {
			fill(buffer, size, done);
			part = put(flow->socket, buffer, size, flow->flags);
		} else {
			part = get(flow->socket, buffer, size, flow->flags);
		}
		if (part == -EAGAIN && flow->flags & MSG_DONTWAIT) {
			struct timespec pause = { .tv_nsec = 100000 };

			nanosleep(&pause, NULL);
			continue;
		}
		if (part <= 0)
			ck_abort_msg("%s: %s after %zu bytes", flow->sends ? "send" : "receive",
				     strerror((int)-part), done);
		if (!flow->sends)
			compare(buffer, (size_t)part, done);
		done += (size_t)part;
	}
	free(buffer);
	return NULL;
}

static void run_flows(struct flow *flows, int count)
{
	pthread_t threads[8];

	for (int i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, flow_run, &flows[i]);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

START_TEST(small_messages_arrive)
{
	struct pair pair = pair_open();
	char buffer[64];

	ck_assert_int_eq(put(pair.a, "hello", 5, 0), 5);
	ck_assert_int_eq(get(pair.b, buffer, sizeof(buffer), 0), 5);
	ck_assert_mem_eq(buffer, "hello", 5);
	ck_assert_int_eq(put(pair.b, "x", 1, 0), 1);
	ck_assert_int_eq(get(pair.a, buffer, sizeof(buffer), 0), 1);
	ck_assert_int_eq(get(pair.a, buffer, sizeof(buffer), MSG_DONTWAIT), -EAGAIN);
	pair_close(pair);
}
END_TEST

/* Now the provider copies a small message, now it has no room and gets it the other way. */
START_TEST(small_messages_go_either_way)
{
	struct pair pair = pair_open();
	uint8_t data[300], back[sizeof(data)];
	uint64_t position = 0;

	for (size_t size = 1; size <= sizeof(data); size++) {
		loopback_full = size % 3 == 0;
		fill(data, size, position);
		ck_assert_int_eq(put(pair.a, data, size, 0), size);
		/* It is the caller's again. */
		memset(data, 0xee, size);
		ck_assert_int_eq(get(pair.b, back, size, MSG_WAITALL), size);
		compare(back, size, position);
		position += size;
	}
	pair_close(pair);
}
END_TEST

/* With TCP_NODELAY each small send is a message, until the peer is seen to be behind. */
START_TEST(small_sends_collect_while_half_of_the_credits_are_out)
{
	struct pair pair = pair_connect();
	struct session *session = &pair.a->session;
	uint64_t before = session->messages_sent;
	uint32_t alone = session->credits_total / 2 - (session->credits_total - session->credits);
	uint8_t data[200], back[sizeof(data)];

	session->collect = false;
	fill(data, sizeof(data), 0);
	for (size_t i = 0; i < sizeof(data); i++) {
		ck_assert_int_eq(put(pair.a, data + i, 1, 0), 1);
		ck_assert_uint_eq(session->messages_sent - before, i < alone ? i + 1 : alone);
	}
	ck_assert(session->credits > CREDITS_CONTROL);
	ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), alone);
	/* Whose credits make the rest go, in one. */
	socket_poll(pair.a);
	ck_assert_uint_eq(session->messages_sent - before, alone + 1);
	ck_assert_int_eq(get(pair.b, back + alone, sizeof(back) - alone, 0), sizeof(back) - alone);
	compare(back, sizeof(back), 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(peek_leaves_the_bytes)
{
	struct pair pair = pair_open();
	char buffer[16];

	ck_assert_int_eq(put(pair.a, "abcdef", 6, 0), 6);
	ck_assert_int_eq(get(pair.b, buffer, 4, MSG_PEEK), 4);
	ck_assert_int_eq(get(pair.b, buffer, 3, 0), 3);
	ck_assert_int_eq(get(pair.b, buffer, sizeof(buffer), 0), 3);
	ck_assert_mem_eq(buffer, "def", 3);
	pair_close(pair);
}
END_TEST

/* Every way of large data, by how each end calls. */
static const struct { size_t send, receive; int send_flags, receive_flags; } ways[] = {
	{ MIB, MIB, 0, MSG_WAITALL },			/* pushed */
	{ MIB, MIB, 0, MSG_DONTWAIT },			/* pulled */
	{ MIB, 3000, 0, 0 },				/* spilled */
	{ MIB, MIB, MSG_DONTWAIT, 0 },			/* staged */
	{ 100, 64 * 1024, 0, 0 },			/* collected */
	{ 64 * 1024, 100, MSG_DONTWAIT, MSG_DONTWAIT },
	{ 0, 0, 0, 0 },
	{ 0, 0, MSG_DONTWAIT, 0 },
	{ 0, 0, 0, MSG_DONTWAIT },
};

START_TEST(streams_arrive_whole_and_in_order)
{
	struct pair pair = pair_open();
	struct flow flows[4] = {
		{ pair.a, 16 * MIB, ways[_i].send, true, ways[_i].send_flags, 1 },
		{ pair.b, 16 * MIB, ways[_i].receive, false, ways[_i].receive_flags, 2 },
		{ pair.b, 8 * MIB, ways[_i].send, true, ways[_i].send_flags, 3 },
		{ pair.a, 8 * MIB, ways[_i].receive, false, ways[_i].receive_flags, 4 },
	};

	run_flows(flows, 4);
	pair_close(pair);
}
END_TEST

/* With EPOLLET nobody would wait for what it left. */
START_TEST(a_short_nonblocking_receive_left_nothing)
{
	static const size_t sizes[][2] = { { 3000, 0 }, { 20000, 30000 }, { 4 * MIB, 0 } };
	struct pair pair = pair_open();
	uint8_t *data = malloc(MIB), *back = malloc(4 * MIB);
	struct iovec vector[2] = { { back, sizes[_i][0] }, { back + sizes[_i][0], sizes[_i][1] } };
	size_t done = 0, size = sizes[_i][0] + sizes[_i][1];
	ssize_t sent;

	fill(data, MIB, 0);
	sent = put(pair.a, data, MIB, MSG_DONTWAIT);
	ck_assert_int_gt(sent, 600000);
	/* All of it is seen. */
	ck_assert(socket_poll(pair.b) & POLLIN);
	while (done < (size_t)sent) {
		size_t left = (size_t)sent - done;
		ssize_t part = socket_receive(pair.b, vector, 2, MSG_DONTWAIT);

		ck_assert_int_eq(part, size < left ? size : left);
		compare(back, (size_t)part, done);
		done += (size_t)part;
	}
	ck_assert_int_eq(get(pair.b, back, 1, MSG_DONTWAIT), -EAGAIN);
	free(data);
	free(back);
	pair_close(pair);
}
END_TEST

/* Where positions, which are 32 bits in messages, begin anew. */
#define SEVERAL_OFFERS	(40u * MIB)	/* a receiver offers room for 16 MiB at a time */

static void *send_several(void *socket)
{
	uint8_t *data = malloc(SEVERAL_OFFERS);

	fill(data, SEVERAL_OFFERS, 0);
	ck_assert_int_eq(put(socket, data, SEVERAL_OFFERS, 0), SEVERAL_OFFERS);
	free(data);
	return NULL;
}

START_TEST(one_send_may_take_several_offers)
{
	struct pair pair = pair_connect();
	uint8_t *back = malloc(SEVERAL_OFFERS);
	uint64_t staged = statistic_read(STATISTIC_bytes_sent_staged);
	pthread_t thread;

	setting_numbers[SETTING_send_patience] = 3600000;	/* nothing is staged, however slow */
	pthread_create(&thread, NULL, send_several, pair.a);
	ck_assert_int_eq(get(pair.b, back, SEVERAL_OFFERS, MSG_WAITALL), SEVERAL_OFFERS);
	compare(back, SEVERAL_OFFERS, 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(statistic_read(STATISTIC_bytes_sent_staged), staged);
	free(back);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(a_stream_goes_on_behind_four_gigabytes)
{
	struct pair pair = pair_open();
	struct flow flows[2] = {
		{ pair.a, 4 * MIB, 0, true, 0, 1 },
		{ pair.b, 4 * MIB, 0, false, 0, 2 },
	};

	light_lock_acquire(&pair.a->lock);
	pair.a->session.sent = UINT32_MAX - MIB;
	light_lock_release(&pair.a->lock);
	light_lock_acquire(&pair.b->lock);
	pair.b->session.received = UINT32_MAX - MIB;
	light_lock_release(&pair.b->lock);
	run_flows(flows, 2);
	ck_assert_uint_gt(pair.b->session.received, UINT32_MAX);
	ck_assert_int_eq(socket_shutdown(pair.a, -1, SHUT_WR), 0);
	ck_assert_int_eq(get(pair.b, &(char){ 0 }, 1, 0), 0);
	pair_close(pair);
}
END_TEST

/* By a stream of full messages; 11 of the larger buffers are registered together. */
START_TEST(buffers_grow_as_far_as_can_be_registered)
{
	static const struct { DWORD limit; uint32_t size; } cases[] = {
		{ 800 << 10, 65536 + 8 }, { 500 << 10, 16384 + 8 },
		{ 100 << 10, 4096 + 8 }, { 40 << 10, 0 },
	};
	struct pair pair = pair_open();
	struct flow flows[2] = {
		{ pair.a, 8 * MIB, 60000, true, 0, 1 },
		{ pair.b, 8 * MIB, 60000, false, 0, 2 },
	};

	loopback_limit_registrations(cases[_i].limit);
	run_flows(flows, 2);
	ck_assert_uint_eq(pair.b->session.buffers_size, cases[_i].size);
	ck_assert_uint_eq(pair.a->session.send_size, cases[_i].size);
	pair_close(pair);
}
END_TEST

/* Of such sizes are most large sends: no message for the last few bytes that a header displaced. */
START_TEST(a_send_as_large_as_a_buffer_is_one_message)
{
	static uint8_t data[65536], back[sizeof(data)];
	size_t size = _i ? sizeof(data) : setting_number(SETTING_message_size);
	struct pair pair = pair_open();
	struct session *session = &pair.a->session;
	struct flow flows[2] = {
		{ pair.a, 8 * MIB, 60000, true, 0, 1 },
		{ pair.b, 8 * MIB, 60000, false, 0, 2 },
	};
	uint64_t sent;

	if (_i)
		run_flows(flows, 2);
	for (int i = 0; i < 20; i++) {
		fill(data, size, (uint64_t)i * size);
		socket_poll(pair.a);
		sent = session->messages_sent;
		ck_assert_int_eq(put(pair.a, data, size, i % 2 ? MSG_DONTWAIT : 0), size);
		ck_assert_uint_eq(session->messages_sent, sent + 1);
		ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), size);
		compare(back, size, (uint64_t)i * size);
	}
	pair_close(pair);
}
END_TEST

/* How small a buffer large data goes to directly. */
START_TEST(a_quarter_of_the_threshold_is_received_directly)
{
	size_t quarter = setting_number(SETTING_rdma_threshold) / 4, piece = quarter - (size_t)_i;
	uint64_t before = statistic_read(STATISTIC_bytes_received_spilled), spilled;
	struct pair pair = pair_open();
	struct flow flows[2] = {
		{ pair.a, 32 * quarter, 8 * quarter, true, 0, 1 },
		{ pair.b, 32 * quarter, piece, false, 0, 2 },
	};

	run_flows(flows, 2);
	spilled = statistic_read(STATISTIC_bytes_received_spilled) - before;
	if (_i)
		ck_assert_uint_gt(spilled, 0);
	else
		ck_assert_uint_eq(spilled, 0);
	pair_close(pair);
}
END_TEST

/* Both send a megabyte before either receives: TCP's buffers let that pass. */
static void *send_then_receive(void *argument)
{
	struct socket *socket = argument;
	uint8_t *data = malloc(MIB);

	fill(data, MIB, 0);
	ck_assert_int_eq(put(socket, data, MIB, 0), MIB);
	memset(data, 0, MIB);
	ck_assert_int_eq(get(socket, data, MIB, MSG_WAITALL), MIB);
	compare(data, MIB, 0);
	free(data);
	return NULL;
}

START_TEST(both_may_send_first)
{
	struct pair pair = pair_open();
	pthread_t thread;

	pthread_create(&thread, NULL, send_then_receive, pair.a);
	send_then_receive(pair.b);
	pthread_join(thread, NULL);
	pair_close(pair);
}
END_TEST

/* Small sends too: nobody's messages are taken by a receive call here. */
static void *send_many_then_receive(void *argument)
{
	struct socket *socket = argument;
	uint8_t data[64], back[64];

	for (int i = 0; i < 1000; i++) {
		fill(data, sizeof(data), (uint64_t)i * 64);
		ck_assert_int_eq(put(socket, data, sizeof(data), 0), 64);
	}
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(get(socket, back, sizeof(back), MSG_WAITALL), 64);
		compare(back, sizeof(back), (uint64_t)i * 64);
	}
	return NULL;
}

START_TEST(both_may_send_many_first)
{
	struct pair pair = pair_open();
	pthread_t thread;

	pthread_create(&thread, NULL, send_many_then_receive, pair.a);
	send_many_then_receive(pair.b);
	pthread_join(thread, NULL);
	pair_close(pair);
}
END_TEST

START_TEST(a_peer_that_is_elsewhere_takes_what_tcp_would)
{
	struct pair pair = pair_open();
	static uint8_t data[3000], back[600000];

	for (int i = 0; i < 200; i++) {
		fill(data, sizeof(data), (uint64_t)i * 3000);
		ck_assert_int_eq(put(pair.a, data, sizeof(data), 0), 3000);
	}
	ck_assert_int_eq(get(pair.b, back, sizeof(back), MSG_WAITALL), 600000);
	compare(back, sizeof(back), 0);
	pair_close(pair);
}
END_TEST

START_TEST(a_late_reader_gets_everything)
{
	struct pair pair = pair_open();
	uint8_t *data = malloc(MIB);
	struct pollfd nothing = { .fd = -1 };

	fill(data, MIB, 0);
	ck_assert_int_eq(put(pair.a, data, 300 * 1024, 0), 300 * 1024);
	socket_close(pair.a);
	poll(&nothing, 1, 100);
	memset(data, 0, MIB);
	ck_assert_int_eq(get(pair.b, data, MIB, MSG_WAITALL), 300 * 1024);
	compare(data, 300 * 1024, 0);
	ck_assert_int_eq(get(pair.b, data, MIB, 0), 0);
	free(data);
	pair_close(pair);
}
END_TEST

START_TEST(a_full_peer_makes_a_nonblocking_send_stop)
{
	struct pair pair = pair_open();
	static uint8_t data[1000], back[1000];
	size_t sent = 0, received = 0;
	ssize_t part;

	/* The peer's switch thread takes some for its program, which may be at any time. */
	do {
		while ((part = put(pair.a, data, sizeof(data), MSG_DONTWAIT)) > 0) {
			sent += (size_t)part;
			ck_assert_uint_lt(sent, 64 * MIB);
		}
		ck_assert_int_eq(part, -EAGAIN);
		poll(NULL, 0, 20);
	} while (socket_poll(pair.a) & POLLOUT);
	while (received < sent) {
		part = get(pair.b, back, sizeof(back), MSG_DONTWAIT);
		if (part > 0)
			received += (size_t)part;
		socket_poll(pair.a);
	}
	ck_assert(socket_poll(pair.a) & POLLOUT);
	pair_close(pair);
}
END_TEST

static bool is_guarded(struct socket *socket)
{
	bool guarded;

	light_lock_acquire(&socket->lock);
	guarded = socket->session.guarded;
	light_lock_release(&socket->lock);
	return guarded;
}

static void await_guard(struct socket *socket)
{
	for (int i = 0; i < 1000 && !is_guarded(socket); i++)
		poll(NULL, 0, 10);
	ck_assert(is_guarded(socket));
}

START_TEST(the_switch_thread_leaves_a_calling_program_alone)
{
	struct pair pair = pair_open();
	char byte;

	await_guard(pair.b);
	/* It never sleeps, so it never takes the guard off itself. */
	for (int i = 0; i < 1000 && is_guarded(pair.b); i++) {
		ck_assert_int_eq(put(pair.a, "x", 1, 0), 1);
		while (get(pair.b, &byte, 1, MSG_DONTWAIT) != 1)
			;
		/* As a small send does that was held back. */
		light_lock_acquire(&pair.b->lock);
		attention_soon(pair.b);
		light_lock_release(&pair.b->lock);
		poll(NULL, 0, 1);
	}
	ck_assert(!is_guarded(pair.b));
	await_guard(pair.b);
	pair_close(pair);
}
END_TEST

START_TEST(half_close_ends_one_direction)
{
	struct pair pair = pair_open();
	char buffer[8];

	ck_assert_int_eq(put(pair.a, "last", 4, 0), 4);
	ck_assert_int_eq(socket_shutdown(pair.a, -1, SHUT_WR), 0);
	ck_assert_int_eq(put(pair.a, "x", 1, 0), -EPIPE);
	ck_assert_int_eq(get(pair.b, buffer, 8, 0), 4);
	ck_assert_int_eq(get(pair.b, buffer, 8, 0), 0);
	ck_assert(socket_poll(pair.b) & POLLRDHUP);
	ck_assert(!(socket_poll(pair.b) & POLLHUP));
	ck_assert_int_eq(put(pair.b, "back", 4, 0), 4);
	ck_assert_int_eq(get(pair.a, buffer, 8, 0), 4);
	pair_close(pair);
}
END_TEST

START_TEST(closing_with_unread_data_resets)
{
	struct pair pair = pair_open();
	char buffer[8];

	ck_assert_int_eq(put(pair.a, "unread", 6, 0), 6);
	socket_poll(pair.b);
	socket_close(pair.b);
	ck_assert_int_eq(get(pair.a, buffer, 8, 0), -ECONNRESET);
	ck_assert_int_eq(get(pair.a, buffer, 8, 0), 0);
	ck_assert_int_eq(put(pair.a, "x", 1, 0), -EPIPE);
	pair_close(pair);
}
END_TEST

START_TEST(a_timeout_gives_the_memory_back)
{
	struct pair pair = pair_open();
	uint8_t *data = calloc(1, 16 * MIB);
	ssize_t sent = 0, part;

	/* The peer never reads: at most the staging memory is taken, then time runs out. */
	pair.a->send_timeout = 100000000;
	while ((part = put(pair.a, data, 2 * MIB, 0)) > 0)
		sent += part;
	ck_assert_int_eq(part, -EAGAIN);
	ck_assert_int_le(sent, 16 * MIB);
	free(data);
	pair_close(pair);
}
END_TEST

START_TEST(without_registrations_data_is_copied)
{
	struct pair pair = pair_open();
	struct flow flows[2] = {
		{ pair.a, 4 * MIB, 512 * 1024, true, 0, 1 },
		{ pair.b, 4 * MIB, 512 * 1024, false, MSG_WAITALL, 2 },
	};

	loopback_limit_registrations(0);
	run_flows(flows, 2);
	loopback_limit_registrations(UINT32_MAX);
	pair_close(pair);
}
END_TEST

/* The sender advertises; the receiver has nothing but its message buffers to take it with. */
START_TEST(a_receiver_without_registrations_gets_everything)
{
	struct pair pair = pair_open();
	struct flow flows[4] = {
		{ pair.a, 4 * MIB, 512 * 1024, true, 0, 1 },
		{ pair.b, 4 * MIB, _i ? 3000 : 512 * 1024, false, _i ? 0 : MSG_WAITALL, 2 },
		{ pair.b, 2 * MIB, 128 * 1024, true, MSG_DONTWAIT, 3 },
		{ pair.a, 2 * MIB, 128 * 1024, false, MSG_WAITALL, 4 },
	};

	loopback_refuse_registrations(pair.b->session.companion, true);
	run_flows(flows, 4);
	pair_close(pair);
}
END_TEST

/* ---- memory of the program that is not there ---- */

/* The last @there bytes of a page, and behind them a megabyte that nobody may touch. */
static uint8_t *memory_with_guard(size_t there)
{
	uint8_t *page = mmap(NULL, 4096 + MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(page, MAP_FAILED);
	ck_assert_int_eq(mprotect(page + 4096, MIB, PROT_NONE), 0);
	return page + 4096 - there;
}

START_TEST(what_cannot_be_read_is_not_sent)
{
	static const size_t sizes[] = { 1, 1000, 100000, MIB };
	struct pair pair = pair_open();
	uint8_t back[64];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int flags = _i ? MSG_DONTWAIT : 0;
		uint8_t *some = memory_with_guard(10);

		/* The loopback registers whatever it is told to: here it shall refuse as a device would. */
		loopback_refuse_registrations(pair.a->session.companion, true);
		ck_assert_int_eq(put(pair.a, memory_with_guard(0), sizes[i], flags), -EFAULT);
		fill(some, 10, 0);
		ck_assert_int_eq(put(pair.a, some, 10 + sizes[i], flags), 10);
		loopback_refuse_registrations(pair.a->session.companion, false);
		ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), 10);
		compare(back, 10, 0);
		/* Nothing half-made is left in front of what follows. */
		ck_assert_int_eq(put(pair.a, "next", 4, flags), 4);
		ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), 4);
		ck_assert_mem_eq(back, "next", 4);
	}
	pair_close(pair);
}
END_TEST

START_TEST(what_cannot_be_written_to_stays)
{
	struct pair pair = pair_open();
	uint8_t data[2000], *some = memory_with_guard(10);

	fill(data, sizeof(data), 0);
	ck_assert_int_eq(put(pair.a, data, sizeof(data), 0), sizeof(data));
	ck_assert_int_eq(get(pair.b, memory_with_guard(0), 1000, 0), -EFAULT);
	ck_assert_int_eq(get(pair.b, memory_with_guard(0), 1000, MSG_PEEK), -EFAULT);
	ck_assert_int_eq(get(pair.b, some, 1000, MSG_PEEK), 10);
	compare(some, 10, 0);
	ck_assert_int_eq(get(pair.b, some, 1000, 0), 10);
	compare(some, 10, 0);
	/* Dropping bytes touches no memory. */
	ck_assert_int_eq(get(pair.b, memory_with_guard(0), 90, MSG_TRUNC), 90);
	ck_assert_int_eq(get(pair.b, data, 1900, MSG_WAITALL), 1900);
	compare(data, 1900, 100);
	pair_close(pair);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("switch session");
	TCase *stream = tcase_create("stream");
	SRunner *runner = srunner_create(suite);
	int failed;

	libc_calls_resolve();
	switch_open();
	tcase_set_timeout(stream, 60);
	tcase_add_test(stream, small_messages_arrive);
	tcase_add_test(stream, small_messages_go_either_way);
	tcase_add_test(stream, small_sends_collect_while_half_of_the_credits_are_out);
	tcase_add_test(stream, peek_leaves_the_bytes);
	tcase_add_loop_test(stream, streams_arrive_whole_and_in_order, 0,
			    (int)(sizeof(ways) / sizeof(ways[0])));
	tcase_add_loop_test(stream, a_short_nonblocking_receive_left_nothing, 0, 3);
	tcase_add_test(stream, one_send_may_take_several_offers);
	tcase_add_test(stream, a_stream_goes_on_behind_four_gigabytes);
	tcase_add_loop_test(stream, buffers_grow_as_far_as_can_be_registered, 0, 4);
	tcase_add_loop_test(stream, a_send_as_large_as_a_buffer_is_one_message, 0, 2);
	tcase_add_loop_test(stream, a_quarter_of_the_threshold_is_received_directly, 0, 2);
	tcase_add_test(stream, both_may_send_first);
	tcase_add_test(stream, both_may_send_many_first);
	tcase_add_test(stream, a_peer_that_is_elsewhere_takes_what_tcp_would);
	tcase_add_test(stream, a_late_reader_gets_everything);
	tcase_add_test(stream, a_full_peer_makes_a_nonblocking_send_stop);
	tcase_add_test(stream, the_switch_thread_leaves_a_calling_program_alone);
	tcase_add_test(stream, half_close_ends_one_direction);
	tcase_add_test(stream, closing_with_unread_data_resets);
	tcase_add_test(stream, a_timeout_gives_the_memory_back);
	tcase_add_test(stream, without_registrations_data_is_copied);
	tcase_add_loop_test(stream, a_receiver_without_registrations_gets_everything, 0, 2);
	tcase_add_loop_test(stream, what_cannot_be_read_is_not_sent, 0, 2);
	tcase_add_test(stream, what_cannot_be_written_to_stays);
	suite_add_tcase(suite, stream);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
