// SPDX-License-Identifier: BSD-2-Clause
/*
 * WSPStartupEx, the one export, and WSPCleanup; and what happens at fork.
 *
 * A child inherits descriptors and memory but no thread and no right to the parent's
 * connections. Its fork handler closes the descriptors, lest they keep the
 * connections alive when the parent is gone, makes every handle invalid and leaves
 * the memory behind them alone: other threads of the parent may have been
 * in the middle of it. After that the child may start anew.
 */
#include "provider.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "accept.h"
#include "connection.h"
#include "control.h"
#include "descriptor.h"
#include "device.h"
#include "events.h"
#include "log.h"
#include "registration.h"
#include "settings.h"
#include "socket.h"
#include "statistics.h"
#include "system.h"
#include "transfer.h"

#define VERSION_LEAST MAKEWORD(2, 2)

struct provider provider = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.sockets = { .lock = PTHREAD_MUTEX_INITIALIZER, .release = socket_release },
	.registrations = { .lock = PTHREAD_MUTEX_INITIALIZER, .release = registration_release },
};

pthread_rwlock_t provider_gate = PTHREAD_RWLOCK_INITIALIZER;

/* ---- fork ---- */

static void fork_prepare(void)
{
	pthread_rwlock_wrlock(&provider_gate);
}

static void fork_parent(void)
{
	pthread_rwlock_unlock(&provider_gate);
}

static void ignore(void *object)
{
	(void)object;
}

/* This process has inherited a running provider: it is not ours. */
static void abandon(void)
{
	atomic_store_explicit(&provider.running, false, memory_order_relaxed);
	provider.startups = 0;
	provider.forked = true;
	handle_table_forked(&provider.sockets, socket_forked);
	handle_table_forked(&provider.registrations, ignore);
	device_forked();
	memory_forked();
	system_close(provider.channel->fd);
	system_close(provider.epoll);
	system_close(provider.stop);
	provider.channel = NULL;
}

static void fork_child(void)
{
	pthread_rwlock_init(&provider_gate, NULL);
	pthread_mutex_init(&provider.lock, NULL);
	log_forked();
	statistics_forked();
	if (provider.startups)
		abandon();
}

