// SPDX-License-Identifier: BSD-2-Clause
/*
 * The data path of one connection. See queue.h.
 *
 * The life of a request: submit() posts it, or keeps a copy in the waiting list
 * of its direction; queue_poll() takes completions, retires slots from the
 * oldest on, and posts what waits. When the connection breaks, the pair goes to the
 * error state: the device then completes every posted request as flushed, which
 * also makes the completion descriptor readable for whoever sleeps on it.
 * When the socket is closed, or the device is lost and flushes nothing, the pair is
 * destroyed: after that the device touches no memory any more, and whatever is left is
 * completed by hand.
 */
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "descriptor.h"
#include "exposure.h"
#include "log.h"
#include "registration.h"
#include "settings.h"
#include "socket.h"
#include "system.h"

#define RECEIVE_ID	(UINT64_C(1) << 32)
#define INLINE_WANTED	128
#define POLL_BATCH	16

/* Slots of a ring beside those for the messages an idle connection has posted. */
#define SLOTS_SPARE	5

/*
 * What a peer is told to wait before it repeats a message that met no receive:
 * 0.16 ms in the encoding of the InfiniBand specification. The switch counts
 * receives, so this happens at the opening of a connection only.
 */
#define RNR_TIMER	8

static uint32_t ring_slots(const struct device *device)
{
	uint64_t wanted = setting_number(SETTING_message_count) + SLOTS_SPARE;
	uint32_t slots = 16;

	while (slots < wanted && slots * 2 <= (uint32_t)device->attributes.max_qp_wr)
		slots *= 2;
	return slots;
}

static struct ibv_qp *create_pair(struct queue *queue, struct device *device)
{
	struct ibv_qp_init_attr attributes = {
		.send_cq = queue->cq,
		.recv_cq = queue->cq,
		.cap = {
			/* One less than a power of two: soft devices keep one slot free. */
			.max_send_wr = queue->send.depth,
			.max_recv_wr = queue->receive.depth,
			.max_send_sge = WSDIRECT_MAX_BUFFERS,
			.max_recv_sge = WSDIRECT_MAX_BUFFERS,
			.max_inline_data = INLINE_WANTED,
		},
		.qp_type = IBV_QPT_RC,
	};
	struct ibv_qp *qp = ibv_create_qp(device->pd, &attributes);

	if (!qp && errno == EINVAL) {
		/* Some devices carry nothing inside a work request. */
		attributes.cap.max_inline_data = 0;
		qp = ibv_create_qp(device->pd, &attributes);
	}
	queue->inline_most = qp ? attributes.cap.max_inline_data : 0;
	return qp;
}

int queue_create(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	struct device *device = socket->device;
	uint32_t slots = ring_slots(device);
	int error;

	queue->send.slots = calloc(2 * slots, sizeof(*queue->send.slots));
	if (!queue->send.slots)
		return -ENOMEM;
	queue->receive.slots = queue->send.slots + slots;
	queue->send.depth = queue->receive.depth = slots - 1;

	queue->channel = ibv_create_comp_channel(device->context);
	if (!queue->channel) {
		error = -errno;
		log_warn("verbs: %s: no completion channel: %s", device->name,
			 log_errno_name(error));
		goto err_slots;
	}
	queue->channel->fd = descriptor_hide(queue->channel->fd);
	system_fcntl(queue->channel->fd, F_SETFL, O_NONBLOCK);
	queue->cq = ibv_create_cq(device->context, (int)(2 * (slots - 1)), socket, queue->channel,
				  0);
	if (!queue->cq) {
		error = -errno;
		log_warn("verbs: %s: no completion queue: %s", device->name, log_errno_name(error));
		goto err_channel;
	}
	queue->qp = create_pair(queue, device);
	if (!queue->qp) {
		error = -errno;
		log_warn("verbs: %s: no queue pair: %s", device->name, log_errno_name(error));
		goto err_cq;
	}
	return 0;

err_cq:
	ibv_destroy_cq(queue->cq);
	queue->cq = NULL;
err_channel:
	ibv_destroy_comp_channel(queue->channel);
	queue->channel = NULL;
err_slots:
	free(queue->send.slots);
	queue->send.slots = queue->receive.slots = NULL;
	return error ? error : -EIO;
}

/* ---- states of the pair ---- */

