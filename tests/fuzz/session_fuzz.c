// SPDX-License-Identifier: BSD-2-Clause
/*
 * A hostile peer of the session, at random: it greets properly, then sends
 * messages that are right, nearly right, or nonsense, answers advertisements and
 * offers with wrong sizes, out of turn or not at all, and reads and writes what it
 * was shown. Meanwhile threads of the program send, receive and look. It passes if
 * no call answers with more bytes than it was given room for, none stays stuck
 * once the peer is gone, nothing stays exposed, and (under the sanitizers) no byte
 * outside of a buffer is touched.
 *
 * usage: session_fuzz [--seconds N] [--seed N]
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "attention.h"
#include "libc_calls.h"
#include "lifetime.h"
#include "log.h"
#include "loopback_provider.h"
#include "sealed.h"
#include "socket_state.h"
#include "waiter.h"

enum { BUFFERS = 32, ROOM = MESSAGE_SIZE_MOST, LARGEST = 200000, MESSAGES = 300, KNOWN = 8 };

static uint64_t random_state;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool one_in(unsigned int n)
{
	return next_random(&random_state) % n == 0;
}

static uint64_t below(uint64_t n)
{
	return next_random(&random_state) % n;
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "session_fuzz: %s\n", what);
	abort();
}

/* ---- the hostile end ---- */

struct posted {
	WSAOVERLAPPED overlapped;
	uint8_t bytes[ROOM];
};

/* An advertisement or an offer of the victim's. */
struct known {
	uint32_t id, descriptor_length;
	uint64_t offset, length;
	uint8_t descriptor[DESCRIPTOR_MAX];
};

struct attacker {
	SOCKET end;
	struct posted in[BUFFERS], out[BUFFERS];
	unsigned int next_in, next_out;
	uint32_t credits, owed;
	uint64_t sent;
	uint32_t next_id;
	struct known advertised[KNOWN], offered[KNOWN];
	unsigned int advertised_count, offered_count, answered, ended;
	uint8_t shown[KNOWN][DESCRIPTOR_MAX];		/* of memory of ours */
	DWORD shown_length[KNOWN];
	unsigned int shown_count;
	uint8_t memory[LARGEST];
};

static void post(struct attacker *attacker, struct posted *posted)
{
	WSABUFEX buffer = { ROOM, (char *)posted->bytes, NULL };
	DWORD bytes, flags = 0;
	int error;

	posted->overlapped = (WSAOVERLAPPED){ .Internal = STATUS_PENDING };
	loopback_provider.table.lpWSPRecv(attacker->end, &buffer, 1, &bytes, &flags,
					  &posted->overlapped, NULL, NULL, &error);
}

static void learn(struct attacker *attacker, const uint8_t *bytes)
{
	const struct message_header *header = (const struct message_header *)bytes;
	struct advertise_body advertise;
	struct offer_body offer;

	attacker->credits += le16toh(header->credits);
	attacker->owed += header->type != MESSAGE_HELLO && header->type != MESSAGE_CREDIT;
	if (header->type == MESSAGE_HELLO) {
		attacker->credits = le16toh(((const struct hello_body *)(header + 1))->credits);
	} else if (header->type == MESSAGE_ADVERTISE) {
		memcpy(&advertise, header + 1, sizeof(advertise));
		attacker->advertised[attacker->advertised_count++ % KNOWN] = (struct known){
			.id = advertise.id, .descriptor_length = advertise.descriptor_length,
			.length = advertise.length,
		};
		memcpy(attacker->advertised[(attacker->advertised_count - 1) % KNOWN].descriptor,
		       advertise.descriptor, DESCRIPTOR_MAX);
	} else if (header->type == MESSAGE_OFFER) {
		memcpy(&offer, header + 1, sizeof(offer));
		attacker->offered[attacker->offered_count++ % KNOWN] = (struct known){
			.id = offer.id, .descriptor_length = offer.descriptor_length,
			.offset = offer.offset, .length = offer.length,
		};
		memcpy(attacker->offered[(attacker->offered_count - 1) % KNOWN].descriptor,
		       offer.descriptor, DESCRIPTOR_MAX);
	}
}

