/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory exposed to the peer of one connection, and the descriptor that says so.
 *
 * A type 2 memory window over a cached region: bound by a work request in front
 * of the message that carries the descriptor, invalidated by another when the
 * exposure ends. The window belongs to the queue pair, so no other connection can
 * use its key. Where there are no windows, and for memory that windows cannot be
 * bound to, a registration of its own with the remote right stands in; its key
 * would work on any connection of this process, as far as its peer can guess it.
 */
#ifndef WSD_SAN_VERBS_EXPOSURE_H
#define WSD_SAN_VERBS_EXPOSURE_H

#include <stdint.h>

#include <wsdirect/ws2san.h>

struct san_socket;

/*
 * The descriptor on the wire: 24 bytes, little-endian.
 *
 *	0	u64	address of the first byte
 *	8	u64	length in bytes, not 0, address + length not above 2^64 - 1
 *	16	u32	remote key
 *	20	u16	rights of the reader of this descriptor: MEM_READ, MEM_WRITE
 *	22	u16	DESCRIPTOR_MAGIC
 */
#define DESCRIPTOR_LENGTH	24
#define DESCRIPTOR_MAGIC	0x5344u

struct descriptor {
	uint64_t address;
	uint64_t length;
	uint32_t key;
	uint32_t rights;
};

void descriptor_encode(const struct descriptor *descriptor, uint8_t bytes[DESCRIPTOR_LENGTH]);
/* Checks everything that can be checked without asking the peer's device. 0 or -EINVAL. */
int descriptor_decode(const void *bytes, uint32_t length, struct descriptor *descriptor);

/*
 * Frees the windows of all exposures that are not being hidden right now; the exposures
 * themselves stay until they are hidden. With the lock held, when no peer is to reach them.
 */
void exposure_free_windows(struct san_socket *socket);

/* Frees all exposures; the queue pair carries no traffic any more. With the lock held. */
void exposure_close_all(struct san_socket *socket);

/* SPI functions. */
int san_register_rdma_memory(SOCKET s, PVOID lpBuffer, DWORD dwBufferLength, DWORD dwFlags,
			     LPVOID lpRdmaBufferDescriptor, LPDWORD lpdwDescriptorLength,
			     LPINT lpErrno);
int san_deregister_rdma_memory(SOCKET s, LPVOID lpRdmaBufferDescriptor, DWORD dwDescriptorLength,
			       LPINT lpErrno);

#endif