static int change_state(struct san_socket *socket, enum ibv_qp_state state)
{
	struct ibv_qp_attr attributes = { .qp_state = state };
	const struct device *device = socket->device;
	int mask, error;

	gate_enter();
	error = rdma_init_qp_attr(socket->id, &attributes, &mask) ? -errno : 0;
	gate_leave();
	if (error)
		return error;
	if (mask & IBV_QP_MIN_RNR_TIMER)
		attributes.min_rnr_timer = RNR_TIMER;
	/* Given in are the peer's wishes, or answers. */
	if (attributes.max_dest_rd_atomic > device->reads_answered)
		attributes.max_dest_rd_atomic = device->reads_answered;
	if (attributes.max_rd_atomic > device->reads_asked)
		attributes.max_rd_atomic = device->reads_asked;
	/*
	 * Bits 21 to 24 were meant for Ethernet inside the kernel; some kernels let
	 * them out. Above the ones user space knows nothing is meant for us.
	 */
	mask &= (IBV_QP_DEST_QPN << 1) - 1;
	error = ibv_modify_qp(socket->queue.qp, &attributes, mask);
	if (error)
		log_warn("verbs: %s: queue pair to state %d: %s", device->name, (int)state,
			 log_errno_name(error));
	return -error;
}

static void post_waiting(struct san_socket *socket);
static void watch(struct san_socket *socket);

int queue_prepare(struct san_socket *socket)
{
	int error = change_state(socket, IBV_QPS_INIT);

	if (error)
		return error;
	socket->queue.receive.open = true;
	post_waiting(socket);
	/* Closed again: the device took none of them, and the socket is broken. */
	if (!socket->queue.receive.open)
		return -ENETDOWN;
	if (socket->queue.announced)
		watch(socket);
	return 0;
}

int queue_start(struct san_socket *socket)
{
	/*
	 * INIT once more: only now does the connection manager know the rights that
	 * the peer is to have.
	 */
	int error = change_state(socket, IBV_QPS_INIT);

	if (!error)
		error = change_state(socket, IBV_QPS_RTR);
	if (!error)
		error = change_state(socket, IBV_QPS_RTS);
	if (!error)
		socket->queue.send.open = true;
	return error;
}

/* ---- posting ---- */

static bool is_receive(const struct request *request)
{
	return request->opcode == OPCODE_RECEIVE;
}

/* Does its owner want an up-call? */
static bool request_announced(const struct request *request)
{
	return request->overlapped && !((uintptr_t)request->overlapped->hEvent & 1);
}

static bool ring_full(const struct ring *ring)
{
	return ring->tail - ring->head >= ring->depth;
}

static struct request *ring_slot(const struct ring *ring, uint32_t number)
{
	return &ring->slots[number & ring->depth];
}

static int post_receive(struct queue *queue, struct work *work)
{
	struct ibv_recv_wr request = {
		.wr_id = RECEIVE_ID | queue->receive.tail,
		.sg_list = work->buffers,
		.num_sge = (int)work->count,
	}, *bad;

	return -ibv_post_recv(queue->qp, &request, &bad);
}

static int post_send(struct queue *queue, struct work *work)
{
	/* As in work_init(); the union that is left is set by the opcodes that have something there. */
	struct ibv_send_wr request, *bad;
	int error;

	request.wr_id = queue->send.tail;
	request.next = NULL;
	request.sg_list = work->buffers;
	request.num_sge = (int)work->count;
	request.opcode = (enum ibv_wr_opcode)work->request.opcode;
	request.send_flags = IBV_SEND_SIGNALED;
	request.imm_data = 0;

	switch (work->request.opcode) {
	case IBV_WR_SEND:
		if (work->solicited)
			request.send_flags |= IBV_SEND_SOLICITED;
		if (work->request.bytes <= queue->inline_most)
			request.send_flags |= IBV_SEND_INLINE;
		break;
	case IBV_WR_RDMA_WRITE:
		if (work->request.bytes <= queue->inline_most)
			request.send_flags |= IBV_SEND_INLINE;
		request.wr.rdma.remote_addr = work->remote_address;
		request.wr.rdma.rkey = work->key;
		break;
	case IBV_WR_RDMA_READ:
		request.wr.rdma.remote_addr = work->remote_address;
		request.wr.rdma.rkey = work->key;
		break;
	case IBV_WR_LOCAL_INV:
		request.invalidate_rkey = work->key;
		break;
	case IBV_WR_BIND_MW:
		request.bind_mw.mw = work->window;
		request.bind_mw.rkey = work->key;
		request.bind_mw.bind_info = (struct ibv_mw_bind_info){
			.mr = work->region,
			.addr = work->bind_address,
			.length = work->bind_length,
			.mw_access_flags = work->bind_access,
		};
		break;
	default:
		return -EINVAL;
	}
	error = -ibv_post_send(queue->qp, &request, &bad);
	/* The key the window has from here on, by which the next bind names it. */
	if (!error && request.opcode == IBV_WR_BIND_MW)
		work->window->rkey = work->key;
	return error;
}