__attribute__((constructor)) static void library_open(void)
{
	settings_open();
	statistics_open();
	pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* ---- starting and stopping ---- */

static int channel_open(void)
{
	int error = 0;

	gate_enter();
	provider.channel = rdma_create_event_channel();
	if (!provider.channel)
		error = errno ? -errno : -EIO;
	gate_leave();
	if (error)
		return error;
	atomic_store(&provider.channel_lost, false);
	provider.channel->fd = descriptor_hide(provider.channel->fd);
	system_fcntl(provider.channel->fd, F_SETFL, O_NONBLOCK);
	return 0;
}

/* The device of the RDMA connection manager, as rdma-core's udev rules name it. */
#define CONNECTION_MANAGER	"/dev/infiniband/rdma_cm"

static void channel_close(void)
{
	gate_enter();
	rdma_destroy_event_channel(provider.channel);
	gate_leave();
	provider.channel = NULL;
}

/* With the lock held. 0 or a WSA code. */
static int start(void)
{
	int error;

	error = channel_open();
	/* The library says that there is none where there is one that it may not open. */
	if (error && access(CONNECTION_MANAGER, R_OK | W_OK) && errno == EACCES)
		error = -EACCES;
	if (error) {
		log_info("verbs: no RDMA connection manager or device: %s", log_errno_name(error));
		return WSASYSNOTREADY;
	}
	error = memory_open();
	if (error) {
		log_error("verbs: no registration cache: %s", log_errno_name(error));
		goto err_channel;
	}
	error = events_start();
	if (error) {
		log_error("verbs: the provider's thread does not start: %s", log_errno_name(error));
		goto err_memory;
	}
	provider.owner = system_getpid();
	provider.forked = false;
	atomic_store_explicit(&provider.running, true, memory_order_release);
	return 0;

err_memory:
	memory_close();
err_channel:
	channel_close();
	return WSAENOBUFS;
}

static void close_one(uintptr_t handle)
{
	int error;

	san_close_socket(handle, &error);
}

static void stop(void)
{
	handle_table_each(&provider.sockets, close_one);
	atomic_store_explicit(&provider.running, false, memory_order_release);
	events_stop();
	device_close_all();
	memory_close();
	channel_close();
}

static int san_cleanup(LPINT lpErrno)
{
	int error = 0;

	pthread_mutex_lock(&provider.lock);
	if (!provider.startups)
		error = WSANOTINITIALISED;
	else if (!--provider.startups)
		stop();
	pthread_mutex_unlock(&provider.lock);
	return error ? fail(lpErrno, error) : 0;
}

/* ---- the export ---- */

static void describe(LPWSPDATA data)
{
	static const char name[] = "wsdirect: RDMA over libibverbs and librdmacm";

	memset(data, 0, sizeof(*data));
	data->wVersion = WSDIRECT_SPI_VERSION;
	data->wHighVersion = WSDIRECT_SPI_VERSION;
	for (size_t i = 0; i < sizeof(name); i++)
		data->szDescription[i] = (WCHAR)name[i];
}

static void fill_table(LPWSPPROC_TABLE table)
{
	*table = unsupported_table;
	table->lpWSPAccept = san_accept;
	table->lpWSPBind = san_bind;
	table->lpWSPCleanup = san_cleanup;
	table->lpWSPCloseSocket = san_close_socket;
	table->lpWSPConnect = san_connect;
	table->lpWSPEnumNetworkEvents = san_enum_network_events;
	table->lpWSPEventSelect = san_event_select;
	table->lpWSPGetOverlappedResult = san_get_overlapped_result;
	table->lpWSPGetSockOpt = san_get_sock_opt;
	table->lpWSPIoctl = san_ioctl;
	table->lpWSPListen = san_listen;
	table->lpWSPRecv = san_recv;
	table->lpWSPSend = san_send;
	table->lpWSPSetSockOpt = san_set_sock_opt;
	table->lpWSPSocket = san_socket;
}

static bool table_complete(const WSPUPCALLTABLEEX *table)
{
	return table->lpWPUCreateSocketHandle && table->lpWPUCloseSocketHandle &&
	       table->lpWPUQuerySocketHandleContext && table->lpWPUCompleteOverlappedRequest;
}

__attribute__((visibility("default")))
int WSPStartupEx(WORD wVersionRequested, LPWSPDATA lpWSPData, LPWSAPROTOCOL_INFOW lpProtocolInfo,
		 LPWSPUPCALLTABLEEX lpUpcallTable, LPWSPPROC_TABLE lpProcTable)
{
	int error = 0;

	if (!lpWSPData || !lpProtocolInfo || !lpUpcallTable || !lpProcTable)
		return WSAEFAULT;
	if (LOBYTE(wVersionRequested) < LOBYTE(VERSION_LEAST) ||
	    (LOBYTE(wVersionRequested) == LOBYTE(VERSION_LEAST) &&
	     HIBYTE(wVersionRequested) < HIBYTE(VERSION_LEAST)))
		return WSAVERNOTSUPPORTED;
	if (!table_complete(lpUpcallTable))
		return WSAEINVALIDPROCTABLE;

	pthread_mutex_lock(&provider.lock);
	/* A child that no fork handler ran in. */
	if (provider.startups && provider.owner != system_getpid())
		abandon();
	if (!provider.startups) {
		provider.upcalls = *lpUpcallTable;
		provider.catalog_entry = lpProtocolInfo->dwCatalogEntryId;
		error = start();
	}
	if (!error)
		provider.startups++;
	pthread_mutex_unlock(&provider.lock);
	if (error)
		return error;
	describe(lpWSPData);
	fill_table(lpProcTable);
	return 0;
}
