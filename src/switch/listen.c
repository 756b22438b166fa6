/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listen(2), and the companion of a listener.
 *
 * The kernel listens first, always, then the companion. A process that forks
 * before it ever accepted from a listener or waited for it gives the companion
 * up: it is likely to leave accepting to its children, and connections must not
 * end up where nobody accepts. Who then accepts or waits makes one anew; the first gets the
 * port, and sends some of those that connect on to the others (shared_port.h). When it goes,
 * one of these takes the port, once a client that found nobody there comes over TCP.
 *
 * Locking: a new connection's lock is taken before its listener's. A ready
 * connection no longer refers to its listener, so closing the listener may
 * lock ready connections under the listener's lock.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "attention.h"
#include "choice.h"
#include "descriptor.h"
#include "descriptors.h"
#include "epoll.h"
#include "handover.h"
#include "libc_calls.h"
#include "lifetime.h"
#include "log.h"
#include "shared_port.h"
#include "socket_state.h"
#include "system.h"
#include "waiter.h"
#include "wsa_errno.h"

#define REQUESTS	4096	/* that wait for the switch thread: the provider refuses more */
#define TRIES		4	/* to listen where others are bound to the port, too */
#define AGAIN_TIME	3000000000ll	/* nanoseconds until a port is tried anew that another had */

/* When the port is tried again of listeners that have it not; 0: there are none. */
static _Atomic int64_t again;

/* Is it time? To one of those who ask. */
static bool port_due(void)
{
	int64_t when = atomic_load_explicit(&again, memory_order_relaxed), now;

	if (!when)
		return false;
	now = clock_now();
	return now >= when && atomic_compare_exchange_strong(&again, &when, now + AGAIN_TIME);
}

/*
 * Of several that are bound to a port none may listen, and who could not be bound at all has
 * come later than one that listens. So workers that start together are kept apart: by their
 * numbers, which differ.
 */
static void step_aside(void)
{
	struct timespec pause = { .tv_nsec = (1 + system_getpid() % 8) * 4000000l };

	nanosleep(&pause, NULL);
}

/* A companion that listens at the address, and signals `event`; INVALID_SOCKET with a WSA code. */
static SOCKET companion_open(const struct sockaddr *address, socklen_t length, int event, int *error)
{
	struct provider *provider = provider_get();
	int tries = TRIES, ignored;
	bool contended;

	for (;;) {
		SOCKET companion = provider->table.lpWSPSocket(address->sa_family, SOCK_STREAM,
							       IPPROTO_TCP, NULL, 0,
							       WSA_FLAG_OVERLAPPED, error);

		if (companion == INVALID_SOCKET)
			return companion;
		contended = false;
		if (!provider->table.lpWSPBind(companion, address, (int)length, error) &&
		    !provider->table.lpWSPEventSelect(companion, WSDIRECT_EVENT_HANDLE(event),
						      FD_ACCEPT, error)) {
			if (!provider->table.lpWSPListen(companion, REQUESTS, error))
				return companion;
			contended = *error == WSAEADDRINUSE;
		}
		provider->table.lpWSPCloseSocket(companion, &ignored);
		if (!contended || !--tries)
			return INVALID_SOCKET;
		step_aside();
	}
}

/* Somebody whom we know has the port: the companion gets another, where that one sends peers. */
static bool companion_share(struct socket *socket, const struct sockaddr_storage *address,
			    socklen_t length, int *error)
{
	struct listening *listening = &socket->listening;
	struct sockaddr_storage anywhere = *address, got;
	struct provider *provider = provider_get();
	socklen_t room;
	int ignored;

	if (!shared_port_known(&socket->local))
		return false;
	((struct sockaddr_in *)&anywhere)->sin_port = 0;
	listening->companion = companion_open((struct sockaddr *)&anywhere, length, listening->event,
					      error);
	if (listening->companion == INVALID_SOCKET)
		return false;
	if (!provider_address(provider, listening->companion, false, &got, &room) &&
	    shared_port_enter(listening, &socket->local, ((struct sockaddr_in *)&got)->sin_port))
		return true;
	provider->table.lpWSPCloseSocket(listening->companion, &ignored);
	listening->companion = INVALID_SOCKET;
	return false;
}

