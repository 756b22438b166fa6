/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session when something comes between: signals, cancelled threads, timeouts, a peer
 * that stands still or goes away, messages that cross, and no descriptor to be had.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "attention.h"
#include "cancelled.h"
#include "libc_calls.h"
#include "lifetime.h"
#include "loopback_provider.h"
#include "restart.h"
#include "session_fixture.h"
#include "settings.h"
#include "waiter.h"

#define MIB		(1024 * 1024)
#define PATIENCE_LEAST	20
#define PATIENCE_MOST	3600000

/* A call that another thread makes. */
struct call {
	struct socket *socket;
	bool sends;
	size_t size;
	int flags;
	uint8_t *buffer;
	_Atomic ssize_t result;
	pthread_t thread;
};

static void *call_run(void *argument)
{
	struct call *call = argument;

	pthread_cleanup_push(frames_are_gone, NULL);
	call->result = call->sends ? put(call->socket, call->buffer, call->size, call->flags) :
				     get(call->socket, call->buffer, call->size, call->flags);
	pthread_cleanup_pop(0);
	return NULL;
}

static struct call *call_start(struct socket *socket, bool sends, size_t size, int flags)
{
	struct call *call = calloc(1, sizeof(*call));

	*call = (struct call){ socket, sends, size, flags, calloc(1, size), -EINPROGRESS, 0 };
	pthread_create(&call->thread, NULL, call_run, call);
	return call;
}

static ssize_t call_end(struct call *call)
{
	ssize_t result;

	pthread_join(call->thread, NULL);
	result = call->result;
	free(call->buffer);
	free(call);
	return result;
}

static void pause_milliseconds(int time)
{
	poll(NULL, 0, time);
}

/* Waits until the value, which the socket's lock protects, is true. */
static void await(struct socket *socket, const bool *value)
{
	for (bool there = false; !there;) {
		light_lock_acquire(&socket->lock);
		there = *value;
		light_lock_release(&socket->lock);
		sched_yield();
	}
}

static void await_sleeper(struct socket *socket)
{
	while (!waiter_list_armed(&socket->waiters))
		sched_yield();
}

static void nothing(int signal)
{
	(void)signal;
}

static void handle(int signal, int flags)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = flags };

	ck_assert_int_eq(sigaction(signal, &action, NULL), 0);
}

/* Sends the signal until the call has ended, or a few times: the first may come before the sleep. */
static void disturb(struct call *call)
{
	for (int i = 0; i < 10 && call->result == -EINPROGRESS; i++) {
		pthread_kill(call->thread, SIGUSR1);
		pause_milliseconds(10);
	}
}

/* ---- signals ---- */

static const struct {
	int flags, other_flags;		/* of SIGUSR1, which comes, and SIGUSR2, which does not */
	int64_t timeout;
	ssize_t result;
} interruptions[] = {
	{ SA_RESTART, SA_RESTART, -1, 1 },
	{ 0, SA_RESTART, -1, -EINTR },
	/* Which one came is not known: better an end too many than a call that hangs. */
	{ SA_RESTART, 0, -1, -EINTR },
	{ SA_RESTART, SA_RESTART, 10000000000, -EINTR },
};

