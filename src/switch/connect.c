/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * connect(2): the SAN first where the rules and routes say so, then TCP.
 *
 * A connect in progress is moved by connect_step(), by the blocking caller
 * itself or, for a nonblocking one, by the switch thread:
 *	WSPConnect -> FD_CONNECT -> our HELLO -> the peer's HELLO -> connected
 * Any failure, or connect_timeout, before that leaves the connection to TCP,
 * except when the SAN says that TCP would fail too: refused, reset, no such
 * host. After it there is no way back.
 *
 * While it is under way the program's own socket is untouched; `kernel` is a
 * duplicate of it, so that TCP can be started even when the program has closed
 * or replaced the number meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attention.h"
#include "choice.h"
#include "descriptor.h"
#include "descriptors.h"
#include "epoll.h"
#include "libc_calls.h"
#include "log.h"
#include "readiness.h"
#include "restart.h"
#include "settings.h"
#include "socket_state.h"
#include "statistics.h"
#include "waiter.h"
#include "wsa_errno.h"

#define ANSWER_MEMORY	1000	/* milliseconds: the host has answered, and may at any time */

static bool is_tcp(int fd)
{
	int value;
	socklen_t length = sizeof(value);

	return !libc_call.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &length) &&
	       value == IPPROTO_TCP;
}

/* Does it connect already, is it connected, or does it listen, all by itself? */
static bool tcp_is_busy(int fd)
{
	uint8_t state;
	socklen_t length = sizeof(state);

	/* The state is what struct tcp_info begins with. */
	return !libc_call.getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) &&
	       state != TCP_CLOSE;
}

/* ---- one connect in progress; lock held ---- */

static void companion_close(struct socket *socket)
{
	struct connecting *connecting = &socket->connecting;
	int error;

	if (socket->session.provider)
		session_close(&socket->session);
	else if (connecting->companion != INVALID_SOCKET)
		provider_get()->table.lpWSPCloseSocket(connecting->companion, &error);
	connecting->companion = INVALID_SOCKET;
	memset(&socket->session, 0, sizeof(socket->session));
	socket->session.companion = INVALID_SOCKET;
}

static void resources_close(struct socket *socket)
{
	struct connecting *connecting = &socket->connecting;

	if (connecting->event >= 0)
		libc_call.close(connecting->event);
	if (connecting->kernel >= 0)
		libc_call.close(connecting->kernel);
	connecting->event = connecting->kernel = -1;
}

/* The connect failed for good: the socket reports it as TCP's would. */
static void fail(struct socket *socket, int error, const char *cause)
{
	companion_close(socket);
	resources_close(socket);
	socket->session.broken = true;
	socket->session.error = error;
	socket->in_edge++;
	socket->out_edge++;
	socket_state_set(socket, SOCKET_CONNECTED, cause);
}

/* As a nonblocking one, for the thread that does it has others to look after. */
static int connect_in_background(int fd, const struct sockaddr *address, socklen_t length)
{
	int flags = libc_call.fcntl(fd, F_GETFL), error = 0;

	libc_call.fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	if (libc_call.connect(fd, address, length) && errno != EINPROGRESS)
		error = errno;
	libc_call.fcntl(fd, F_SETFL, flags);
	return error;
}

/* TCP carries it: starts it there unless a blocking caller will. */
static void leave_to_tcp(struct socket *socket, const char *cause)
{
	struct connecting *connecting = &socket->connecting;
	int error = 0;

	companion_close(socket);
	if (connecting->background)
		error = connect_in_background(connecting->kernel, &connecting->peer.any,
					      connecting->peer_length);
	if (error) {
		fail(socket, error, "TCP failed at once");
		return;
	}
	resources_close(socket);
	statistic_add(STATISTIC_tcp_connects, 1);
	statistic_add(STATISTIC_san_fallbacks, 1);
	log_info("switch: connect goes over TCP: %s", cause);
	socket_state_set(socket, SOCKET_PLAIN, cause);
}

/*
 * Makes and starts the companion, from `local` to that port (network order) of the peer.
 * 0 or -errno.
 */
