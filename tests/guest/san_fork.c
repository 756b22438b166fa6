// SPDX-License-Identifier: BSD-2-Clause
/*
 * A forked child: the parent's sockets are none of its own, nothing it does
 * disturbs them, it can start anew, and it holds nothing of the parent's open.
 */
#include "san_common.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned char area[8192];

/* What the processes tell each other. */
static struct {
	_Atomic int child_done;
	pid_t child;
} *shared;

static void exchange(struct san_pair *pair, HANDLE client, HANDLE server)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED }, received = { .hEvent = POLLED };
	DWORD bytes;

	memset(area, 'a', 100);
	memset(area + 4096, 'b', 100);
	san_post(pair->server, area + 4096, 4096, server, &received);
	san_send_message(pair->client, area, 100, client, 0, &sent);
	check_error(san_wait(pair->client, &sent, &bytes), 0);
	check_error(san_wait(pair->server, &received, &bytes), 0);
	check(bytes == 100 && !memcmp(area, area + 4096, 100));
}

static void in_child(struct san_pair *pair, HANDLE handle)
{
	WSAOVERLAPPED overlapped = { .hEvent = POLLED };
	WSABUFEX buffer = { 1, (char *)area, handle };
	struct san_pair own;
	HANDLE client, server;
	int error;

	check_error(san_poll(pair->client), WSAENOTSOCK);
	check(san.lpWSPSend(pair->client, &buffer, 1, NULL, 0, &overlapped, NULL, NULL, &error) &&
	      error == WSAENOTSOCK);
	check(san.lpWSPCloseSocket(pair->client, &error) && error == WSAENOTSOCK);
	check(san.lpWSPCleanup(&error) && error == WSANOTINITIALISED);

	san_start();
	san_handles = 0;
	check_error(san_poll(pair->client), WSAENOTSOCK);
	san_pair_open(&own);
	check_error(san_poll(pair->client), WSAENOTSOCK);
	client = san_registered(own.client, area, sizeof(area), MEM_READWRITE);
	server = san_registered(own.server, area, sizeof(area), MEM_READWRITE);
	exchange(&own, client, server);
	san_pair_close(&own);
	san_stop();
	/* Now it only stays: that must not keep the parent's end alive. */
	shared->child_done = 1;
	for (;;)
		pause();
}

/* Connects to the listener of `main`, forks, and is killed while its child lives on. */
static void in_parent(uint16_t port)
{
	HANDLE client, server;
	struct san_pair pair;
	int event, status;
	pid_t child;
	SOCKET far;

	san_start();
	san_pair_open(&pair);
	client = san_registered(pair.client, area, sizeof(area), MEM_READWRITE);
	server = san_registered(pair.server, area, sizeof(area), MEM_READWRITE);
	exchange(&pair, client, server);
	far = san_connecting(port, NULL, 0, &event);
	check_error(san_connect_result(far, event), 0);
	child = fork();
	check(child >= 0);
	if (!child)
		in_child(&pair, client);
	shared->child = child;
	while (!shared->child_done) {
		check_error(waitpid(child, &status, WNOHANG), 0);
		exchange(&pair, client, server);
	}
	exchange(&pair, client, server);
	raise(SIGKILL);
}

int main(void)
{
	WSAOVERLAPPED waiting = { .hEvent = POLLED };
	int event, go[2], status;
	SOCKET listener, far;
	HANDLE handle;
	uint16_t port;
	pid_t parent;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED);
	check(!pipe(go));
	parent = fork();
	check(parent >= 0);
	if (!parent) {
		close(go[1]);
		check(read(go[0], &port, sizeof(port)) == sizeof(port));
		in_parent(port);
	}
	san_start();
	listener = san_listener(1, &event, &port);
	check(write(go[1], &port, sizeof(port)) == sizeof(port));
	far = san_accept_all(listener, event);
	handle = san_registered(far, area, sizeof(area), MEM_READWRITE);
	san_post(far, area, 100, handle, &waiting);
	check(waitpid(parent, &status, 0) == parent && WIFSIGNALED(status) &&
	      WTERMSIG(status) == SIGKILL);
	check_error(san_wait(far, &waiting, NULL), WSAECONNRESET);
	check(!kill(shared->child, 0));
	check(!kill(shared->child, SIGKILL));
	san_close(far);
	san_close(listener);
	san_stop();
	return 0;
}