/* The request will be heard of no more. */
static inline void retire(struct san_socket *socket, const struct request *request, int wsa_error,
		   uint32_t bytes)
{
	for (unsigned i = 0; i < request->held; i++)
		registration_put(request->registrations[i]);
	if (request->finished)
		*request->finished = true;
	if (request->overlapped) {
		if (request_announced(request))
			socket->queue.announced--;
		socket_complete(socket, request->overlapped, wsa_error, bytes);
	}
}

/* There is room in the ring, which is the one for it. */
static inline int post(struct san_socket *socket, struct ring *ring, struct work *work)
{
	struct queue *queue = &socket->queue;
	int error = ring == &queue->receive ? post_receive(queue, work) : post_send(queue, work);

	if (error)
		return error;
	ring->silent = 0;
	*ring_slot(ring, ring->tail++) = work->request;
	return 0;
}

static struct work *waiting_pop(struct ring *ring)
{
	struct work *work = ring->waiting_first;

	ring->waiting_first = work->next;
	if (!work->next)
		ring->waiting_last = NULL;
	return work;
}

static void retire_waiting(struct san_socket *socket, struct ring *ring, int wsa_error)
{
	while (ring->waiting_first) {
		struct work *work = waiting_pop(ring);

		retire(socket, &work->request, wsa_error, 0);
		free(work);
	}
}

static void post_waiting_ring(struct san_socket *socket, struct ring *ring)
{
	while (ring->waiting_first && ring->open && !ring_full(ring)) {
		struct work *work = ring->waiting_first;
		int error = post(socket, ring, work);

		if (error) {
			log_error("verbs: %s: a request was not taken: %s", socket->device->name,
				  log_errno_name(error));
			/* Completes this one too: it is still in the list. */
			socket_break(socket, WSAENETDOWN, "the device takes no requests");
			return;
		}
		free(waiting_pop(ring));
	}
}

static void post_waiting(struct san_socket *socket)
{
	post_waiting_ring(socket, &socket->queue.receive);
	post_waiting_ring(socket, &socket->queue.send);
}

/* The provider's thread shall look at the socket when something completes. */
static void watch(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLONESHOT,
		.data.u64 = socket->handle,
	};

	queue_arm(queue, false);
	if (!epoll_ctl(provider.epoll, queue->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		       queue->channel->fd, &event))
		queue->watched = true;
	else
		log_error("verbs: cannot watch a completion channel: %s", log_errno_name(errno));
}

int queue_submit(struct san_socket *socket, struct work *work)
{
	struct queue *queue = &socket->queue;
	struct ring *ring = is_receive(&work->request) ? &queue->receive : &queue->send;
	int error;

	if (ring->open && !ring->waiting_first && !ring_full(ring)) {
		error = post(socket, ring, work);
		if (error)
			return error;
	} else {
		struct work *copy = malloc(sizeof(*copy));

		if (!copy)
			return -ENOMEM;
		*copy = *work;
		copy->next = NULL;
		if (ring->waiting_last)
			ring->waiting_last->next = copy;
		else
			ring->waiting_first = copy;
		ring->waiting_last = copy;
	}
	/* Those of a socket that still connects: see queue_prepare(). */
	if (request_announced(&work->request) && !queue->announced++ && queue->channel)
		watch(socket);
	return 0;
}

int queue_send_copied(struct san_socket *socket, const WSABUF *buffers, uint32_t count,
		      bool solicited)
{
	struct queue *queue = &socket->queue;
	struct ring *ring = &queue->send;
	struct ibv_sge pieces[WSDIRECT_MAX_BUFFERS];
	struct ibv_send_wr message, *bad;
	struct request *request;
	uint64_t bytes = 0;
	int error;

	for (uint32_t i = 0; i < count; i++) {
		pieces[i].addr = (uintptr_t)buffers[i].buf;
		pieces[i].length = buffers[i].len;
		bytes += buffers[i].len;
	}
	if (bytes > queue->inline_most)
		return WSAEMSGSIZE;
	if (!ring->open || ring->waiting_first || ring_full(ring))
		return WSAEWOULDBLOCK;
	request = ring_slot(ring, ring->tail);
	/* A signalled one in half a ring is enough for the slots to come back before it is full. */
	request->silent = ring->silent < ring->depth / 2;
	message.wr_id = ring->tail;
	message.next = NULL;
	message.sg_list = pieces;
	message.num_sge = (int)count;
	message.opcode = IBV_WR_SEND;
	message.send_flags = IBV_SEND_INLINE | (request->silent ? 0 : IBV_SEND_SIGNALED) |
			     (solicited ? IBV_SEND_SOLICITED : 0);
	message.imm_data = 0;
	error = ibv_post_send(queue->qp, &message, &bad);
	if (error) {
		socket_break(socket, WSAENETDOWN, "the device takes no requests");
		return WSAENETDOWN;
	}
	request->overlapped = NULL;
	request->bytes = (uint32_t)bytes;
	request->held = 0;
	request->opcode = IBV_WR_SEND;
	request->finished = NULL;
	ring->silent = request->silent ? ring->silent + 1 : 0;
	ring->tail++;
	return 0;
}

