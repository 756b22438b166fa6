// SPDX-License-Identifier: BSD-2-Clause
/*
 * Connections that do not come about: refused, declined, backlog full, nobody
 * there, no such network; and that a deferred one is still there.
 */
#include "san_common.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int answer_with(LPWSABUF caller_id, LPWSABUF caller_data, LPQOS sqos, LPQOS gqos,
		       LPWSABUF callee_id, LPWSABUF callee_data, GROUP *group, DWORD_PTR context)
{
	(void)caller_id;
	(void)caller_data;
	(void)sqos;
	(void)gqos;
	(void)callee_id;
	(void)group;
	callee_data->len = 0;
	return (int)context;
}

static SOCKET accept_with(SOCKET listener, int answer, int wanted)
{
	int error = 0;
	SOCKET s = san.lpWSPAccept(listener, NULL, NULL, answer_with, (DWORD_PTR)answer, &error);

	check_error(error, wanted);
	check((s == INVALID_SOCKET) == (wanted != 0));
	return s;
}

static void refused(SOCKET listener, int event, uint16_t port, int answer, int wanted)
{
	int client_event;
	SOCKET client = san_connecting(port, "x", 1, &client_event);

	san_request_wait(listener, event);
	accept_with(listener, answer, WSAECONNREFUSED);
	check_error(san_connect_result(client, client_event), wanted);
	san_close(client);
	close(client_event);
}

/* What the condition function answers arrives with the refusal, too, and zeros behind it. */
static int decline_with_word(LPWSABUF caller_id, LPWSABUF caller_data, LPQOS sqos, LPQOS gqos,
			     LPWSABUF callee_id, LPWSABUF callee_data, GROUP *group,
			     DWORD_PTR context)
{
	int answer = answer_with(caller_id, caller_data, sqos, gqos, callee_id, callee_data, group,
				 context);

	check(callee_data->len == 0);
	memcpy(callee_data->buf, "elsewhere", 9);
	callee_data->len = 9;
	return answer;
}

static void refused_with_answer(SOCKET listener, int event, uint16_t port)
{
	char room[16] = "................";
	WSABUF answer = { sizeof(room), room };
	struct sockaddr_in address = san_address(san_host, port);
	int client_event = eventfd(0, EFD_CLOEXEC), error = 0;
	SOCKET client = san_bound(0);

	check(!san.lpWSPEventSelect(client, WSDIRECT_EVENT_HANDLE(client_event), FD_CONNECT, &error));
	check(san.lpWSPConnect(client, (struct sockaddr *)&address, sizeof(address), NULL, &answer,
			       NULL, NULL, &error) == SOCKET_ERROR);
	check_error(error, WSAEWOULDBLOCK);
	san_request_wait(listener, event);
	check(san.lpWSPAccept(listener, NULL, NULL, decline_with_word, CF_WSDIRECT_DECLINE,
			      &error) == INVALID_SOCKET);
	check_error(error, WSAECONNREFUSED);
	check_error(san_connect_result(client, client_event), WSAETIMEDOUT);
	check(answer.len == sizeof(room));
	check(!memcmp(room, "elsewhere\0\0\0\0\0\0\0", sizeof(room)));
	san_close(client);

	/* Nobody refused this one, so there is no answer. */
	client = san_bound(0);
	address.sin_port = htons(1);
	check(!san.lpWSPEventSelect(client, WSDIRECT_EVENT_HANDLE(client_event), FD_CONNECT, &error));
	check(san.lpWSPConnect(client, (struct sockaddr *)&address, sizeof(address), NULL, &answer,
			       NULL, NULL, &error) == SOCKET_ERROR);
	check_error(error, WSAEWOULDBLOCK);
	check_error(san_connect_result(client, client_event), WSAETIMEDOUT);
	check(answer.len == 0);
	san_close(client);
	close(client_event);
}

static void backlog_full(void)
{
	int event, events[4], error = 0;
	SOCKET listener, clients[4], servers[2];
	uint16_t port;
	unsigned full = 0;

	listener = san_listener(2, &event, &port);
	for (unsigned i = 0; i < 2; i++)
		clients[i] = san_connecting(port, NULL, 0, &events[i]);
	/* Both wait once both have arrived: only then is the third one too many. */
	san_request_wait(listener, event);
	for (int64_t limit = milliseconds() + 20000; full < 2 && milliseconds() < limit; full++) {
		clients[2] = san_connecting(port, NULL, 0, &events[2]);
		error = san_connect_result(clients[2], events[2]);
		if (error == WSAECONNREFUSED)
			break;
		check_error(error, 0);
	}
	check_error(error, WSAECONNREFUSED);
	san_close(clients[2]);
	close(events[2]);
	/* Room again after one was taken. */
	servers[0] = accept_with(listener, CF_ACCEPT, 0);
	clients[2] = san_connecting(port, NULL, 0, &events[2]);
	servers[1] = accept_with(listener, CF_ACCEPT, 0);
	check_error(san_connect_result(clients[0], events[0]), 0);
	check_error(san_connect_result(clients[1], events[1]), 0);
	/* The listener goes with a request still waiting, perhaps before it arrives. */
	san_close(listener);
	error = san_connect_result(clients[2], events[2]);
	check(error == WSAECONNREFUSED || error == WSAETIMEDOUT);
	for (unsigned i = 0; i < 3; i++) {
		san_close(clients[i]);
		close(events[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		san_close(servers[i]);
	close(event);
}

int main(void)
{
	struct sockaddr_in address = san_address("192.0.2.1", 7);
	int event, client_event, error;
	SOCKET listener, client, server;
	int64_t begin;
	uint16_t port;

	san_start();
	listener = san_listener(4, &event, &port);
	server = san.lpWSPAccept(listener, NULL, NULL, NULL, 0, &error);
	check(server == INVALID_SOCKET && error == WSAEWOULDBLOCK);
	refused(listener, event, port, CF_REJECT, WSAECONNREFUSED);
	refused(listener, event, port, CF_WSDIRECT_DECLINE, WSAETIMEDOUT);
	refused_with_answer(listener, event, port);

	client = san_connecting(port, NULL, 0, &client_event);
	san_request_wait(listener, event);
	accept_with(listener, CF_DEFER, WSATRY_AGAIN);
	server = accept_with(listener, CF_ACCEPT, 0);
	check_error(san_connect_result(client, client_event), 0);
	san_close(server);
	san_close(client);
	close(client_event);
	san_close(listener);
	close(event);

	/* Nobody there any more: known at once, and TCP is to be tried. */
	begin = milliseconds();
	client = san_connecting(port, NULL, 0, &client_event);
	check_error(san_connect_result(client, client_event), WSAETIMEDOUT);
	check(milliseconds() - begin < 1000);
	san_close(client);
	close(client_event);

	/* No path at all: at once, or with the event. */
	client = san_bound(0);
	check(san.lpWSPConnect(client, (struct sockaddr *)&address, sizeof(address), NULL, NULL,
			       NULL, NULL, &error));
	check(error == WSAENETUNREACH || error == WSAEWOULDBLOCK);
	san_close(client);

	backlog_full();
	check(san_handles == 0);
	san_stop();
	return 0;
}
