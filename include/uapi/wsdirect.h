/* SPDX-License-Identifier: ((GPL-2.0-only WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * The interface between /dev/wsdirect and user space.
 *
 * One open of the device is one context, bound to the opener's address space.
 * A context holds secured ranges. For each range the kernel keeps one state
 * word, in an array that user space maps read-only at offset 0. While a range
 * is watched and unchanged its word holds the range's sequence number; from
 * the moment its mapping starts to change the word holds 0. Sequence numbers
 * are unique for the life of a context, so a word that was reused by another
 * range never matches a sequence remembered for an older one.
 *
 * A range fires once: its word becomes 0, one event is queued, and the kernel
 * no longer watches it. Its slot stays taken until the event has been read (or
 * the range was unsecured), so events never outnumber slots.
 *
 * errno of any ioctl: ENOTTY unknown request; EFAULT bad argument pointer;
 * EPERM the caller's address space is not the one that opened the device;
 * EPROTO no WSDIRECT_IOC_HELLO yet on this context. read() and mmap() answer
 * EPERM and EPROTO for the same reasons.
 *
 * mmap(): MAP_SHARED and PROT_READ, within @state_bytes (else EINVAL; EACCES for
 * PROT_WRITE). Words of slots that secure never returned may not be there:
 * reading one can raise SIGBUS. fork does not copy the mapping. The mapping
 * keeps the context, like a descriptor does: the ranges are released when all
 * descriptors are closed and the words unmapped, or when the address space ends.
 */
#ifndef WSDIRECT_UAPI_H
#define WSDIRECT_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define WSDIRECT_DEVICE		"/dev/wsdirect"
#define WSDIRECT_ABI_VERSION	1

/**
 * struct wsdirect_hello - agree on the interface, learn the limits
 * @abi_version: in: what the caller speaks; out: what the module speaks
 * @flags: in: must be 0 (EINVAL)
 * @max_ranges: out: ranges this context may hold at once
 * @reserved: must be 0 (EINVAL)
 * @max_bytes: out: bytes that all ranges of this context may cover
 * @state_bytes: out: size of the mapping of state words, in bytes
 *
 * EPROTONOSUPPORT: the versions differ; @abi_version holds the module's. Looked
 * at before the other members. Saying hello again is allowed and changes nothing.
 */
struct wsdirect_hello {
	__u32 abi_version;
	__u32 flags;
	__u32 max_ranges;
	__u32 reserved;
	__u64 max_bytes;
	__u64 state_bytes;
};

#define WSDIRECT_ACCESS_READ	0x1
#define WSDIRECT_ACCESS_WRITE	0x2

/**
 * struct wsdirect_secure - watch a range
 * @address: in: start, page aligned (EINVAL)
 * @length: in: bytes, a non-zero multiple of the page size (EINVAL)
 * @access: in: rights the range must keep, WSDIRECT_ACCESS_* (EINVAL if none or unknown)
 * @slot: out: index of the range's state word
 * @sequence: out: what the state word holds while the range is unchanged
 *
 * Waits for an invalidation in progress over the range before it returns.
 * EFAULT: not wholly mapped with @access, or device memory in it (VM_IO, VM_PFNMAP);
 * ENOSPC: no slot left or over max_bytes; EDQUOT: over the user's limit; ENOMEM; EINTR.
 */
struct wsdirect_secure {
	__u64 address;
	__u64 length;
	__u32 access;
	__u32 slot;
	__u64 sequence;
};

/**
 * struct wsdirect_unsecure - stop watching a range
 * @slot: in: as returned by secure
 * @reserved: must be 0 (EINVAL)
 * @sequence: in: as returned by secure
 *
 * ENOENT: no such range: it has fired already (its event is queued or was
 * read) or never was. After success no event of the range will be read.
 */
struct wsdirect_unsecure {
	__u32 slot;
	__u32 reserved;
	__u64 sequence;
};

/**
 * struct wsdirect_event - what read() returns, whole records only
 * @address: start of the secured range (not of the change)
 * @length: bytes of the secured range
 * @sequence: of the secured range
 * @slot: of the secured range; free for reuse once the event was read
 * @cause: enum mmu_notifier_event of the first change, for statistics
 *
 * read(): EINVAL for a buffer smaller than one record; EAGAIN when none is
 * queued and O_NONBLOCK is set; EINTR. poll() says POLLIN when one is queued.
 */
struct wsdirect_event {
	__u64 address;
	__u64 length;
	__u64 sequence;
	__u32 slot;
	__u32 cause;
};

#define WSDIRECT_IOC_HELLO	_IOWR('W', 0x40, struct wsdirect_hello)
#define WSDIRECT_IOC_SECURE	_IOWR('W', 0x41, struct wsdirect_secure)
#define WSDIRECT_IOC_UNSECURE	_IOW('W', 0x42, struct wsdirect_unsecure)

#endif /* WSDIRECT_UAPI_H */
