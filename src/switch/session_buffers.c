/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The session's memory: message buffers in pools, posted for receiving or free
 * for sending, and spills for large data that waits. All of it is registered
 * once and used again.
 */
#include "session.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"
#include "session_parts.h"
#include "settings.h"
#include "socket_state.h"
#include "statistics.h"
#include "wsa_errno.h"

/* Where a message begins, whatever size a setting or the peer asked for: no two share a line. */
#define MESSAGE_ALIGNMENT	64
#define POST_MOST	16	/* receive buffers that are posted by one call */
#define POLLED	((HANDLE)(uintptr_t)1)	/* low bit of hEvent: no up-call */

struct message_pool *session_pool_new(struct session *session, uint32_t count, uint32_t bytes)
{
	uint32_t size = (uint32_t)sizeof(struct message_header) + bytes;
	size_t page = 4096;
	size_t head = sizeof(struct message_pool) + count * sizeof(struct message);
	size_t stride = ((size_t)size + MESSAGE_ALIGNMENT - 1) & ~(size_t)(MESSAGE_ALIGNMENT - 1);
	size_t length;
	struct message_pool *pool;
	int error;

	head = (head + page - 1) & ~(page - 1);
	length = (head + count * stride + page - 1) & ~(page - 1);
	pool = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool == MAP_FAILED)
		return NULL;
	pool->handle = session->provider->register_memory(session->companion, (uint8_t *)pool + head,
							  (DWORD)(length - head),
							  MEM_READWRITE | MEM_WSDIRECT_KEPT,
							  &error);
	if (!pool->handle) {
		log_info("session: cannot register %zu bytes of message buffers: %s",
			 length - head, wsa_error_name(error));
		munmap(pool, length);
		return NULL;
	}
	pool->length = length;
	pool->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct message *message = &pool->messages[i];

		message->pool = pool;
		message->data = (uint8_t *)pool + head + i * stride;
		message->size = size;
	}
	pool->next = session->pools;
	session->pools = pool;
	return pool;
}

/* Posts them, @count of them: 1 to POST_MOST. 0 or a WSA code. */
static int post(struct session *session, struct message **messages, uint32_t count)
{
	WSABUFEX buffers[POST_MOST];
	LPWSAOVERLAPPED overlapped[POST_MOST];
	DWORD bytes, flags = 0;
	uint32_t i = 0;
	int error = 0;

	do {
		struct message *message = messages[i];

		message->next = NULL;
		message->overlapped.Internal = STATUS_PENDING;
		message->overlapped.hEvent = POLLED;
		/* What it held last is not to look like what comes. */
		message->data[0] = 0;
		buffers[i] = (WSABUFEX){ message->size, (char *)message->data, message->pool->handle };
		overlapped[i] = &message->overlapped;
	} while (++i < count);
	if (session->provider->receive_several) {
		if (session->provider->receive_several(session->companion, buffers, overlapped,
						       count, &error))
			return error;
	} else {
		for (i = 0; i < count; i++)
			if (session->provider->table.lpWSPRecv(session->companion, &buffers[i], 1,
							       &bytes, &flags, overlapped[i], NULL,
							       NULL, &error) &&
			    error != WSA_IO_PENDING)
				return error;
	}
	for (i = 0; i < count; i++) {
		if (session->posted_last)
			session->posted_last->next = messages[i];
		else
			session->posted_first = messages[i];
		session->posted_last = messages[i];
	}
	if (!session->unseen)
		session->unseen = messages[0];
	session->messages_posted += count;
	return 0;
}

int session_post(struct session *session, struct message *message)
{
	return post(session, &message, 1);
}

/* A larger buffer instead, if there is one: one is in reserve for each small one. */
static struct message *replacement(struct session *session, struct message *message)
{
	struct message *larger = session->reserve;

	if (!larger || message->size >= larger->size)
		return message;
	session->reserve = larger->next;
	return larger;
}

void session_repost(struct session *session, struct message *message)
{
	int error;

	if (session->broken || session->refused)
		return;
	error = session_post(session, replacement(session, message));
	if (error)
		session_refused(session, error);
}

