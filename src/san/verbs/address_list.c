// SPDX-License-Identifier: BSD-2-Clause
/*
 * SIO_ADDRESS_LIST_QUERY: which local addresses belong to RDMA devices. The
 * connection manager knows best, so each address of an interface that is up is
 * put to it: one that it can bind to a device it can also connect from.
 */
#include "control.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "device.h"
#include "log.h"
#include "provider.h"

static socklen_t address_size(const struct sockaddr *address)
{
	return address->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
					       sizeof(struct sockaddr_in6);
}

static bool candidate(const struct ifaddrs *interface)
{
	if (!interface->ifa_addr || !(interface->ifa_flags & IFF_UP))
		return false;
	/* The connection manager would lend any device to it. */
	if (interface->ifa_flags & IFF_LOOPBACK)
		return false;
	return interface->ifa_addr->sa_family == AF_INET ||
	       interface->ifa_addr->sa_family == AF_INET6;
}

static bool served(const struct sockaddr *address)
{
	struct sockaddr_storage copy = { 0 };
	struct rdma_cm_id *id;
	bool found = false;

	memcpy(&copy, address, address_size(address));
	gate_enter();
	if (!rdma_create_id(provider.channel, &id, NULL, RDMA_PS_TCP)) {
		found = !rdma_bind_addr(id, (struct sockaddr *)&copy) && id->verbs &&
			device_usable(id->verbs->device);
		rdma_destroy_id(id);
	}
	gate_leave();
	return found;
}

/* Addresses go from the end of the buffer down, the array from its start up. */
int address_list_query(SOCKET_ADDRESS_LIST *list, DWORD size, DWORD *bytes)
{
	struct sockaddr_storage found[64];
	struct ifaddrs *interfaces;
	char *room;
	INT count = 0;

	if (getifaddrs(&interfaces)) {
		log_warn("verbs: no list of local addresses: %s", log_errno_name(errno));
		return WSAENOBUFS;
	}
	for (struct ifaddrs *i = interfaces; i && count < 64; i = i->ifa_next)
		if (candidate(i) && served(i->ifa_addr)) {
			memset(&found[count], 0, sizeof(found[count]));
			memcpy(&found[count++], i->ifa_addr, address_size(i->ifa_addr));
		}
	freeifaddrs(interfaces);

	*bytes = (DWORD)(offsetof(SOCKET_ADDRESS_LIST, Address) +
			 (size_t)count * (sizeof(SOCKET_ADDRESS) + sizeof(struct sockaddr_in6)));
	if (size < *bytes || size < sizeof(*list))
		return WSAEFAULT;
	list->iAddressCount = count;
	room = (char *)&list->Address[count];
	for (INT i = 0; i < count; i++) {
		socklen_t length = address_size((struct sockaddr *)&found[i]);

		memcpy(room, &found[i], length);
		list->Address[i].lpSockaddr = (LPSOCKADDR)(void *)room;
		list->Address[i].iSockaddrLength = (INT)length;
		/* All take the longer one's room: it keeps them aligned. */
		room += sizeof(struct sockaddr_in6);
	}
	return 0;
}