static void take_messages(struct attacker *attacker)
{
	provider_poll(&loopback_provider, attacker->end, 1);
	for (;;) {
		struct posted *posted = &attacker->in[attacker->next_in % BUFFERS];

		if (WSA_OVERLAPPED_PENDING(&posted->overlapped) || posted->overlapped.Internal)
			return;
		learn(attacker, posted->bytes);
		attacker->next_in++;
		post(attacker, posted);
	}
}

static uint64_t odd_number(uint64_t near)
{
	static const uint64_t odd[] = { 0, 1, 2, 16, 255, 4096, 65535, 65536, UINT32_MAX,
					(uint64_t)UINT32_MAX + 1, INT64_MAX, UINT64_MAX };

	switch (below(4)) {
	case 0:
		return odd[below(sizeof(odd) / sizeof(odd[0]))];
	case 1:
		return near + 1;
	case 2:
		return near - 1;
	default:
		return next_random(&random_state);
	}
}

/* Now and then another number than the right one. */
static uint64_t perhaps(uint64_t right)
{
	return one_in(80) ? odd_number(right) : right;
}

/* RDMA as the victim allows it, or not. The result does not matter. */
static void reach(struct attacker *attacker, const struct known *known, bool write)
{
	uint64_t length = perhaps(known->length < LARGEST ? known->length : LARGEST) % (LARGEST + 1);
	WSABUFEX buffer = { (ULONG)length, (char *)attacker->memory, NULL };
	WSAOVERLAPPED overlapped = { .Internal = STATUS_PENDING };
	DWORD bytes;
	int error;

	if (write)
		loopback_provider.rdma_write(attacker->end, &buffer, 1,
					     (void *)(uintptr_t)known->descriptor,
					     known->descriptor_length, 0, &bytes, 0, &overlapped, NULL,
					     NULL, &error);
	else
		loopback_provider.rdma_read(attacker->end, &buffer, 1,
					    (void *)(uintptr_t)known->descriptor,
					    known->descriptor_length, 0, &bytes, 0, &overlapped, NULL,
					    NULL, &error);
	while (WSA_OVERLAPPED_PENDING(&overlapped))
		provider_poll(&loopback_provider, attacker->end, 1);
}

static uint32_t advertise(struct attacker *attacker, struct advertise_body *body)
{
	uint32_t length = (uint32_t)below(LARGEST) + 1;
	unsigned int slot = attacker->shown_count;
	int error;

	if (slot < KNOWN) {
		attacker->shown_length[slot] = DESCRIPTOR_MAX;
		loopback_provider.register_rdma_memory(attacker->end, attacker->memory, LARGEST,
						       MEM_READ, attacker->shown[slot],
						       &attacker->shown_length[slot], &error);
		attacker->shown_count++;
	} else {
		slot = (unsigned int)below(KNOWN);
	}
	*body = (struct advertise_body){
		.id = htole32((uint32_t)perhaps(attacker->next_id++)),
		.descriptor_length = htole32((uint32_t)perhaps(attacker->shown_length[slot])),
		.length = htole64(perhaps(length)),
	};
	memcpy(body->descriptor, attacker->shown[slot], DESCRIPTOR_MAX);
	return length;
}