void session_post_spent(struct session *session)
{
	struct message *message, *messages[POST_MOST];
	uint32_t count = 0;

	while ((message = session->spent)) {
		session->spent = message->next;
		if (session->broken || session->refused)
			continue;
		messages[count++] = replacement(session, message);
		if (count == POST_MOST || !session->spent) {
			int error = post(session, messages, count);

			if (error)
				session_refused(session, error);
			count = 0;
		}
	}
	session->credits_owed += session->spent_count;
	session->spent_count = 0;
}

/* Buffers for @bytes, or for as many as can be had, if that is more than those there are hold. */
static struct message_pool *larger_pool(struct session *session, uint32_t count, uint32_t bytes)
{
	struct message_pool *pool = NULL;

	for (; !pool && bytes > setting_number(SETTING_message_size); bytes /= 4)
		pool = session_pool_new(session, count, bytes);
	return pool;
}

/* Larger receive buffers take the places of the small ones as these come back. */
void session_grow_receive(struct session *session)
{
	struct message_pool *pool;

	session->buffers_grown = true;
	pool = larger_pool(session, session->credits_granted + CREDIT_RESERVE, LARGER_BYTES);
	if (!pool)
		return;
	for (uint32_t i = 0; i < pool->count; i++) {
		pool->messages[i].next = session->reserve;
		session->reserve = &pool->messages[i];
	}
	session->buffers_first = session->messages_posted;
	session->buffers_size = pool->messages[0].size;
	session->want_buffers = true;
}

void session_grow_send(struct session *session, uint32_t most)
{
	struct message_pool *pool = larger_pool(session, SEND_BUFFERS,
						most - (uint32_t)sizeof(struct message_header));

	if (!pool)
		return;
	session->send_size = pool->messages[0].size;
	session->free = NULL;
	for (uint32_t i = 0; i < pool->count; i++)
		session_free_push(session, &pool->messages[i]);
}

/* ---- memory for data that waits ---- */

#define SPILL_SIZE	(256 * 1024)
#define SPILL_SPARES	2

struct spill *session_spill_get(struct session *session, size_t size)
{
	struct spill **link, *spill;
	int error;

	for (link = &session->spare; (spill = *link); link = &spill->next)
		if (spill->size >= size) {
			*link = spill->next;
			spill->begin = spill->end = 0;
			return spill;
		}
	if (size < SPILL_SIZE)
		size = SPILL_SIZE;
	size = (size + 4095) & ~(size_t)4095;
	spill = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (spill == MAP_FAILED)
		return NULL;
	spill->data = (uint8_t *)spill + 4096;
	spill->size = size;
	spill->handle = session->provider->register_memory(session->companion, spill->data,
							   (DWORD)size,
							   MEM_READWRITE | MEM_WSDIRECT_KEPT, &error);
	if (!spill->handle) {
		log_at(session->spill_refused ? LOG_DEBUG : LOG_INFO,
		       "session: large data is copied: cannot register %zu bytes: %s", size,
		       wsa_error_name(error));
		session->spill_refused = true;
		munmap(spill, size + 4096);
		return NULL;
	}
	return spill;
}

struct spill *session_spill_plain(size_t size)
{
	struct spill *spill = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (spill == MAP_FAILED)
		return NULL;
	spill->data = (uint8_t *)spill + 4096;
	spill->size = size;
	return spill;
}

void session_spill_free(struct session *session, struct spill *spill)
{
	int error;

	if (spill->handle)
		session->provider->deregister_memory(session->companion, spill->handle, &error);
	munmap(spill, spill->size + 4096);
}

void session_spill_put(struct session *session, struct spill *spill)
{
	unsigned int spares = 0;

	for (struct spill *other = session->spare; other; other = other->next)
		spares++;
	if (spill->handle && spares < SPILL_SPARES && spill->size <= SPILL_SIZE) {
		spill->next = session->spare;
		session->spare = spill;
		return;
	}
	session_spill_free(session, spill);
}
