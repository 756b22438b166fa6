// SPDX-License-Identifier: BSD-2-Clause
/*
 * A peer with bad intentions: descriptors that are malformed, out of range, without
 * the right, invented, or used after they were withdrawn. The first kinds are
 * refused here; the others end the connection, and no byte moves.
 */
#include "san_common.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE 65536

static unsigned char theirs[SIZE], ours[SIZE];
static unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
static DWORD length = sizeof(descriptor);

static int start(SOCKET s, bool write, HANDLE handle, const void *with, DWORD with_length,
		 DWORD offset, DWORD bytes, WSAOVERLAPPED *overlapped)
{
	unsigned char copy[WSDIRECT_DESCRIPTOR_SIZE];
	WSABUFEX buffer = { bytes, (char *)ours, handle };
	int error = 0;

	memcpy(copy, with, with_length);
	(write ? san_write : san_read)(s, &buffer, 1, copy, with_length, offset, NULL, 0,
				       overlapped, NULL, NULL, &error);
	return error;
}

/* Refused before anything is sent: the connection is as good as before. */
static void refused_here(struct san_pair *pair, HANDLE handle)
{
	unsigned char bad[WSDIRECT_DESCRIPTOR_SIZE];
	WSAOVERLAPPED overlapped = { .hEvent = POLLED };

	check_error(start(pair->client, false, handle, descriptor, length - 1, 0, 1, &overlapped),
		    WSAEINVAL);
	check_error(start(pair->client, true, handle, descriptor, length, 0, 1, &overlapped),
		    WSAEACCES);
	check_error(start(pair->client, false, handle, descriptor, length, 4096, 1, &overlapped),
		    WSAEFAULT);
	check_error(start(pair->client, false, handle, descriptor, length, 4000, 97, &overlapped),
		    WSAEFAULT);
	check_error(start(pair->client, false, handle, descriptor, length, UINT32_MAX, 1,
			  &overlapped), WSAEFAULT);
	for (unsigned i = 0; i < length; i++) {
		memcpy(bad, descriptor, length);
		memset(bad + i, 0xff, length - i);
		check_error(start(pair->client, false, handle, bad, length, 0, 1, &overlapped),
			    WSAEINVAL);
	}
	memset(bad, 0, sizeof(bad));
	check_error(start(pair->client, false, handle, bad, length, 0, 0, &overlapped), WSAEINVAL);
	/* Own memory: outside its registration, without the right, no registration. */
	check_error(start(pair->client, false, handle, descriptor, length, 0, 4096, &overlapped),
		    WSA_IO_PENDING);
	check_error(san_wait(pair->client, &overlapped, NULL), 0);
	check_error(start(pair->client, false, NULL, descriptor, length, 0, 1, &overlapped),
		    WSAEINVAL);
	check_error(start(pair->client, false, (HANDLE)0x123456789, descriptor, length, 0, 1,
			  &overlapped), WSAEINVAL);
	handle = san_registered(pair->client, ours, 100, MEM_READ);
	check_error(start(pair->client, false, handle, descriptor, length, 0, 1, &overlapped),
		    WSAEACCES);
	handle = san_registered(pair->client, ours, 100, MEM_READWRITE);
	check_error(start(pair->client, false, handle, descriptor, length, 0, 101, &overlapped),
		    WSAEFAULT);
}

/* What only the other side's device can refuse: this connection ends, and nothing else. */
static void refused_there(const char *what, const unsigned char *bad, bool write)
{
	WSAOVERLAPPED overlapped = { .hEvent = POLLED }, waiting = { .hEvent = POLLED };
	struct san_pair pair;
	HANDLE handle, server;
	unsigned char before[64];

	printf("%s\n", what);
	san_pair_open(&pair);
	handle = san_registered(pair.client, ours, SIZE, MEM_READWRITE);
	server = san_registered(pair.server, theirs, SIZE, MEM_READWRITE);
	san_post(pair.server, theirs + 8192, 100, server, &waiting);
	memset(ours, 0x77, SIZE);
	memcpy(before, theirs, sizeof(before));
	check_error(start(pair.client, write, handle, bad, length, 0, 64, &overlapped),
		    WSA_IO_PENDING);
	check_error(san_wait(pair.client, &overlapped, NULL), WSAECONNRESET);
	check_error(san_wait(pair.server, &waiting, NULL), WSAECONNRESET);
	check(!memcmp(before, theirs, sizeof(before)));
	for (unsigned i = 0; i < 64; i++)
		check(ours[i] == 0x77);
	check_error(san_poll(pair.server), WSAECONNRESET);
	san_pair_close(&pair);
}

