// SPDX-License-Identifier: BSD-2-Clause
/*
 * Closing in every state, from any thread, with everything pending: prompt,
 * every request completes once, and nothing is left of descriptors or of the
 * device's objects.
 */
#include "san_common.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REQUESTS 50

static unsigned char area[1 << 16];

static void close_while_connecting(void)
{
	struct sockaddr_in nobody = san_address("10.77.0.99", 7);
	int event, listener_event, error;
	SOCKET listener, client;
	uint16_t port;
	int64_t begin;

	listener = san_listener(8, &listener_event, &port);
	for (unsigned i = 0; i < 5; i++) {
		client = san_connecting(port, NULL, 0, &event);
		if (i)
			usleep(i * 3000);
		begin = milliseconds();
		san_close(client);
		check(milliseconds() - begin < 3000);
		close(event);
	}
	/* No link address to be had: resolving, for a while. */
	client = san_bound(0);
	check(san.lpWSPConnect(client, (struct sockaddr *)&nobody, sizeof(nobody), NULL, NULL, NULL,
			       NULL, &error) && error == WSAEWOULDBLOCK);
	usleep(50000);
	begin = milliseconds();
	san_close(client);
	check(milliseconds() - begin < 3000);
	san_close(listener);
	close(listener_event);
}

static void close_while_pending(void)
{
	WSAOVERLAPPED requests[2][REQUESTS];
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	DWORD length = sizeof(descriptor);
	struct san_pair pair;
	HANDLE client, server;
	int error;

	san_pair_open(&pair);
	client = san_registered(pair.client, area, sizeof(area), MEM_READWRITE);
	server = san_registered(pair.server, area, sizeof(area), MEM_READWRITE);
	memset(requests, 0, sizeof(requests));
	for (unsigned i = 0; i < REQUESTS; i++) {
		requests[0][i].hEvent = requests[1][i].hEvent = POLLED;
		san_post(pair.server, area, 100, server, &requests[0][i]);
		/* Nobody posts for these. */
		san_send_message(pair.server, area, 100, server, 0, &requests[1][i]);
	}
	check(!san_expose(pair.server, area, 10000, MEM_READWRITE, descriptor, &length, &error));
	check(san_deregister(pair.server, server, &error) && error == WSAEINVAL);
	check(san_deregister(pair.server, client, &error) && error == WSAEINVAL);
	san_close(pair.server);
	for (unsigned i = 0; i < REQUESTS; i++) {
		check(requests[0][i].Internal == WSA_OPERATION_ABORTED);
		check(requests[1][i].Internal == WSA_OPERATION_ABORTED);
	}
	pair.server = 0;
	san_pair_close(&pair);
}

/* Copied messages, over for their owner, while the device may still have them. */
static void close_behind_copied(void)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED };
	WSAOVERLAPPED received[2] = { { .hEvent = POLLED }, { .hEvent = POLLED } };
	WSABUF buffer = { 10, (char *)area };
	struct san_pair pair;
	unsigned taken = 0;
	HANDLE server;
	int error;

	/* The peer closes: no completion is left to come, and the end is told. */
	san_pair_open(&pair);
	server = san_registered(pair.server, area, sizeof(area), MEM_READWRITE);
	for (unsigned i = 0; i < 2; i++) {
		san_post(pair.server, area, 100, server, &received[i]);
		check(!san_send_copied(pair.client, &buffer, 1, 0, &error));
	}
	for (unsigned i = 0; i < 2; i++)
		check_error(san_wait(pair.server, &received[i], &(DWORD){ 0 }), 0);
	san_close(pair.server);
	pair.server = 0;
	for (int64_t begin = milliseconds(); !(error = san_poll(pair.client));)
		check(milliseconds() - begin < 10000);
	check_error(error, WSAECONNRESET);
	check(san_send_copied(pair.client, &buffer, 1, 0, &error) == SOCKET_ERROR);
	check_error(error, WSAECONNRESET);
	san_pair_close(&pair);

	/* More than the device takes, and nobody receives: those behind it wait, or are refused. */
	san_pair_open(&pair);
	while (!san_send_copied(pair.client, &buffer, 1, 0, &error))
		check(++taken < REQUESTS);
	check_error(error, WSAEWOULDBLOCK);
	check(taken > 0);
	san_send_message(pair.client, area, 10,
			 san_registered(pair.client, area, sizeof(area), MEM_READ), 0, &sent);
	check(san_send_copied(pair.client, &buffer, 1, 0, &error) == SOCKET_ERROR);
	check_error(error, WSAEWOULDBLOCK);
	san_close(pair.client);
	pair.client = 0;
	check_error((int)sent.Internal, WSA_OPERATION_ABORTED);
	san_pair_close(&pair);
}

