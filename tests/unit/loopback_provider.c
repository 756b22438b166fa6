/* SPDX-License-Identifier: BSD-2-Clause */
/* See loopback_provider.h. One lock for everything: this is about order, not speed. */
#include "loopback_provider.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lifetime.h"
#include "system.h"
#include "wsa_errno.h"

struct request {
	struct request *next;
	LPWSAOVERLAPPED overlapped;
	WSABUFEX buffer;
};

struct letter {
	struct letter *next;
	size_t size;
	bool solicited;
	char bytes[];
};

struct end {
	bool refuses;		/* registers nothing */
	struct end *peer;
	bool closed;
	int completion;
	int armed;			/* -1: not; else WSDIRECT_ARM_* */
	struct request *receives;	/* posted, in order */
	struct letter *letters;		/* arrived before a receive */
	struct request *finished;	/* complete at the next poll */
	/* Of one that listens or connects: */
	struct end *next;		/* listeners, or what waits to be accepted from one */
	struct end *waiting;
	int backlog;
	in_port_t port;
	int event;
	LONG happened;			/* FD_CONNECT, with this outcome */
	int outcome;
	char data[64];			/* of the connecting side, for the condition function */
	ULONG data_length;
	LPWSABUF answer;		/* ... where its own goes */
};

/* A descriptor of exposed memory; the magic tells a forged one. */
struct exposed {
	uint64_t magic;
	char *address;
	uint64_t length;
	DWORD flags;
	DWORD live;
};

#define COPY_MOST	128	/* of WSDirectSend, as real devices have it */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int exposed_count;
static DWORD most_registered = UINT32_MAX;
static struct exposed table[4096];
static struct end *listeners;
bool loopback_connects, loopback_silent, loopback_port_taken, loopback_full;
int loopback_port_contended;
void (*loopback_doorbell)(void);

static struct end *end_of(SOCKET socket)
{
	return (struct end *)socket;
}

static void ring_doorbell(void)
{
	if (loopback_doorbell)
		loopback_doorbell();
}

static void notify(struct end *end, bool solicited)
{
	eventfd_t one = 1;

	if (end->armed == WSDIRECT_ARM_ANY || (end->armed == WSDIRECT_ARM_SOLICITED && solicited)) {
		/* Unlike eventfd_write() no cancellation point. */
		system_write(end->completion, &one, sizeof(one));
		end->armed = -1;
	}
}

static void complete(struct end *end, LPWSAOVERLAPPED overlapped, int error, size_t bytes)
{
	(void)end;
	overlapped->InternalHigh = bytes;
	__atomic_store_n(&overlapped->Internal, (ULONG_PTR)error, __ATOMIC_RELEASE);
}

/* Queues a completion that the owner's next poll delivers. */
static void finish_later(struct end *end, LPWSAOVERLAPPED overlapped, int error, size_t bytes)
{
	struct request *request = calloc(1, sizeof(*request)), **link = &end->finished;

	request->overlapped = overlapped;
	request->buffer.len = (ULONG)bytes;
	request->buffer.handle = (HANDLE)(uintptr_t)error;
	while (*link)
		link = &(*link)->next;
	*link = request;
	notify(end, error != 0);
}

static void deliver(struct end *end)
{
	while (end->letters && end->receives) {
		struct letter *letter = end->letters;
		struct request *request = end->receives;

		end->letters = letter->next;
		end->receives = request->next;
		if (letter->size <= request->buffer.len)
			memcpy(request->buffer.buf, letter->bytes, letter->size);
		finish_later(end, request->overlapped,
			     letter->size <= request->buffer.len ? 0 : WSAEMSGSIZE, letter->size);
		notify(end, letter->solicited);
		free(letter);
		free(request);
	}
}

static void flush(struct end *end)
{
	struct request *request;

	while ((request = end->receives)) {
		end->receives = request->next;
		finish_later(end, request->overlapped, WSAECONNRESET, 0);
		free(request);
	}
}

static void poll_end(struct end *end)
{
	struct request *request;

	while ((request = end->finished)) {
		end->finished = request->next;
		complete(end, request->overlapped, (int)(uintptr_t)request->buffer.handle,
			 request->buffer.len);
		free(request);
	}
}

static bool gone(const struct end *end)
{
	return !end->peer || end->peer->closed;
}

