// SPDX-License-Identifier: BSD-2-Clause
/*
 * Threads that each make connections, move checked bytes by message, read and
 * write, and close at any moment, all in one process and on one device.
 */
#include "san_common.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 4
#define CONNECTIONS 25
#define EXCHANGES 20
#define SIZE 30000

static void fill(unsigned char *bytes, unsigned length, unsigned seed)
{
	for (unsigned i = 0; i < length; i++)
		bytes[i] = (unsigned char)(seed + i * 13 + (i >> 8));
}

/* The server's side of the buffer is the upper half. */
static void exchange(struct san_pair *pair, unsigned char *area, HANDLE client, HANDLE server,
		     unsigned *seed)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED }, received = { .hEvent = POLLED };
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE], *far = area + SIZE;
	unsigned size = 1 + (unsigned)rand_r(seed) % SIZE;
	DWORD length = sizeof(descriptor), bytes;
	WSABUFEX buffer = { size, (char *)area, client };
	int error = 0;

	switch (rand_r(seed) % 3) {
	case 0:
		fill(area, size, *seed);
		san_post(pair->server, far, SIZE, server, &received);
		san_send_message(pair->client, area, size, client, 0, &sent);
		check_error(san_wait(pair->client, &sent, NULL), 0);
		check_error(san_wait(pair->server, &received, &bytes), 0);
		check_error(bytes, size);
		break;
	case 1:
		fill(area, size, *seed);
		check(!san_expose(pair->server, far, size, MEM_WRITE, descriptor, &length, &error));
		san_pass(pair->server, pair->client);
		san_write(pair->client, &buffer, 1, descriptor, length, 0, NULL, 0, &sent, NULL,
			  NULL, &error);
		check_error(error, WSA_IO_PENDING);
		check_error(san_wait(pair->client, &sent, NULL), 0);
		check(!san_hide(pair->server, descriptor, length, &error));
		break;
	default:
		fill(far, size, *seed);
		check(!san_expose(pair->server, far, size, MEM_READ, descriptor, &length, &error));
		san_pass(pair->server, pair->client);
		san_read(pair->client, &buffer, 1, descriptor, length, 0, NULL, 0, &sent, NULL,
			 NULL, &error);
		check_error(error, WSA_IO_PENDING);
		check_error(san_wait(pair->client, &sent, NULL), 0);
		check(!san_hide(pair->server, descriptor, length, &error));
		break;
	}
	check(!memcmp(area, far, size));
}

static void *work(void *number)
{
	unsigned seed = (unsigned)(uintptr_t)number * 7919 + 1;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		size_t length = 65536;
		unsigned char *area = mmap(NULL, length, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		WSAOVERLAPPED pending[4];
		struct san_pair pair;
		HANDLE client, server;
		int error;

		check(area != MAP_FAILED);
		san_pair_open(&pair);
		client = san_registered(pair.client, area, 65536, MEM_READWRITE);
		server = san_registered(pair.server, area, 65536, MEM_READWRITE);
		for (unsigned j = 0; j < EXCHANGES; j++)
			exchange(&pair, area, client, server, &seed);
		/* In the middle of things. */
		for (unsigned j = 0; j < 4; j++) {
			pending[j] = (WSAOVERLAPPED){ .hEvent = POLLED };
			san_send_message(pair.client, area, 20000, client, 0, &pending[j]);
		}
		if (i & 1) {
			san_close(pair.server);
			pair.server = 0;
		}
		san_close(pair.client);
		pair.client = 0;
		for (unsigned j = 0; j < 4; j++)
			check(!WSA_OVERLAPPED_PENDING(&pending[j]));
		san_pair_close(&pair);
		/* What is cached of it must go first; nobody watches here but this test. */
		san_memory_released(area, length, &error);
		munmap(area, length);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	san_start();
	for (uintptr_t i = 0; i < THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work, (void *)i));
	for (unsigned i = 0; i < THREADS; i++)
		check(!pthread_join(threads[i], NULL));
	check_error(san_handles, 0);
	check_error(resources_held("qp"), 0);
	check_error(resources_held("cm_id"), 0);
	san_stop();
	check_error(resources_held("mr"), 0);
	return 0;
}
