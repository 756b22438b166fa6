// SPDX-License-Identifier: BSD-2-Clause
/*
 * Connecting with private data both ways, messages, RDMA reads and writes, all with
 * their contents; addresses, limits and options.
 */
#include "san_common.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE (200 * 1000)

static unsigned char *memory(size_t length)
{
	void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			     0);

	check(address != MAP_FAILED);
	return address;
}

static void fill(unsigned char *bytes, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (unsigned char)((i * 7 + i / 251 + seed) & 0xff);
}

static int condition(LPWSABUF caller_id, LPWSABUF caller_data, LPQOS sqos, LPQOS gqos,
		     LPWSABUF callee_id, LPWSABUF callee_data, GROUP *group, DWORD_PTR context)
{
	const struct sockaddr_in *peer = (const void *)caller_id->buf;
	const struct sockaddr_in *local = (const void *)callee_id->buf;

	(void)group;
	check(!sqos && !gqos);
	check(peer->sin_family == AF_INET && local->sin_family == AF_INET);
	check(ntohs(local->sin_port) == (uint16_t)context);
	check(caller_data->len >= 6 && !memcmp(caller_data->buf, "hello\1", 6));
	for (unsigned i = 6; i < caller_data->len; i++)
		check(!caller_data->buf[i]);
	check(callee_data->len >= WSDIRECT_CONNECT_DATA);
	memcpy(callee_data->buf, "answer", 6);
	callee_data->len = 6;
	return CF_ACCEPT;
}

static void name(SOCKET s, DWORD which, struct sockaddr_in *address)
{
	check_error(san_ioctl_out(s, which, address, sizeof(*address)), 0);
}

static void connect_pair(struct san_pair *pair, WSABUF *answer)
{
	struct sockaddr_in address, bound, peer;
	WSABUF data = { 6, (char[]){ "hello\1" } };
	int error = 0, length = sizeof(peer);

	pair->listener = san_listener(4, &pair->listener_event, &pair->port);
	address = san_address(ADDRESS, pair->port);
	pair->client = san_bound(0);
	pair->client_event = eventfd(0, 0);
	check(!san.lpWSPEventSelect(pair->client, WSDIRECT_EVENT_HANDLE(pair->client_event),
				    FD_CONNECT, &error));
	san.lpWSPConnect(pair->client, (struct sockaddr *)&address, sizeof(address), &data, answer,
			 NULL, NULL, &error);
	check_error(error, WSAEWOULDBLOCK);
	san_request_wait(pair->listener, pair->listener_event);
	pair->server = san.lpWSPAccept(pair->listener, (struct sockaddr *)&peer, &length, condition,
				       pair->port, &error);
	check(pair->server != INVALID_SOCKET);
	check_error(san_connect_result(pair->client, pair->client_event), 0);
	check(answer->len >= 6 && !memcmp(answer->buf, "answer", 6));

	name(pair->client, SIO_WSDIRECT_LOCAL_ADDRESS, &bound);
	check(bound.sin_port == peer.sin_port && bound.sin_addr.s_addr == peer.sin_addr.s_addr);
	name(pair->client, SIO_WSDIRECT_PEER_ADDRESS, &bound);
	check(bound.sin_port == address.sin_port);
	name(pair->server, SIO_WSDIRECT_PEER_ADDRESS, &bound);
	check(bound.sin_port == peer.sin_port);
}

