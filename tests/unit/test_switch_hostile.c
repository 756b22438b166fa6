/* SPDX-License-Identifier: BSD-2-Clause */
/* The session with a peer that breaks the rules, field by field, over the loopback provider. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "libc_calls.h"
#include "lifetime.h"
#include "session_fixture.h"

#define MIB (1024 * 1024)

struct forged {
	const char *what;
	uint8_t type, flags;
	uint16_t credits;
	int64_t position;
	uint32_t length;		/* of the body */
	uint8_t body[96];
};

static const struct forged forgeries[] = {
	{ "type 0", 0, 0, 0, 0, 0, { 0 } },
	{ "type beyond the last", MESSAGE_TYPES, 0, 0, 0, 0, { 0 } },
	{ "credit with a body", MESSAGE_CREDIT, 0, 0, 0, 1, { 0 } },
	{ "done with more behind it", MESSAGE_DONE, 0, 0, 0, 17, { 9 } },
	{ "empty data", MESSAGE_DATA, 0, 0, 0, 0, { 0 } },
	{ "data at a wrong position", MESSAGE_DATA, 0, 0, 77, 4, { 0 } },
	{ "too many credits", MESSAGE_DATA, 0, 60000, 0, 4, { 0 } },
	{ "second hello", MESSAGE_HELLO, 0, 0, 0, 16,
	  { 0x57, 0x53, 0x44, 0x31, PROTOCOL_VERSION, 0, 8, 0, 0, 8, 0, 0 } },
	{ "advertisement of nothing", MESSAGE_ADVERTISE, 0, 0, 0, 80, { 1, 0, 0, 0, 8 } },
	{ "descriptor too long", MESSAGE_ADVERTISE, 0, 0, 0, 80,
	  { 1, 0, 0, 0, 200, 0, 0, 0, 1 } },
	{ "advertisement cut short", MESSAGE_ADVERTISE, 0, 0, 0, 12, { 1, 0, 0, 0, 8 } },
	{ "offer for nothing", MESSAGE_OFFER, 0, 0, 0, 88, { 9, 0, 0, 0, 8 } },
	{ "done for nothing", MESSAGE_DONE, 0, 0, 0, 16, { 9 } },
	{ "push for nothing", MESSAGE_DONE, DONE_PUSHED, 0, 0, 16, { 9 } },
	{ "end of stream in its middle", MESSAGE_FIN, 0, 0, 5, 0, { 0 } },
	{ "buffers that shrink", MESSAGE_BUFFERS, 0, 0, 0, 16, { 0, 0, 0, 0, 0, 0, 0, 0, 1 } },
	{ "buffers of 65545 bytes", MESSAGE_BUFFERS, 0, 0, 0, 16,
	  { 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1 } },
};

static void inject(struct socket *from, const struct forged *forged, uint32_t cut)
{
	struct message *message;

	light_lock_acquire(&from->lock);
	message = session_compose(&from->session, forged->type, forged->flags,
				  (uint64_t)forged->position);
	memcpy(message->data + sizeof(struct message_header), forged->body, sizeof(forged->body));
	message->end += forged->length;
	if (cut)
		message->end = cut;
	from->session.credits_owed = forged->credits;
	from->session.credits--;
	session_transmit(&from->session, message, 0);
	light_lock_release(&from->lock);
}

START_TEST(a_forged_message_resets)
{
	struct pair pair = pair_open();
	char buffer[16];

	inject(pair.a, &forgeries[_i], 0);
	ck_assert_msg(get(pair.b, buffer, 16, 0) == -ECONNRESET, "%s", forgeries[_i].what);
	pair_close(pair);
}
END_TEST

