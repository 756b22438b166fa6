// SPDX-License-Identifier: BSD-2-Clause
/*
 * The peer's process is killed: pending requests end with WSAECONNRESET within
 * seconds, what arrived before is still there, and the memory can be hidden and
 * released as ever.
 */
#include "san_common.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned char area[1 << 16];

static void child(uint16_t port)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED };
	HANDLE handle;
	int event;
	SOCKET s;

	san_start();
	s = san_connecting(port, NULL, 0, &event);
	check_error(san_connect_result(s, event), 0);
	handle = san_registered(s, area, sizeof(area), MEM_READWRITE);
	memset(area, 'x', 100);
	san_send_message(s, area, 100, handle, 0, &sent);
	check_error(san_wait(s, &sent, NULL), 0);
	for (;;)
		pause();
}

int main(void)
{
	WSAOVERLAPPED received[3] = { [0 ... 2] = { .hEvent = POLLED } };
	unsigned char descriptor[WSDIRECT_DESCRIPTOR_SIZE];
	DWORD length = sizeof(descriptor), bytes;
	int event, error = 0, ready[2], status;
	WSABUFEX buffer;
	SOCKET listener, server;
	uint16_t port = 0;
	int64_t begin;
	HANDLE handle;
	pid_t pid;

	check(!pipe(ready));
	pid = fork();
	check(pid >= 0);
	if (!pid) {
		close(ready[1]);
		check(read(ready[0], &port, sizeof(port)) == sizeof(port));
		child(port);
	}
	san_start();
	listener = san_listener(1, &event, &port);
	check(write(ready[1], &port, sizeof(port)) == sizeof(port));
	server = san_accept_all(listener, event);
	handle = san_registered(server, area, sizeof(area), MEM_READWRITE);
	for (unsigned i = 0; i < 3; i++)
		san_post(server, area + i * 4096, 4096, handle, &received[i]);
	check(!san_expose(server, area + 20000, 10000, MEM_READWRITE, descriptor, &length, &error));
	check_error(san_wait(server, &received[0], &bytes), 0);
	check(bytes == 100 && area[0] == 'x' && area[99] == 'x');

	begin = milliseconds();
	check(!kill(pid, SIGKILL));
	check_error(san_wait(server, &received[1], NULL), WSAECONNRESET);
	check_error(san_wait(server, &received[2], NULL), WSAECONNRESET);
	check(milliseconds() - begin < 5000);
	check_error(san_poll(server), WSAECONNRESET);
	buffer = (WSABUFEX){ 1, (char *)area, handle };
	check(san.lpWSPSend(server, &buffer, 1, NULL, 0, &received[0], NULL, NULL, &error));
	check_error(error, WSAECONNRESET);
	check(san_expose(server, area, 100, MEM_READ, descriptor, &length, &error));
	check_error(error, WSAENOTCONN);
	check(!san_hide(server, descriptor, length, &error));
	check(!san_deregister(server, handle, &error));
	check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	san_close(server);
	san_close(listener);
	san_stop();
	return 0;
}
