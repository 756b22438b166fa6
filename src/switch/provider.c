/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds, loads and greets the SAN service provider, and keeps the list of
 * addresses it serves.
 *
 * Loading waits for the first connect or listen that could use a SAN, so a
 * program that never uses one maps no verbs library.
 */
#include "provider.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>

#include "lifetime.h"
#include "log.h"
#include "settings.h"
#include "waiter.h"
#include "wsa_errno.h"

#define ADDRESS_LIST_AGE	1000	/* milliseconds before the addresses are asked for anew */

/* Order: after any socket lock. Protects the four below. */
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static enum { UNTRIED, LOADED, ABSENT } load_state;
static struct provider loaded;
static bool fork_prepared;	/* in a child, too */

static pthread_mutex_t address_lock = PTHREAD_MUTEX_INITIALIZER;
static union { SOCKET_ADDRESS_LIST list; char room[8192]; } addresses;
static bool addresses_known;

/* ---- up-calls: the switch's handle of a socket is the context it gave ---- */

static SOCKET create_handle(DWORD catalog_entry, DWORD_PTR context, LPINT error)
{
	(void)catalog_entry;
	(void)error;
	return (SOCKET)context;
}

static int close_handle(SOCKET socket, LPINT error)
{
	(void)socket;
	(void)error;
	return 0;
}

static int query_context(SOCKET socket, PDWORD_PTR context, LPINT error)
{
	(void)error;
	*context = (DWORD_PTR)socket;
	return 0;
}

/* Every request of this switch is polled, so no completion is announced. */
static int complete_request(SOCKET socket, LPWSAOVERLAPPED overlapped, DWORD result, DWORD bytes,
			    LPINT error)
{
	(void)socket;
	(void)overlapped;
	(void)result;
	(void)bytes;
	log_error("switch: the provider announced a completion that was to be polled");
	*error = WSAEINVAL;
	return SOCKET_ERROR;
}

static WSPUPCALLTABLEEX upcalls = {
	.lpWPUCreateSocketHandle = create_handle,
	.lpWPUCloseSocketHandle = close_handle,
	.lpWPUQuerySocketHandleContext = query_context,
	.lpWPUCompleteOverlappedRequest = complete_request,
};

/* ---- loading ---- */

/* The directory this library lies in: the provider is installed beside it. */
static void provider_path(char *path, size_t size)
{
	const char *chosen = setting_text(SETTING_provider), *slash;
	Dl_info info;

	if (*chosen) {
		snprintf(path, size, "%s", chosen);
		return;
	}
	if (dladdr((void *)(uintptr_t)provider_get, &info) && info.dli_fname &&
	    (slash = strrchr(info.dli_fname, '/')))
		snprintf(path, size, "%.*s/libwsdirect-verbs.so", (int)(slash - info.dli_fname),
			 info.dli_fname);
	else
		snprintf(path, size, "libwsdirect-verbs.so");
}

static void *extension(const struct provider *provider, GUID guid)
{
	void *function = NULL;
	DWORD bytes;
	int error;

	if (provider->table.lpWSPIoctl(INVALID_SOCKET, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid,
				       sizeof(guid), &function, sizeof(function), &bytes, NULL, NULL,
				       NULL, &error))
		return NULL;
	return function;
}

static bool load(struct provider *provider)
{
	char path[4096];
	WSPDATA data;
	WSAPROTOCOL_INFOW protocol = { 0 };
	LPWSPSTARTUPEX startup;
	void *library;
	DWORD bytes;
	int error;

	provider_path(path, sizeof(path));
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		log_info("switch: no SAN: %s", dlerror());
		return false;
	}
	startup = (LPWSPSTARTUPEX)(uintptr_t)dlsym(library, "WSPStartupEx");
	if (!startup) {
		log_error("switch: no SAN: %s is no service provider (no WSPStartupEx)", path);
		goto unload;
	}
	error = startup(WSDIRECT_SPI_VERSION, &data, &protocol, &upcalls, &provider->table);
	if (error) {
		log_info("switch: no SAN: the provider did not start: %s", wsa_error_name(error));
		goto unload;
	}
	provider->register_memory = (LPFN_WSPREGISTERMEMORY)(uintptr_t)
		extension(provider, (GUID)WSAID_REGISTERMEMORY);
	provider->deregister_memory = (LPFN_WSPDEREGISTERMEMORY)(uintptr_t)
		extension(provider, (GUID)WSAID_DEREGISTERMEMORY);
	provider->register_rdma_memory = (LPFN_WSPREGISTERRDMAMEMORY)(uintptr_t)
		extension(provider, (GUID)WSAID_REGISTERRDMAMEMORY);
	provider->deregister_rdma_memory = (LPFN_WSPDEREGISTERRDMAMEMORY)(uintptr_t)
		extension(provider, (GUID)WSAID_DEREGISTERRDMAMEMORY);
	provider->rdma_write = (LPFN_WSPRDMAWRITE)(uintptr_t)
		extension(provider, (GUID)WSAID_RDMAWRITE);
	provider->rdma_read = (LPFN_WSPRDMAREAD)(uintptr_t)extension(provider, (GUID)WSAID_RDMAREAD);
	provider->poll = (LPFN_WSDIRECT_POLL)(uintptr_t)
		extension(provider, (GUID)WSAID_WSDIRECT_POLL);
	provider->send_copied = (LPFN_WSDIRECT_SEND)(uintptr_t)
		extension(provider, (GUID)WSAID_WSDIRECT_SEND);
	provider->receive_several = (LPFN_WSDIRECT_RECEIVE)(uintptr_t)
		extension(provider, (GUID)WSAID_WSDIRECT_RECEIVE);
	provider->memory_released = (LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK)(uintptr_t)
		extension(provider, (GUID)WSAID_MEMORYREGISTRATIONCACHECALLBACK);
	if (!provider->register_memory || !provider->deregister_memory ||
	    !provider->register_rdma_memory || !provider->deregister_rdma_memory ||
	    !provider->rdma_write || !provider->poll) {
		log_error("switch: no SAN: %s lacks a required extension function", path);
		provider->table.lpWSPCleanup(&error);
		goto unload;
	}
	if (provider->table.lpWSPIoctl(INVALID_SOCKET, SIO_WSDIRECT_MEMORY_DESCRIPTOR, NULL, 0,
				       &provider->memory, sizeof(provider->memory), &bytes, NULL,
				       NULL, NULL, &error))
		provider->memory = -1;
	/*
	 * What prepares a fork runs in the reverse order of registration. Behind the provider's
	 * own handler, ours finds it still ready to be called.
	 */
	if (!fork_prepared)
		fork_prepared = !pthread_atfork(switch_forking, NULL, NULL);
	log_info("switch: SAN service provider %s", path);
	return true;