static int companion_start(struct socket *socket, in_port_t port)
{
	struct connecting *connecting = &socket->connecting;
	struct provider *provider = provider_get();
	struct connect_data data = {
		.magic = htole32(PROTOCOL_MAGIC), .version = htole16(PROTOCOL_VERSION),
	};
	WSABUF caller_data = { sizeof(data), (char *)&data };
	struct sockaddr_storage peer;
	int length = (int)choice_normalize(&connecting->peer.any, connecting->peer_length, &peer);
	int error = 0;

	((struct sockaddr_in *)&peer)->sin_port = port;
	connecting->companion = provider->table.lpWSPSocket(peer.ss_family, SOCK_STREAM, IPPROTO_TCP,
							    NULL, 0, WSA_FLAG_OVERLAPPED, &error);
	if (connecting->companion == INVALID_SOCKET)
		return -wsa_error_to_errno(error);
	if (provider->table.lpWSPBind(connecting->companion, &socket->local.any, length, &error) ||
	    provider->table.lpWSPEventSelect(connecting->companion,
					     WSDIRECT_EVENT_HANDLE(connecting->event), FD_CONNECT,
					     &error))
		return -wsa_error_to_errno(error);
	connecting->answer = (WSABUF){ sizeof(connecting->answered), (char *)&connecting->answered };
	provider->table.lpWSPConnect(connecting->companion, (struct sockaddr *)&peer, length,
				     &caller_data, &connecting->answer, NULL, NULL, &error);
	return error == WSAEWOULDBLOCK ? 0 : -wsa_error_to_errno(error);
}

/* The listener shares its port, and another is to have the connection. False: it does not. */
static bool go_elsewhere(struct socket *socket)
{
	struct connecting *connecting = &socket->connecting;
	const struct elsewhere *answered = &connecting->answered;

	if (connecting->elsewhere || connecting->answer.len != sizeof(*answered) ||
	    le32toh(answered->magic) != ELSEWHERE_MAGIC || !answered->port)
		return false;
	connecting->elsewhere = true;
	companion_close(socket);
	return companion_start(socket, htons(le16toh(answered->port))) == 0;
}

static void decide(struct socket *socket, int wsa_error)
{
	struct connecting *connecting = &socket->connecting;
	struct sockaddr_storage peer;
	char cause[96];

	if (!connecting->elsewhere && (wsa_error == WSAECONNREFUSED || wsa_error == WSAECONNRESET ||
				       wsa_error == WSAEHOSTUNREACH)) {
		log_info("switch: connect: the SAN says that TCP would fail too: %s",
			 wsa_error_name(wsa_error));
		fail(socket, wsa_error_to_errno(wsa_error), "the SAN refused");
		return;
	}
	choice_normalize(&connecting->peer.any, connecting->peer_length, &peer);
	/* One that is busy is late, and speaks the SAN nonetheless. */
	choice_remember_tcp(&peer, clock_now() < connecting->deadline ||
			    choice_remembers_san(&peer, setting_number(SETTING_tcp_memory)) ?
			    ANSWER_MEMORY : setting_number(SETTING_tcp_memory));
	snprintf(cause, sizeof(cause), "the peer does not speak over the SAN (%s)",
		 wsa_error_name(wsa_error));
	leave_to_tcp(socket, cause);
}

/* As the program's own socket would report the SAN's address. */
static void address_for_family(union address *address, socklen_t *length, int family)
{
	if (family == AF_INET6 && address->any.sa_family == AF_INET) {
		struct sockaddr_in v4 = address->v4;

		memset(address, 0, sizeof(*address));
		address->v6.sin6_family = AF_INET6;
		address->v6.sin6_port = v4.sin_port;
		address->v6.sin6_addr.s6_addr[10] = address->v6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&address->v6.sin6_addr.s6_addr[12], &v4.sin_addr, 4);
		*length = sizeof(address->v6);
	}
}

void socket_learn_names(struct socket *socket, int family)
{
	struct session *session = &socket->session;

	if (provider_address(session->provider, session->companion, false, &socket->local.storage,
			     &socket->local_length) ||
	    provider_address(session->provider, session->companion, true, &socket->peer.storage,
			     &socket->peer_length))
		log_warn("switch: the provider does not know a connection's addresses");
	address_for_family(&socket->local, &socket->local_length, family);
	address_for_family(&socket->peer, &socket->peer_length, family);
}