/* Check's own handlers are for Check. */
static void without_handlers(void)
{
	for (int signal = 1; signal < SIGSYS; signal++)
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

START_TEST(a_handler_that_is_gone_may_have_ended_the_call)
{
	ck_assert(!interrupted_call_goes_on(-1));
	handle(SIGUSR1, SA_RESTART);
	handle(SIGSEGV, 0);
	ck_assert(interrupted_call_goes_on(-1));
	ck_assert(!interrupted_call_goes_on(0));
	handle(SIGUSR2, 0);
	ck_assert(!interrupted_call_goes_on(-1));
}
END_TEST

START_TEST(a_signal_ends_a_call_as_its_handler_says)
{
	struct pair pair = pair_open();
	struct call *call;

	handle(SIGUSR1, interruptions[_i].flags);
	handle(SIGUSR2, interruptions[_i].other_flags);
	pair.b->receive_timeout = interruptions[_i].timeout;
	call = call_start(pair.b, false, 16, 0);
	await_sleeper(pair.b);
	disturb(call);
	ck_assert_int_eq(put(pair.a, "x", 1, 0), 1);
	ck_assert_int_eq(call_end(call), interruptions[_i].result);
	if (interruptions[_i].result < 0)
		ck_assert_int_eq(get(pair.b, (char[16]){ 0 }, 16, 0), 1);
	pair_close(pair);
}
END_TEST

/* What was offered to the peer cannot be taken back: then the call ends with that. */
START_TEST(a_large_receive_ends_behind_its_push)
{
	struct pair pair = pair_connect();
	struct call *sender, *receiver;

	setting_numbers[SETTING_send_patience] = PATIENCE_MOST;
	handle(SIGUSR1, 0);
	sender = call_start(pair.a, true, MIB, 0);
	await_sleeper(pair.a);
	light_lock_acquire(&pair.a->lock);
	receiver = call_start(pair.b, false, 2 * MIB, MSG_WAITALL);
	await(pair.b, &pair.b->session.incoming[0].offered);
	disturb(receiver);
	ck_assert_int_eq(receiver->result, -EINPROGRESS);
	light_lock_release(&pair.a->lock);
	ck_assert_int_eq(call_end(receiver), MIB);
	ck_assert_int_eq(call_end(sender), MIB);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(a_large_send_is_restarted_too)
{
	struct pair pair = pair_connect();
	uint8_t *back = malloc(MIB);
	struct call *call;

	setting_numbers[SETTING_send_patience] = PATIENCE_MOST;
	handle(SIGUSR1, SA_RESTART);
	call = call_start(pair.a, true, MIB, 0);
	await_sleeper(pair.a);
	disturb(call);
	ck_assert_int_eq(get(pair.b, back, MIB, MSG_WAITALL), MIB);
	ck_assert_int_eq(call_end(call), MIB);
	free(back);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* ---- cancelled threads ---- */

START_TEST(a_cancelled_large_receive_ends_first)
{
	struct pair pair = pair_connect();
	struct call *sender = call_start(pair.a, true, MIB, 0), *receiver;

	await_sleeper(pair.a);
	light_lock_acquire(&pair.a->lock);	/* so that the sender does not answer the offer */
	receiver = call_start(pair.b, false, MIB, 0);
	await(pair.b, &pair.b->session.incoming[0].offered);
	pthread_cancel(receiver->thread);
	pause_milliseconds(50);
	light_lock_release(&pair.a->lock);
	ck_assert_int_eq(call_end(receiver), MIB);
	ck_assert_int_eq(call_end(sender), MIB);
	ck_assert(!pair.b->session.receiving);
	ck_assert_uint_eq(pair.b->session.sleepers, 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(a_cancelled_large_send_leaves_the_stream_usable)
{
	struct pair pair = pair_open();
	struct call *call;
	char back;

	setting_numbers[SETTING_send_patience] = 50;
	call = call_start(pair.a, true, 16 * MIB, 0);
	await(pair.a, &pair.a->session.exclusive);
	pthread_cancel(call->thread);
	/* What it sent till then is staged as usual: then it may end. */
	pthread_join(call->thread, NULL);
	ck_assert_int_eq(call->result, -EINPROGRESS);
	ck_assert(!pair.a->session.exclusive);
	ck_assert_uint_eq(pair.a->session.sleepers, 0);
	ck_assert_int_eq(get(pair.b, &back, 1, 0), 1);
	ck_assert_int_eq(put(pair.a, "x", 1, MSG_DONTWAIT), 1);
	free(call->buffer);
	free(call);
	pair_close(pair);
}
END_TEST

/* ---- a peer that stands still ---- */

START_TEST(a_receive_with_a_timeout_needs_nothing_of_the_sender)
{
	struct pair pair = pair_connect();
	struct call *sender = call_start(pair.a, true, MIB, 0), *receiver;

	pair.b->receive_timeout = 60000000000;
	await_sleeper(pair.a);
	light_lock_acquire(&pair.a->lock);
	receiver = call_start(pair.b, false, MIB, 0);
	ck_assert_int_gt(call_end(receiver), 0);
	light_lock_release(&pair.a->lock);
	/* It need not be all, but the rest stays to be had. */
	while (get(pair.b, (uint8_t[4096]){ 0 }, 4096, MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(call_end(sender), MIB);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(a_silent_receiver_does_not_keep_a_sender_with_a_timeout)
{
	struct pair pair = pair_connect();
	uint8_t *data = calloc(1, MIB);

	setting_numbers[SETTING_send_patience] = PATIENCE_LEAST;
	pair.a->send_timeout = 100000000;
	ck_assert_int_eq(put(pair.a, data, MIB, 0), -ETIMEDOUT);
	ck_assert_int_eq(put(pair.a, "x", 1, 0), -EPIPE);
	free(data);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(a_silent_sender_does_not_keep_an_interrupted_receiver)
{
	struct pair pair = pair_connect();
	struct call *sender, *receiver;

	handle(SIGUSR1, 0);
	setting_numbers[SETTING_send_patience] = PATIENCE_MOST;
	sender = call_start(pair.a, true, MIB, 0);
	await_sleeper(pair.a);
	light_lock_acquire(&pair.a->lock);
	setting_numbers[SETTING_send_patience] = PATIENCE_LEAST;
	receiver = call_start(pair.b, false, MIB, 0);
	await(pair.b, &pair.b->session.incoming[0].offered);
	disturb(receiver);
	ck_assert_int_eq(call_end(receiver), -ETIMEDOUT);
	light_lock_release(&pair.a->lock);
	ck_assert_int_lt(call_end(sender), 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* ---- a peer that goes away ---- */

START_TEST(an_end_of_stream_is_one_only_if_all_of_it_came)
{
	struct pair pair = pair_connect();
	uint8_t *data = calloc(1, MIB);

	ck_assert_int_eq(put(pair.a, "head", 4, MSG_DONTWAIT), 4);
	ck_assert_int_gt(put(pair.a, data, 256 * 1024, MSG_DONTWAIT), 0);
	ck_assert_int_eq(socket_shutdown(pair.a, -1, SHUT_WR), 0);
	socket_poll(pair.b);
	ck_assert(pair.b->session.finished_received);
	/* The sending process is killed. */
	session_close(&pair.a->session);
	pair.a->session.broken = true;
	ck_assert_int_eq(get(pair.b, data, MIB, 0), 4);
	ck_assert_int_eq(get(pair.b, data, MIB, 0), -ECONNRESET);
	free(data);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

START_TEST(closing_beside_a_reader_loses_nothing)
{
	struct pair pair = pair_open();
	struct call *reader = call_start(pair.a, false, 16, 0);
	uint8_t *data = malloc(2 * MIB);
	ssize_t sent;

	await_sleeper(pair.a);
	ck_assert_int_eq(put(pair.a, "last", 4, 0), 4);
	sent = put(pair.a, data, 256 * 1024, MSG_DONTWAIT);
	ck_assert_int_gt(sent, 0);
	socket_close(pair.a);
	ck_assert_int_eq(call_end(reader), -EBADF);
	ck_assert_int_eq(get(pair.b, data, 2 * MIB, MSG_WAITALL), sent + 4);
	ck_assert_int_eq(get(pair.b, data, 1, 0), 0);
	free(data);
	pair_close(pair);
}
END_TEST

/* ---- messages that cross ---- */

static void say_done(struct socket *from, uint8_t flags, uint32_t id, uint64_t count)
{
	struct done_body body = { .id = htole32(id), .count = htole64(count) };

	light_lock_acquire(&from->lock);
	ck_assert_int_eq(session_send_control(&from->session, MESSAGE_DONE, flags, 0, &body,
					      sizeof(body), false), 0);
	light_lock_release(&from->lock);
}

/*
 * The sender has gone on to its next part, or broken off. What a test said in the receiver's
 * place that one does not know of: so the connection ends here.
 */
static ssize_t end_at_second_part(struct pair pair, struct call *call)
{
	bool there = false;

	while (!there) {
		light_lock_acquire(&pair.a->lock);
		there = pair.a->session.next_id > 1 || pair.a->session.broken;
		light_lock_release(&pair.a->lock);
		sched_yield();
	}
	ck_assert(!pair.a->session.broken);
	light_lock_acquire(&pair.a->lock);
	session_reset(&pair.a->session, ECONNRESET);
	socket_changed(pair.a);
	light_lock_release(&pair.a->lock);
	return call_end(call);
}

/* A receiver had taken half before it was asked whether it is idle, and then is. */
START_TEST(progress_may_cross_the_question_for_it)
{
	struct pair pair = pair_connect();
	struct call *call;

	setting_numbers[SETTING_send_patience] = PATIENCE_LEAST;
	call = call_start(pair.a, true, MIB, 0);
	await(pair.a, &pair.a->session.outgoing[0].asked);
	say_done(pair.b, 0, pair.a->session.outgoing[0].id, MIB / 2);
	say_done(pair.b, DONE_FINAL, pair.a->session.outgoing[0].id, MIB / 2);
	ck_assert_int_eq(end_at_second_part(pair, call), MIB / 2);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

static uint64_t outgoing_moved(struct socket *socket)
{
	uint64_t moved;

	light_lock_acquire(&socket->lock);
	moved = socket->session.outgoing[0].moved;
	light_lock_release(&socket->lock);
	return moved;
}

static uint64_t sent_messages(struct socket *socket)
{
	uint64_t sent;

	light_lock_acquire(&socket->lock);
	sent = socket->session.messages_sent;
	light_lock_release(&socket->lock);
	return sent;
}

/* Its answer comes when all was pushed already, or half of it. */
START_TEST(an_answer_may_come_late)
{
	struct pair pair = pair_connect();
	struct outgoing *outgoing = &pair.a->session.outgoing[0];
	struct call *call;
	uint64_t part = _i ? MIB / 2 : MIB, asked;
	uint8_t *buffer = malloc(MIB);
	struct offer_body offer = { .length = htole64(part) };
	DWORD length = DESCRIPTOR_MAX;
	int code;

	setting_numbers[SETTING_send_patience] = PATIENCE_LEAST;
	call = call_start(pair.a, true, MIB, 0);
	await(pair.a, &outgoing->asked);
	ck_assert_int_eq(loopback_provider.register_rdma_memory(pair.b->session.companion, buffer,
			 (DWORD)part, MEM_WRITE, offer.descriptor, &length, &code), 0);
	offer.id = htole32(outgoing->id);
	offer.descriptor_length = htole32(length);
	light_lock_acquire(&pair.b->lock);
	ck_assert_int_eq(session_send_control(&pair.b->session, MESSAGE_OFFER, 0, 0, &offer,
					      sizeof(offer), false), 0);
	light_lock_release(&pair.b->lock);
	if (part == MIB) {
		ck_assert_int_eq(call_end(call), MIB);
		say_done(pair.b, 0, le32toh(offer.id), 0);
		socket_poll(pair.a);
		ck_assert(!pair.a->session.broken);
		session_reset(&pair.a->session, ECONNRESET);
	} else {
		/* The push comes first, as its message says. */
		while (outgoing_moved(pair.a) < part)
			sched_yield();
		asked = sent_messages(pair.a);
		say_done(pair.b, 0, le32toh(offer.id), 0);
		/* It was an answer: the question is asked again. */
		while (sent_messages(pair.a) == asked)
			sched_yield();
		say_done(pair.b, DONE_FINAL, le32toh(offer.id), part);
		ck_assert_int_eq(end_at_second_part(pair, call), (ssize_t)part);
	}
	loopback_provider.deregister_rdma_memory(pair.b->session.companion, offer.descriptor, length,
						 &code);
	free(buffer);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* ---- what there is no room for ---- */

static const struct { size_t size; int flags; } sizes[] = { { 16, 0 }, { MIB, MSG_WAITALL } };

START_TEST(a_thread_needs_no_descriptor_to_sleep)
{
	struct pair pair = pair_open();
	struct call *sender = NULL, *receiver;
	struct rlimit limit, none;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 3, limit.rlim_max };
	if (sizes[_i].size == MIB) {
		sender = call_start(pair.a, true, sizes[_i].size, 0);
		await_sleeper(pair.a);
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	receiver = call_start(pair.b, false, sizes[_i].size, sizes[_i].flags);
	pause_milliseconds(50);
	if (!sender)
		sender = call_start(pair.a, true, sizes[_i].size, 0);
	ck_assert_int_eq(call_end(receiver), (ssize_t)sizes[_i].size);
	ck_assert_int_eq(call_end(sender), (ssize_t)sizes[_i].size);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	pair_close(pair);
}
END_TEST

START_TEST(a_refused_large_send_is_not_called_possible)
{
	struct pair pair = pair_open();
	uint8_t *data = calloc(1, MIB);
	uint32_t in, out, later;
	size_t sent = 0, rounds = 0;
	ssize_t part;

	while ((part = put(pair.a, data, MIB, MSG_DONTWAIT)) > 0)
		sent += (size_t)part;
	ck_assert_int_eq(part, -EAGAIN);
	/* Credits that come back meanwhile may raise hope, also in vain, but not for ever. */
	while (socket_poll(pair.a) & POLLOUT) {
		part = put(pair.a, data, MIB, MSG_DONTWAIT);
		if (part > 0)
			sent += (size_t)part;
		else
			ck_assert_int_eq(part, -EAGAIN);
		ck_assert_uint_lt(++rounds, 100);
	}
	socket_edges(pair.a, &in, &out);
	/* A small one still is. */
	ck_assert_int_eq(put(pair.a, "x", 1, MSG_DONTWAIT), 1);
	for (sent++; sent; sent -= (size_t)part) {
		part = get(pair.b, data, MIB, 0);
		ck_assert_int_gt(part, 0);
	}
	while (!(socket_poll(pair.a) & POLLOUT))
		sched_yield();
	socket_edges(pair.a, &in, &later);
	ck_assert_uint_ne(out, later);
	ck_assert_int_gt(put(pair.a, data, MIB, MSG_DONTWAIT), 0);
	free(data);
	pair_close(pair);
}
END_TEST

/* ---- peeking ---- */

START_TEST(peeking_sees_past_an_advertisement)
{
	static const int flags[] = { MSG_PEEK, MSG_PEEK | MSG_WAITALL };
	struct pair pair = pair_open();
	uint8_t *data = malloc(MIB), back[8];
	ssize_t sent;

	for (size_t i = 0; i < MIB; i++)
		data[i] = (uint8_t)i;
	ck_assert_int_eq(put(pair.a, "ab", 2, 0), 2);
	sent = put(pair.a, data, 256 * 1024, MSG_DONTWAIT);
	ck_assert_int_gt(sent, 200 * 1024);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(get(pair.b, back, 8, flags[i]), 8);
		ck_assert_mem_eq(back, "ab\0\1\2\3\4\5", 8);
	}
	memset(data, 0xff, MIB);
	ck_assert_int_eq(get(pair.b, data, (size_t)sent + 2, MSG_WAITALL), sent + 2);
	ck_assert_mem_eq(data, "ab", 2);
	for (ssize_t i = 0; i < sent; i++)
		ck_assert_uint_eq(data[i + 2], (uint8_t)i);
	free(data);
	pair_close(pair);
}
END_TEST

START_TEST(peeking_for_the_size_copies_nothing)
{
	struct pair pair = pair_open();
	char back[5] = "zzzz";

	ck_assert_int_eq(put(pair.a, "hello", 5, 0), 5);
	ck_assert_int_eq(get(pair.b, NULL, 100, MSG_PEEK | MSG_TRUNC), 5);
	ck_assert_int_eq(get(pair.b, back, 5, MSG_PEEK | MSG_TRUNC), 5);
	ck_assert_str_eq(back, "zzzz");
	ck_assert_int_eq(get(pair.b, back, 5, 0), 5);
	pair_close(pair);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("switch interrupted");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	libc_calls_resolve();
	switch_open();
	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, without_handlers, NULL);
	tcase_add_test(all, a_handler_that_is_gone_may_have_ended_the_call);
	tcase_add_loop_test(all, a_signal_ends_a_call_as_its_handler_says, 0,
			    (int)(sizeof(interruptions) / sizeof(interruptions[0])));
	tcase_add_test(all, a_large_send_is_restarted_too);
	tcase_add_test(all, a_large_receive_ends_behind_its_push);
	tcase_add_test(all, a_cancelled_large_receive_ends_first);
	tcase_add_test(all, a_cancelled_large_send_leaves_the_stream_usable);
	tcase_add_test(all, a_receive_with_a_timeout_needs_nothing_of_the_sender);
	tcase_add_test(all, a_silent_receiver_does_not_keep_a_sender_with_a_timeout);
	tcase_add_test(all, a_silent_sender_does_not_keep_an_interrupted_receiver);
	tcase_add_test(all, an_end_of_stream_is_one_only_if_all_of_it_came);
	tcase_add_test(all, closing_beside_a_reader_loses_nothing);
	tcase_add_test(all, progress_may_cross_the_question_for_it);
	tcase_add_loop_test(all, an_answer_may_come_late, 0, 2);
	tcase_add_loop_test(all, a_thread_needs_no_descriptor_to_sleep, 0, 2);
	tcase_add_test(all, a_refused_large_send_is_not_called_possible);
	tcase_add_test(all, peeking_sees_past_an_advertisement);
	tcase_add_test(all, peeking_for_the_size_copies_nothing);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