/* A key whose time is over, while the memory is exposed again under a new one, or is not. */
static void old_key(unsigned char *memory, DWORD rights, bool write, bool exposed_again)
{
	unsigned char old[WSDIRECT_DESCRIPTOR_SIZE];
	WSAOVERLAPPED overlapped = { .hEvent = POLLED };
	unsigned char before = rights & MEM_WRITE ? 0x55 : memory[0];
	struct san_pair pair;
	HANDLE handle;
	int error = 0;

	printf("an old key, to %s%s%s\n", write ? "write" : "read",
	       rights & MEM_WRITE ? "" : " read-only memory", exposed_again ? ", exposed again" : "");
	san_pair_open(&pair);
	handle = san_registered(pair.client, ours, SIZE, MEM_READWRITE);
	length = sizeof(descriptor);
	check(!san_expose(pair.server, memory, 4096, rights, descriptor, &length, &error));
	san_pass(pair.server, pair.client);
	memcpy(old, descriptor, sizeof(old));
	check_error(start(pair.client, write, handle, old, length, 0, 64, &overlapped),
		    WSA_IO_PENDING);
	check_error(san_wait(pair.client, &overlapped, NULL), 0);
	check(!san_hide(pair.server, descriptor, length, &error));
	if (exposed_again) {
		check(!san_expose(pair.server, memory, 4096, rights, descriptor, &length, &error));
		check(memcmp(old, descriptor, length));
	}
	san_pass(pair.server, pair.client);
	if (rights & MEM_WRITE)
		memset(memory, 0x55, SIZE);
	memset(ours, 0x77, SIZE);
	check_error(start(pair.client, write, handle, old, length, 0, 64, &overlapped),
		    WSA_IO_PENDING);
	check_error(san_wait(pair.client, &overlapped, NULL), WSAECONNRESET);
	check(ours[0] == 0x77 && memory[0] == before);
	/* Hiding works on a broken connection too. */
	if (exposed_again)
		check(!san_hide(pair.server, descriptor, length, &error));
	san_pair_close(&pair);
}

int main(void)
{
	unsigned char *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char forged[WSDIRECT_DESCRIPTOR_SIZE];
	WSAOVERLAPPED overlapped = { .hEvent = POLLED };
	struct san_pair pair;
	HANDLE handle;
	int error = 0;

	check(read_only != MAP_FAILED);
	memset(theirs, 0x55, SIZE);
	san_start();
	san_pair_open(&pair);
	handle = san_registered(pair.client, ours, SIZE, MEM_READWRITE);
	check(!san_expose(pair.server, theirs, 4096, MEM_READ, descriptor, &length, &error));
	san_pass(pair.server, pair.client);
	refused_here(&pair, handle);

	/* A key of another connection is no key of this one. */
	refused_there("a key of another connection", descriptor, false);
	/* The right added by forging the descriptor is not the window's. */
	memcpy(forged, descriptor, length);
	forged[20] = MEM_READWRITE;
	refused_there("a right that was not given", forged, true);
	/* Keys nobody gave out. */
	for (unsigned i = 0; i < 3; i++) {
		memcpy(forged, descriptor, length);
		forged[16 + i] ^= 0x5a;
		refused_there("an invented key", forged, false);
	}
	/* This connection was never disturbed. */
	check_error(start(pair.client, false, handle, descriptor, length, 0, 4096, &overlapped),
		    WSA_IO_PENDING);
	check_error(san_wait(pair.client, &overlapped, NULL), 0);
	check(!memcmp(ours, theirs, 4096));

	/*
	 * Far more than was exposed, on the connection that it was exposed to. (Soft-RoCE
	 * holds a peer to the bounds of the region below a window, not to the window's.)
	 */
	memcpy(forged, descriptor, length);
	memset(forged + 11, 0xff, 2);
	check_error(start(pair.client, false, handle, forged, length, 64 << 20, 64, &overlapped),
		    WSA_IO_PENDING);
	check_error(san_wait(pair.client, &overlapped, NULL), WSAECONNRESET);
	san_pair_close(&pair);

	for (unsigned kind = 0; kind < 4; kind++) {
		old_key(theirs, MEM_READWRITE, kind & 1, kind & 2);
		/* Where there are no windows: memory that may only be read, and its registration. */
		if (!(kind & 1))
			old_key(read_only, MEM_READ, false, kind & 2);
	}
	check_error(san_handles, 0);
	san_stop();
	return 0;
}