bool connect_step(struct socket *socket)
{
	struct connecting *connecting = &socket->connecting;
	struct provider *provider = provider_get();
	WSANETWORKEVENTS events = { 0 };
	struct sockaddr_storage peer;
	int error = 0;

	if (socket->state != SOCKET_CONNECTING)
		return true;
	if (!connecting->greeted) {
		if (provider->table.lpWSPEnumNetworkEvents(connecting->companion,
							   WSDIRECT_EVENT_HANDLE(connecting->event),
							   &events, &error)) {
			decide(socket, error);
			return true;
		}
		if (events.lNetworkEvents & FD_CONNECT) {
			if (events.iErrorCode[FD_CONNECT_BIT]) {
				if (go_elsewhere(socket))
					return false;
				decide(socket, events.iErrorCode[FD_CONNECT_BIT]);
				return true;
			}
			/*
			 * Our buffers are posted before our HELLO leaves, and the peer says
			 * nothing before that, so it cannot outrun them.
			 */
			error = session_open(&socket->session, provider, connecting->companion);
			if (!error)
				error = session_hello(&socket->session);
			if (error) {
				leave_to_tcp(socket, "no memory for the session");
				return true;
			}
			connecting->greeted = true;
		}
	}
	if (connecting->greeted) {
		socket_progress(socket);
		if (socket->session.established) {
			socket_learn_names(socket, connecting->peer.any.sa_family);
			/* Not where it was sent on to. */
			socket->peer.v4.sin_port = connecting->peer.v4.sin_port;
			resources_close(socket);
			choice_normalize(&connecting->peer.any, connecting->peer_length, &peer);
			choice_remember_san(&peer);
			statistic_add(STATISTIC_san_connects, 1);
			log_info("switch: connected over the SAN");
			socket->out_edge++;
			socket_state_set(socket, SOCKET_CONNECTED, "greeted");
			return true;
		}
		if (socket->session.broken) {
			leave_to_tcp(socket, "the peer hung up before greeting");
			return true;
		}
	}
	if (clock_now() >= connecting->deadline) {
		decide(socket, WSAETIMEDOUT);
		return true;
	}
	return false;
}

void connect_abort(struct socket *socket)
{
	companion_close(socket);
	resources_close(socket);
}

/* ---- the call ---- */

/* Does the SAN get the connection? Fills source, with the port the program bound. NULL, or why not. */
static const char *route(int fd, const struct sockaddr *address, socklen_t length,
			 struct sockaddr_storage *source)
{
	struct sockaddr_storage target, *peer = &target;
	struct provider *provider;
	union address bound;
	struct sockaddr_storage local;
	socklen_t room = sizeof(bound);
	enum choice choice = choice_rule(CHOICE_CONNECT, address);

	if (choice == CHOICE_TCP)
		return "a rule says so";
	length = choice_normalize(address, length, peer);
	if (peer->ss_family == AF_INET &&
	    (ntohl(((struct sockaddr_in *)peer)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET))
		return "the loopback network has no RDMA device";
	if (choice != CHOICE_SAN && choice_remembers_tcp(peer))
		return "the destination is remembered not to speak over the SAN";
	if (choice_source(peer, length, source))
		return "no route";
	provider = provider_get();
	if (!provider)
		return "no SAN service provider";
	if (!libc_call.getsockname(fd, &bound.any, &room) &&
	    choice_normalize(&bound.any, room, &local)) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&local;
		bool any = local.ss_family == AF_INET ?
			((const struct sockaddr_in *)&local)->sin_addr.s_addr == INADDR_ANY :
			IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);

		if (!any)
			*source = local;
		((struct sockaddr_in *)source)->sin_port = ((struct sockaddr_in *)&local)->sin_port;
	}
	if (!provider_has_address(provider, (struct sockaddr *)source))
		return "the local address has no RDMA device";
	return NULL;
}

