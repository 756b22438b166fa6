/* SPDX-License-Identifier: BSD-2-Clause */
/* See session_fixture.h. */
#include "session_fixture.h"

#include <check.h>

#include "attention.h"
#include "lifetime.h"
#include "loopback_provider.h"

static struct socket *open_end(SOCKET companion)
{
	struct socket *socket = socket_new(SOCKET_CONNECTED);

	ck_assert_int_eq(session_open(&socket->session, &loopback_provider, companion), 0);
	return socket;
}

struct pair pair_connect(void)
{
	SOCKET one, other;
	struct pair pair;

	loopback_pair(&one, &other);
	pair.a = open_end(one);
	pair.b = open_end(other);
	ck_assert_int_eq(session_hello(&pair.a->session), 0);
	ck_assert_int_eq(session_hello(&pair.b->session), 0);
	for (int i = 0; i < 3; i++) {
		session_progress(&pair.a->session, 1);
		session_progress(&pair.b->session, 1);
	}
	ck_assert(pair.a->session.established && pair.b->session.established);
	return pair;
}

void pair_attend(struct pair pair)
{
	ck_assert_int_eq(attention_start(), 0);
	attention_add(pair.a);
	attention_add(pair.b);
}

struct pair pair_open(void)
{
	struct pair pair = pair_connect();

	pair_attend(pair);
	return pair;
}

void pair_close(struct pair pair)
{
	socket_close(pair.a);
	socket_close(pair.b);
	attention_drain(2000);
	socket_put(pair.a);
	socket_put(pair.b);
	ck_assert_uint_eq(loopback_exposed(), 0);
}
