// SPDX-License-Identifier: BSD-2-Clause
/*
 * A device that can do little, and one that goes away. Whatever it no longer does, every
 * request completes, exposed memory can be hidden, sockets can be closed, and nobody waits or
 * works for ever.
 *
 * The functions below come before the libraries' own, for this program exports them.
 */
#include "san_common.h"
#include "san_next.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

/* More than the device's queues hold. */
#define REQUESTS	40
#define SIZE		256

/* How the step to the error state goes. */
static _Atomic enum { BREAKS, FAILS, DOES_NOTHING } breaking;
static _Atomic bool removal;		/* the end of a connection is told as that of the device */
static _Atomic bool held_up;		/* what the connection manager has to tell */
static _Atomic bool refuses_receives;
static _Atomic bool keeps_queues;	/* completion queues cannot be destroyed */
static _Atomic bool hung_up;		/* a device's own events have ended */
static _Atomic int looks;		/* for those events */
static struct ibv_context *opened;	/* the last one */
static _Atomic int answered_most, asked_most;	/* RDMA reads in flight, of all pairs */

EXPORT int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attributes, int mask)
{
	if (mask & IBV_QP_MAX_DEST_RD_ATOMIC && attributes->max_dest_rd_atomic > answered_most)
		answered_most = attributes->max_dest_rd_atomic;
	if (mask & IBV_QP_MAX_QP_RD_ATOMIC && attributes->max_rd_atomic > asked_most)
		asked_most = attributes->max_rd_atomic;
	if (attributes->qp_state == IBV_QPS_ERR && breaking)
		return breaking == FAILS ? EIO : 0;
	return NEXT(ibv_modify_qp)(qp, attributes, mask);
}

EXPORT int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	int result;

	if (held_up) {
		errno = EAGAIN;
		return -1;
	}
	result = NEXT(rdma_get_cm_event)(channel, event);
	if (!result && removal && (*event)->event == RDMA_CM_EVENT_DISCONNECTED)
		(*event)->event = RDMA_CM_EVENT_DEVICE_REMOVAL;
	return result;
}

EXPORT int ibv_destroy_cq(struct ibv_cq *cq)
{
	return keeps_queues ? EIO : NEXT(ibv_destroy_cq)(cq);
}

/* What each side of a connection can answer is less than what the other can ask for. */
EXPORT int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attributes)
{
	int result = NEXT(ibv_query_device)(context, attributes);

	attributes->max_qp_rd_atom = 2;
	attributes->max_qp_init_rd_atom = 4;
	return result;
}

EXPORT int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	looks++;
	return NEXT(ibv_get_async_event)(context, event);
}

EXPORT struct ibv_context *ibv_open_device(struct ibv_device *device)
{
	return opened = NEXT(ibv_open_device)(device);
}

/* Instead of a device's descriptor, one whose other end is closed. */
EXPORT int epoll_ctl(int set, int operation, int descriptor, struct epoll_event *event)
{
	static int ends[2];

	if (hung_up && opened && descriptor == opened->async_fd) {
		if (operation == EPOLL_CTL_ADD) {
			check(!pipe(ends));
			close(ends[1]);
		}
		descriptor = ends[0];
	}
	return NEXT(epoll_ctl)(set, operation, descriptor, event);
}

static int refuse(struct ibv_qp *qp, struct ibv_recv_wr *request, struct ibv_recv_wr **bad)
{
	(void)qp;
	*bad = request;
	return EIO;
}

EXPORT struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes)
{
	static int (*post)(struct ibv_qp *, struct ibv_recv_wr *, struct ibv_recv_wr **);

	/* Shared by all pairs of the device: one at a time, then. */
	if (!post)
		post = pd->context->ops.post_recv;
	pd->context->ops.post_recv = refuses_receives ? refuse : post;
	return NEXT(ibv_create_qp)(pd, attributes);
}

static unsigned char area[16384] __attribute__((aligned(4096)));

/* Nothing is left of the connections. */
static void check_clean(void)
{
	check_error(resources_held("qp"), 0);
	check_error(resources_held("cq"), 0);
	check_error(resources_held("cm_id"), 0);
	check_error(san_handles, 0);
}