/* Nobody moves it from here: the switch thread goes on. Lock held. */
static void leave_to_background(struct socket *socket)
{
	socket->connecting.background = socket->connecting.unreported = true;
	attention_add(socket);
}

static void connect_cancelled(void *argument)
{
	struct socket *socket = argument;

	light_lock_acquire(&socket->lock);
	leave_to_background(socket);
	light_lock_release(&socket->lock);
	socket_put(socket);
}

/*
 * A blocking caller moves its connect itself; asleep it may be cancelled, if cancel_state says
 * so. 0, or -EINTR when a signal came.
 */
static int wait_decided(struct socket *socket, int cancel_state)
{
	struct connecting *connecting = &socket->connecting;
	struct pollfd descriptor = { .events = POLLIN };

	for (;;) {
		int64_t left;
		struct timespec time;
		bool interrupted;

		if (connect_step(socket))
			return 0;
		descriptor.fd = connecting->event;
		if (connecting->greeted) {
			descriptor.fd = socket->session.completion;
			provider_arm(socket->session.provider, socket->session.companion,
				     WSDIRECT_ARM_ANY);
			if (connect_step(socket))
				return 0;
		}
		left = connecting->deadline - clock_now();
		left = left > 0 ? left : 0;
		time = (struct timespec){ left / 1000000000, left % 1000000000 };
		light_lock_release(&socket->lock);
		pthread_cleanup_push(connect_cancelled, socket);
		pthread_setcancelstate(cancel_state, NULL);
		interrupted = libc_call.ppoll(&descriptor, 1, &time, NULL) < 0 && errno == EINTR &&
			      !interrupted_call_goes_on(socket->send_timeout);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		pthread_cleanup_pop(0);
		light_lock_acquire(&socket->lock);
		if (interrupted)
			return -EINTR;
	}
}

/* A blocking call on a socket that connects already waits for it, as long as it may. */
static int wait_connecting(struct socket *socket, int fd, int cancel_state)
{
	struct pollfd descriptor = { .fd = fd, .events = POLLOUT };
	int result;

	pthread_cleanup_push(socket_put_cancelled, socket);
	pthread_setcancelstate(cancel_state, NULL);
	do
		result = switch_poll(&descriptor, 1, socket->send_timeout, NULL);
	while (result == -EINTR && interrupted_call_goes_on(socket->send_timeout));
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cleanup_pop(0);
	return result ? result : -EALREADY;
}

/* As Linux answers another connect: of one that failed it says why, and forgets it. */
static int connect_known(struct socket *socket, int fd, int cancel_state)
{
	int result;

	light_lock_acquire(&socket->lock);
	while (socket->state == SOCKET_CONNECTING && !socket->nonblocking) {
		light_lock_release(&socket->lock);
		result = wait_connecting(socket, fd, cancel_state);
		if (result < 0)
			return result;
		light_lock_acquire(&socket->lock);
	}
	result = -EISCONN;
	if (socket->state == SOCKET_CONNECTING) {
		result = -EALREADY;
	} else if (socket->state == SOCKET_PLAIN) {
		/* About to leave the table: the kernel says success once, so it must be asked. */
		result = -ERESTART;
	} else if (socket->state == SOCKET_CONNECTED &&
		   (socket->session.error || socket->connecting.unreported)) {
		result = -socket->session.error;
		if (!socket->session.established && socket->connecting.unreported) {
			result = result ? result : -ECONNABORTED;
			socket_state_set(socket, SOCKET_PLAIN, "the connect failed");
			attention_soon(socket);
		}
		socket->session.error = 0;
		socket->connecting.unreported = false;
	}
	light_lock_release(&socket->lock);
	return result;
}

/* By a system call, which answers EFAULT where looking at a bad pointer would end the program. */
static int copy_in(union address *copy, const struct sockaddr *address, socklen_t length)
{
	struct iovec local = { copy, length }, remote = { (void *)(uintptr_t)address, length };

	if (length > sizeof(*copy))
		return -EINVAL;
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)length ? 0 : -EFAULT;
}