/* Message buffers lie side by side, and a peer may ask for any size. */
START_TEST(messages_are_aligned_whatever_size_the_peer_asks_for)
{
	static const struct forged odd = { "buffers of 4099 bytes", MESSAGE_BUFFERS, 0, 0, 0, 16,
					   { 1, 0, 0, 0, 0, 0, 0, 0, 4099 & 255, 4099 >> 8 } };
	struct pair pair = pair_open();
	char buffer[200] = "more than the provider copies";

	inject(pair.b, &odd, 0);
	/* Takes the message in; what is sent after it makes use of it. */
	ck_assert_int_eq(get(pair.a, buffer, sizeof(buffer), MSG_DONTWAIT), -EAGAIN);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(put(pair.a, buffer, sizeof(buffer), 0), sizeof(buffer));
	ck_assert_uint_eq(pair.a->session.send_size, 4099);
	for (struct message_pool *pool = pair.a->session.pools; pool; pool = pool->next)
		for (uint32_t i = 0; i < pool->count; i++)
			ck_assert_uint_eq((uintptr_t)pool->messages[i].data % 8, 0);
	pair_close(pair);
}
END_TEST

START_TEST(a_message_shorter_than_its_header_resets)
{
	struct pair pair = pair_open();
	char buffer[16];

	inject(pair.a, &forgeries[4], 7);
	ck_assert_int_eq(get(pair.b, buffer, 16, 0), -ECONNRESET);
	pair_close(pair);
}
END_TEST

START_TEST(messages_beyond_the_credits_reset)
{
	struct pair pair = pair_open();
	char buffer[16];

	light_lock_acquire(&pair.a->lock);
	for (int i = 0; i < 9; i++) {
		struct message *message = session_compose(&pair.a->session, MESSAGE_DATA, 0,
							  (uint64_t)i);

		if (!message)
			session_progress(&pair.a->session, 1);
		if (!message)
			message = session_compose(&pair.a->session, MESSAGE_DATA, 0, (uint64_t)i);
		message->end += 1;
		session_transmit(&pair.a->session, message, 0);
	}
	light_lock_release(&pair.a->lock);
	while (get(pair.b, buffer, 1, 0) > 0)
		;
	ck_assert(pair.b->session.broken);
	pair_close(pair);
}
END_TEST

/* A peer that was offered a buffer says that it has written more, or less, than that. */
static void *receive_quarter(void *argument)
{
	struct socket *socket = argument;
	uint8_t *buffer = malloc(MIB / 4);
	ssize_t received = get(socket, buffer, MIB / 4, 0);

	free(buffer);
	return (void *)received;
}

START_TEST(a_push_of_another_size_than_was_offered_resets)
{
	static const uint32_t counts[] = { MIB / 4 + 1, MIB, MIB / 4 - 1, 1, 0 };
	struct forged advertisement = { "", MESSAGE_ADVERTISE, ADVERTISE_PUSH, 0, 0, 80,
					{ 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, MIB >> 16 } };
	struct forged done = { "", MESSAGE_DONE, DONE_PUSHED, 0, 0, 16, { 7 } };
	struct pair pair = pair_open();
	bool offered = false;
	uint32_t count = htole32(counts[_i]);
	pthread_t thread;
	void *result;

	/* As if it had been sent by the call, so that the offer is taken for what it is. */
	light_lock_acquire(&pair.a->lock);
	pair.a->session.outgoing[0] = (struct outgoing){ .used = true, .id = 7, .length = MIB };
	light_lock_release(&pair.a->lock);
	inject(pair.a, &advertisement, 0);
	pthread_create(&thread, NULL, receive_quarter, pair.b);
	while (!offered) {
		light_lock_acquire(&pair.b->lock);
		offered = pair.b->session.incoming[0].offered;
		light_lock_release(&pair.b->lock);
	}
	memcpy(done.body + 8, &count, sizeof(count));
	inject(pair.a, &done, 0);
	pthread_join(thread, &result);
	ck_assert_int_eq((ssize_t)result, -ECONNRESET);
	pair_close(pair);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("switch hostile");
	TCase *hostile = tcase_create("hostile");
	SRunner *runner = srunner_create(suite);
	int failed;

	libc_calls_resolve();
	switch_open();
	tcase_add_loop_test(hostile, a_forged_message_resets, 0,
			    (int)(sizeof(forgeries) / sizeof(forgeries[0])));
	tcase_add_test(hostile, messages_are_aligned_whatever_size_the_peer_asks_for);
	tcase_add_test(hostile, a_message_shorter_than_its_header_resets);
	tcase_add_test(hostile, messages_beyond_the_credits_reset);
	tcase_add_loop_test(hostile, a_push_of_another_size_than_was_offered_resets, 0, 5);
	suite_add_tcase(suite, hostile);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