static void messages(struct san_pair *pair)
{
	unsigned char *area = memory(65536);
	HANDLE client = san_registered(pair->client, area, 65536, MEM_READWRITE);
	HANDLE server = san_registered(pair->server, area, 65536, MEM_READWRITE);
	static const unsigned sizes[] = { 1, 16, 127, 128, 129, 1000, 4096, 4097, 16384, 0 };
	WSAOVERLAPPED sent = { .hEvent = POLLED }, received = { .hEvent = POLLED };
	DWORD bytes;
	int error;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned size = sizes[i];

		fill(area, 16384, i);
		memset(area + 32768, 0xee, 16385);
		san_post(pair->server, area + 32768, 16384, server, &received);
		/* In two parts, to be gathered. */
		WSABUFEX parts[2] = { { size / 2, (char *)area, client },
				      { size - size / 2, (char *)area + size / 2, client } };
		san.lpWSPSend(pair->client, parts, 2, NULL, i & 1 ? MSG_WSDIRECT_SOLICITED : 0,
			      &sent, NULL, NULL, &error);
		check_error(error, WSA_IO_PENDING);
		check_error(san_wait(pair->client, &sent, &bytes), 0);
		check_error(bytes, size);
		check_error(san_wait(pair->server, &received, &bytes), 0);
		check_error(bytes, size);
		check(!memcmp(area, area + 32768, size) && area[32768 + size] == 0xee);
	}
	check(!san_deregister(pair->client, client, &error));
	check(!san_deregister(pair->server, server, &error));
	check(san_deregister(pair->server, server, &error) == SOCKET_ERROR);
	check_error(error, WSAEINVAL);
	munmap(area, 65536);
}

/*
 * WSDirectSend: pieces from anywhere make a message, the last one is as good as the first, and
 * what cannot go is refused before anything went.
 */
static void copied(struct san_pair *pair)
{
	unsigned char *area = memory(8192);
	HANDLE server = san_registered(pair->server, area, 8192, MEM_WRITE);
	WSAOVERLAPPED received = { .hEvent = POLLED }, sent = { .hEvent = POLLED };
	unsigned char bytes[4096];
	WSABUF pieces[WSDIRECT_MAX_BUFFERS + 1];
	WSABUFEX unregistered = { 0, (char *)bytes, NULL };
	int error, length = sizeof(DWORD);
	DWORD most = 0, count;

	check(!san.lpWSPGetSockOpt(pair->client, SOL_SOCKET, SO_WSDIRECT_MAX_COPY_SIZE,
				   (char *)&most, &length, &error) && most >= 64);
	check(most < sizeof(bytes));
	for (DWORD size = 0; size <= most; size++) {
		DWORD first = size / 3, second = size / 2;

		/* However short, WSPSend wants it registered. */
		unregistered.len = size;
		check(san.lpWSPSend(pair->client, &unregistered, 1, NULL, 0, &sent, NULL, NULL,
				    &error) == SOCKET_ERROR);
		check_error(error, WSAEINVAL);
		fill(bytes, sizeof(bytes), size);
		pieces[0] = (WSABUF){ first, (char *)bytes };
		pieces[1] = (WSABUF){ second - first, (char *)bytes + first };
		pieces[2] = (WSABUF){ 0, NULL };
		pieces[3] = (WSABUF){ size - second, (char *)bytes + second };
		san_post(pair->server, area, 8192, server, &received);
		check(!san_send_copied(pair->client, pieces, size ? WSDIRECT_MAX_BUFFERS : 0,
				       size & 1 ? MSG_WSDIRECT_SOLICITED : 0, &error));
		/* It was copied: from here on the buffers are the caller's again. */
		fill(bytes, sizeof(bytes), size + 1);
		check_error(san_wait(pair->server, &received, &count), 0);
		check_error(count, size);
		fill(bytes, sizeof(bytes), size);
		check(!memcmp(area, bytes, count));
		/* Makes room in the queue. */
		check_error(san_poll(pair->client), 0);
	}

	pieces[0] = (WSABUF){ most + 1, (char *)bytes };
	check(san_send_copied(pair->client, pieces, 1, 0, &error) == SOCKET_ERROR);
	check_error(error, WSAEMSGSIZE);
	pieces[0].len = pieces[1].len = UINT32_MAX;
	check(san_send_copied(pair->client, pieces, 2, 0, &error) == SOCKET_ERROR);
	check_error(error, WSAEMSGSIZE);
	check(san_send_copied(pair->client, pieces, WSDIRECT_MAX_BUFFERS + 1, 0, &error) ==
	      SOCKET_ERROR);
	check_error(error, WSAEINVAL);
	check(san_send_copied(pair->client, NULL, 1, 0, &error) == SOCKET_ERROR);
	check_error(error, WSAEFAULT);
	check(san_send_copied(pair->client, pieces, 1, 1, &error) == SOCKET_ERROR);
	check_error(error, WSAEOPNOTSUPP);
	check(san_send_copied(INVALID_SOCKET, pieces, 1, 0, &error) == SOCKET_ERROR);
	check_error(error, WSAENOTSOCK);
	check(!san_deregister(pair->server, server, &error));
	munmap(area, 8192);
}