/* Is the address one that a SAN could serve? */
static bool copy_address(union address *copy, const struct sockaddr *address, socklen_t length)
{
	if (length < sizeof(struct sockaddr_in) || copy_in(copy, address, length))
		return false;
	return copy->any.sa_family == AF_INET ||
	       (copy->any.sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6));
}

/* -ERESTART: TCP is to do it. */
static int connect_san(int fd, const struct sockaddr *address, socklen_t length, int cancel_state)
{
	struct socket *socket = descriptor_get(fd);
	struct connecting *connecting;
	struct sockaddr_storage source;
	union address copy;
	const char *reason;
	int result;

	if (socket) {
		result = copy_in(&copy, address, length);
		if (!result)
			result = connect_known(socket, fd, cancel_state);
		if (socket->state == SOCKET_PLAIN)
			descriptor_clear_all(socket);
		socket_put(socket);
		return result;
	}
	if (!is_tcp(fd) || tcp_is_busy(fd) || !copy_address(&copy, address, length))
		return -ERESTART;
	reason = route(fd, &copy.any, length, &source);
	if (reason) {
		log_info("switch: connect goes over TCP: %s", reason);
		statistic_add(STATISTIC_tcp_connects, 1);
		return -ERESTART;
	}
	socket = socket_new(SOCKET_CONNECTING);
	if (!socket)
		return -ERESTART;
	socket_adopt_options(socket, fd);
	connecting = &socket->connecting;
	connecting->peer = copy;
	connecting->peer_length = length;
	connecting->deadline = clock_now() +
			       (int64_t)setting_number(SETTING_connect_timeout) * 1000000;
	socket->local.storage = source;
	connecting->event = descriptor_hide(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	connecting->kernel = descriptor_hide(libc_call.fcntl(fd, F_DUPFD_CLOEXEC, 3));
	result = connecting->event < 0 || connecting->kernel < 0 ? -errno :
		 companion_start(socket, copy.v4.sin_port);
	if (!result)
		result = attention_start();
	if (!result) {
		result = descriptor_set(fd, socket_get(socket));
		if (result)
			socket_put(socket);
	}
	if (!result) {
		result = epoll_socket_entered(fd, socket);
		if (result)
			descriptor_clear(fd, socket);
	}
	if (result) {
		log_info("switch: connect goes over TCP: no companion socket: %s",
			 log_errno_name(result));
		companion_close(socket);
		socket_put(socket);
		statistic_add(STATISTIC_tcp_connects, 1);
		statistic_add(STATISTIC_san_fallbacks, 1);
		return -ERESTART;
	}
	light_lock_acquire(&socket->lock);
	if (!socket->nonblocking) {
		result = wait_decided(socket, cancel_state);
		if (result == 0 && socket->state == SOCKET_CONNECTED) {
			/* One that broke after its greeting did connect: the next call hears of it. */
			result = socket->session.established ? 0 : -socket->session.error;
			if (result) {
				socket->session.error = 0;
				socket_state_set(socket, SOCKET_PLAIN, "the connect failed");
				light_lock_release(&socket->lock);
				descriptor_clear_all(socket);
				socket_put(socket);
				return result;
			}
			attention_add(socket);
		}
	} else {
		result = -EINPROGRESS;
	}
	if (result) {
		/* Nonblocking, or interrupted. */
		leave_to_background(socket);
	}
	if (!result && socket->state == SOCKET_PLAIN) {
		light_lock_release(&socket->lock);
		descriptor_clear_all(socket);
		socket_put(socket);
		return -ERESTART;
	}
	if (!result && socket->state == SOCKET_CLOSED)
		result = -EBADF;	/* by another thread meanwhile */
	light_lock_release(&socket->lock);
	socket_put(socket);
	return result;
}

int switch_connect_or_tcp(int fd, const struct sockaddr *address, socklen_t length)
{
	int cancel_state, result;

	/* Not where a lock, also one of the provider's libraries, would stay behind. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	result = connect_san(fd, address, length, cancel_state);
	pthread_setcancelstate(cancel_state, NULL);
	return result;
}

int switch_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int result = switch_connect_or_tcp(fd, address, length);

	if (result != -ERESTART)
		return result;
	return libc_call.connect(fd, address, length) ? -errno : 0;
}