/* NULL, or why the listener stays with TCP. */
static const char *companion_listen(struct socket *socket, int fd)
{
	struct listening *listening = &socket->listening;
	struct sockaddr_storage local;
	union address bound;
	socklen_t room = sizeof(bound), length;
	struct provider *provider;
	bool any;
	int error;

	if (libc_call.getsockname(fd, &bound.any, &room))
		return "it has no address";
	length = choice_normalize(&bound.any, room, &local);
	if (!length)
		return "it is not an IP socket";
	if (choice_rule(CHOICE_LISTEN, &bound.any) == CHOICE_TCP)
		return "a rule says so";
	any = local.ss_family == AF_INET ?
		((struct sockaddr_in *)&local)->sin_addr.s_addr == INADDR_ANY :
		IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)&local)->sin6_addr);
	if (local.ss_family == AF_INET && !any &&
	    ntohl(((struct sockaddr_in *)&local)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
		return "the loopback network has no RDMA device";
	provider = provider_get();
	if (!provider)
		return "no SAN service provider";
	if (!any && !provider_has_address(provider, (struct sockaddr *)&local))
		return "its address has no RDMA device";
	listening->event = descriptor_hide(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	if (listening->event < 0)
		return "no descriptor left";
	memcpy(&socket->local, &bound, room);
	socket->local_length = room;
	listening->companion = companion_open((struct sockaddr *)&local, length, listening->event,
					      &error);
	if (listening->companion != INVALID_SOCKET) {
		shared_port_open(listening, &socket->local);
		return NULL;
	}
	if (error == WSAEADDRINUSE)
		atomic_store(&again, clock_now() + AGAIN_TIME);
	if (error == WSAEADDRINUSE && companion_share(socket, &local, length, &error))
		return NULL;
	log_info("switch: companion of a listener: %s", wsa_error_name(error));
	return "its companion cannot listen";
}

/* A listener's companion is gone; its last reference may linger on. */
static void companion_close(struct socket *socket)
{
	struct listening *listening = &socket->listening;
	int error;

	if (listening->companion == INVALID_SOCKET)
		return;
	provider_get()->table.lpWSPCloseSocket(listening->companion, &error);
	listening->companion = INVALID_SOCKET;
	shared_port_leave(listening);
}

struct socket *switch_listener_get(int fd)
{
	struct socket *socket = descriptor_get(fd);
	const char *reason;
	int cancel_state;

	if (socket)
		return socket;
	/* Decided once: whatever comes of it, nobody needs to ask again (but switch_listener_again). */
	descriptor_mark_listening(fd, false);
	socket = socket_new(SOCKET_LISTENING);
	if (!socket)
		return NULL;
	/* The provider's libraries write(). */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	reason = companion_listen(socket, fd);
	if (!reason && attention_start())
		reason = "no switch thread";
	if (!reason && descriptor_set(fd, socket_get(socket))) {
		socket_put(socket);
		reason = "no memory";
	}
	if (reason) {
		log_info("switch: listen goes over TCP only: %s", reason);
		companion_close(socket);
		socket_put(socket);
		pthread_setcancelstate(cancel_state, NULL);
		return NULL;
	}
	pthread_setcancelstate(cancel_state, NULL);
	/* What waits for it waits for the kernel's connections too. */
	descriptor_mark_listening(fd, true);
	socket_adopt_options(socket, fd);
	attention_add(socket);
	epoll_socket_entered(fd, socket);
	log_info(socket->listening.place ? "switch: listening over the SAN too, beside another" :
					   "switch: listening over the SAN too");
	return socket;
}

/* Is it a TCP socket that listens? */
static bool tcp_listens(int fd)
{
	int protocol = 0, listens = 0;
	socklen_t length = sizeof(protocol);

	return !libc_call.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) &&
	       protocol == IPPROTO_TCP &&
	       !libc_call.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) && listens;
}

void switch_listener_again(int fd)
{
	if (port_due() && tcp_listens(fd))
		descriptor_mark_listening(fd, true);
}

void listen_take_port(struct socket *socket)
{
	struct listening *listening = &socket->listening;
	struct sockaddr_storage address;
	int cancel_state, error;
	socklen_t length;
	SOCKET companion;
	bool due;

	socket_lock(socket);
	due = listening->place && port_due();
	socket_unlock(socket);
	if (!due)
		return;
	/* The provider's libraries write(). */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	length = choice_normalize(&socket->local.any, socket->local_length, &address);
	companion = companion_open((struct sockaddr *)&address, length, listening->event, &error);
	if (companion != INVALID_SOCKET) {
		socket_lock(socket);
		if (socket->state == SOCKET_LISTENING) {
			SOCKET before = listening->companion;

			listening->companion = companion;
			companion = before;
			shared_port_take(listening);
			log_info("switch: a listener has its port on the SAN now");
		}
		socket_unlock(socket);
		provider_get()->table.lpWSPCloseSocket(companion, &error);
	}
	pthread_setcancelstate(cancel_state, NULL);
}

int switch_listen(int fd, int backlog)
{
	struct socket *socket;

	socket = descriptor_get(fd);
	if (socket) {
		bool connected = socket->state == SOCKET_CONNECTED ||
				 socket->state == SOCKET_CONNECTING;

		socket_put(socket);
		if (connected)
			return -EINVAL;
	}
	if (libc_call.listen(fd, backlog))
		return -errno;
	/* It is a socket, so an epoll set with its number was closed where we could not see it. */
	if (descriptor_is_epoll(fd))
		descriptor_closing(fd);
	if (!tcp_listens(fd) || descriptor_is_known(fd))
		return 0;
	descriptor_mark_listening(fd, true);
	socket = switch_listener_get(fd);
	if (socket)
		socket_put(socket);
	return 0;
}

void listen_close(struct socket *socket)
{
	struct listening *listening = &socket->listening;
	struct socket *connection;

	companion_close(socket);
	while ((connection = listening->ready_first)) {
		listening->ready_first = connection->next_ready;
		socket_lock(connection);
		session_reset(&connection->session, ECONNRESET);
		socket_state_set(connection, SOCKET_CLOSED, "never accepted");
		attention_draining();
		attention_soon(connection);
		socket_unlock(connection);
		socket_put(connection);
	}
	listening->ready_last = NULL;
}

static void give_up(int fd, struct socket *socket, void *context)
{
	bool unused;

	(void)context;
	socket_lock(socket);
	unused = socket->state == SOCKET_LISTENING && !atomic_load(&socket->listening.looks);
	if (socket->state == SOCKET_LISTENING && !unused)
		handover_forking();
	if (unused) {
		shared_port_bequeath(&socket->listening);
		listen_close(socket);
		socket_state_set(socket, SOCKET_PLAIN, "the process forks before it accepts");
		attention_soon(socket);
	}
	socket_unlock(socket);
	if (unused) {
		descriptor_clear(fd, socket);
		descriptor_mark_listening(fd, true);
	}
}

void switch_forking(void)
{
	int saved = errno;

	descriptor_each(give_up, NULL);
	errno = saved;
}
