// SPDX-License-Identifier: BSD-2-Clause
/*
 * Many idle connections in one process: what one costs in resident memory, and
 * that all of them work at once.
 */
#include "san_common.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAIRS 100
#define MESSAGE 2048
#define POSTED 8
/* The provider's share of the 64 KiB that an idle connection may cost: both ends are here. */
#define MOST (32 * 1024)

static unsigned char area[2 * POSTED * MESSAGE];
static SOCKET clients[PAIRS], servers[PAIRS];
static WSAOVERLAPPED received[PAIRS][POSTED], sent[PAIRS];
static HANDLE client_memory, server_memory;

static long resident(void)
{
	long pages = 0, unused;
	FILE *file = fopen("/proc/self/statm", "r");

	check(file && fscanf(file, "%ld %ld", &unused, &pages) == 2);
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

int main(void)
{
	int listener_event, event;
	SOCKET listener;
	uint16_t port;
	long before;

	memset(area, 1, sizeof(area));
	memset(received, 0, sizeof(received));
	memset(sent, 0, sizeof(sent));
	san_start();
	listener = san_listener(4, &listener_event, &port);
	before = resident();
	for (unsigned i = 0; i < PAIRS; i++) {
		clients[i] = san_connecting(port, NULL, 0, &event);
		servers[i] = san_accept_all(listener, listener_event);
		check_error(san_connect_result(clients[i], event), 0);
		close(event);
		if (!i) {
			client_memory = san_registered(clients[0], area, sizeof(area), MEM_READ);
			server_memory = san_registered(servers[0], area, sizeof(area), MEM_WRITE);
			before = resident();
		}
		for (unsigned j = 0; j < POSTED; j++) {
			received[i][j].hEvent = POLLED;
			san_post(servers[i], area + j * MESSAGE, MESSAGE, server_memory,
				 &received[i][j]);
		}
	}
	printf("%ld bytes for each connection's end\n", (resident() - before) / (2 * (PAIRS - 1)));
	check(resident() - before < 2L * (PAIRS - 1) * MOST);

	for (unsigned i = 0; i < PAIRS; i++) {
		sent[i].hEvent = POLLED;
		san_send_message(clients[i], area, 1000, client_memory, 0, &sent[i]);
	}
	for (unsigned i = 0; i < PAIRS; i++) {
		check_error(san_wait(clients[i], &sent[i], NULL), 0);
		check_error(san_wait(servers[i], &received[i][0], NULL), 0);
	}
	for (unsigned i = PAIRS; i-- > 0;) {
		san_close(clients[i]);
		san_close(servers[i]);
	}
	san_close(listener);
	san_stop();
	return 0;
}
