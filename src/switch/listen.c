/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listen(2) and accept(2).
 *
 * The kernel listens first, always, then the companion. A process that forks
 * before it ever accepted from a listener or waited for it gives the companion
 * up: it is likely to leave accepting to its children, and connections must not
 * end up where nobody accepts. Who then accepts or waits makes one anew; the first gets the
 * port, and sends some of those that connect on to the others (shared_port.h). When it goes,
 * one of these takes the port, once a client that found nobody there comes over TCP.
 *
 * The switch thread takes connections from the companion and greets them
 * (greeting_step); accept(2) takes greeted ones from `ready` or one from the
 * kernel, whichever is there first.
 *
 * Locking: a new connection's lock is taken before its listener's. A ready
 * connection no longer refers to its listener, so closing the listener may
 * lock ready connections under the listener's lock.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "attention.h"
#include "choice.h"
#include "descriptor.h"
#include "descriptors.h"
#include "epoll.h"
#include "handover.h"
#include "libc_calls.h"
#include "lifetime.h"
#include "log.h"
#include "readiness.h"
#include "restart.h"
#include "settings.h"
#include "shared_port.h"
#include "socket_state.h"
#include "statistics.h"
#include "system.h"
#include "waiter.h"
#include "wsa_errno.h"

#define BACKLOG		128
#define GREETING_TIME	5000000000ll	/* nanoseconds for a peer's HELLO */
#define AGAIN_TIME	3000000000ll	/* ... until a port is tried anew that another process had */
#define STUCK_TIME	10000000ll	/* ... in the kernel's accept, that is to say blocked */

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