/* What one end asks for is limited by what the other can answer, and by itself. */
static void few_reads(void)
{
	WSAOVERLAPPED moved[REQUESTS] = { 0 };
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	DWORD length = sizeof(descriptor);
	struct san_pair pair;
	HANDLE client;
	int error;

	san_pair_open(&pair);
	client = san_registered(pair.client, area, sizeof(area), MEM_READWRITE);
	check(!san_expose(pair.server, area, 4096, MEM_READ, descriptor, &length, &error));
	san_pass(pair.server, pair.client);
	for (unsigned i = 0; i < REQUESTS; i++) {
		WSABUFEX buffer = { 4096, (char *)area + 8192, client };

		moved[i].hEvent = POLLED;
		check(san_read(pair.client, &buffer, 1, descriptor, length, 0, NULL, 0, &moved[i],
			       NULL, NULL, &error) && error == WSA_IO_PENDING);
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		check_error(san_wait(pair.client, &moved[i], NULL), 0);
	san_pair_close(&pair);
	check_error(answered_most, 2);
	check(asked_most >= 1 && asked_most <= 4);
}

/* The receives posted on a connecting socket cannot be: that is how the connection ends. */
static void refused_receive(void)
{
	WSAOVERLAPPED received = { .hEvent = POLLED };
	int listener_event, event;
	SOCKET listener, client;
	struct san_pair pair;
	HANDLE memory;
	uint16_t port;

	listener = san_listener(4, &listener_event, &port);
	refuses_receives = held_up = true;
	client = san_connecting(port, NULL, 0, &event);
	memory = san_registered(client, area, sizeof(area), MEM_WRITE);
	san_post(client, area, SIZE, memory, &received);
	held_up = false;
	check_error(san_connect_result(client, event), WSAENETDOWN);
	check_error(san_wait(client, &received, NULL), WSAENETDOWN);
	check_error(san_poll(client), WSAECONNRESET);
	san_close(client);
	refuses_receives = false;
	/* Nobody was asked for a connection. */
	check(san.lpWSPAccept(listener, NULL, NULL, NULL, 0, &(int){ 0 }) == INVALID_SOCKET);
	san_close(listener);
	close(event);
	close(listener_event);
	san_pair_open(&pair);
	san_pair_close(&pair);
	check_clean();
}

/*
 * The client loses its device while it has as much as can be under way: receives, messages
 * that nobody takes, requests with up-calls, exposed memory.
 */
static void lose(bool by_removal, int expected)
{
	static WSAOVERLAPPED received[REQUESTS], sent[REQUESTS];
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	DWORD length = sizeof(descriptor);
	struct san_pair pair;
	HANDLE memory;
	int error;

	san_pair_open(&pair);
	memory = san_registered(pair.client, area, sizeof(area), MEM_READWRITE);
	check(!san_expose(pair.client, area, 4096, MEM_READWRITE, descriptor, &length, &error));
	san_completions = 0;
	for (unsigned i = 0; i < REQUESTS; i++) {
		received[i] = (WSAOVERLAPPED){ .hEvent = POLLED };
		/* An up-call for each second. */
		sent[i] = (WSAOVERLAPPED){ .hEvent = i % 2 ? POLLED : NULL };
		san_post(pair.client, area, SIZE, memory, &received[i]);
		san_send_message(pair.client, area, SIZE, memory, 0, &sent[i]);
	}
	check_error(san_arm(pair.client, WSDIRECT_ARM_ANY), 0);
	removal = by_removal;
	breaking = by_removal ? DOES_NOTHING : FAILS;
	san_close(pair.server);
	pair.server = 0;
	/* Up-calls come though nobody looks, when it is known that no completion will. */
	for (int64_t limit = milliseconds() + 10000; !by_removal && san_completions < REQUESTS / 2;)
		check(milliseconds() < limit);
	for (unsigned i = 0; i < REQUESTS; i++) {
		check_error(san_wait(pair.client, &received[i], NULL), expected);
		check_error(san_wait(pair.client, &sent[i], NULL), expected);
	}
	check_error(san_completions, REQUESTS / 2);
	check_error(san_poll(pair.client), WSAECONNRESET);
	check(!san_hide(pair.client, descriptor, length, &error));
	check(!san_deregister(pair.client, memory, &error));
	san_pair_close(&pair);
	removal = false;
	breaking = BREAKS;
	check_clean();
}

/* It goes in the middle of completions: those of what arrived come first, in order. */
static void lose_by_completion(void)
{
	WSAOVERLAPPED received[REQUESTS], sent[11];
	unsigned reset = 0;
	struct san_pair pair;
	HANDLE client, server;
	DWORD bytes;

	san_pair_open(&pair);
	client = san_registered(pair.client, area, sizeof(area), MEM_READ);
	server = san_registered(pair.server, area, sizeof(area), MEM_WRITE);
	for (unsigned i = 0; i < REQUESTS; i++) {
		received[i] = (WSAOVERLAPPED){ .hEvent = POLLED };
		san_post(pair.server, area, SIZE, server, &received[i]);
	}
	breaking = FAILS;
	/* The last one is too long for what it meets. */
	for (unsigned i = 0; i <= 10; i++) {
		sent[i] = (WSAOVERLAPPED){ .hEvent = POLLED };
		san_send_message(pair.client, area, i < 10 ? i : 2 * SIZE, client, 0, &sent[i]);
	}
	for (unsigned i = 0; i <= 10; i++)
		check_error(san_wait(pair.client, &sent[i], NULL), i < 10 ? 0 : WSAECONNRESET);
	for (unsigned i = 0; i < REQUESTS; i++) {
		check_error(san_wait(pair.server, &received[i], &bytes),
			    i < 10 ? 0 : WSAECONNRESET);
		check_error(bytes, i < 10 ? i : 0);
		reset += i >= 10;
	}
	check_error(reset, REQUESTS - 10);
	check_error(san_poll(pair.server), WSAECONNRESET);
	san_pair_close(&pair);
	breaking = BREAKS;
	check_clean();
}

/* The peer takes no messages, so hiding breaks the connection; that fails too, or is in vain. */
static void lose_hiding(int how)
{
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	DWORD length = sizeof(descriptor);
	WSAOVERLAPPED sent = { .hEvent = POLLED };
	int64_t begin = milliseconds();
	struct san_pair pair;
	HANDLE memory;
	int error;

	san_pair_open(&pair);
	memory = san_registered(pair.server, area, sizeof(area), MEM_READ);
	check(!san_expose(pair.server, area, 4096, MEM_READ, descriptor, &length, &error));
	san_send_message(pair.server, area, SIZE, memory, 0, &sent);
	breaking = how;
	check(!san_hide(pair.server, descriptor, length, &error));
	check_error(san_wait(pair.server, &sent, NULL), WSAECONNRESET);
	san_pair_close(&pair);
	breaking = BREAKS;
	printf("hidden after %d ms\n", (int)(milliseconds() - begin));
	check_clean();
}

/* What it does not let go of holds no descriptors of this process. */
static void lose_queues(void)
{
	int before = descriptors_open();
	struct san_pair pair;

	keeps_queues = true;
	san_pair_open(&pair);
	san_pair_close(&pair);
	keeps_queues = false;
	check_error(descriptors_open(), before);
}

/* Its own events end: the provider's thread looks once and no more. */
static void lose_events(void)
{
	struct san_pair pair;
	int before = looks;

	hung_up = true;
	san_start();
	san_pair_open(&pair);
	usleep(300000);
	san_pair_close(&pair);
	san_stop();
	hung_up = false;
	printf("%d looks for events of a device that has none\n", looks - before);
	check(looks - before < 10);
}

int main(void)
{
	san_start();
	few_reads();
	refused_receive();
	lose(false, WSAECONNRESET);
	lose(true, WSAENETDOWN);
	lose_by_completion();
	lose_hiding(FAILS);
	lose_hiding(DOES_NOTHING);
	lose_queues();
	san_stop();
	lose_events();
	check_error(resources_held("mr"), 0);
	return 0;
}