/* WSDirectReceive: the buffers are filled in their order, and what is wrong with one is said. */
static void several(struct san_pair *pair)
{
	enum { MESSAGES = 20, SLOT = 64 };
	static WSAOVERLAPPED received[MESSAGES];
	unsigned char *area = memory(MESSAGES * SLOT), bytes[SLOT];
	HANDLE server = san_registered(pair->server, area, MESSAGES * SLOT, MEM_WRITE);
	WSABUF piece = { SLOT, (char *)bytes };
	LPWSAOVERLAPPED overlapped[MESSAGES];
	WSABUFEX buffers[MESSAGES];
	DWORD count;
	int error;

	for (unsigned i = 0; i < MESSAGES; i++) {
		received[i] = (WSAOVERLAPPED){ .hEvent = POLLED };
		overlapped[i] = &received[i];
		buffers[i] = (WSABUFEX){ SLOT, (char *)area + i * SLOT, server };
	}
	check(san_receive_several(INVALID_SOCKET, buffers, overlapped, 1, &error) == SOCKET_ERROR);
	check_error(error, WSAENOTSOCK);
	check(san_receive_several(pair->server, NULL, overlapped, 1, &error) == SOCKET_ERROR);
	check_error(error, WSAEFAULT);
	check(san_receive_several(pair->server, buffers, NULL, 1, &error) == SOCKET_ERROR);
	check_error(error, WSAEFAULT);
	overlapped[1] = NULL;
	check(san_receive_several(pair->server, buffers, overlapped, 2, &error) == SOCKET_ERROR);
	check_error(error, WSAEINVAL);
	overlapped[1] = &received[1];
	check(!san_receive_several(pair->server, NULL, NULL, 0, &error));
	/* The first is posted by then. */
	buffers[1].handle = NULL;
	check(san_receive_several(pair->server, buffers, overlapped, 2, &error) == SOCKET_ERROR);
	check_error(error, WSAEINVAL);
	buffers[1].handle = server;
	check(!san_receive_several(pair->server, buffers + 1, overlapped + 1, MESSAGES - 1, &error));
	for (unsigned i = 0; i < MESSAGES; i++) {
		fill(bytes, SLOT, i);
		while (san_send_copied(pair->client, &piece, 1, 0, &error)) {
			check_error(error, WSAEWOULDBLOCK);
			check_error(san_poll(pair->client), 0);
		}
		check_error(san_wait(pair->server, &received[i], &count), 0);
		check_error(count, SLOT);
		check(!memcmp(area + i * SLOT, bytes, SLOT));
	}
	/* Nothing holds it any more. */
	check(!san_deregister(pair->server, server, &error));
	munmap(area, MESSAGES * SLOT);
}

/* Who finds no room sends the other way, and all arrive in the order in which they were sent. */
static void copied_or_not(struct san_pair *pair)
{
	enum { MESSAGES = 200, SLOT = 64 };
	static WSAOVERLAPPED received[MESSAGES], sent[MESSAGES];
	unsigned char *area = memory(2 * MESSAGES * SLOT), *theirs = area + MESSAGES * SLOT;
	HANDLE client = san_registered(pair->client, area, MESSAGES * SLOT, MEM_READ);
	HANDLE server = san_registered(pair->server, theirs, MESSAGES * SLOT, MEM_WRITE);
	unsigned refused = 0;
	int error;

	for (unsigned i = 0; i < MESSAGES; i++) {
		received[i] = sent[i] = (WSAOVERLAPPED){ .hEvent = POLLED };
		fill(area + i * SLOT, SLOT, i);
		san_post(pair->server, theirs + i * SLOT, SLOT, server, &received[i]);
	}
	for (unsigned i = 0; i < MESSAGES; i++) {
		WSABUF piece = { SLOT, (char *)area + i * SLOT };

		if (san_send_copied(pair->client, &piece, 1, 0, &error)) {
			check_error(error, WSAEWOULDBLOCK);
			refused++;
			san_send_message(pair->client, piece.buf, SLOT, client, 0, &sent[i]);
		}
		/* Now there is room again, now there is not. */
		if (i % 40 == 0)
			check_error(san_poll(pair->client), 0);
	}
	check(refused > 0 && refused < MESSAGES);
	for (unsigned i = 0; i < MESSAGES; i++) {
		check_error(san_wait(pair->client, &sent[i], NULL), 0);
		check_error(san_wait(pair->server, &received[i], NULL), 0);
	}
	check(!memcmp(area, theirs, MESSAGES * SLOT));
	check(!san_deregister(pair->client, client, &error));
	check(!san_deregister(pair->server, server, &error));
	munmap(area, 2 * MESSAGES * SLOT);
}