/* Fills the body and returns its length. */
static uint32_t compose(struct attacker *attacker, struct message_header *header, void *body)
{
	const struct known *known;
	struct done_body done;

	switch (header->type) {
	case MESSAGE_DATA: {
		uint32_t length = (uint32_t)below(one_in(2) ? 64 : 1900) + 1;

		memset(body, 7, length);
		header->position = htole32((uint32_t)perhaps(attacker->sent));
		attacker->sent += length;
		return length;
	}
	case MESSAGE_SEALED: {
		uint8_t length = (uint8_t)(below(SEALED_MOST) + 1);

		/* sealed_header is longer by the second half of the seal: see transmit(). */
		memset((uint8_t *)body + 4, 7, length);
		header->flags = length;
		attacker->sent += length;
		return 4 + length;
	}
	case MESSAGE_ADVERTISE:
		header->position = htole32((uint32_t)perhaps(attacker->sent));
		header->flags = (uint8_t)perhaps(one_in(2) ? ADVERTISE_PUSH : 0);
		attacker->sent += advertise(attacker, body);
		return sizeof(struct advertise_body);
	case MESSAGE_OFFER:
		known = &attacker->advertised[attacker->ended % KNOWN];
		*(struct offer_body *)body = (struct offer_body){
			.id = (uint32_t)perhaps(known->id), .descriptor_length = htole32(8),
			.offset = perhaps(0), .length = perhaps(known->length),
		};
		memcpy(((struct offer_body *)body)->descriptor, attacker->shown[0], 8);
		return sizeof(struct offer_body);
	case MESSAGE_DONE:
		if (attacker->offered_count &&
		    (attacker->answered != attacker->offered_count || one_in(80))) {
			known = &attacker->offered[(attacker->offered_count - 1) % KNOWN];
			attacker->answered = attacker->offered_count;
			if (one_in(2))
				reach(attacker, known, true);
			header->flags = (uint8_t)perhaps(DONE_PUSHED);
			done = (struct done_body){ .id = known->id,
						   .count = known->offset + known->length };
			if (one_in(4))
				done.count = one_in(2) ? odd_number(done.count) :
							 done.count + below(LARGEST);
		} else {
			known = &attacker->advertised[attacker->ended % KNOWN];
			attacker->ended += attacker->ended < attacker->advertised_count;
			if (one_in(2))
				reach(attacker, known, false);
			header->flags = (uint8_t)perhaps(0);
			done = (struct done_body){ .id = known->id, .count = known->length };
			if (one_in(4))
				done.count = one_in(2) ? below(known->length + 1) :
							 odd_number(known->length);
		}
		memcpy(body, &done, sizeof(done));
		return sizeof(done);
	case MESSAGE_WITHDRAW:
		header->flags = (uint8_t)below(2);
		*(struct withdraw_body *)body = (struct withdraw_body){
			.id = htole32((uint32_t)below(attacker->next_id + 1)),
		};
		return sizeof(struct withdraw_body);
	case MESSAGE_BUFFERS:
		*(struct buffers_body *)body = (struct buffers_body){
			.first = htole64(perhaps(20)), .size = htole32((uint32_t)perhaps(16384)),
		};
		return sizeof(struct buffers_body);
	case MESSAGE_FIN:
		header->position = htole32((uint32_t)perhaps(attacker->sent));
		return 0;
	default:
		return 0;
	}
}

