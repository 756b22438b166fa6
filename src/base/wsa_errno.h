/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Winsock error codes to errno, from the one list in ws2types.h.
 * Pure functions; any thread, any context.
 */
#ifndef WSD_BASE_WSA_ERRNO_H
#define WSD_BASE_WSA_ERRNO_H

/* The errno (positive) for a WSA code; 0 for 0; EIO for a code not in the list. */
int wsa_error_to_errno(int wsa_error);

/* "WSAECONNREFUSED" for a code; never NULL, never allocates. */
const char *wsa_error_name(int wsa_error);

#endif
