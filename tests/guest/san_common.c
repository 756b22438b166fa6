// SPDX-License-Identifier: BSD-2-Clause
/* What the tests of the SAN service provider share. See san_common.h. */
#include "san_common.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

const char *san_host = ADDRESS;

WSPPROC_TABLE san;
LPFN_WSPREGISTERMEMORY san_register;
LPFN_WSPDEREGISTERMEMORY san_deregister;
LPFN_WSPREGISTERRDMAMEMORY san_expose;
LPFN_WSPDEREGISTERRDMAMEMORY san_hide;
LPFN_WSDIRECT_SEND san_send_copied;
LPFN_WSDIRECT_RECEIVE san_receive_several;
LPFN_WSPRDMAREAD san_read;
LPFN_WSPRDMAWRITE san_write;
LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK san_memory_released;
static LPFN_WSDIRECT_POLL poll_function;

_Atomic int san_completions, san_handles;
void (*san_completed)(SOCKET s, LPWSAOVERLAPPED overlapped, DWORD error, DWORD bytes);

void check_that(bool holds, const char *file, int line, const char *text)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, text);
	exit(1);
}

void check_number(long value, long wanted, const char *file, int line, const char *text)
{
	if (value == wanted)
		return;
	fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", file, line, text, value, wanted);
	exit(1);
}

/* The switch's handle of a socket is its complement, so that mixing them up shows. */
static SOCKET create_handle(DWORD catalog_entry, DWORD_PTR context, LPINT error)
{
	(void)error;
	check_error(catalog_entry, 4711);
	atomic_fetch_add(&san_handles, 1);
	return ~(SOCKET)context;
}

static int close_handle(SOCKET s, LPINT error)
{
	(void)s;
	(void)error;
	atomic_fetch_sub(&san_handles, 1);
	return 0;
}

static int query_context(SOCKET s, PDWORD_PTR context, LPINT error)
{
	(void)error;
	*context = ~(DWORD_PTR)s;
	return 0;
}

static int complete_request(SOCKET s, LPWSAOVERLAPPED overlapped, DWORD result, DWORD bytes,
			    LPINT error)
{
	(void)error;
	if (san_completed)
		san_completed(s, overlapped, result, bytes);
	atomic_fetch_add(&san_completions, 1);
	return 0;
}

static void *extension(GUID guid)
{
	void *function = NULL;
	DWORD bytes;
	int error;

	check(!san.lpWSPIoctl(INVALID_SOCKET, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid,
			      sizeof(guid), &function, sizeof(function), &bytes, NULL, NULL, NULL,
			      &error));
	check(bytes == sizeof(function) && function);
	return function;
}

static bool provider_path(char *path, size_t size)
{
	const char *given = getenv("WSDIRECT_PROVIDER"), *build = getenv("WSDIRECT_BUILD");

	if (!getenv("WSDIRECT_GUEST")) {
		fprintf(stderr, "this test needs the guest: tools/vm -- ...\n");
		exit(77);
	}
	if (given)
		snprintf(path, size, "%s", given);
	else if (build)
		snprintf(path, size, "%s/src/san/verbs/libwsdirect-verbs.so", build);
	return given || build;
}

int san_startup(void)
{
	static WSPUPCALLTABLEEX upcalls = {
		.lpWPUCreateSocketHandle = create_handle,
		.lpWPUCloseSocketHandle = close_handle,
		.lpWPUQuerySocketHandleContext = query_context,
		.lpWPUCompleteOverlappedRequest = complete_request,
	};
	WSAPROTOCOL_INFOW protocol = { .dwCatalogEntryId = 4711 };
	LPWSPSTARTUPEX startup;
	char path[4096];
	WSPDATA data;
	void *library;
	int error;

	check(provider_path(path, sizeof(path)));
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fprintf(stderr, "%s\n", dlerror());
	check(library);
	startup = (LPWSPSTARTUPEX)(uintptr_t)dlsym(library, "WSPStartupEx");
	check(startup);
	error = startup(WSDIRECT_SPI_VERSION, &data, &protocol, &upcalls, &san);
	if (error)
		return error;
	for (unsigned i = 0; i < sizeof(san) / sizeof(void *); i++)
		check(((void **)&san)[i]);
	san_register = (LPFN_WSPREGISTERMEMORY)(uintptr_t)extension((GUID)WSAID_REGISTERMEMORY);
	san_deregister = (LPFN_WSPDEREGISTERMEMORY)(uintptr_t)
		extension((GUID)WSAID_DEREGISTERMEMORY);
	san_expose = (LPFN_WSPREGISTERRDMAMEMORY)(uintptr_t)
		extension((GUID)WSAID_REGISTERRDMAMEMORY);
	san_hide = (LPFN_WSPDEREGISTERRDMAMEMORY)(uintptr_t)
		extension((GUID)WSAID_DEREGISTERRDMAMEMORY);
	san_read = (LPFN_WSPRDMAREAD)(uintptr_t)extension((GUID)WSAID_RDMAREAD);
	san_write = (LPFN_WSPRDMAWRITE)(uintptr_t)extension((GUID)WSAID_RDMAWRITE);
	san_memory_released = (LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK)(uintptr_t)
		extension((GUID)WSAID_MEMORYREGISTRATIONCACHECALLBACK);
	poll_function = (LPFN_WSDIRECT_POLL)(uintptr_t)extension((GUID)WSAID_WSDIRECT_POLL);
	san_send_copied = (LPFN_WSDIRECT_SEND)(uintptr_t)extension((GUID)WSAID_WSDIRECT_SEND);
	san_receive_several =
		(LPFN_WSDIRECT_RECEIVE)(uintptr_t)extension((GUID)WSAID_WSDIRECT_RECEIVE);
	return 0;
}