static void post_letter(struct end *end, const WSABUF *pieces, DWORD count, DWORD flags)
{
	struct letter *letter, **link = &end->peer->letters;
	size_t size = 0;

	for (DWORD i = 0; i < count; i++)
		size += pieces[i].len;
	letter = malloc(sizeof(*letter) + size);
	letter->next = NULL;
	letter->size = 0;
	letter->solicited = flags & MSG_WSDIRECT_SOLICITED;
	for (DWORD i = 0; i < count; i++) {
		memcpy(letter->bytes + letter->size, pieces[i].buf, pieces[i].len);
		letter->size += pieces[i].len;
	}
	while (*link)
		link = &(*link)->next;
	*link = letter;
	deliver(end->peer);
}

static int loopback_send(SOCKET s, LPWSABUFEX buffers, DWORD count, LPDWORD bytes, DWORD flags,
			 LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine,
			 LPWSATHREADID thread, LPINT error)
{
	struct end *end = end_of(s);
	WSABUF piece = { buffers->len, buffers->buf };

	(void)count;
	(void)bytes;
	(void)routine;
	(void)thread;
	pthread_mutex_lock(&lock);
	if (gone(end)) {
		finish_later(end, overlapped, WSAECONNRESET, 0);
	} else {
		post_letter(end, &piece, 1, flags);
		finish_later(end, overlapped, 0, buffers->len);
	}
	pthread_mutex_unlock(&lock);
	ring_doorbell();
	*error = WSA_IO_PENDING;
	return SOCKET_ERROR;
}

static int loopback_send_copied(SOCKET s, const WSABUF *buffers, DWORD count, DWORD flags,
				LPINT error)
{
	struct end *end = end_of(s);
	size_t size = 0;
	int result = 0;

	for (DWORD i = 0; i < count; i++)
		size += buffers[i].len;
	pthread_mutex_lock(&lock);
	if (size > COPY_MOST)
		result = WSAEMSGSIZE;
	else if (loopback_full)
		result = WSAEWOULDBLOCK;
	else if (gone(end))
		result = WSAECONNRESET;
	else
		post_letter(end, buffers, count, flags);
	pthread_mutex_unlock(&lock);
	ring_doorbell();
	*error = result;
	return result ? SOCKET_ERROR : 0;
}

static int loopback_recv(SOCKET s, LPWSABUFEX buffers, DWORD count, LPDWORD bytes, LPDWORD flags,
			 LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine,
			 LPWSATHREADID thread, LPINT error)
{
	struct end *end = end_of(s);
	struct request *request = calloc(1, sizeof(*request)), **link;

	(void)count;
	(void)bytes;
	(void)flags;
	(void)routine;
	(void)thread;
	request->overlapped = overlapped;
	request->buffer = *buffers;
	pthread_mutex_lock(&lock);
	for (link = &end->receives; *link; link = &(*link)->next)
		;
	*link = request;
	deliver(end);
	if (end->peer && end->peer->closed)
		flush(end);
	pthread_mutex_unlock(&lock);
	ring_doorbell();
	*error = WSA_IO_PENDING;
	return SOCKET_ERROR;
}

static int transfer(SOCKET s, LPWSABUFEX buffers, const void *descriptor, DWORD length, DWORD offset,
		    LPWSAOVERLAPPED overlapped, LPINT error, DWORD right)
{
	const struct exposed *exposed;
	struct end *end = end_of(s);
	int result = WSAECONNRESET;
	uint64_t index;

	pthread_mutex_lock(&lock);
	if (length == sizeof(index)) {
		memcpy(&index, descriptor, sizeof(index));
		exposed = &table[index % 4096];
		if (exposed->live && exposed->magic == index && exposed->flags & right &&
		    offset + (uint64_t)buffers->len <= exposed->length && end->peer &&
		    !end->peer->closed) {
			if (right == MEM_WRITE)
				memcpy(exposed->address + offset, buffers->buf, buffers->len);
			else
				memcpy(buffers->buf, exposed->address + offset, buffers->len);
			result = 0;
		}
	}
	finish_later(end, overlapped, result, buffers->len);
	pthread_mutex_unlock(&lock);
	*error = WSA_IO_PENDING;
	return SOCKET_ERROR;
}

