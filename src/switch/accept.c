/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accept(2), and the connections that wait for it.
 *
 * The switch thread takes connections from the listener's companion and greets them
 * (greeting_step); accept(2) takes greeted ones from `ready` or one from the
 * kernel, whichever is there first. For the locks see listen.c.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "attention.h"
#include "descriptors.h"
#include "handover.h"
#include "libc_calls.h"
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

#define BACKLOG		128	/* connections that wait for accept(2) over the SAN; more come over TCP */
#define GREETING_TIME	5000000000ll	/* nanoseconds for a peer's HELLO */
#define STUCK_TIME	10000000ll	/* ... in the kernel's accept, that is to say blocked */

/* ---- new connections; in the switch thread ---- */

/* A number that grows when somebody looks for connections. *attended: somebody is there now. */
static unsigned int listener_looks(struct socket *listener, bool *attended)
{
	unsigned int calls;

	*attended = waiter_list_attended(&listener->waiters, &calls);
	return calls + atomic_load(&listener->listening.looks);
}

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
	int port;

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
	if (port < 0)
		return CF_WSDIRECT_DECLINE;
	if (port) {
		elsewhere.port = htole16(ntohs((in_port_t)port));
		memcpy(callee_data->buf, &elsewhere, sizeof(elsewhere));
		callee_data->len = sizeof(elsewhere);
		return CF_WSDIRECT_DECLINE;
	}
	/*
	 * Refused is final, but a full backlog of TCP's never refuses: clients wait until there is
	 * room, in the kernel's.
	 */
	return listening->waiting < BACKLOG ? CF_ACCEPT : CF_WSDIRECT_DECLINE;
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
		bool attended;
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
		connection->connecting.seen = listener_looks(socket, &attended);
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
	struct listening *listening = &listener->listening;
	int64_t now = clock_now(), since = connection->connecting.deadline - GREETING_TIME;
	int64_t patience = (int64_t)setting_number(SETTING_connect_timeout) * 1000000 / 3;
	bool attended;

	if (patience > GREETING_TIME / 2)
		patience = GREETING_TIME / 2;
	if (listening->taking)
		return now - listening->taking < STUCK_TIME ? -EAGAIN : -EBUSY;
	if (listener_looks(listener, &attended) != connection->connecting.seen || attended ||
	    shared_port_alone(listening))
		return 0;
	if (now - since < patience)
		return -EAGAIN;
	shared_port_unattended(listening);
	return -EBUSY;
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
	listen_take_port(socket);
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
	for (;;) {
		atomic_fetch_add(&socket->listening.looks, 1);
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