void san_start(void)
{
	check_error(san_startup(), 0);
}

void san_stop(void)
{
	int error;

	check(!san.lpWSPCleanup(&error));
}

struct sockaddr_in san_address(const char *text, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	check(inet_pton(AF_INET, text, &address.sin_addr) == 1);
	return address;
}

SOCKET san_bound(uint16_t port)
{
	struct sockaddr_in address = san_address(san_host, port);
	int error = 0;
	SOCKET s = san.lpWSPSocket(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0,
				   WSA_FLAG_OVERLAPPED, &error);

	check_error(error, 0);
	check(s != INVALID_SOCKET && s);
	san.lpWSPBind(s, (struct sockaddr *)&address, sizeof(address), &error);
	check_error(error, 0);
	return s;
}

SOCKET san_listener(int backlog, int *event, uint16_t *port)
{
	SOCKET s = san_bound(0);
	struct sockaddr_in address;
	int error = 0;

	*event = eventfd(0, EFD_CLOEXEC);
	san.lpWSPListen(s, backlog, &error);
	check_error(error, 0);
	check(!san.lpWSPEventSelect(s, WSDIRECT_EVENT_HANDLE(*event), FD_ACCEPT, &error));
	check_error(san_ioctl_out(s, SIO_WSDIRECT_LOCAL_ADDRESS, &address, sizeof(address)), 0);
	*port = ntohs(address.sin_port);
	check(*port);
	return s;
}

SOCKET san_connecting(uint16_t port, const void *data, unsigned length, int *event)
{
	struct sockaddr_in address = san_address(san_host, port);
	char copy[WSDIRECT_CONNECT_DATA];
	WSABUF caller_data = { length, copy };
	SOCKET s = san_bound(0);
	int error = 0;

	check(length <= sizeof(copy));
	if (length)
		memcpy(copy, data, length);
	*event = eventfd(0, EFD_CLOEXEC);
	check(!san.lpWSPEventSelect(s, WSDIRECT_EVENT_HANDLE(*event), FD_CONNECT, &error));
	check(san.lpWSPConnect(s, (struct sockaddr *)&address, sizeof(address),
			       length ? &caller_data : NULL, NULL, NULL, NULL,
			       &error) == SOCKET_ERROR);
	check_error(error, WSAEWOULDBLOCK);
	return s;
}

static bool readable(int descriptor, int time)
{
	struct pollfd wanted = { .fd = descriptor, .events = POLLIN };

	return poll(&wanted, 1, time) == 1;
}

int san_connect_result(SOCKET s, int event)
{
	WSANETWORKEVENTS events;
	int error;

	if (!readable(event, 20000))
		return -1;
	check(!san.lpWSPEnumNetworkEvents(s, WSDIRECT_EVENT_HANDLE(event), &events, &error));
	check_error(events.lNetworkEvents, FD_CONNECT);
	check(!readable(event, 0));
	return events.iErrorCode[FD_CONNECT_BIT];
}

void san_request_wait(SOCKET listener, int event)
{
	WSANETWORKEVENTS events;
	int error;

	check(readable(event, 20000));
	check(!san.lpWSPEnumNetworkEvents(listener, WSDIRECT_EVENT_HANDLE(event), &events, &error));
	check_error(events.lNetworkEvents, FD_ACCEPT);
}