static void rdma(struct san_pair *pair)
{
	unsigned char *theirs = memory(LARGE), *ours = memory(LARGE);
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	HANDLE handle = san_registered(pair->client, ours, LARGE, MEM_READWRITE);
	WSAOVERLAPPED overlapped = { .hEvent = POLLED };
	WSABUFEX buffers[4];
	DWORD length, bytes;
	int error = 0;

	for (unsigned i = 0; i < 4; i++)
		buffers[i] = (WSABUFEX){ 25000, (char *)ours + i * 50000, handle };

	for (unsigned round = 0; round < 3; round++) {
		/* What the client reads: pieces of what the server exposes. */
		fill(theirs, LARGE, round);
		memset(ours, 0, LARGE);
		length = 4;
		check(san_expose(pair->server, theirs, LARGE, MEM_READ, descriptor, &length,
				 &error));
		check_error(error, WSAEFAULT);
		check(length > 4 && length <= sizeof(descriptor));
		check(!san_expose(pair->server, theirs, LARGE, MEM_READ, descriptor, &length,
				  &error));
		san_pass(pair->server, pair->client);
		san_read(pair->client, buffers, 4, descriptor, length, 12345, NULL, 0, &overlapped,
			 NULL, NULL, &error);
		check_error(error, WSA_IO_PENDING);
		check_error(san_wait(pair->client, &overlapped, &bytes), 0);
		check_error(bytes, 100000);
		for (unsigned i = 0; i < 4; i++) {
			check(!memcmp(ours + i * 50000, theirs + 12345 + i * 25000, 25000));
			check(!ours[i * 50000 + 25000]);
		}
		check(!san_hide(pair->server, descriptor, length, &error));
		check(san_hide(pair->server, descriptor, length, &error));
		check_error(error, WSAEINVAL);

		/* And writes. */
		memset(theirs, 0, LARGE);
		check(!san_expose(pair->server, theirs, LARGE, MEM_WRITE, descriptor, &length,
				  &error));
		san_pass(pair->server, pair->client);
		fill(ours, LARGE, 100 + round);
		san_write(pair->client, buffers, 4, descriptor, length, 777, NULL, 0, &overlapped,
			  NULL, NULL, &error);
		check_error(error, WSA_IO_PENDING);
		check_error(san_wait(pair->client, &overlapped, &bytes), 0);
		check_error(bytes, 100000);
		check(!san_hide(pair->server, descriptor, length, &error));
		for (unsigned i = 0; i < 4; i++)
			check(!memcmp(ours + i * 50000, theirs + 777 + i * 25000, 25000));
		check(!theirs[776] && !theirs[777 + 100000]);
	}
	check(!san_deregister(pair->client, handle, &error));
	munmap(theirs, LARGE);
	munmap(ours, LARGE);
}

