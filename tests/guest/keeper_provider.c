// SPDX-License-Identifier: BSD-2-Clause
/*
 * A service provider that keeps what it should forget: it passes everything on to the
 * real one, but from the second RDMA request on it names the memory that the peer exposed
 * for the first. A switch over it is the peer that tries old keys.
 *
 * environment: KEEPER_PROVIDER  the real one
 *              KEEPER_END       the end (STREAM_ROLE) that does this; others only pass on
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wsdirect/ws2san.h>

static LPWSPIOCTL real_ioctl;
static LPFN_WSPRDMAREAD real_read;
static LPFN_WSPRDMAWRITE real_write;

static unsigned char kept[WSDIRECT_DESCRIPTOR_SIZE];
static DWORD kept_length;	/* 0: nothing yet */

static bool keeps(void)
{
	const char *end = getenv("KEEPER_END"), *role = getenv("STREAM_ROLE");

	return end && role && !strcmp(end, role);
}

/* The first descriptor that went by, whichever is asked for. */
static LPVOID descriptor_of_old(LPVOID descriptor, DWORD *length)
{
	if (!keeps())
		return descriptor;
	if (!kept_length) {
		memcpy(kept, descriptor, *length);
		kept_length = *length;
	} else {
		fprintf(stderr, "keeper: tries the key of the first transfer\n");
	}
	*length = kept_length;
	return kept;
}

static int keeper_read(SOCKET s, LPWSABUFEX buffers, DWORD count, LPVOID descriptor, DWORD length,
		       DWORD offset, LPDWORD bytes, DWORD flags, LPWSAOVERLAPPED overlapped,
		       LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, LPWSATHREADID thread, LPINT error)
{
	descriptor = descriptor_of_old(descriptor, &length);
	return real_read(s, buffers, count, descriptor, length, offset, bytes, flags, overlapped,
			 routine, thread, error);
}

static int keeper_write(SOCKET s, LPWSABUFEX buffers, DWORD count, LPVOID descriptor, DWORD length,
			DWORD offset, LPDWORD bytes, DWORD flags, LPWSAOVERLAPPED overlapped,
			LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, LPWSATHREADID thread,
			LPINT error)
{
	descriptor = descriptor_of_old(descriptor, &length);
	return real_write(s, buffers, count, descriptor, length, offset, bytes, flags, overlapped,
			  routine, thread, error);
}

static int keeper_ioctl(SOCKET s, DWORD code, LPVOID in, DWORD in_size, LPVOID out, DWORD out_size,
			LPDWORD bytes, LPWSAOVERLAPPED overlapped,
			LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, LPWSATHREADID thread,
			LPINT error)
{
	static const GUID read_guid = WSAID_RDMAREAD, write_guid = WSAID_RDMAWRITE;
	int result = real_ioctl(s, code, in, in_size, out, out_size, bytes, overlapped, routine,
				thread, error);

	if (result || code != SIO_GET_EXTENSION_FUNCTION_POINTER)
		return result;
	if (!memcmp(in, &read_guid, sizeof(read_guid))) {
		memcpy(&real_read, out, sizeof(real_read));
		memcpy(out, &(LPFN_WSPRDMAREAD){ keeper_read }, sizeof(real_read));
	} else if (!memcmp(in, &write_guid, sizeof(write_guid))) {
		memcpy(&real_write, out, sizeof(real_write));
		memcpy(out, &(LPFN_WSPRDMAWRITE){ keeper_write }, sizeof(real_write));
	}
	return 0;
}

__attribute__((visibility("default")))
int WSPStartupEx(WORD version, LPWSPDATA data, LPWSAPROTOCOL_INFOW protocol,
		 LPWSPUPCALLTABLEEX upcalls, LPWSPPROC_TABLE table)
{
	const char *path = getenv("KEEPER_PROVIDER");
	void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	LPWSPSTARTUPEX startup;
	int error;

	if (!library) {
		fprintf(stderr, "keeper: %s\n", dlerror());
		return WSASYSNOTREADY;
	}
	startup = (LPWSPSTARTUPEX)(uintptr_t)dlsym(library, "WSPStartupEx");
	error = startup ? startup(version, data, protocol, upcalls, table) : WSASYSNOTREADY;
	if (error)
		return error;
	real_ioctl = table->lpWSPIoctl;
	table->lpWSPIoctl = keeper_ioctl;
	return 0;
}