SOCKET san_accept_all(SOCKET listener, int event)
{
	int error = 0;
	SOCKET s;

	san_request_wait(listener, event);
	s = san.lpWSPAccept(listener, NULL, NULL, NULL, 0, &error);
	check_error(error, 0);
	check(s != INVALID_SOCKET);
	return s;
}

void san_close(SOCKET s)
{
	int error;

	check(!san.lpWSPCloseSocket(s, &error));
}

void san_pair_open(struct san_pair *pair)
{
	pair->listener = san_listener(4, &pair->listener_event, &pair->port);
	pair->client = san_connecting(pair->port, "test", 4, &pair->client_event);
	pair->server = san_accept_all(pair->listener, pair->listener_event);
	check_error(san_connect_result(pair->client, pair->client_event), 0);
}

void san_pair_close(struct san_pair *pair)
{
	if (pair->client)
		san_close(pair->client);
	if (pair->server)
		san_close(pair->server);
	san_close(pair->listener);
	close(pair->client_event);
	close(pair->listener_event);
}

void san_post(SOCKET s, void *buffer, unsigned length, HANDLE handle, WSAOVERLAPPED *overlapped)
{
	WSABUFEX wanted = { length, buffer, handle };
	DWORD flags = 0;
	int error = 0;

	check(san.lpWSPRecv(s, &wanted, 1, NULL, &flags, overlapped, NULL, NULL, &error) ==
	      SOCKET_ERROR);
	check_error(error, WSA_IO_PENDING);
}

void san_send_message(SOCKET s, void *buffer, unsigned length, HANDLE handle, DWORD flags,
		      WSAOVERLAPPED *overlapped)
{
	WSABUFEX given = { length, buffer, handle };
	int error = 0;

	check(san.lpWSPSend(s, &given, 1, NULL, flags, overlapped, NULL, NULL, &error) ==
	      SOCKET_ERROR);
	check_error(error, WSA_IO_PENDING);
}

void san_pass(SOCKET from, SOCKET to)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED }, received = { .hEvent = POLLED };
	DWORD bytes = 1;
	int error = 0;

	san.lpWSPRecv(to, NULL, 0, NULL, NULL, &received, NULL, NULL, &error);
	check_error(error, WSA_IO_PENDING);
	san.lpWSPSend(from, NULL, 0, NULL, 0, &sent, NULL, NULL, &error);
	check_error(error, WSA_IO_PENDING);
	check_error(san_wait(from, &sent, &bytes), 0);
	check_error(san_wait(to, &received, &bytes), 0);
	check_error(bytes, 0);
}

int san_wait(SOCKET s, WSAOVERLAPPED *overlapped, DWORD *bytes)
{
	int64_t deadline = milliseconds() + 30000;
	DWORD count = 0, flags;
	int error = 0;

	while (WSA_OVERLAPPED_PENDING(overlapped)) {
		san_poll(s);
		if (milliseconds() > deadline)
			return -1;
	}
	if (san.lpWSPGetOverlappedResult(s, overlapped, &count, FALSE, &flags, &error))
		error = 0;
	if (bytes)
		*bytes = count;
	return error;
}

int san_ioctl_out(SOCKET s, DWORD code, void *out, DWORD size)
{
	DWORD bytes;
	int error = 0;

	san.lpWSPIoctl(s, code, NULL, 0, out, size, &bytes, NULL, NULL, NULL, &error);
	return error;
}

int san_look(SOCKET s, DWORD looks)
{
	int error = 0;

	check(!poll_function(s, looks, &error) == !error);
	return error;
}

int san_poll(SOCKET s)
{
	return san_look(s, 1);
}

int san_arm(SOCKET s, DWORD what)
{
	DWORD bytes;
	int error = 0;

	san.lpWSPIoctl(s, SIO_WSDIRECT_ARM, &what, sizeof(what), NULL, 0, &bytes, NULL, NULL, NULL,
		       &error);
	return error;
}

HANDLE san_registered(SOCKET s, void *buffer, unsigned length, DWORD rights)
{
	int error = 0;
	HANDLE handle = san_register(s, buffer, length, rights, &error);

	check_error(error, 0);
	check(handle);
	return handle;
}

int descriptors_open(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = 0;

	check(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

int resources_held(const char *kind)
{
	char command[128], line[512], mine[32];
	int count = 0;
	FILE *output;

	snprintf(command, sizeof(command), "rdma resource show %s", kind);
	snprintf(mine, sizeof(mine), " pid %d ", (int)getpid());
	output = popen(command, "r");
	check(output);
	while (fgets(line, sizeof(line), output))
		count += strstr(line, mine) != NULL;
	check_error(pclose(output), 0);
	return count;
}

int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}