static int loopback_write(SOCKET s, LPWSABUFEX buffers, DWORD count, LPVOID descriptor, DWORD length,
			  DWORD offset, LPDWORD bytes, DWORD flags, LPWSAOVERLAPPED overlapped,
			  LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, LPWSATHREADID thread,
			  LPINT error)
{
	(void)count;
	(void)bytes;
	(void)flags;
	(void)routine;
	(void)thread;
	return transfer(s, buffers, descriptor, length, offset, overlapped, error, MEM_WRITE);
}

static int loopback_read(SOCKET s, LPWSABUFEX buffers, DWORD count, LPVOID descriptor, DWORD length,
			 DWORD offset, LPDWORD bytes, DWORD flags, LPWSAOVERLAPPED overlapped,
			 LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, LPWSATHREADID thread,
			 LPINT error)
{
	(void)count;
	(void)bytes;
	(void)flags;
	(void)routine;
	(void)thread;
	return transfer(s, buffers, descriptor, length, offset, overlapped, error, MEM_READ);
}

static bool fails(SOCKET s, DWORD length, LPINT error)
{
	bool fail;

	pthread_mutex_lock(&lock);
	fail = length > most_registered || end_of(s)->refuses;
	pthread_mutex_unlock(&lock);
	if (fail)
		*error = WSAENOBUFS;
	return fail;
}

static HANDLE loopback_register(SOCKET s, PVOID buffer, DWORD length, DWORD flags, LPINT error)
{
	(void)flags;
	return fails(s, length, error) ? NULL : buffer;
}

static int loopback_deregister(SOCKET s, HANDLE handle, LPINT error)
{
	(void)s;
	(void)handle;
	(void)error;
	return 0;
}

static int loopback_expose(SOCKET s, PVOID buffer, DWORD length, DWORD flags, LPVOID descriptor,
			   LPDWORD descriptor_length, LPINT error)
{
	static uint64_t next;
	uint64_t index;

	if (flags & MEM_WSDIRECT_REGISTERED) {
		length = ((const WSABUFEX *)buffer)->len;
		buffer = ((const WSABUFEX *)buffer)->buf;
		flags &= MEM_READWRITE;
	}
	if (fails(s, length, error))
		return SOCKET_ERROR;
	pthread_mutex_lock(&lock);
	do
		index = ++next;
	while (table[index % 4096].live);
	table[index % 4096] = (struct exposed){ index, buffer, length, flags, 1 };
	exposed_count++;
	pthread_mutex_unlock(&lock);
	memcpy(descriptor, &index, sizeof(index));
	*descriptor_length = sizeof(index);
	return 0;
}

static int loopback_hide(SOCKET s, LPVOID descriptor, DWORD length, LPINT error)
{
	uint64_t index;

	(void)s;
	(void)length;
	memcpy(&index, descriptor, sizeof(index));
	pthread_mutex_lock(&lock);
	if (!table[index % 4096].live || table[index % 4096].magic != index)
		abort();
	table[index % 4096].live = 0;
	exposed_count--;
	pthread_mutex_unlock(&lock);
	(void)error;
	return 0;
}

static void free_end(struct end *end)
{
	struct letter *letter;

	while ((letter = end->letters)) {
		end->letters = letter->next;
		free(letter);
	}
	free(end);
}

static int loopback_close(SOCKET s, LPINT error)
{
	struct end *end = end_of(s), **link;

	(void)error;
	pthread_mutex_lock(&lock);
	for (link = &listeners; *link; link = &(*link)->next)
		if (*link == end) {
			*link = end->next;
			break;
		}
	end->closed = true;
	flush(end);
	poll_end(end);
	close(end->completion);
	if (end->peer) {
		flush(end->peer);
		notify(end->peer, true);
		if (end->peer->closed) {
			end->peer->peer = NULL;
			free_end(end->peer);
			free_end(end);
		}
	} else {
		free_end(end);
	}
	pthread_mutex_unlock(&lock);
	return 0;
}

static int loopback_option(SOCKET s, int level, int name, char *value, LPINT length, LPINT error)
{
	DWORD size = name == SO_WSDIRECT_MAX_COPY_SIZE ? COPY_MOST : 256 * 1024;

	(void)s;
	(void)level;
	(void)error;
	memcpy(value, &size, sizeof(size));
	*length = sizeof(size);
	return 0;
}

/* ---- connecting ---- */

static struct end *end_new(struct end *peer)
{
	struct end *end = calloc(1, sizeof(*end));