/* ---- completing ---- */

static int wsa_error_of(const struct san_socket *socket, enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return 0;
	case IBV_WC_LOC_PROT_ERR:
		return WSAEFAULT;
	default:
		return socket->failure ? socket->failure : WSAECONNRESET;
	}
}

/* The connection is broken when all completions at hand are finished: queue_poll() sees to it. */
static void failure_seen(struct queue *queue, int failure, const char *cause)
{
	if (queue->failure)
		return;
	queue->failure = failure;
	queue->cause = cause;
}

static void finish(struct san_socket *socket, const struct ibv_wc *completion)
{
	struct queue *queue = &socket->queue;
	bool receive = completion->wr_id & RECEIVE_ID;
	struct ring *ring = receive ? &queue->receive : &queue->send;
	uint32_t number = (uint32_t)completion->wr_id;
	const struct request *request;

	if (queue->armed && (!queue->armed_solicited || receive || completion->status))
		queue->touched = true;
	while (number != ring->head && ring->head != ring->tail && ring_slot(ring, ring->head)->silent)
		ring->head++;
	if (number != ring->head || ring->head == ring->tail) {
		log_error("verbs: %s: completion %u where %u was due", socket->device->name, number,
			  ring->head);
		failure_seen(queue, WSAENETDOWN, "the device completes out of order");
		return;
	}
	/* The slot stays as it is meanwhile: there is one more of them than requests are posted. */
	request = ring_slot(ring, ring->head++);
	if (completion->status && !queue->failure) {
		if (completion->status != IBV_WC_WR_FLUSH_ERR)
			log_info("verbs: %s: request failed: %s", socket->device->name,
				 ibv_wc_status_str(completion->status));
		failure_seen(queue, WSAECONNRESET, ibv_wc_status_str(completion->status));
	}
	retire(socket, request, wsa_error_of(socket, completion->status),
	       completion->status ? 0 : receive ? completion->byte_len : request->bytes);
}

/* From here on the device touches no memory of requests, and all of them are complete. */
static void end_pair(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	struct ring *rings[] = { &queue->send, &queue->receive };
	int error = 0;

	queue->send.open = queue->receive.open = false;
	/* Before the pair they are bound to: see socket_destroy(). */
	exposure_free_windows(socket);
	if (queue->qp)
		error = ibv_destroy_qp(queue->qp);
	if (error)
		log_error("verbs: %s: cannot destroy a queue pair: %s", socket->device->name,
			  log_errno_name(error));
	queue->qp = NULL;
	for (unsigned i = 0; i < 2; i++) {
		struct ring *ring = rings[i];

		while (ring->head != ring->tail) {
			struct request request = *ring_slot(ring, ring->head++);

			retire(socket, &request, socket->failure, 0);
		}
		retire_waiting(socket, ring, socket->failure);
	}
}

int queue_poll(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	struct ibv_wc completions[POLL_BATCH];
	int count, total = 0;

	/* Without a pair every request is complete, whatever the device may still say. */
	if (!queue->qp)
		return 0;
	do {
		count = ibv_poll_cq(queue->cq, POLL_BATCH, completions);
		for (int i = 0; i < count; i++)
			finish(socket, &completions[i]);
		if (count > 0)
			total += count;
	} while (count == POLL_BATCH);
	if (count < 0)
		failure_seen(queue, WSAENETDOWN, "the completion queue cannot be polled");
	if (queue->failure)
		socket_break(socket, queue->failure, queue->cause);
	if (total && (queue->send.waiting_first || queue->receive.waiting_first))
		post_waiting(socket);
	/* All that arrived is told by now. */
	if (queue->lost)
		end_pair(socket);
	return total;
}

