// SPDX-License-Identifier: BSD-2-Clause
/*
 * The provider's thread. It never waits for a peer, and holds no lock while it
 * sleeps. Everything it waits for is in one epoll set.
 */
#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "accept.h"
#include "connection.h"
#include "descriptor.h"
#include "device.h"
#include "log.h"
#include "provider.h"
#include "socket.h"
#include "system.h"

#define WAKE_BATCH 16

static _Thread_local bool connected;	/* what look_for_connection() found */

static void look_for_connection(uintptr_t handle)
{
	struct san_socket *socket;
	int error;

	socket = socket_get(handle, &error);
	if (!socket)
		return;
	socket_lock(socket);
	connected |= socket->state == SOCKET_CONNECTED;
	socket_unlock(socket);
	socket_put(socket);
}

bool channel_is_lost(int error)
{
	if (error == EACCES && !atomic_exchange(&provider.channel_lost, true))
		log_info("verbs: this process has changed its user: it makes no further "
			 "connections over a SAN");
	return atomic_load(&provider.channel_lost);
}

/* That it fails only tells that another thread was here first. */
static void unwatch_channel(void)
{
	epoll_ctl(provider.epoll, EPOLL_CTL_DEL, provider.channel->fd, NULL);
}

void channel_abandon(void)
{
	connected = false;
	handle_table_each(&provider.sockets, look_for_connection);
	if (connected)
		return;
	unwatch_channel();
	system_raw(SYS_dup3, provider.epoll, provider.channel->fd, O_CLOEXEC);
}

/* Copies the next event out and acknowledges it. False: none there. */
static bool take_event(struct cm_event *event)
{
	struct rdma_cm_event *given;
	const struct rdma_conn_param *connection;

	gate_enter();
	if (rdma_get_cm_event(provider.channel, &given)) {
		int error = errno;

		gate_leave();
		if (error == EAGAIN || error == EINTR)
			return false;
		if (channel_is_lost(error)) {
			/* The event stays there, not to be looked at again. */
			unwatch_channel();
			channel_abandon();
			return false;
		}
		log_error("verbs: cannot read connection events: %s", log_errno_name(error));
		return false;
	}
	memset(event, 0, offsetof(struct cm_event, data));
	event->type = given->event;
	event->status = given->status;
	if (given->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
		event->handle = (uintptr_t)given->listen_id->context;
		event->request = given->id;
	} else {
		event->handle = (uintptr_t)given->id->context;
	}
	switch (given->event) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
	case RDMA_CM_EVENT_REJECTED:
		connection = &given->param.conn;
		event->responder_resources = connection->responder_resources;
		event->initiator_depth = connection->initiator_depth;
		if (connection->private_data) {
			event->data_length = connection->private_data_len;
			memcpy(event->data, connection->private_data, event->data_length);
		}
		break;
	default:
		break;
	}
	rdma_ack_cm_event(given);
	gate_leave();
	return true;
}

static void read_channel(void)
{
	struct cm_event event;

	while (take_event(&event)) {
		log_debug("verbs: socket %lx: %s, status %d", (unsigned long)event.handle,
			  rdma_event_str(event.type), event.status);
		if (event.type == RDMA_CM_EVENT_CONNECT_REQUEST)
			request_arrived(&event);
		else
			connection_event(&event);
	}
}

static void wake_socket(uintptr_t handle)
{
	struct san_socket *socket;
	int error;

	socket = socket_get(handle, &error);
	if (!socket)
		return;
	queue_woken(socket);
	socket_put(socket);
}

static void *run(void *unused)
{
	struct epoll_event events[WAKE_BATCH];
	bool stop = false;

	(void)unused;
	while (!stop) {
		int count = (int)system_raw(SYS_epoll_pwait, provider.epoll, events, WAKE_BATCH, -1,
					    NULL, 8);

		if (count < 0 && count != -EINTR) {
			log_error("verbs: the provider's thread cannot wait: %s",
				  log_errno_name(count));
			break;
		}
		for (int i = 0; i < count; i++) {
			uint64_t source = events[i].data.u64;

			if (source >= WAKE_SOCKET_LEAST)
				wake_socket(source);
			else if (source >= WAKE_DEVICE && events[i].events & EPOLLIN)
				device_read_events((unsigned)(source - WAKE_DEVICE));
			else if (source >= WAKE_DEVICE)
				device_unwatch((unsigned)(source - WAKE_DEVICE));
			else if (source == WAKE_CHANNEL)
				read_channel();
			else
				stop = true;
		}
	}
	return NULL;
}

static int watch(int descriptor, uint64_t source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = source };

	return epoll_ctl(provider.epoll, EPOLL_CTL_ADD, descriptor, &event) ? -errno : 0;
}

static int start_thread(void)
{
	sigset_t all, before;
	int error;

	/* The application's signals are for the application's threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&provider.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		pthread_setname_np(provider.thread, "wsdirect-verbs");
	return -error;
}

int events_start(void)
{
	int error;

	/* Not through libc: who watches its calls would not see the number being left. */
	provider.epoll = descriptor_hide((int)system_raw(SYS_epoll_create1, EPOLL_CLOEXEC));
	if (provider.epoll < 0)
		return provider.epoll;
	provider.stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (provider.stop < 0) {
		error = -errno;
		goto err_epoll;
	}
	provider.stop = descriptor_hide(provider.stop);
	error = watch(provider.stop, WAKE_STOP);
	if (!error)
		error = watch(provider.channel->fd, WAKE_CHANNEL);
	if (!error)
		error = start_thread();
	if (!error)
		return 0;
	system_close(provider.stop);
err_epoll:
	system_close(provider.epoll);
	return error;
}

void events_stop(void)
{
	uint64_t one = 1;

	system_write(provider.stop, &one, sizeof(one));
	pthread_join(provider.thread, NULL);
	system_close(provider.stop);
	system_close(provider.epoll);
}