unload:
	dlclose(library);
	return false;
}

struct provider *provider_get(void)
{
	struct provider *provider;

	pthread_mutex_lock(&load_lock);
	if (load_state == UNTRIED)
		load_state = load(&loaded) ? LOADED : ABSENT;
	provider = load_state == LOADED ? &loaded : NULL;
	pthread_mutex_unlock(&load_lock);
	return provider;
}

void provider_forget(void)
{
	pthread_mutex_init(&load_lock, NULL);
	pthread_mutex_init(&address_lock, NULL);
	/* The library stays mapped; its own fork handler made it ready to start anew. */
	load_state = UNTRIED;
	addresses_known = false;
}

/* ---- addresses ---- */

static void addresses_refresh(struct provider *provider)
{
	DWORD bytes;
	int error;

	addresses_known = true;
	if (provider->table.lpWSPIoctl(INVALID_SOCKET, SIO_ADDRESS_LIST_QUERY, NULL, 0, &addresses,
				       sizeof(addresses), &bytes, NULL, NULL, NULL, &error)) {
		addresses.list.iAddressCount = 0;
		log_warn("switch: the provider has no address list: %s", wsa_error_name(error));
	}
	if (!addresses.list.iAddressCount)
		log_info("switch: no SAN: no local address belongs to an RDMA device");
}

static bool same_address(const struct sockaddr *one, const struct sockaddr *other)
{
	if (one->sa_family != other->sa_family)
		return false;
	if (one->sa_family == AF_INET)
		return ((const struct sockaddr_in *)one)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)other)->sin_addr.s_addr;
	return !memcmp(&((const struct sockaddr_in6 *)one)->sin6_addr,
		       &((const struct sockaddr_in6 *)other)->sin6_addr, sizeof(struct in6_addr));
}

bool provider_has_address(struct provider *provider, const struct sockaddr *address)
{
	static int64_t refreshed;
	bool found = false;
	int64_t now = clock_now() / 1000000;

	pthread_mutex_lock(&address_lock);
	if (!addresses_known || now - refreshed > ADDRESS_LIST_AGE) {
		addresses_refresh(provider);
		refreshed = now;
	}
	for (int i = 0; i < addresses.list.iAddressCount && !found; i++)
		found = same_address(addresses.list.Address[i].lpSockaddr, address);
	pthread_mutex_unlock(&address_lock);
	return found;
}

/* ---- one companion ---- */

void provider_poll(struct provider *provider, SOCKET companion, DWORD looks)
{
	int error;

	/* An error means that nothing is pending any more: the requests say the rest. */
	provider->poll(companion, looks, &error);
}

int provider_completion(struct provider *provider, SOCKET companion)
{
	int descriptor, error;
	DWORD bytes;

	if (provider->table.lpWSPIoctl(companion, SIO_WSDIRECT_COMPLETION_DESCRIPTOR, NULL, 0,
				       &descriptor, sizeof(descriptor), &bytes, NULL, NULL, NULL,
				       &error))
		return -wsa_error_to_errno(error);
	return descriptor;
}

void provider_arm(struct provider *provider, SOCKET companion, DWORD what)
{
	DWORD bytes;
	int error;

	provider->table.lpWSPIoctl(companion, SIO_WSDIRECT_ARM, &what, sizeof(what), NULL, 0, &bytes,
				   NULL, NULL, NULL, &error);
}

DWORD provider_limit(struct provider *provider, SOCKET companion, int option)
{
	DWORD value = 0;
	int length = sizeof(value), error;

	if (provider->table.lpWSPGetSockOpt(companion, SOL_SOCKET, option, (char *)&value, &length,
					    &error))
		return 0;
	return value;
}

int provider_address(struct provider *provider, SOCKET companion, bool peer,
		     struct sockaddr_storage *address, socklen_t *length)
{
	DWORD bytes;
	int error;

	if (provider->table.lpWSPIoctl(companion, peer ? SIO_WSDIRECT_PEER_ADDRESS :
				       SIO_WSDIRECT_LOCAL_ADDRESS, NULL, 0, address, sizeof(*address),
				       &bytes, NULL, NULL, NULL, &error))
		return -wsa_error_to_errno(error);
	*length = bytes;
	return 0;
}