struct user {
	SOCKET s;
	HANDLE handle;
};

static void *use(void *argument)
{
	struct user *user = argument;
	int error = 0;

	while (error != WSAENOTSOCK) {
		WSAOVERLAPPED overlapped = { .hEvent = POLLED };
		WSABUFEX buffer = { 10, (char *)area, user->handle };

		error = 0;
		san.lpWSPRecv(user->s, &buffer, 1, NULL, NULL, &overlapped, NULL, NULL, &error);
		if (error != WSA_IO_PENDING)
			continue;
		/* A while, as a thread does whose peer is silent. */
		for (unsigned i = 0; i < 3; i++)
			san_poll(user->s);
		while (WSA_OVERLAPPED_PENDING(&overlapped))
			;
		check(overlapped.Internal == WSA_OPERATION_ABORTED);
	}
	return NULL;
}

/* Others are in the middle of calls on the socket. */
static void close_while_used(void)
{
	pthread_t threads[3];
	struct san_pair pair;
	struct user user;

	san_pair_open(&pair);
	user.s = pair.client;
	user.handle = san_registered(pair.client, area, sizeof(area), MEM_READWRITE);
	for (unsigned i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, use, &user));
	usleep(20000);
	san_close(pair.client);
	pair.client = 0;
	for (unsigned i = 0; i < 3; i++)
		check(!pthread_join(threads[i], NULL));
	san_pair_close(&pair);
}

/* Of a process that has used everything once: what the device then holds stays. */
static void account(int *counts)
{
	static const char *const kinds[] = { "qp", "cq", "mr", "cm_id", "pd", "ctx" };

	for (unsigned i = 0; i < 6; i++)
		counts[i] = resources_held(kinds[i]);
	counts[6] = descriptors_open();
	printf("qp %d cq %d mr %d cm_id %d pd %d ctx %d descriptors %d\n", counts[0], counts[1],
	       counts[2], counts[3], counts[4], counts[5], counts[6]);
}

int main(void)
{
	int before[7], after[7], stopped[7];

	san_start();
	close_while_pending();
	account(before);
	check(before[0] == 0 && before[1] == 0 && before[3] == 0);
	for (unsigned i = 0; i < 10; i++) {
		close_while_connecting();
		close_while_pending();
		close_behind_copied();
		close_while_used();
	}
	account(after);
	/* Regions may be cached, everything else is as before. */
	after[2] = before[2];
	check(!memcmp(before, after, sizeof(before)));
	check_error(san_handles, 0);

	/* Cleaning up closes what was forgotten. */
	for (unsigned i = 0; i < 3; i++)
		san_bound(0);
	san_stop();
	check_error(san_handles, 0);
	account(stopped);
	check(stopped[0] == 0 && stopped[1] == 0 && stopped[2] == 0 && stopped[3] == 0);
	/* librdmacm keeps its own context of a device it has met. */
	check(stopped[5] == after[5] - 1);

	/* And again from the start. */
	san_start();
	close_while_pending();
	san_stop();
	account(after);
	check(!memcmp(stopped, after, sizeof(after)));
	return 0;
}