/* A companion that listens at the address, and signals `event`; INVALID_SOCKET with a WSA code. */
static SOCKET companion_open(const struct sockaddr *address, socklen_t length, int event, int *error)
{
	struct provider *provider = provider_get();
	SOCKET companion = provider->table.lpWSPSocket(address->sa_family, SOCK_STREAM, IPPROTO_TCP,
						       NULL, 0, WSA_FLAG_OVERLAPPED, error);
	int ignored;

	if (companion == INVALID_SOCKET)
		return companion;
	if (!provider->table.lpWSPBind(companion, address, (int)length, error) &&
	    !provider->table.lpWSPEventSelect(companion, WSDIRECT_EVENT_HANDLE(event), FD_ACCEPT,
					      error) &&
	    !provider->table.lpWSPListen(companion, BACKLOG, error))
		return companion;
	provider->table.lpWSPCloseSocket(companion, &ignored);
	return INVALID_SOCKET;
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
	listening->backlog = BACKLOG;
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

/*
 * A client came over TCP, which it may have done since nobody has the port any more. Those
 * who are just being sent to where we were come over TCP, too.
 */
static void take_port(struct socket *socket)
{
	struct listening *listening = &socket->listening;
	struct sockaddr_storage address;
	int cancel_state, error;
	socklen_t length;
	SOCKET companion;

	if (!listening->place || !port_due())
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

static void give_up(int fd, struct socket *socket, void *context)
{
	bool unused;

	(void)context;
	socket_lock(socket);
	unused = socket->state == SOCKET_LISTENING && !socket->listening.waited;
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

/* ---- new connections; in the switch thread ---- */

/* The number of connections that are greeted or ready grows by this. */
static void waiting_add(struct listening *listening, int count)
{
	listening->waiting += (unsigned int)count;
	shared_port_loaded(listening);
}

static int condition(LPWSABUF caller, LPWSABUF caller_data, LPQOS sqos, LPQOS gqos, LPWSABUF callee,
		     LPWSABUF callee_data, GROUP *group, DWORD_PTR context)
{
	struct listening *listening = (struct listening *)context;
	struct elsewhere elsewhere = { .magic = htole32(ELSEWHERE_MAGIC) };
	struct connect_data data;
	in_port_t port;

	(void)caller;
	(void)sqos;
	(void)gqos;
	(void)callee;
	(void)group;
	callee_data->len = 0;
	if (!caller_data || caller_data->len < sizeof(data)) {
		log_warn("switch: declined a connection without our private data");
		return CF_WSDIRECT_DECLINE;
	}
	memcpy(&data, caller_data->buf, sizeof(data));
	if (le32toh(data.magic) != PROTOCOL_MAGIC || le16toh(data.version) != PROTOCOL_VERSION) {
		log_warn("switch: declined a connection with private data that is not ours");
		return CF_WSDIRECT_DECLINE;
	}
	if (handover_seen())
		return CF_WSDIRECT_DECLINE;
	port = shared_port_choose(listening);
	if (port) {
		elsewhere.port = htole16(ntohs(port));
		memcpy(callee_data->buf, &elsewhere, sizeof(elsewhere));
		callee_data->len = sizeof(elsewhere);
		return CF_WSDIRECT_DECLINE;
	}
	return listening->waiting < listening->backlog ? CF_ACCEPT : CF_REJECT;
}

void listen_step(struct socket *socket)
{
	struct listening *listening = &socket->listening;
	struct provider *provider = provider_get();
	eventfd_t taken;

	(void)!libc_call.read(listening->event, &taken, sizeof(taken));
	for (;;) {
		struct socket *connection;
		SOCKET companion;
		int error;

		companion = provider->table.lpWSPAccept(listening->companion, NULL, NULL, condition,
							(DWORD_PTR)listening, &error);
		if (companion == INVALID_SOCKET) {
			if (error == WSAECONNREFUSED || error == WSAECONNRESET)
				continue;
			if (error != WSAEWOULDBLOCK)
				log_warn("switch: accepting over the SAN: %s", wsa_error_name(error));
			return;
		}
		connection = socket_new(SOCKET_CONNECTED);
		error = connection ? session_open(&connection->session, provider, companion) : -ENOMEM;
		if (error) {
			/* Its peer comes again over TCP, so for many clients once is enough. */
			log_at(listening->refused ? LOG_INFO : LOG_WARN,
			       "switch: a connection cannot be accepted over the SAN: %s",
			       log_errno_name(error));
			listening->refused = true;
			if (!connection || !connection->session.provider)
				provider->table.lpWSPCloseSocket(companion, &error);
			if (connection)
				socket_put(connection);
			continue;
		}
		connection->listener = socket_get(socket);
		connection->connecting.deadline = clock_now() + GREETING_TIME;
		waiting_add(listening, 1);
		attention_add(connection);
		socket_put(connection);
	}
}

static void listener_leave(struct socket *connection)
{
	struct socket *listener = connection->listener;

	connection->listener = NULL;
	socket_lock(listener);
	waiting_add(&listener->listening, -1);
	socket_unlock(listener);
	socket_put(listener);
}

/*
 * Shall the peer be greeted? -EAGAIN: not yet. -EBUSY: it shall come again over TCP, since
 *  - a thread is stuck in the kernel's accept and would not see it; that gets the thread out;
 *  - nobody waits for it here, but somebody may in another process that has the listener, as
 *    where processes take turns. The kernel's connections are for them all. The peer waits
 *    for its greeting as long as connect_timeout says; we need to know sooner.
 * The listener's lock is held.
 */
static int greeting_due(const struct socket *connection, struct socket *listener)
{
	const struct listening *listening = &listener->listening;
	int64_t now = clock_now(), since = connection->connecting.deadline - GREETING_TIME;
	int64_t patience = (int64_t)setting_number(SETTING_connect_timeout) * 1000000 / 3;

	if (listening->taking)
		return now - listening->taking < STUCK_TIME ? -EAGAIN : -EBUSY;
	if (waiter_list_armed(&listener->waiters) || shared_port_alone(listening))
		return 0;
	return now - since < patience ? -EAGAIN : -EBUSY;
}

/* Greets the connection and has it wait for accept(2). 0 or -errno. */
static int enqueue(struct socket *connection)
{
	struct socket *listener = connection->listener;
	struct listening *listening = &listener->listening;
	int error;

	socket_learn_names(connection, listener->local.any.sa_family);
	connection->next_ready = NULL;
	socket_lock(listener);
	error = greeting_due(connection, listener);
	if (!error)
		error = session_hello(&connection->session);
	if (error) {
		socket_unlock(listener);
		return error;
	}
	connection->listener = NULL;
	/* Not where it was sent on to. */
	connection->local.v4.sin_port = listener->local.v4.sin_port;
	if (listener->state != SOCKET_LISTENING) {
		waiting_add(listening, -1);
		session_reset(&connection->session, ECONNRESET);
		socket_state_set(connection, SOCKET_CLOSED, "its listener was closed");
		attention_draining();
	} else {
		socket_get(connection);
		if (listening->ready_last)
			listening->ready_last->next_ready = connection;
		else
			listening->ready_first = connection;
		listening->ready_last = connection;
		listener->in_edge++;
		socket_changed(listener);
	}
	socket_unlock(listener);
	socket_put(listener);
	return 0;
}

bool greeting_step(struct socket *connection)
{
	struct session *session = &connection->session;
	int error = -EAGAIN;

	socket_progress(connection);
	if (session->broken)
		error = -ECONNRESET;
	else if (session->established)
		error = enqueue(connection);
	if (!error)
		return true;
	if (error != -EAGAIN || clock_now() >= connection->connecting.deadline) {
		log_info("switch: a connection ended before it was greeted");
		listener_leave(connection);
		session->reset_sent = true;	/* nobody understands one before the greeting */
		session_reset(session, ECONNRESET);
		socket_state_set(connection, SOCKET_CLOSED, "not greeted");
		attention_draining();
		return true;
	}
	return false;
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

/* ---- accept(2) ---- */

/* The first greeted connection, with its reference; NULL: none. */
static struct socket *ready_pop(struct socket *listener)
{
	struct listening *listening = &listener->listening;
	struct socket *connection;

	socket_lock(listener);
	connection = listening->ready_first;
	if (connection) {
		listening->ready_first = connection->next_ready;
		if (!listening->ready_first)
			listening->ready_last = NULL;
		connection->acceptor = socket_get(listener);
		listening->open++;
		waiting_add(listening, -1);
	}
	socket_unlock(listener);
	return connection;
}

void listen_connection_over(struct socket *connection)
{
	struct socket *listener = connection->acceptor;

	if (!listener)
		return;
	connection->acceptor = NULL;
	socket_lock(listener);
	listener->listening.open--;
	shared_port_loaded(&listener->listening);
	socket_unlock(listener);
	socket_put(listener);
}

static int kernel_socket(int family, int flags)
{
	return socket(family, SOCK_STREAM | flags, IPPROTO_TCP);
}

/* Options that an accepted TCP socket inherits from its listener. */
static void inherit_options(int from, int to)
{
	static const struct { int level, name; } options[] = {
		{ SOL_SOCKET, SO_KEEPALIVE }, { SOL_SOCKET, SO_LINGER }, { SOL_SOCKET, SO_RCVTIMEO },
		{ SOL_SOCKET, SO_SNDTIMEO }, { SOL_SOCKET, SO_RCVLOWAT }, { SOL_SOCKET, SO_PRIORITY },
		{ SOL_SOCKET, SO_REUSEADDR }, { SOL_SOCKET, SO_ZEROCOPY }, { IPPROTO_TCP, TCP_NODELAY },
		{ IPPROTO_TCP, TCP_CORK },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		char value[64];
		socklen_t length = sizeof(value);

		if (!libc_call.getsockopt(from, options[i].level, options[i].name, value, &length))
			libc_call.setsockopt(to, options[i].level, options[i].name, value, length);
	}
}

/* The kernel gave fd out anew: what had it was closed where we could not see it. */
static void forget_closed(int fd)
{
	if (descriptor_closing_matters(fd))
		descriptor_closing(fd);
}

/* Makes the kernel's socket `fd` the connection's: fd or -errno. */
static int give_descriptor(struct socket *connection, int fd, int listener_fd,
			   struct sockaddr *address, socklen_t *length)
{
	int error;

	forget_closed(fd);
	inherit_options(listener_fd, fd);
	socket_lock(connection);
	socket_adopt_options(connection, fd);
	connection->accepted = true;
	socket_unlock(connection);
	error = descriptor_set(fd, socket_get(connection));
	if (error) {
		log_error("switch: an accepted connection has no place in the table: %s",
			  log_errno_name(error));
		socket_put(connection);
		system_close(fd);
		return error;
	}
	if (address && length) {
		socklen_t room = *length < connection->peer_length ? *length : connection->peer_length;

		memcpy(address, &connection->peer, room);
		*length = connection->peer_length;
	}
	statistic_add(STATISTIC_san_accepts, 1);
	log_info("switch: accepted over the SAN");
	return fd;
}

/* The table has no place for it: the connection is lost to the program. */
static void drop(struct socket *connection)
{
	socket_lock(connection);
	listen_connection_over(connection);
	session_reset(&connection->session, ECONNRESET);
	socket_state_set(connection, SOCKET_CLOSED, "no descriptor for it");
	attention_draining();
	attention_soon(connection);
	socket_unlock(connection);
}

/*
 * Accepts a greeted connection, or -EAGAIN. As the kernel does it the descriptor comes first:
 * where none can be had the connection stays for later.
 */
static int accept_ready(struct socket *socket, int fd, struct sockaddr *address,
			socklen_t *length, int flags)
{
	struct socket *connection;
	int own, result;
	bool ready;

	socket_lock(socket);
	ready = socket->listening.ready_first;
	socket_unlock(socket);
	if (!ready)
		return -EAGAIN;
	own = kernel_socket(socket->local.any.sa_family, flags);
	if (own < 0)
		return -errno;
	connection = ready_pop(socket);
	if (!connection) {
		system_close(own);
		return -EAGAIN;
	}
	result = give_descriptor(connection, own, fd, address, length);
	if (result < 0)
		drop(connection);
	socket_put(connection);
	return result;
}

static int accept_now(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length,
		      int flags)
{
	int result = libc_call.accept4(fd, address, length, flags);

	if (result < 0)
		return -errno;
	forget_closed(result);
	statistic_add(STATISTIC_tcp_accepts, 1);
	take_port(socket);
	return result;
}

static void taken(void *socket)
{
	struct socket *listener = socket;

	socket_lock(listener);
	listener->listening.taking = 0;
	socket_unlock(listener);
}

/*
 * Accepts from the kernel, or -EAGAIN. A blocking socket could be asked without blocking only
 * by O_NONBLOCK, which belongs to all processes that have the socket. So one thread at a time
 * looks and takes. If another process takes first, that thread is stuck, as it would be
 * without us; the others do not wait for it, and enqueue() sees to SAN connections.
 */
static int accept_kernel(struct socket *socket, int fd, struct sockaddr *address,
			 socklen_t *length, int flags)
{
	struct listening *listening = &socket->listening;
	struct pollfd descriptor = { .fd = fd, .events = POLLIN };
	int result = -EAGAIN;
	bool busy;

	if (socket->nonblocking)
		return accept_now(socket, fd, address, length, flags);
	socket_lock(socket);
	busy = listening->taking || listening->ready_first;
	if (!busy)
		listening->taking = clock_now();
	socket_unlock(socket);
	if (busy)
		return -EAGAIN;
	pthread_cleanup_push(taken, socket);
	if (poll_now(&descriptor, 1) > 0)
		result = accept_now(socket, fd, address, length, flags);
	pthread_cleanup_pop(1);
	return result;
}

static void remove_waiter(void *argument)
{
	struct { struct socket *socket; struct waiter_link link; } *sleeper = argument;

	socket_waiter_remove(sleeper->socket, &sleeper->link);
	atomic_store(&sleeper->link.waiter->woken, NULL);
}

/* Sleeps until one kind of connection may be there. 0, -EINTR or -EAGAIN at the deadline. */
static int wait_connection(struct socket *socket, int fd, struct waiter *waiter, int64_t deadline)
{
	struct { struct socket *socket; struct waiter_link link; } sleeper = { .socket = socket };
	struct pollfd descriptors[2] = {
		{ .fd = fd, .events = POLLIN }, { .fd = waiter->wake, .events = POLLIN },
	};
	struct timespec time, *timeout = NULL;
	bool ready_now;
	int result = 0;

	if (deadline >= 0) {
		int64_t left = deadline - clock_now();

		if (left <= 0)
			return -EAGAIN;
		time = (struct timespec){ left / 1000000000, left % 1000000000 };
		timeout = &time;
	}
	socket_waiter_add(socket, &sleeper.link, waiter);
	pthread_cleanup_push(remove_waiter, &sleeper);
	atomic_store(&sleeper.link.armed, true);
	socket_lock(socket);
	ready_now = socket->listening.ready_first || socket->state != SOCKET_LISTENING;
	socket_unlock(socket);
	if (!ready_now) {
		if (libc_call.ppoll(descriptors, 2, timeout, NULL) < 0)
			result = -errno;
		if (descriptors[1].revents)
			waiter_clear(waiter);
	}
	pthread_cleanup_pop(1);
	return result;
}

int socket_accept(struct socket *socket, int fd, struct sockaddr *address, socklen_t *length,
		  int flags)
{
	struct waiter *waiter = waiter_self();
	int64_t deadline = socket->receive_timeout < 0 ? -1 : clock_now() + socket->receive_timeout;
	int result;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	if (!waiter)
		return -EMFILE;
	if (socket->state != SOCKET_LISTENING)
		return socket->state == SOCKET_PLAIN ? -ERESTART : -EINVAL;
	socket->listening.waited = true;
	for (;;) {
		result = accept_ready(socket, fd, address, length, flags);
		if (result == -EAGAIN)
			result = accept_kernel(socket, fd, address, length, flags);
		if (result != -EAGAIN || socket->nonblocking)
			return result;
		result = wait_connection(socket, fd, waiter, deadline);
		if (result == -EINTR && interrupted_call_goes_on(socket->receive_timeout))
			continue;
		if (result)
			return result;
		if (socket->state != SOCKET_LISTENING)
			return -EINVAL;
	}
}