static void options(const struct san_pair *pair)
{
	union { SOCKET_ADDRESS_LIST list; char room[4096]; } addresses;
	struct sockaddr_in wanted = san_address(ADDRESS, 0);
	int length = sizeof(DWORD), error = 0, one = 1;
	DWORD value = 5000, bytes;
	bool found = false;

	check(!san.lpWSPGetSockOpt(pair->client, SOL_SOCKET, SO_MAX_MSG_SIZE, (char *)&value,
				   &length, &error) && value >= 65536);
	check(!san.lpWSPGetSockOpt(pair->client, SOL_SOCKET, SO_MAX_RDMA_SIZE, (char *)&value,
				   &length, &error) && value >= 65536);
	value = 5000;
	check(!san.lpWSPSetSockOpt(pair->client, SOL_SOCKET, SO_RDMA_THRESHOLD_SIZE,
				   (char *)&value, sizeof(value), &error));
	value = 0;
	check(!san.lpWSPGetSockOpt(pair->client, SOL_SOCKET, SO_RDMA_THRESHOLD_SIZE,
				   (char *)&value, &length, &error) && value == 5000);
	check(!san.lpWSPSetSockOpt(pair->client, IPPROTO_TCP, 1, (char *)&one, sizeof(one),
				   &error));
	check(san.lpWSPGetSockOpt(pair->client, SOL_SOCKET, SO_GROUP_ID, (char *)&value, &length,
				  &error) && error == WSAENOPROTOOPT);
	check(san.lpWSPDuplicateSocket(pair->client, 1, NULL, &error) && error == WSAEOPNOTSUPP);
	check(san.lpWSPShutdown(pair->client, 0, &error) && error == WSAEOPNOTSUPP);

	check(san.lpWSPIoctl(INVALID_SOCKET, SIO_ADDRESS_LIST_QUERY, NULL, 0, &addresses, 4, &bytes,
			     NULL, NULL, NULL, &error) && error == WSAEFAULT && bytes > 4);
	check(!san.lpWSPIoctl(INVALID_SOCKET, SIO_ADDRESS_LIST_QUERY, NULL, 0, &addresses,
			      sizeof(addresses), &bytes, NULL, NULL, NULL, &error));
	for (int i = 0; i < addresses.list.iAddressCount; i++) {
		const struct sockaddr_in *address = (void *)addresses.list.Address[i].lpSockaddr;

		found |= address->sin_family == AF_INET &&
			 address->sin_addr.s_addr == wanted.sin_addr.s_addr;
		check(address->sin_family != AF_INET ||
		      address->sin_addr.s_addr != htonl(INADDR_LOOPBACK));
	}
	check(found);
	check(san_poll(0x1234) == WSAENOTSOCK);
	check(san_poll(INVALID_SOCKET) == WSAENOTSOCK);
	check(san_ioctl_out(pair->client, 0x1234, NULL, 0) == WSAEOPNOTSUPP);
}

static void *send_later(void *pair)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED };
	int error;

	usleep(50 * 1000);
	san.lpWSPSend(((struct san_pair *)pair)->client, NULL, 0, NULL, 0, &sent, NULL, NULL,
		      &error);
	check_error(error, WSA_IO_PENDING);
	check_error(san_wait(((struct san_pair *)pair)->client, &sent, &(DWORD){ 0 }), 0);
	return NULL;
}

/* WSDirectPoll looks once, or until something is complete, as often as it is told. */
static void looks(struct san_pair *pair)
{
	WSAOVERLAPPED received = { .hEvent = POLLED };
	unsigned char *area = memory(4096);
	HANDLE handle = san_registered(pair->server, area, 4096, MEM_READWRITE);
	pthread_t thread;
	int error;

	san_post(pair->server, area, 4096, handle, &received);
	check_error(san_poll(pair->server), 0);
	check(WSA_OVERLAPPED_PENDING(&received));
	check(!pthread_create(&thread, NULL, send_later, pair));
	check_error(san_look(pair->server, UINT32_MAX), 0);
	check(!WSA_OVERLAPPED_PENDING(&received));
	check(!pthread_join(thread, NULL));
	check(!san_deregister(pair->server, handle, &error));
	munmap(area, 4096);
}

int main(void)
{
	struct san_pair pair;
	char room[200];
	WSABUF answer = { sizeof(room), room };
	int error;

	san_start();
	connect_pair(&pair, &answer);
	options(&pair);
	messages(&pair);
	copied(&pair);
	copied_or_not(&pair);
	several(&pair);
	looks(&pair);
	rdma(&pair);
	check(san_handles == 3);
	san_pair_close(&pair);
	check(san_handles == 0);
	check(san_poll(pair.client) == WSAENOTSOCK);
	check(san.lpWSPCloseSocket(pair.client, &error) && error == WSAENOTSOCK);
	san_stop();
	check(san.lpWSPCleanup(&error) && error == WSANOTINITIALISED);
	return 0;
}
