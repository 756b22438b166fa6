/* SPDX-License-Identifier: BSD-2-Clause */
/* Small messages that are taken before the SAN says that they are there. See sealed.h. */
#include "sealed.h"

#include <string.h>

#include "program_memory.h"
#include "socket_state.h"
#include "statistics.h"

#define WORDS_MOST	((sizeof(struct sealed_header) + SEALED_MOST + 7) / 8)

static inline uint64_t mix(uint64_t seal, uint64_t word)
{
	seal = (seal ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return seal ^ seal >> 32;
}

/* As protocol.h says. */
static inline uint64_t seal_of(uint64_t position, const struct sealed_header *header,
			       const uint8_t *data)
{
	size_t size = header->length, done;
	uint64_t seal, word = 0;
	uint32_t head;

	memcpy(&head, header, sizeof(head));
	seal = mix(position, le32toh(head));
	for (done = 0; done + sizeof(word) <= size; done += sizeof(word)) {
		memcpy(&word, data + done, sizeof(word));
		seal = mix(seal, le64toh(word));
	}
	if (done < size) {
		if (size >= sizeof(word)) {
			memcpy(&word, data + size - sizeof(word), sizeof(word));
			word = le64toh(word);
		} else {
			while (size > 0)
				word = word << 8 | data[--size];
		}
		seal = mix(seal, word);
	}
	return seal;
}

void sealed_seal(struct sealed_header *header, uint64_t position, const void *data)
{
	uint64_t seal = seal_of(position, header, data);

	header->seal[0] = htole32((uint32_t)seal);
	header->seal[1] = htole32((uint32_t)(seal >> 32));
}

static inline bool is_whole(uint64_t position, const struct sealed_header *header,
			    const uint8_t *data)
{
#ifdef WSD_MUTATION_NO_SEAL
	(void)position;
	(void)data;
	return header;
#endif
	return ((uint64_t)le32toh(header->seal[1]) << 32 | le32toh(header->seal[0])) ==
	       seal_of(position, header, data);
}

bool sealed_send(struct session *session, const void *data, size_t size)
{
	struct sealed_header header = {
		.type = MESSAGE_SEALED, .length = (uint8_t)size,
		.credits = htole16((uint16_t)session->credits_owed),
	};
	const WSABUF pieces[] = {
		{ sizeof(header), (char *)&header },
		{ (ULONG)size, (char *)(uintptr_t)data },
	};

	sealed_seal(&header, session->sent, data);
	return session_transmit_copied(session, pieces, 2);
}

/*
 * The compiler must neither read twice nor in pieces; in which order is all the same. Whoever
 * writes there is no thread that could be told of it, but the adapter.
 */
static NOT_WATCHED inline void copy_from_adapter(uint64_t *copy, const uint8_t *data, size_t size)
{
	const volatile uint64_t *words = (const volatile uint64_t *)(const volatile void *)data;

	for (size_t i = 0; i * sizeof(*copy) < size; i++)
		copy[i] = words[i];
}

size_t sealed_take(struct socket *socket, const struct iovec *buffer)
{
	struct session *session = &socket->session;
	struct message *message = session->unseen;
	uint64_t copy[WORDS_MOST];
	const struct sealed_header *header = (const struct sealed_header *)copy;
	const uint8_t *data = (const uint8_t *)copy + sizeof(*header);
	size_t size = sealed_byte(&((const struct sealed_header *)message->data)->length);

	if (!size || size > SEALED_MOST || size > buffer->iov_len || session->receiving ||
	    session->broken || session->finished_received || !session->established ||
	    !session->credits_peer || program_writable(buffer->iov_base, size) < size)
		return 0;
	copy_from_adapter(copy, message->data, sizeof(*header) + size);
	if (header->type != MESSAGE_SEALED || header->length != size ||
	    !is_whole(session->received, header, data) ||
	    !session_credits_arrive(session, le16toh(header->credits)))
		return 0;
	memcpy(buffer->iov_base, data, size);
	session->credits_peer--;
	session->received += size;
	message->ahead = (uint32_t)size;
	session->unseen = message->next;
	session->ahead++;
	session->generation++;
	/* It is not there to be read any more: no edge. */
	socket->seen_received = session->received;
	statistic_add(STATISTIC_bytes_received_message, size);
	statistic_add(STATISTIC_messages_ahead, 1);
	return size;
}

const char *sealed_complete(struct session *session, struct message *message, size_t bytes)
{
	size_t size = message->ahead;

	message->ahead = 0;
	session->ahead--;
	if (bytes != sizeof(struct sealed_header) + size)
		return "a sealed message of another length than it said";
	session_spent(session, message);
	return NULL;
}
