// SPDX-License-Identifier: BSD-2-Clause
/*
 * Sleeping on the completion descriptor: armed for anything it wakes at each
 * message, armed for solicited ones only at those; arming again costs nothing and
 * loses nothing; never a series of idle wake-ups.
 */
#include "san_common.h"

#include <poll.h>
#include <stdio.h>

#define ROUNDS 500

static unsigned char area[4096];

static bool readable(int descriptor, int time)
{
	struct pollfd wanted = { .fd = descriptor, .events = POLLIN };

	return poll(&wanted, 1, time) == 1;
}

/* Arm, look again, sleep, until the request is complete. Returns the number of wake-ups. */
static int sleep_until(SOCKET s, int descriptor, WSAOVERLAPPED *overlapped)
{
	int wakes = 0;

	for (;;) {
		check_error(san_arm(s, WSDIRECT_ARM_ANY), 0);
		san_poll(s);
		if (!WSA_OVERLAPPED_PENDING(overlapped))
			return wakes;
		check(readable(descriptor, 10000));
		wakes++;
		check(wakes < 100);
	}
}

int main(void)
{
	WSAOVERLAPPED sent = { .hEvent = POLLED }, received = { .hEvent = POLLED };
	HANDLE client, server;
	struct san_pair pair;
	int descriptor, wakes = 0;

	san_start();
	san_pair_open(&pair);
	client = san_registered(pair.client, area, sizeof(area), MEM_READ);
	server = san_registered(pair.server, area, sizeof(area), MEM_WRITE);
	check_error(san_ioctl_out(pair.server, SIO_WSDIRECT_COMPLETION_DESCRIPTOR, &descriptor,
				  sizeof(int)), 0);
	check(descriptor > 255);

	for (unsigned i = 0; i < ROUNDS; i++) {
		san_post(pair.server, area + 2048, 100, server, &received);
		san_send_message(pair.client, area, 100, client, 0, &sent);
		wakes += sleep_until(pair.server, descriptor, &received);
		check_error(san_wait(pair.client, &sent, NULL), 0);
	}
	printf("%d messages, %d wake-ups\n", ROUNDS, wakes);
	check(wakes < 2 * ROUNDS);

	/* Whatever is left over from before is read away by arming. */
	for (unsigned i = 0; i < 40 && readable(descriptor, 0); i++)
		check_error(san_arm(pair.server, WSDIRECT_ARM_ANY), 0);
	check(!readable(descriptor, 0));

	/* It is armed for anything now. One completion, and it sleeps for solicited ones. */
	san_post(pair.server, area + 2048, 100, server, &received);
	san_send_message(pair.client, area, 100, client, 0, &sent);
	check_error(san_wait(pair.client, &sent, NULL), 0);
	check_error(san_wait(pair.server, &received, NULL), 0);
	for (unsigned i = 0; i < 3 || readable(descriptor, 1); i++) {
		check_error(san_arm(pair.server, WSDIRECT_ARM_SOLICITED), 0);
		check(i < 50);
	}

	san_post(pair.server, area + 2048, 100, server, &received);
	san_send_message(pair.client, area, 100, client, 0, &sent);
	check_error(san_wait(pair.client, &sent, NULL), 0);
	check(!readable(descriptor, 300));
	check_error(san_wait(pair.server, &received, NULL), 0);

	check_error(san_arm(pair.server, WSDIRECT_ARM_SOLICITED), 0);
	san_post(pair.server, area + 2048, 100, server, &received);
	san_send_message(pair.client, area, 100, client, MSG_WSDIRECT_SOLICITED, &sent);
	check(readable(descriptor, 5000));
	check_error(san_wait(pair.server, &received, NULL), 0);

	/* The end of the connection wakes a sleeper, whatever it is armed for. */
	for (unsigned i = 0; i < 3; i++)
		check_error(san_arm(pair.server, WSDIRECT_ARM_SOLICITED), 0);
	san_post(pair.server, area + 2048, 100, server, &received);
	san_close(pair.client);
	pair.client = 0;
	check(readable(descriptor, 5000));
	check_error(san_wait(pair.server, &received, NULL), WSAECONNRESET);
	san_pair_close(&pair);

	/* Even one who has nothing posted. */
	san_pair_open(&pair);
	check_error(san_ioctl_out(pair.server, SIO_WSDIRECT_COMPLETION_DESCRIPTOR, &descriptor,
				  sizeof(int)), 0);
	check_error(san_arm(pair.server, WSDIRECT_ARM_SOLICITED), 0);
	check_error(san_poll(pair.server), 0);
	san_close(pair.client);
	pair.client = 0;
	check(readable(descriptor, 5000));
	check_error(san_poll(pair.server), WSAECONNRESET);
	san_pair_close(&pair);
	san_stop();
	return 0;
}