static void transmit(struct attacker *attacker, uint8_t type)
{
	struct posted *out = &attacker->out[attacker->next_out++ % BUFFERS];
	struct message_header *header = (struct message_header *)out->bytes;
	WSABUFEX buffer;
	DWORD bytes;
	uint32_t length;
	int error;

	memset(out->bytes, 0, 256);
	header->type = type;
	if (type == MESSAGE_HELLO) {
		*(struct hello_body *)(header + 1) = (struct hello_body){
			.magic = htole32(PROTOCOL_MAGIC), .version = htole16(PROTOCOL_VERSION),
			.credits = htole16(BUFFERS - CREDIT_RESERVE), .message_size = htole32(4096),
		};
		length = sizeof(struct hello_body);
	} else {
		length = compose(attacker, header, header + 1);
	}
	header->credits = htole16((uint16_t)perhaps(attacker->owed));
	attacker->owed = 0;
	if (type == MESSAGE_SEALED) {
		uint64_t before = attacker->sent - header->flags;

		sealed_seal((struct sealed_header *)header, perhaps(before),
			    out->bytes + sizeof(struct sealed_header));
		header->flags = (uint8_t)perhaps(header->flags);
	}
	buffer = (WSABUFEX){ (ULONG)sizeof(*header) + length, (char *)out->bytes, NULL };
	if (one_in(100))
		buffer.len = (ULONG)below(buffer.len + 16);
	out->overlapped = (WSAOVERLAPPED){ .Internal = STATUS_PENDING };
	loopback_provider.table.lpWSPSend(attacker->end, &buffer, 1, &bytes, MSG_WSDIRECT_SOLICITED,
					  &out->overlapped, NULL, NULL, &error);
	while (WSA_OVERLAPPED_PENDING(&out->overlapped))
		provider_poll(&loopback_provider, attacker->end, 1);
	if (type != MESSAGE_HELLO && type != MESSAGE_CREDIT && attacker->credits)
		attacker->credits--;
}

static void attack(struct attacker *attacker)
{
	static const uint8_t usual[] = {
		MESSAGE_DATA, MESSAGE_SEALED, MESSAGE_DATA, MESSAGE_ADVERTISE, MESSAGE_ADVERTISE, MESSAGE_DONE,
		MESSAGE_DONE, MESSAGE_DONE, MESSAGE_OFFER, MESSAGE_WITHDRAW, MESSAGE_CREDIT,
	};

	for (unsigned int i = below(MESSAGES); i; i--) {
		uint8_t type;

		take_messages(attacker);
		if (!attacker->credits && !one_in(200)) {
			sched_yield();
			continue;
		}
		type = one_in(80) ? (uint8_t)below(MESSAGE_TYPES + 1) : usual[below(sizeof(usual))];
		if (attacker->answered != attacker->offered_count && one_in(2))
			type = MESSAGE_DONE;
		/* Nearly right is what gets far: mostly not what nobody waits for. */
		if ((type == MESSAGE_DONE && attacker->answered == attacker->offered_count &&
		     attacker->ended == attacker->advertised_count && !one_in(40)) ||
		    (type == MESSAGE_OFFER && attacker->ended == attacker->advertised_count &&
		     !one_in(40)))
			type = MESSAGE_DATA;
		transmit(attacker, type);
		if (one_in(4))
			usleep((useconds_t)below(300));
	}
}

/* ---- the program ---- */

struct program {
	struct socket *socket;
	uint64_t state;
};

static void *receiver(void *argument)
{
	struct program *program = argument;
	ssize_t result;

	do {
		size_t sizes[2] = { next_random(&program->state) % LARGEST + 1,
				    next_random(&program->state) % 64 + 1 };
		struct iovec vector[2] = { { malloc(sizes[0]), sizes[0] }, { malloc(sizes[1]), sizes[1] } };
		unsigned int kind = next_random(&program->state) % 8;
		int flags = kind == 0 ? MSG_PEEK | MSG_DONTWAIT : kind == 1 ? MSG_WAITALL :
			    kind == 2 ? MSG_DONTWAIT : 0;

		must(vector[0].iov_base && vector[1].iov_base, "no memory");
		result = socket_receive(program->socket, vector, 2, flags);
		must(result <= (ssize_t)(sizes[0] + sizes[1]), "received more than there is room for");
		free(vector[0].iov_base);
		free(vector[1].iov_base);
	} while (result > 0 || result == -EAGAIN);
	return NULL;
}

static void *sender(void *argument)
{
	struct program *program = argument;
	ssize_t result;

	do {
		size_t size = next_random(&program->state) % (next_random(&program->state) % 2 ? 100 :
							       LARGEST) + 1;
		struct iovec vector = { malloc(size), size };

		must(vector.iov_base, "no memory");
		memset(vector.iov_base, 1, size);
		result = socket_send(program->socket, &vector, 1,
				     next_random(&program->state) % 4 ? 0 : MSG_DONTWAIT);
		must(result <= (ssize_t)size, "sent more than there was");
		free(vector.iov_base);
	} while (result > 0 || result == -EAGAIN);
	return NULL;
}

