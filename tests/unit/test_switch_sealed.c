/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages that are taken ahead of their completions. The loopback provider writes a message to
 * its buffer at once and completes it at the next poll; in between the tests write there what an
 * adapter in the middle of its work would leave.
 */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "lifetime.h"
#include "loopback_provider.h"
#include "sealed.h"
#include "session_fixture.h"

#define HEADER	sizeof(struct sealed_header)
#define WHOLE	(HEADER + SEALED_MOST)

static const size_t sizes[] = { 1, 3, 4, 7, 8, 9, 12, 15, 16, 31, 64, 115, SEALED_MOST };
#define SIZES	(int)(sizeof(sizes) / sizeof(sizes[0]))

static uint8_t *buffer_of(struct socket *socket)
{
	return socket->session.unseen->data;
}

static size_t take(struct socket *socket, void *buffer, size_t size)
{
	struct iovec vector = { buffer, size };

	return sealed_seen(&socket->session) ? sealed_take(socket, &vector) : 0;
}

/* The next message that a sends, as it is in b's buffer; b has not seen it yet. */
static void send_image(struct pair pair, const uint8_t *data, size_t size, uint8_t *image)
{
	ck_assert_int_eq(put(pair.a, data, size, 0), size);
	memcpy(image, buffer_of(pair.b), HEADER + size);
	ck_assert_uint_eq(image[0], MESSAGE_SEALED);
}

/* Ways to differ from what was in the buffer before. */
enum { ALL, FIRST, LAST, NONE, DIFFERENCES };

static void make(uint8_t *data, size_t size, int difference, bool fresh)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7);
	if (!fresh || difference == NONE)
		return;
	for (size_t i = 0; i < size; i++)
		if (difference == ALL || (difference == FIRST && !i) ||
		    (difference == LAST && i == size - 1))
			data[i] ^= 0x40;
}

/* Whatever part of it is there, in front, behind or in between: none of it is taken. */
START_TEST(a_part_is_not_taken)
{
	for (int difference = 0; difference < DIFFERENCES; difference++) {
		struct pair pair = pair_connect();
		size_t size = sizes[_i], whole = HEADER + size;
		uint8_t data[SEALED_MOST], back[SEALED_MOST];
		uint8_t before[WHOLE], after[WHOLE];
		unsigned int parts = 0;

		make(data, size, difference, false);
		send_image(pair, data, size, before);
		ck_assert_int_eq(get(pair.b, back, size, 0), size);
		ck_assert(socket_progress(pair.b));
		make(data, size, difference, true);
		send_image(pair, data, size, after);
		for (size_t from = 0; from <= whole; from++)
			for (size_t to = from; to <= whole; to++) {
				uint8_t *buffer = buffer_of(pair.b);

				memcpy(buffer, before, whole);
				memcpy(buffer + from, after + from, to - from);
				if (!memcmp(buffer, after, whole))
					continue;
				parts++;
				ck_assert_uint_eq(take(pair.b, back, sizeof(back)), 0);
				/* The other way round: all but that is there. */
				memcpy(buffer, after, whole);
				memcpy(buffer + from, before + from, to - from);
				if (memcmp(buffer, after, whole))
					ck_assert_uint_eq(take(pair.b, back, sizeof(back)), 0);
			}
		ck_assert_uint_gt(parts, 0);
		memcpy(buffer_of(pair.b), after, whole);
		ck_assert_uint_eq(take(pair.b, back, sizeof(back)), size);
		ck_assert_mem_eq(back, data, size);
		pair_attend(pair);
		pair_close(pair);
	}
}
END_TEST