	end->completion = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	end->armed = end->event = -1;
	end->peer = peer;
	if (peer)
		peer->peer = end;
	return end;
}

static SOCKET loopback_socket(int family, int type, int protocol, LPWSAPROTOCOL_INFOW information,
			      GROUP group, DWORD flags, LPINT error)
{
	(void)family;
	(void)type;
	(void)protocol;
	(void)information;
	(void)group;
	(void)flags;
	(void)error;
	return (SOCKET)end_new(NULL);
}

static struct end *listener_at(in_port_t port)
{
	struct end *listener = listeners;

	while (listener && listener->port != port)
		listener = listener->next;
	return listener;
}

static int loopback_bind(SOCKET s, const struct sockaddr *name, int length, LPINT error)
{
	struct end *end = end_of(s);
	bool taken;

	(void)length;
	pthread_mutex_lock(&lock);
	end->port = ((const struct sockaddr_in *)name)->sin_port;
	taken = end->port && (loopback_port_taken || listener_at(end->port));
	pthread_mutex_unlock(&lock);
	*error = WSAEADDRINUSE;
	return taken ? SOCKET_ERROR : 0;
}

static int loopback_select(SOCKET s, WSAEVENT event, LONG events, LPINT error)
{
	(void)events;
	(void)error;
	end_of(s)->event = WSDIRECT_EVENT_DESCRIPTOR(event);
	return 0;
}

static int loopback_listen(SOCKET s, int backlog, LPINT error)
{
	static uint16_t next = 1;
	bool contended;

	pthread_mutex_lock(&lock);
	contended = loopback_port_contended && loopback_port_contended--;
	if (!contended) {
		/* Below those that the kernel gives to who asks for any. */
		if (!end_of(s)->port)
			end_of(s)->port = htons(next++);
		end_of(s)->backlog = backlog;
		end_of(s)->next = listeners;
		listeners = end_of(s);
	}
	pthread_mutex_unlock(&lock);
	*error = WSAEADDRINUSE;
	return contended ? SOCKET_ERROR : 0;
}

static void connected(struct end *end, int outcome)
{
	end->happened = FD_CONNECT;
	end->outcome = outcome;
	eventfd_write(end->event, 1);
}

static int loopback_connect(SOCKET s, const struct sockaddr *name, int length, LPWSABUF data,
			    LPWSABUF answer, LPQOS sqos, LPQOS gqos, LPINT error)
{
	in_port_t port = ((const struct sockaddr_in *)name)->sin_port;
	struct end *end = end_of(s), *listener, **link = NULL, *other;
	int waiting = 0;

	(void)length;
	(void)sqos;
	(void)gqos;
	pthread_mutex_lock(&lock);
	end->answer = answer;
	listener = listener_at(port);
	if (listener)
		for (link = &listener->waiting; *link; link = &(*link)->next)
			waiting++;
	if (listener && waiting < listener->backlog && !loopback_silent) {
		*link = other = end_new(end);
		memcpy(other->data, data->buf, data->len);
		other->data_length = data->len;
		eventfd_write(listener->event, 1);
	} else if (!loopback_silent) {
		answer->len = 0;
		connected(end, WSAECONNREFUSED);
	}
	pthread_mutex_unlock(&lock);
	*error = WSAEWOULDBLOCK;
	return SOCKET_ERROR;
}

static int loopback_events(SOCKET s, WSAEVENT event, LPWSANETWORKEVENTS events, LPINT error)
{
	struct end *end = end_of(s);
	eventfd_t count;

	(void)error;
	pthread_mutex_lock(&lock);
	eventfd_read(WSDIRECT_EVENT_DESCRIPTOR(event), &count);
	events->lNetworkEvents = end->happened;
	events->iErrorCode[FD_CONNECT_BIT] = end->outcome;
	end->happened = 0;
	pthread_mutex_unlock(&lock);
	return 0;
}

