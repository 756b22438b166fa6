// SPDX-License-Identifier: BSD-2-Clause
/*
 * Requests that are announced: every completion comes once, with the switch's
 * handle, its result and bytes, and nobody has to poll. Then all are aborted by a close.
 */
#include "san_common.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define MESSAGES 200
#define SIZE 512

static unsigned char area[2 * MESSAGES * SIZE];
static WSAOVERLAPPED sent[MESSAGES], received[MESSAGES];
static _Atomic int sends, receives, aborted;
static SOCKET client, server;

static void completed(SOCKET s, LPWSAOVERLAPPED overlapped, DWORD error, DWORD bytes)
{
	check(s == ~client || s == ~server);
	check(overlapped->Internal == error);
	if (error) {
		check_error((int)error, WSA_OPERATION_ABORTED);
		atomic_fetch_add(&aborted, 1);
		return;
	}
	check_error((long)bytes, SIZE);
	check(overlapped->InternalHigh == SIZE);
	if (overlapped >= sent && overlapped < sent + MESSAGES) {
		check(s == ~client);
		atomic_fetch_add(&sends, 1);
	} else {
		/* In the order posted. */
		check(s == ~server);
		check(overlapped - received == atomic_fetch_add(&receives, 1));
	}
}

int main(void)
{
	int64_t deadline = milliseconds() + 30000;
	HANDLE client_memory, server_memory;
	struct san_pair pair;

	san_start();
	san_completed = completed;
	san_pair_open(&pair);
	client = pair.client;
	server = pair.server;
	client_memory = san_registered(client, area, sizeof(area), MEM_READ);
	server_memory = san_registered(server, area, sizeof(area), MEM_WRITE);
	for (unsigned i = 0; i < MESSAGES; i++)
		san_post(server, area + i * SIZE, SIZE, server_memory, &received[i]);
	for (unsigned i = 0; i < MESSAGES; i++) {
		memset(area + (MESSAGES + i) * SIZE, (int)i, SIZE);
		san_send_message(client, area + (MESSAGES + i) * SIZE, SIZE, client_memory, 0,
				 &sent[i]);
	}
	/* Counted once completed() has returned, which the provider's thread calls. */
	while (san_completions < 2 * MESSAGES && milliseconds() < deadline)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	check_error(sends, MESSAGES);
	check_error(receives, MESSAGES);
	for (unsigned i = 0; i < MESSAGES; i++)
		for (unsigned j = 0; j < SIZE; j++)
			check(area[i * SIZE + j] == (unsigned char)i);

	for (unsigned i = 0; i < MESSAGES; i++)
		san_post(server, area + i * SIZE, SIZE, server_memory, &received[i]);
	san_close(server);
	check_error(aborted, MESSAGES);
	check_error(san_completions, 3 * MESSAGES);
	pair.server = 0;
	san_pair_close(&pair);
	check_error(san_completions, 3 * MESSAGES);
	san_stop();
	return 0;
}