/* The same bytes at another place of the stream, where an old buffer could show them. */
START_TEST(what_was_read_is_not_taken_again)
{
	struct pair pair = pair_connect();
	uint8_t image[WHOLE], back[64], data[64] = "again";

	send_image(pair, data, sizeof(data), image);
	ck_assert_uint_eq(take(pair.b, back, sizeof(back)), sizeof(back));
	ck_assert_int_eq(get(pair.b, back, sizeof(back), MSG_DONTWAIT), -EAGAIN);
	memcpy(buffer_of(pair.b), image, HEADER + sizeof(data));
	ck_assert_uint_eq(take(pair.b, back, sizeof(back)), 0);
	/* Posted again it does not look like anything. */
	socket_progress(pair.b);
	session_post_spent(&pair.b->session);
	for (struct message *message = pair.b->session.posted_first->next; message;
	     message = message->next)
		ck_assert_uint_eq(message->data[0], 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* Its completion, later, ends it; the program hears of it once, and of no edge. */
START_TEST(it_is_taken_once)
{
	struct pair pair = pair_connect();
	struct session *session = &pair.b->session;
	uint32_t credits = session->credits_peer, in, out, in_before;
	uint8_t back[SEALED_MOST], data[SEALED_MOST];

	make(data, sizeof(data), ALL, true);
	socket_edges(pair.b, &in_before, &out);
	ck_assert_int_eq(put(pair.a, data, sizes[_i], 0), sizes[_i]);
	ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), sizes[_i]);
	ck_assert_mem_eq(back, data, sizes[_i]);
	ck_assert_uint_eq(session->ahead, 1);
	ck_assert_ptr_ne(session->unseen, session->posted_first);
	ck_assert_uint_eq(session->credits_peer, credits - 1);
	ck_assert_ptr_null(session->spent);
	ck_assert_int_eq(get(pair.b, back, sizeof(back), MSG_DONTWAIT), -EAGAIN);
	ck_assert_uint_eq(session->ahead, 0);
	ck_assert_ptr_eq(session->unseen, session->posted_first);
	ck_assert_uint_eq(session->spent_count, 1);
	ck_assert_uint_eq(session->credits_peer, credits - 1);
	socket_edges(pair.b, &in, &out);
	ck_assert_uint_eq(in, in_before);
	ck_assert_uint_eq(socket_poll(pair.b) & POLLIN, 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

static uint32_t posted_count(const struct session *session)
{
	uint32_t count = 0;

	for (const struct message *message = session->posted_first; message; message = message->next)
		count++;
	return count;
}

/*
 * Several before anybody looks for completions, in order; their buffers are all posted again then,
 * and look like nothing that is to come. It costs neither a message of credits, nor the peer so many
 * of them that it collects.
 */
START_TEST(several_are_taken)
{
	struct pair pair = pair_connect();
	struct session *session = &pair.b->session;
	uint32_t ahead_most = sealed_ahead_most(session), posted = posted_count(session), most = 0;
	uint64_t sent = session->messages_sent;

	ck_assert_uint_gt(ahead_most, 1);
	for (uint32_t i = 0; i < 50; i++) {
		uint32_t back = 0;

		ck_assert(!session_collects(&pair.a->session));
		ck_assert_int_eq(put(pair.a, &i, sizeof(i), 0), sizeof(i));
		ck_assert_int_eq(get(pair.b, &back, sizeof(back), 0), sizeof(back));
		ck_assert_uint_eq(back, i);
		ck_assert_uint_le(session->ahead, ahead_most);
		if (session->ahead > most)
			most = session->ahead;
		ck_assert_int_eq(put(pair.b, &i, sizeof(i), 0), sizeof(i));
		ck_assert_int_eq(get(pair.a, &back, sizeof(back), 0), sizeof(back));
		ck_assert_uint_eq(back, i);
		ck_assert_uint_eq(posted_count(session), posted);
	}
	ck_assert_uint_eq(most, ahead_most);
	ck_assert_uint_eq(session->messages_sent, sent + 50);
	ck_assert_uint_gt(session->ahead, 0);
	socket_progress(pair.b);
	session_post_spent(session);
	ck_assert_uint_eq(posted_count(session), posted);
	for (struct message *message = session->posted_first; message; message = message->next)
		ck_assert_uint_eq(message->data[0], 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/*
 * Behind a send only what was taken ahead is completed: a message that has just come is taken by its
 * seal, too, and so no message of credits is due for it.
 */
START_TEST(what_has_just_come_is_taken_ahead)
{
	struct pair pair = pair_connect();
	struct session *session = &pair.b->session;
	uint32_t most = sealed_ahead_most(session), posted = posted_count(session);
	uint64_t sent = session->messages_sent;
	char byte;

	for (uint32_t i = 0; i < most; i++) {
		ck_assert_int_eq(put(pair.a, "x", 1, 0), 1);
		ck_assert_int_eq(get(pair.b, &byte, 1, 0), 1);
	}
	ck_assert_uint_eq(session->ahead, most);
	ck_assert_int_eq(put(pair.a, "y", 1, 0), 1);
	ck_assert_int_eq(put(pair.b, "z", 1, 0), 1);
	ck_assert_uint_eq(session->ahead, 0);
	ck_assert_uint_eq(posted_count(session), posted);
	ck_assert_ptr_eq(session->unseen, session->posted_first);
	ck_assert_ptr_null(session->chunks_first);
	ck_assert_int_eq(get(pair.b, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 'y');
	ck_assert_uint_eq(session->ahead, 1);
	ck_assert_uint_eq(session->messages_sent, sent + 1);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* Who only receives, and takes all ahead, still gives the credits back in time. */
START_TEST(credits_come_back)
{
	struct pair pair = pair_connect();
	uint32_t total = pair.a->session.credits_total;
	char byte;

	for (uint32_t i = 0; i < 10 * total; i++) {
		ck_assert_int_eq(put(pair.a, "x", 1, 0), 1);
		ck_assert_int_eq(get(pair.b, &byte, 1, 0), 1);
		ck_assert_uint_le(pair.b->session.ahead, sealed_ahead_most(&pair.b->session));
		/* Nobody calls b any more, and yet: */
		socket_progress(pair.a);
		ck_assert_uint_gt(pair.a->session.credits * 2, total);
	}
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* Without room for all of it, or for who only looks, the ordinary way. */
START_TEST(what_does_not_fit_is_not_taken)
{
	struct pair pair = pair_connect();
	uint8_t back[64], data[64];

	make(data, sizeof(data), ALL, true);
	ck_assert_int_eq(put(pair.a, data, sizeof(data), 0), sizeof(data));
	ck_assert_uint_eq(take(pair.b, back, sizeof(back) - 1), 0);
	ck_assert_int_eq(get(pair.b, back, sizeof(back), MSG_PEEK), sizeof(back));
	ck_assert_mem_eq(back, data, sizeof(back));
	ck_assert_uint_eq(pair.b->session.ahead, 0);
	ck_assert_int_eq(get(pair.b, back, 10, 0), 10);
	ck_assert_int_eq(get(pair.b, back + 10, sizeof(back), 0), sizeof(back) - 10);
	ck_assert_mem_eq(back, data, sizeof(back));
	/* All that is there by one call. */
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(put(pair.a, data, 32, 0), 32);
	ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), 64);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* Its end, behind it and complete as it is, ends nothing that was taken. */
START_TEST(the_end_comes_behind_it)
{
	struct pair pair = pair_connect();
	char back[8];

	ck_assert_int_eq(put(pair.a, "last", 4, 0), 4);
	ck_assert_int_eq(take(pair.b, back, sizeof(back)), 4);
	ck_assert_int_eq(socket_shutdown(pair.a, -1, SHUT_WR), 0);
	ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), 0);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

/* A peer whose message is sealed for fewer bytes than it has. */
START_TEST(more_than_is_sealed_resets)
{
	struct pair pair = pair_connect();
	struct session *session = &pair.a->session;
	struct message *message = session_compose(session, MESSAGE_SEALED, 4, 0);
	struct sealed_header *header = (struct sealed_header *)message->data;
	char back[8];

	memcpy(message->data + HEADER, "fourmore", 8);
	sealed_seal(header, session->sent, message->data + HEADER);
	message->end = HEADER + 8;
	session->credits--;
	session_transmit(session, message, 0);
	if (_i)
		ck_assert_int_eq(get(pair.b, back, sizeof(back), 0), 4);
	ck_assert_int_eq(get(pair.b, back, _i ? sizeof(back) : 2, 0), -ECONNRESET);
	pair_attend(pair);
	pair_close(pair);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sealed");
	TCase *cases = tcase_create("sealed");
	SRunner *runner;
	int failed;

	switch_open();
	tcase_set_timeout(cases, 30);
	tcase_add_loop_test(cases, a_part_is_not_taken, 0, SIZES);
	tcase_add_test(cases, what_was_read_is_not_taken_again);
	tcase_add_loop_test(cases, it_is_taken_once, 0, SIZES);
	tcase_add_test(cases, several_are_taken);
	tcase_add_test(cases, what_has_just_come_is_taken_ahead);
	tcase_add_test(cases, credits_come_back);
	tcase_add_test(cases, what_does_not_fit_is_not_taken);
	tcase_add_test(cases, the_end_comes_behind_it);
	tcase_add_loop_test(cases, more_than_is_sealed_resets, 0, 2);
	suite_add_tcase(suite, cases);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