static void *looker(void *argument)
{
	struct program *program = argument;
	unsigned int bits;

	do {
		int waiting = -1;

		bits = socket_poll(program->socket);
		must(!socket_ioctl(program->socket, -1, FIONREAD, &waiting), "FIONREAD");
		must(waiting >= 0, "a negative number of bytes is readable");
		usleep((useconds_t)(next_random(&program->state) % 500));
	} while (!(bits & POLLHUP));
	return NULL;
}

static void one_round(void)
{
	static void *(*const runs[])(void *) = { receiver, sender, looker };
	struct attacker *attacker = calloc(1, sizeof(*attacker));
	struct program programs[3];
	pthread_t threads[3];
	struct socket *socket;
	bool greeted = false;
	SOCKET victim;
	int error;

	must(attacker != NULL, "no memory");
	loopback_pair(&attacker->end, &victim);
	for (int i = 0; i < BUFFERS; i++)
		post(attacker, &attacker->in[i]);
	socket = socket_new(SOCKET_CONNECTED);
	must(!session_open(&socket->session, &loopback_provider, victim), "session_open");
	must(!session_hello(&socket->session), "session_hello");
	attention_add(socket);
	transmit(attacker, MESSAGE_HELLO);
	/* Whoever moves it first; connect() and accept() would wait for this. */
	while (!greeted) {
		light_lock_acquire(&socket->lock);
		socket_progress(socket);
		greeted = socket->session.established || socket->session.broken;
		light_lock_release(&socket->lock);
	}
	for (int i = 0; i < 3; i++) {
		programs[i] = (struct program){ socket, next_random(&random_state) | 1 };
		must(!pthread_create(&threads[i], NULL, runs[i], &programs[i]), "no thread");
	}
	attack(attacker);
	loopback_provider.table.lpWSPCloseSocket(attacker->end, &error);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	socket_close(socket);
	attention_drain(5000);
	socket_put(socket);
	for (unsigned int i = 0; i < attacker->shown_count; i++)
		loopback_provider.deregister_rdma_memory(attacker->end, attacker->shown[i],
							 attacker->shown_length[i], &error);
	must(loopback_exposed() == 0, "memory stayed exposed");
	free(attacker);
}

static uint64_t argument_number(int argc, char **argv, int i)
{
	char *end = NULL;
	uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], &end, 0) : 0;

	if (end && !*end && value)
		return value;
	fprintf(stderr, "session_fuzz: %s needs a number above 0\n", argv[i]);
	exit(2);
}

int main(int argc, char **argv)
{
	uint64_t seconds = 10, rounds = 0;
	struct timespec time;
	int64_t end;

	clock_gettime(CLOCK_REALTIME, &time);
	random_state = (uint64_t)time.tv_sec * 1000000007 + (uint64_t)time.tv_nsec;
	for (int i = 1; i < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds")) {
			seconds = argument_number(argc, argv, i);
		} else if (!strcmp(argv[i], "--seed")) {
			random_state = argument_number(argc, argv, i);
		} else {
			fprintf(stderr, "usage: session_fuzz [--seconds N] [--seed N]\n");
			return 2;
		}
	}
	printf("seed %llu\n", (unsigned long long)random_state);
	fflush(stdout);
	setenv("WSDIRECT_LOG", "off", 0);
	libc_calls_resolve();
	switch_open();
	must(!attention_start(), "no switch thread");
	for (end = clock_now() + (int64_t)seconds * 1000000000; clock_now() < end; rounds++)
		one_round();
	printf("%llu hostile connections\n", (unsigned long long)rounds);
	return EXIT_SUCCESS;
}
