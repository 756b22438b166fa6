/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path of one connection: a queue pair, its completion queue and
 * channel, and the requests between WSPSend and the device.
 *
 * Each direction is a ring of slots as deep as the device's queue, and behind it
 * a list of requests that did not fit: the device's rings are small, since
 * every idle connection pays for them, and nothing is refused for want of room.
 * Requests of a direction reach the device in the order they were made.
 * Completions of a direction come in order: the oldest slot is always the next to complete.
 * A message of WSDirectSend has no completion for its owner, and the device is asked to signal
 * only now and then one of them, which frees the slots of those before it, too. All other work
 * requests are signalled.
 *
 * All functions with the socket's lock held, unless they say otherwise. A request
 * that completes and wants an up-call is announced by socket_unlock().
 */
#ifndef WSD_SAN_VERBS_QUEUE_H
#define WSD_SAN_VERBS_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <wsdirect/ws2san.h>

struct san_socket;
struct registration;
struct device;

/* A request as the device has it. */
struct request {
	LPWSAOVERLAPPED overlapped;	/* NULL: our own business (windows), or nobody's (copied) */
	struct registration *registrations[WSDIRECT_MAX_BUFFERS];	/* held until complete */
	uint32_t bytes;
	uint8_t held;			/* registrations */
	uint8_t opcode;			/* enum ibv_wr_opcode, or OPCODE_RECEIVE */
	bool silent;			/* not signalled: only a failure would be heard of */
	bool *finished;			/* set when complete, for a thread that waits; or NULL */
};

#define OPCODE_RECEIVE	0xff

/* A request with all that is needed to post it. */
struct work {
	struct work *next;		/* while it waits for room */
	struct request request;
	struct ibv_sge buffers[WSDIRECT_MAX_BUFFERS];
	uint32_t count;			/* buffers */
	bool solicited;
	uint32_t key;			/* remote key; new key of a bind; key to invalidate */
	uint64_t remote_address;
	struct ibv_mw *window;		/* bind: the window, the region and its part */
	struct ibv_mr *region;
	uint64_t bind_address;
	uint64_t bind_length;
	unsigned bind_access;
};

/*
 * A request with neither buffers nor owner yet. What only some opcodes ask for is not
 * touched: to clear all of it would be a good part of what a small send costs.
 */
static inline void work_init(struct work *work, uint8_t opcode)
{
	work->next = NULL;
	work->request.overlapped = NULL;
	work->request.bytes = 0;
	work->request.held = 0;
	work->request.opcode = opcode;
	work->request.silent = false;
	work->request.finished = NULL;
	work->count = 0;
	work->solicited = false;
}

struct ring {
	bool open;			/* the pair's state lets work requests in */
	struct request *slots;		/* depth + 1 of them, a power of two */
	uint32_t depth;			/* what the device takes */
	uint32_t head, tail;		/* oldest posted, next to post; never wrapped */
	uint32_t silent;		/* posted last, in a row, that are not signalled */
	struct work *waiting_first, *waiting_last;
};

struct queue {
	struct ibv_qp *qp;
	struct ibv_cq *cq;
	struct ibv_comp_channel *channel;
	struct ring send, receive;
	uint32_t inline_most;		/* messages up to this size go inside the work request */
	int failure;			/* WSA code: what the first failed completion means */
	const char *cause;		/* of it, for the log */
	bool lost;			/* the device flushes nothing: see queue_poll() */

	/* Arming; see queue_arm(). */
	bool armed, armed_solicited;
	bool touched;			/* completions seen since: it may have notified */
	bool late;			/* one may still be on its way */
	uint8_t free_arms;
	uint32_t unacknowledged;	/* completion events taken from the channel */

	unsigned announced;		/* pending requests that want an up-call */
	bool watched;			/* the channel is in the provider's epoll set */
};

/* Makes the device's objects. 0 or -errno. */
int queue_create(struct san_socket *socket);

/* Takes the pair from RESET to INIT (receives may be posted), then to RTR and RTS. 0 or -errno. */
int queue_prepare(struct san_socket *socket);
int queue_start(struct san_socket *socket);

/*
 * Hands the request to the device, or keeps it until there is room. Takes over
 * the references on registrations, but not @work. 0 or -errno; then nothing was taken.
 */
int queue_submit(struct san_socket *socket, struct work *work);

/* WSDirectSend; a WSA code. If the device does not take it the socket is broken. */
int queue_send_copied(struct san_socket *socket, const WSABUF *buffers, uint32_t count,
		      bool solicited);

/*
 * Completes what the device has completed. Returns the number. When the device is lost,
 * ends the pair and completes all that is left.
 */
int queue_poll(struct san_socket *socket);

/* True if every request is complete. */
bool queue_idle(const struct queue *queue);

/*
 * No more traffic: the device gives every posted request back (if it cannot, it is lost), those
 * that wait for room complete at once. Completions posted so far are kept for queue_poll().
 */
void queue_break(struct san_socket *socket);

/* Destroys the device's objects and completes every request. */
void queue_destroy(struct san_socket *socket);

/* See SIO_WSDIRECT_ARM. 0 or -errno. */
int queue_arm(struct queue *queue, bool solicited);

/*
 * From the provider's thread, without the lock: the channel of a socket with
 * requests that want up-calls is readable.
 */
void queue_woken(struct san_socket *socket);

#endif
