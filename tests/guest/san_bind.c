// SPDX-License-Identifier: BSD-2-Clause
/*
 * Addresses: IPv4 and IPv6, the wildcards and who reaches them, ports that others
 * have, addresses that are not of the SAN.
 */
#include "san_common.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ADDRESS6 "fd77::1"

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int length_of(const union address *address)
{
	return address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
}

static union address address_of(int family, const char *text, uint16_t port)
{
	union address address;

	memset(&address, 0, sizeof(address));
	address.any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		address.v4.sin_port = htons(port);
		check(inet_pton(family, text, &address.v4.sin_addr) == 1);
	} else {
		address.v6.sin6_port = htons(port);
		check(inet_pton(family, text, &address.v6.sin6_addr) == 1);
	}
	return address;
}

static SOCKET bound(const union address *address, bool only_v6, int wanted)
{
	int error = 0, on = 1;
	SOCKET s = san.lpWSPSocket(address->any.sa_family, SOCK_STREAM, 0, NULL, 0, 0, &error);

	check(s != INVALID_SOCKET);
	if (only_v6)
		check(!san.lpWSPSetSockOpt(s, IPPROTO_IPV6, IPV6_V6ONLY, (char *)&on, sizeof(on),
					   &error));
	error = 0;
	san.lpWSPBind(s, &address->any, length_of(address), &error);
	check_error(error, wanted);
	return s;
}

/* A listener at one address, a client from another: does it come through, and as whom? */
static void reach(union address listen, bool only_v6, union address from, union address to,
		  int wanted)
{
	SOCKET listener = bound(&listen, only_v6, 0), client = bound(&from, false, 0), server;
	int event = eventfd(0, 0), client_event = eventfd(0, 0), error = 0, length;
	union address local, peer;

	san.lpWSPListen(listener, 3, &error);
	check_error(error, 0);
	check(!san.lpWSPEventSelect(listener, WSDIRECT_EVENT_HANDLE(event), FD_ACCEPT, &error));
	check(!san.lpWSPEventSelect(client, WSDIRECT_EVENT_HANDLE(client_event), FD_CONNECT,
				    &error));
	san.lpWSPConnect(client, &to.any, length_of(&to), NULL, NULL, NULL, NULL, &error);
	check_error(error, WSAEWOULDBLOCK);
	if (wanted) {
		check_error(san_connect_result(client, client_event), wanted);
	} else {
		san_request_wait(listener, event);
		length = sizeof(peer);
		server = san.lpWSPAccept(listener, &peer.any, &length, NULL, 0, &error);
		check(server != INVALID_SOCKET);
		check_error(length, length_of(&from));
		check_error(san_connect_result(client, client_event), 0);
		error = san_ioctl_out(client, SIO_WSDIRECT_LOCAL_ADDRESS, &local, sizeof(local));
		check_error(error, 0);
		check_error(local.any.sa_family, from.any.sa_family);
		check(local.v4.sin_port == peer.v4.sin_port);
		error = san_ioctl_out(server, SIO_WSDIRECT_LOCAL_ADDRESS, &local, sizeof(local));
		check_error(error, 0);
		check_error(local.any.sa_family, to.any.sa_family);
		check(local.v4.sin_port == to.v4.sin_port);
		san_close(server);
	}
	san_close(client);
	san_close(listener);
	close(event);
	close(client_event);
}

static void ports(void)
{
	union address address = address_of(AF_INET, ADDRESS, 7654), shorter;
	SOCKET first = bound(&address, false, 0), second = bound(&address, false, 0);
	int error = 0;

	/* Both may connect from there, one may listen. */
	check(san.lpWSPBind(first, &address.any, sizeof(address.v4), &error));
	check_error(error, WSAEINVAL);
	san_close(second);
	error = 0;
	san.lpWSPListen(first, 1, &error);
	check_error(error, 0);
	san.lpWSPListen(first, 7, &error);
	check_error(error, 0);
	second = san.lpWSPSocket(AF_INET, SOCK_STREAM, 0, NULL, 0, 0, &error);
	if (!san.lpWSPBind(second, &address.any, sizeof(address.v4), &error))
		check(san.lpWSPListen(second, 1, &error));
	check_error(error, WSAEADDRINUSE);
	san_close(second);
	san_close(first);

	second = san.lpWSPSocket(AF_INET, SOCK_STREAM, 0, NULL, 0, 0, &error);
	check(san.lpWSPListen(second, 1, &error) && error == WSAEINVAL);
	check(san.lpWSPBind(second, &address.any, 3, &error) && error == WSAEFAULT);
	check(san.lpWSPBind(second, NULL, sizeof(address), &error) && error == WSAEFAULT);
	shorter = address_of(AF_INET6, ADDRESS6, 1);
	check(san.lpWSPBind(second, &shorter.any, sizeof(shorter.v6), &error) &&
	      error == WSAEAFNOSUPPORT);
	san_close(second);
	check(san.lpWSPSocket(AF_UNIX, SOCK_STREAM, 0, NULL, 0, 0, &error) == INVALID_SOCKET &&
	      error == WSAEAFNOSUPPORT);
	check(san.lpWSPSocket(AF_INET, SOCK_DGRAM, 0, NULL, 0, 0, &error) == INVALID_SOCKET &&
	      error == WSAESOCKTNOSUPPORT);
	check(san.lpWSPSocket(AF_INET, SOCK_STREAM, IPPROTO_UDP, NULL, 0, 0, &error) ==
	      INVALID_SOCKET && error == WSAEPROTONOSUPPORT);
}

int main(void)
{
	union address v4 = address_of(AF_INET, ADDRESS, 0), v6 = address_of(AF_INET6, ADDRESS6, 0);
	union address to4 = address_of(AF_INET, ADDRESS, 7001);
	union address to6 = address_of(AF_INET6, ADDRESS6, 7001);
	union address any4 = address_of(AF_INET, "0.0.0.0", 7001);
	union address any6 = address_of(AF_INET6, "::", 7001);
	union address nowhere = address_of(AF_INET, "198.51.100.1", 0);

	san_start();
	reach(to4, false, v4, to4, 0);
	reach(to6, false, v6, to6, 0);
	reach(any4, false, v4, to4, 0);
	reach(any6, false, v6, to6, 0);
	reach(any6, false, v4, to4, 0);
	reach(any6, true, v6, to6, 0);
	reach(any6, true, v4, to4, WSAETIMEDOUT);
	san_close(bound(&nowhere, false, WSAEADDRNOTAVAIL));
	ports();
	check_error(san_handles, 0);
	san_stop();
	return 0;
}
