/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of the SAN service provider share: loading it, a pair of connected
 * sockets in one process, and checks that say what went wrong and where.
 *
 * The provider is WSDIRECT_PROVIDER, else the one in WSDIRECT_BUILD. Both ends use
 * the guest's rxe device at 10.77.0.1. Outside the guest the tests are skipped.
 */
#ifndef WSD_TEST_SAN_COMMON_H
#define WSD_TEST_SAN_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include <wsdirect/ws2san.h>

#define ADDRESS "10.77.0.1"
/* Where sockets are bound and connected to from now on: ADDRESS, unless a test says otherwise. */
extern const char *san_host;

/* Ends the test with a message unless the condition holds. */
#define check(condition) \
	check_that((condition), __FILE__, __LINE__, #condition)
/* The same for a WSA code, told by number. */
#define check_error(error, wanted) \
	check_number((error), (wanted), __FILE__, __LINE__, #error)

void check_that(bool holds, const char *file, int line, const char *text);
void check_number(long value, long wanted, const char *file, int line, const char *text);

extern WSPPROC_TABLE san;
extern LPFN_WSPREGISTERMEMORY san_register;
extern LPFN_WSPDEREGISTERMEMORY san_deregister;
extern LPFN_WSPREGISTERRDMAMEMORY san_expose;
extern LPFN_WSPDEREGISTERRDMAMEMORY san_hide;
extern LPFN_WSDIRECT_SEND san_send_copied;
extern LPFN_WSDIRECT_RECEIVE san_receive_several;
extern LPFN_WSPRDMAREAD san_read;
extern LPFN_WSPRDMAWRITE san_write;
extern LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK san_memory_released;

/* Up-calls of WPUCompleteOverlappedRequest so far, and a test's own function for them. */
extern _Atomic int san_completions;
extern void (*san_completed)(SOCKET s, LPWSAOVERLAPPED overlapped, DWORD error, DWORD bytes);
/* Sockets the switch has handles of: WPUCreateSocketHandle minus WPUCloseSocketHandle. */
extern _Atomic int san_handles;

/* Loads the provider and calls WSPStartupEx: its result, or the end of the test. */
int san_startup(void);
void san_start(void);
void san_stop(void);

struct sockaddr_in san_address(const char *text, uint16_t port);

/* A socket bound to the guest's address and the port (0: any). */
SOCKET san_bound(uint16_t port);
/* A listener, its event object and port. */
SOCKET san_listener(int backlog, int *event, uint16_t *port);
/* Starts to connect; the result comes from san_connect_result(). */
SOCKET san_connecting(uint16_t port, const void *data, unsigned length, int *event);
/* Waits for FD_CONNECT and returns its error; -1: nothing within 20 seconds. */
int san_connect_result(SOCKET s, int event);
/* Waits for FD_ACCEPT. */
void san_request_wait(SOCKET listener, int event);
SOCKET san_accept_all(SOCKET listener, int event);

struct san_pair {
	SOCKET client, server, listener;
	int client_event, listener_event;
	uint16_t port;
};

void san_pair_open(struct san_pair *pair);
void san_pair_close(struct san_pair *pair);
void san_close(SOCKET s);

/* One overlapped request that is polled for. */
#define POLLED ((HANDLE)1)

/* Post or start; end the test unless the answer is WSA_IO_PENDING. */
void san_post(SOCKET s, void *buffer, unsigned length, HANDLE handle, WSAOVERLAPPED *overlapped);
void san_send_message(SOCKET s, void *buffer, unsigned length, HANDLE handle, DWORD flags,
		      WSAOVERLAPPED *overlapped);
/*
 * An empty message from one to the other: what was exposed before it may be used
 * after it. @to must have no receives posted.
 */
void san_pass(SOCKET from, SOCKET to);
/* Waits for the request; its error, and the bytes. -1: not complete within 30 seconds. */
int san_wait(SOCKET s, WSAOVERLAPPED *overlapped, DWORD *bytes);
/* WSDirectPoll, with one look: 0 or the error. */
int san_poll(SOCKET s);
int san_look(SOCKET s, DWORD looks);
int san_ioctl_out(SOCKET s, DWORD code, void *out, DWORD size);
int san_arm(SOCKET s, DWORD what);

/* Registers or ends the test. */
HANDLE san_registered(SOCKET s, void *buffer, unsigned length, DWORD rights);

/* Descriptors this process has open. */
int descriptors_open(void);
/* Objects of a kind ("qp", "mr", "cm_id", "cq", "pd", "ctx") of this process on RDMA devices. */
int resources_held(const char *kind);

/* Milliseconds of a clock that only goes forward. */
int64_t milliseconds(void);

#endif