static bool ring_idle(const struct ring *ring)
{
	uint32_t number = ring->head;

	while (number != ring->tail && ring_slot(ring, number)->silent)
		number++;
	return number == ring->tail && !ring->waiting_first;
}

bool queue_idle(const struct queue *queue)
{
	return ring_idle(&queue->send) && ring_idle(&queue->receive);
}

/*
 * Whoever sleeps on the completion descriptor must wake now. Some kernels' Soft-RoCE
 * does not count flushed requests as errors for one who is armed for solicited events
 * only, and there may be no request to flush: so arm for anything, and add a
 * request that the pair, in the error state, can only flush.
 */
static void wake_sleeper(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	struct work nothing = { .request = { .opcode = IBV_WR_SEND } };

	if (!queue->armed || ibv_req_notify_cq(queue->cq, 0))
		return;
	queue->armed_solicited = false;
	/* A full ring has requests to flush. */
	if (!ring_full(&queue->send))
		post(socket, &queue->send, &nothing);
}

void queue_break(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	struct ibv_qp_attr attributes = { .qp_state = IBV_QPS_ERR };
	int error;

	queue->send.open = queue->receive.open = false;
	if (queue->qp) {
		error = ibv_modify_qp(queue->qp, &attributes, IBV_QP_STATE);
		if (error) {
			/* Sleepers see it: the kernel makes a lost device's channels POLLERR. */
			log_info("verbs: %s: queue pair to the error state: %s",
				 socket->device->name, log_errno_name(error));
			queue->lost = true;
		} else {
			wake_sleeper(socket);
		}
	}
	retire_waiting(socket, &queue->send, socket->failure);
	retire_waiting(socket, &queue->receive, socket->failure);
}

void queue_destroy(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;
	int error;

	/* What arrived or left before is so reported. */
	queue_poll(socket);
	end_pair(socket);
	if (queue->cq) {
		ibv_ack_cq_events(queue->cq, queue->unacknowledged);
		error = ibv_destroy_cq(queue->cq);
		if (error)
			log_error("verbs: %s: cannot destroy a completion queue: %s",
				  socket->device->name, log_errno_name(error));
		queue->cq = NULL;
	}
	error = queue->channel ? ibv_destroy_comp_channel(queue->channel) : 0;
	if (error) {
		log_error("verbs: %s: cannot destroy a completion channel: %s",
			  socket->device->name, log_errno_name(error));
		/* A lost device keeps the queue, which keeps the channel; not so the descriptor. */
		system_close(queue->channel->fd);
	}
	queue->channel = NULL;
	queue->watched = false;
	free(queue->send.slots);
	queue->send.slots = queue->receive.slots = NULL;
	queue->send.depth = queue->receive.depth = 0;
}

/* ---- arming ---- */

/*
 * How often arming may be believed without looking. See queue_arm().
 */
#define FREE_ARMS 16

/*
 * Once armed, the device sends one notification and forgets. Whether it has is
 * known only from reading the channel, a system call, so we infer: while no
 * completion of the armed kind was polled the notification is still to come
 * and arming again is free. Otherwise the notification was sent, or is about to be:
 * the completion can be polled a moment before its notification is in the channel.
 * Such a late one (read came back empty) wakes a sleeper for nothing once; the
 * next call then reads it away. Should it arrive later still, the count of free
 * arms ends the series of idle wake-ups.
 */
int queue_arm(struct queue *queue, bool solicited)
{
	struct ibv_cq *cq;
	void *context;
	bool drained;
	int error;

	if (!queue->cq)
		return -ENOTCONN;
	if (queue->armed && (solicited || !queue->armed_solicited) && !queue->touched &&
	    !queue->late && ++queue->free_arms < FREE_ARMS)
		return 0;
	drained = queue->armed && !ibv_get_cq_event(queue->channel, &cq, &context);
	if (drained)
		queue->unacknowledged++;
	queue->late = queue->touched && !drained;
	queue->touched = false;
	queue->free_arms = 0;
	error = ibv_req_notify_cq(queue->cq, solicited);
	queue->armed = !error;
	queue->armed_solicited = solicited;
	return -error;
}

void queue_woken(struct san_socket *socket)
{
	struct queue *queue = &socket->queue;

	socket_lock(socket);
	if (queue->cq) {
		/* Arm, look again; the pair must come in this order. */
		queue->touched = true;
		queue_poll(socket);
		if (queue->announced)
			watch(socket);
		queue_poll(socket);
	}
	socket_unlock(socket);
}
