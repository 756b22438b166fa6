// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every way out of an error: a connection is made, used and closed again and
 * again, and each time another call of the provider into libibverbs, librdmacm or
 * malloc fails. Whatever fails, the provider answers with an error or goes on
 * without; every request completes, nothing is left behind, and the next
 * connection works.
 *
 * The functions below come before the libraries' own, for this program exports them.
 */
#include "san_common.h"
#include "san_next.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rdma/rdma_cma.h>

#undef ibv_reg_mr

static _Atomic int calls, failing;	/* the call to fail; 0: none */
static _Atomic bool armed;
static _Atomic(const char *) failed;

static bool fault(const char *name)
{
	if (!armed || atomic_fetch_add(&calls, 1) + 1 != failing)
		return false;
	failed = name;
	return true;
}

static bool called_by_provider(const void *address)
{
	Dl_info info;

	return dladdr(address, &info) && info.dli_fname &&
	       strstr(info.dli_fname, "libwsdirect-verbs");
}

/* Fails with -1 and errno. */
#define FAIL_INT(name, error, parameters, arguments)			\
	EXPORT int name parameters					\
	{								\
		if (!fault(#name))					\
			return NEXT(name) arguments;			\
		errno = (error);					\
		return -1;						\
	}
#define FAIL_POINTER(type, name, error, parameters, arguments)		\
	EXPORT type name parameters					\
	{								\
		if (!fault(#name))					\
			return NEXT(name) arguments;			\
		errno = (error);					\
		return NULL;						\
	}

FAIL_INT(rdma_create_id, EMFILE,
	 (struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
	  enum rdma_port_space ps), (channel, id, context, ps))
FAIL_INT(rdma_bind_addr, EADDRINUSE, (struct rdma_cm_id *id, struct sockaddr *addr), (id, addr))
FAIL_INT(rdma_resolve_addr, ENODEV,
	 (struct rdma_cm_id *id, struct sockaddr *src, struct sockaddr *dst, int timeout),
	 (id, src, dst, timeout))
FAIL_INT(rdma_resolve_route, EINVAL, (struct rdma_cm_id *id, int timeout), (id, timeout))
FAIL_INT(rdma_connect, ECONNREFUSED, (struct rdma_cm_id *id, struct rdma_conn_param *param),
	 (id, param))
FAIL_INT(rdma_establish, EINVAL, (struct rdma_cm_id *id), (id))
FAIL_INT(rdma_listen, ENOMEM, (struct rdma_cm_id *id, int backlog), (id, backlog))
FAIL_INT(rdma_accept, EINVAL, (struct rdma_cm_id *id, struct rdma_conn_param *param), (id, param))
FAIL_INT(rdma_init_qp_attr, EINVAL,
	 (struct rdma_cm_id *id, struct ibv_qp_attr *attributes, int *mask), (id, attributes, mask))
FAIL_INT(rdma_set_option, EINVAL,
	 (struct rdma_cm_id *id, int level, int option, void *value, size_t size),
	 (id, level, option, value, size))
FAIL_POINTER(struct rdma_event_channel *, rdma_create_event_channel, EPERM, (void), ())
FAIL_POINTER(struct ibv_context *, ibv_open_device, EACCES, (struct ibv_device *device), (device))
FAIL_POINTER(struct ibv_pd *, ibv_alloc_pd, ENOMEM, (struct ibv_context *context), (context))
FAIL_POINTER(struct ibv_comp_channel *, ibv_create_comp_channel, EMFILE,
	     (struct ibv_context *context), (context))
FAIL_POINTER(struct ibv_cq *, ibv_create_cq, ENOMEM,
	     (struct ibv_context *context, int size, void *argument,
	      struct ibv_comp_channel *channel, int vector),
	     (context, size, argument, channel, vector))
FAIL_POINTER(struct ibv_qp *, ibv_create_qp, ENOMEM,
	     (struct ibv_pd *pd, struct ibv_qp_init_attr *attributes), (pd, attributes))
FAIL_POINTER(struct ibv_mr *, ibv_reg_mr, ENOMEM,
	     (struct ibv_pd *pd, void *address, size_t length, int access),
	     (pd, address, length, access))
FAIL_POINTER(struct ibv_mr *, ibv_reg_mr_iova2, ENOMEM,
	     (struct ibv_pd *pd, void *address, size_t length, uint64_t iova, unsigned access),
	     (pd, address, length, iova, access))

EXPORT int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attributes, int mask)
{
	/* The step to the error state is what failures lead to; san_device makes that fail. */
	if (attributes->qp_state != IBV_QPS_ERR && fault("ibv_modify_qp"))
		return EINVAL;
	return NEXT(ibv_modify_qp)(qp, attributes, mask);
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t count, size_t size);

EXPORT void *malloc(size_t size)
{
	if (armed && called_by_provider(__builtin_return_address(0)) && fault("malloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
	if (armed && called_by_provider(__builtin_return_address(0)) && fault("calloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_calloc(count, size);
}

/* ---- the scenario ---- */

#define MESSAGES 40

static unsigned char area[65536] __attribute__((aligned(4096)));
static WSAOVERLAPPED sent[MESSAGES], received[MESSAGES], moved;

static bool readable(int descriptor, int time)
{
	struct pollfd wanted = { .fd = descriptor, .events = POLLIN };

	return poll(&wanted, 1, time) == 1;
}

static SOCKET bound(void)
{
	struct sockaddr_in address = san_address(ADDRESS, 0);
	int error = 0;
	SOCKET s = san.lpWSPSocket(AF_INET, SOCK_STREAM, 0, NULL, 0, 0, &error);

	if (s == INVALID_SOCKET) {
		check(error);
		return s;
	}
	if (!san.lpWSPBind(s, (struct sockaddr *)&address, sizeof(address), &error))
		return s;
	check(error);
	san_close(s);
	return INVALID_SOCKET;
}

static bool start(int (*post)(SOCKET, LPWSABUFEX, WSAOVERLAPPED *, int *), SOCKET s, HANDLE handle,
		  unsigned place, WSAOVERLAPPED *overlapped)
{
	WSABUFEX buffer = { 512, (char *)area + place * 512, handle };
	int error = 0;

	overlapped->hEvent = POLLED;
	check(post(s, &buffer, overlapped, &error) == SOCKET_ERROR && error);
	/* Not started: nobody will complete it. */
	if (error != WSA_IO_PENDING)
		overlapped->Internal = 1;
	return error == WSA_IO_PENDING;
}

static int post_receive(SOCKET s, LPWSABUFEX buffer, WSAOVERLAPPED *overlapped, int *error)
{
	return san.lpWSPRecv(s, buffer, 1, NULL, NULL, overlapped, NULL, NULL, error);
}

static int post_send(SOCKET s, LPWSABUFEX buffer, WSAOVERLAPPED *overlapped, int *error)
{
	return san.lpWSPSend(s, buffer, 1, NULL, 0, overlapped, NULL, NULL, error);
}

/* Both ends are connected: everything they can do. False: something did not succeed. */
static bool use(SOCKET client, SOCKET server)
{
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	DWORD length = sizeof(descriptor);
	WSABUFEX buffer = { 4096, (char *)area, NULL };
	HANDLE client_memory, server_memory = NULL;
	bool whole = true;
	int error = 0;

	client_memory = san_register(client, area, sizeof(area), MEM_READWRITE, &error);
	if (client_memory)
		server_memory = san_register(server, area, sizeof(area), MEM_READWRITE, &error);
	if (!server_memory) {
		check(error);
		return false;
	}
	/* More than the device's queues hold. */
	for (unsigned i = 0; i < MESSAGES && whole; i++)
		whole = start(post_receive, server, server_memory, MESSAGES + i, &received[i]) &&
			start(post_send, client, client_memory, i, &sent[i]);
	for (unsigned i = 0; i < MESSAGES && whole; i++)
		whole = !san_wait(client, &sent[i], NULL) && !san_wait(server, &received[i], NULL);
	if (!whole)
		return false;
	if (san_expose(server, area + 32768, 16384, MEM_READWRITE, descriptor, &length, &error)) {
		check(error);
		return false;
	}
	/* Behind this message the window is bound. */
	whole = start(post_receive, client, client_memory, MESSAGES, &received[0]) &&
		start(post_send, server, server_memory, 0, &sent[0]) &&
		!san_wait(server, &sent[0], NULL) && !san_wait(client, &received[0], NULL);
	buffer.handle = client_memory;
	moved.hEvent = POLLED;
	error = 0;
	san_read(client, &buffer, 1, descriptor, length, 0, NULL, 0, &moved, NULL, NULL, &error);
	whole = error == WSA_IO_PENDING && !san_wait(client, &moved, NULL) && whole;
	error = 0;
	san_hide(server, descriptor, length, &error);
	check(!error);
	return whole;
}

static bool scenario(void)
{
	int event = eventfd(0, EFD_NONBLOCK), client_event = eventfd(0, EFD_NONBLOCK), error = 0;
	SOCKET listener, client = INVALID_SOCKET, server = INVALID_SOCKET;
	WSANETWORKEVENTS events;
	struct sockaddr_in to;
	bool whole = false;

	memset(sent, 0, sizeof(sent));
	memset(received, 0, sizeof(received));
	listener = bound();
	if (listener == INVALID_SOCKET || san.lpWSPListen(listener, 3, &error) ||
	    san.lpWSPEventSelect(listener, WSDIRECT_EVENT_HANDLE(event), FD_ACCEPT, &error))
		goto out;
	check(!san_ioctl_out(listener, SIO_WSDIRECT_LOCAL_ADDRESS, &to, sizeof(to)));
	client = bound();
	if (client == INVALID_SOCKET ||
	    san.lpWSPEventSelect(client, WSDIRECT_EVENT_HANDLE(client_event), FD_CONNECT, &error))
		goto out;
	check(san.lpWSPConnect(client, (struct sockaddr *)&to, sizeof(to), NULL, NULL, NULL, NULL,
			       &error) == SOCKET_ERROR);
	if (error != WSAEWOULDBLOCK)
		goto out;
	/* Either a request arrives or the client learns that none will. */
	for (int64_t limit = milliseconds() + 10000; !readable(event, 5);) {
		check(milliseconds() < limit);
		if (readable(client_event, 5))
			goto out;
	}
	server = san.lpWSPAccept(listener, NULL, NULL, NULL, 0, &error);
	check(readable(client_event, 10000));
	check(!san.lpWSPEnumNetworkEvents(client, NULL, &events, &error));
	check(events.lNetworkEvents == FD_CONNECT);
	if (server != INVALID_SOCKET && !events.iErrorCode[FD_CONNECT_BIT])
		whole = use(client, server);
out:
	if (server != INVALID_SOCKET)
		san_close(server);
	if (client != INVALID_SOCKET)
		san_close(client);
	if (listener != INVALID_SOCKET)
		san_close(listener);
	for (unsigned i = 0; i < MESSAGES; i++)
		check(!WSA_OVERLAPPED_PENDING(&sent[i]) && !WSA_OVERLAPPED_PENDING(&received[i]));
	close(event);
	close(client_event);
	check_error(san_handles, 0);
	return whole;
}

/* One run with the call number `failing` failing. False: there were not as many. */
static bool disturbed(bool starting)
{
	bool whole = false;
	int error;

	failed = NULL;
	calls = 0;
	/* The device shall see the memory anew. */
	if (!starting)
		san_memory_released(area, sizeof(area), &error);
	armed = true;
	if (!starting) {
		whole = scenario();
	} else if (!san_startup()) {
		whole = scenario();
		san_stop();
	}
	armed = false;
	if (!failed) {
		/* Beyond the last call of an undisturbed run. */
		check(whole);
		return false;
	}
	printf("%d: %s failed%s\n", failing, failed, whole ? ", went on without" : "");
	fflush(stdout);
	return true;
}

int main(void)
{
	int before;

	/* What librdmacm opens once and keeps. */
	san_start();
	check(scenario());
	san_stop();

	before = descriptors_open();
	for (failing = 1; disturbed(true); failing++)
		check_error(descriptors_open(), before);
	check(failing > 50);

	san_start();
	check(scenario());
	before = descriptors_open();
	for (failing = 1; disturbed(false); failing++) {
		check_error(descriptors_open(), before);
		/* The next one is as good as ever. */
		if (failing % 8 == 0)
			check(scenario());
	}
	check(failing > 50);
	check_error(resources_held("qp"), 0);
	check_error(resources_held("cq"), 0);
	check_error(resources_held("cm_id"), 0);
	check_error(descriptors_open(), before);
	san_stop();
	check_error(resources_held("mr"), 0);
	return 0;
}