static SOCKET loopback_accept(SOCKET s, struct sockaddr *name, LPINT length,
			      LPCONDITIONPROC condition, DWORD_PTR context, LPINT error)
{
	struct end *end;
	char room[WSDIRECT_CONNECT_DATA] = { 0 };
	WSABUF data, answer = { sizeof(room), room };
	int result;

	(void)name;
	(void)length;
	pthread_mutex_lock(&lock);
	end = end_of(s)->waiting;
	if (end)
		end_of(s)->waiting = end->next;
	pthread_mutex_unlock(&lock);
	*error = WSAEWOULDBLOCK;
	if (!end)
		return INVALID_SOCKET;
	data = (WSABUF){ end->data_length, end->data };
	result = condition(NULL, &data, NULL, NULL, NULL, &answer, NULL, context);
	pthread_mutex_lock(&lock);
	if (!end->peer->closed) {
		LPWSABUF wanted = end->peer->answer;

		/* Behind a shorter answer come zeros. */
		wanted->len = answer.len ? wanted->len : 0;
		memcpy(wanted->buf, room, wanted->len);
		connected(end->peer, result == CF_ACCEPT ? 0 : result == CF_REJECT ?
			  WSAECONNREFUSED : WSAETIMEDOUT);
	}
	pthread_mutex_unlock(&lock);
	if (result == CF_ACCEPT)
		return (SOCKET)end;
	loopback_close((SOCKET)end, error);
	*error = WSAECONNREFUSED;
	return INVALID_SOCKET;
}

struct provider loopback_provider = {
	.table = {
		.lpWSPSend = loopback_send, .lpWSPRecv = loopback_recv,
		.lpWSPCloseSocket = loopback_close, .lpWSPGetSockOpt = loopback_option,
		.lpWSPSocket = loopback_socket, .lpWSPBind = loopback_bind,
		.lpWSPEventSelect = loopback_select, .lpWSPListen = loopback_listen,
		.lpWSPConnect = loopback_connect, .lpWSPEnumNetworkEvents = loopback_events,
		.lpWSPAccept = loopback_accept,
	},
	.register_memory = loopback_register, .deregister_memory = loopback_deregister,
	.register_rdma_memory = loopback_expose, .deregister_rdma_memory = loopback_hide,
	.rdma_write = loopback_write, .rdma_read = loopback_read,
	.send_copied = loopback_send_copied, .memory = -1,
};

void loopback_pair(SOCKET *one, SOCKET *other)
{
	*one = (SOCKET)end_new(NULL);
	*other = (SOCKET)end_new(end_of(*one));
}

unsigned int loopback_exposed(void)
{
	unsigned int count;

	pthread_mutex_lock(&lock);
	count = exposed_count;
	pthread_mutex_unlock(&lock);
	return count;
}

void loopback_limit_registrations(DWORD most)
{
	pthread_mutex_lock(&lock);
	most_registered = most;
	pthread_mutex_unlock(&lock);
}

void loopback_refuse_registrations(SOCKET s, bool refuse)
{
	pthread_mutex_lock(&lock);
	end_of(s)->refuses = refuse;
	pthread_mutex_unlock(&lock);
}

/* ---- what provider.c would give the switch ---- */

static void prepare_forks(void)
{
	pthread_atfork(switch_forking, NULL, NULL);
}

struct provider *provider_get(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, prepare_forks);
	return &loopback_provider;
}

bool provider_has_address(struct provider *provider, const struct sockaddr *address)
{
	(void)provider;
	(void)address;
	return loopback_connects;
}

void provider_poll(struct provider *provider, SOCKET companion, DWORD looks)
{
	(void)provider;
	(void)looks;
	pthread_mutex_lock(&lock);
	poll_end(end_of(companion));
	pthread_mutex_unlock(&lock);
}

int provider_completion(struct provider *provider, SOCKET companion)
{
	(void)provider;
	return end_of(companion)->completion;
}

void provider_arm(struct provider *provider, SOCKET companion, DWORD what)
{
	struct end *end = end_of(companion);
	eventfd_t count;

	(void)provider;
	pthread_mutex_lock(&lock);
	eventfd_read(end->completion, &count);
	if (end->armed != WSDIRECT_ARM_ANY)
		end->armed = (int)what;
	pthread_mutex_unlock(&lock);
}

DWORD provider_limit(struct provider *provider, SOCKET companion, int option)
{
	(void)provider;
	(void)companion;
	(void)option;
	return 256 * 1024;
}

int provider_address(struct provider *provider, SOCKET companion, bool peer,
		     struct sockaddr_storage *address, socklen_t *length)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = end_of(companion)->port };

	(void)provider;
	(void)peer;
	memcpy(address, &any, sizeof(any));
	*length = sizeof(any);
	return 0;
}

void provider_forget(void)
{
	listeners = NULL;
}
