// SPDX-License-Identifier: BSD-2-Clause
/*
 * A service provider that is another one, the library that TORTURE_PROVIDER names, but hears
 * of changing memory as it would from a switch that watches more closely: not of the whole
 * range that was secured but, in turn, of its first, its middle or its last page, as if only
 * that had been unmapped. What it has registered of that page must all go.
 *
 * The switch here tells of whole ranges, each the range of exactly one region, so that
 * without this shim nothing would show whether a part is enough.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <wsdirect/ws2san.h>

#define PAGE 4096

static LPWSPIOCTL real_ioctl;
static LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK real_callback;

static int part_released(LPVOID address, SIZE_T size, LPINT error)
{
	static _Atomic unsigned turn;
	SIZE_T pages = size / PAGE, page = 0;

	/* All memory at once, or what is no range of whole pages. */
	if (!pages || size % PAGE || size > (SIZE_T)1 << 40)
		return real_callback(address, size, error);
	switch (turn++ % 3) {
	case 0:
		page = pages / 2;
		break;
	case 1:
		page = pages - 1;
		break;
	}
	return real_callback((char *)address + page * PAGE, PAGE, error);
}

static int split_ioctl(SOCKET s, DWORD code, LPVOID in, DWORD in_size, LPVOID out, DWORD out_size,
		       LPDWORD returned, LPWSAOVERLAPPED overlapped,
		       LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, LPWSATHREADID thread,
		       LPINT error)
{
	const GUID callback = WSAID_MEMORYREGISTRATIONCACHECALLBACK;
	int result = real_ioctl(s, code, in, in_size, out, out_size, returned, overlapped, routine,
				thread, error);

	if (!result && code == SIO_GET_EXTENSION_FUNCTION_POINTER && in_size == sizeof(callback) &&
	    out_size >= sizeof(real_callback) && !memcmp(in, &callback, sizeof(callback))) {
		LPFN_WSPMEMORYREGISTRATIONCACHECALLBACK own = part_released;

		memcpy(&real_callback, out, sizeof(real_callback));
		memcpy(out, &own, sizeof(own));
	}
	return result;
}

__attribute__((visibility("default")))
int WSPStartupEx(WORD version, LPWSPDATA data, LPWSAPROTOCOL_INFOW protocol,
		 LPWSPUPCALLTABLEEX upcalls, LPWSPPROC_TABLE table)
{
	const char *path = getenv("TORTURE_PROVIDER");
	void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	LPWSPSTARTUPEX startup = NULL;
	int error;

	if (library)
		startup = (LPWSPSTARTUPEX)(uintptr_t)dlsym(library, "WSPStartupEx");
	if (!startup)
		return WSAEFAULT;
	error = startup(version, data, protocol, upcalls, table);
	if (error)
		return error;
	real_ioctl = table->lpWSPIoctl;
	table->lpWSPIoctl = split_ioctl;
	return 0;
}
