// SPDX-License-Identifier: BSD-2-Clause
/*
 * A device that goes away, or does not what it is told. Whatever it no longer does, every
 * request completes, exposed memory can be hidden, sockets can be closed, and nobody waits or
 * works for ever.
 *
 * The functions below come before the libraries' own, for this program exports them.
 */
#include "san_common.h"
#include "san_next.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

#define SIZE		256

static _Atomic bool held_up;		/* the connection manager tells nothing for now */
static _Atomic bool refuses_receives;

EXPORT int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	if (held_up) {
		errno = EAGAIN;
		return -1;
	}
	return NEXT(rdma_get_cm_event)(channel, event);
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

int main(void)
{
	san_start();
	refused_receive();
	san_stop();
	check_error(resources_held("mr"), 0);
	return 0;
}
