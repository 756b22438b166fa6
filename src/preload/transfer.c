// SPDX-License-Identifier: BSD-2-Clause
/*
 * Wrappers: moving bytes. All of them end in transfer_send() and
 * transfer_receive(), which make the checks that the kernel makes on arguments.
 *
 * Addresses and control data: TCP ignores a destination on a connected socket,
 * and reports no source and no control data. Linux does accept a few kinds of
 * control data for sending on TCP (marks, time stamps); they say how the kernel
 * is to send, so over a SAN they are ignored.
 */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cancellation.h"
#include "handover.h"
#include "preload.h"
#include "system.h"
#include "waiter.h"

/* glibc's own, which ends the program with a word about the overflow. */
extern void __chk_fail(void) __attribute__((noreturn));

/* What the kernel does to a thread that writes to a socket whose other end is gone. */
static void raise_broken_pipe(void)
{
	system_raw(SYS_tgkill, system_getpid(), system_gettid(), SIGPIPE);
}

/*
 * Replaces *vector by what of it may be moved in one call: *single is room for
 * one entry; `used` says that bytes will really be copied there or from there.
 * Returns the number of entries or -errno.
 */
static ssize_t vector_check(const struct iovec **vector, size_t count, struct iovec *single,
			    bool used)
{
	size_t total = 0, i;

	if (count && address_is_bad(*vector))
		return -EFAULT;
	for (i = 0; i < count; i++) {
		const struct iovec *entry = &(*vector)[i];

		if (entry->iov_len > SSIZE_MAX)
			return -EINVAL;
		if (used && entry->iov_len && address_is_bad(entry->iov_base))
			return -EFAULT;
		if (entry->iov_len > TRANSFER_MOST - total)
			break;
		total += entry->iov_len;
	}
	if (i == count || i > 0)
		return (ssize_t)i;
	/* A first entry that is too long by itself is moved in part. */
	*single = (struct iovec){ (*vector)->iov_base, TRANSFER_MOST };
	*vector = single;
	return 1;
}

/* The thread is cancelled in the call. */
static void call_cancelled(void *call)
{
	call_release(call);
}

static ssize_t send_checked(const struct call *call, const struct iovec *vector, int count,
			    int flags)
{
	ssize_t result;

	/* A connection is not opened a second time. */
	if (flags & MSG_FASTOPEN)
		return -EISCONN;
	pthread_cleanup_push(call_cancelled, (void *)(uintptr_t)call);
	/* The sleeps inside are cancellation points only where nothing large is on its way. */
	cancellation_point();
	result = socket_send(call->socket, vector, count, flags);
	pthread_cleanup_pop(0);
	if (result == -EPIPE && !(flags & MSG_NOSIGNAL))
		raise_broken_pipe();
	return result;
}

ssize_t transfer_send(const struct call *call, const struct iovec *vector, size_t count, int flags)
{
	struct iovec single;
	ssize_t result = vector_check(&vector, count, &single, true);

	return result < 0 ? result : send_checked(call, vector, (int)result, flags);
}

static ssize_t receive_checked(const struct call *call, const struct iovec *vector, int count,
			       int flags)
{
	struct msghdr without_control = { 0 };
	ssize_t result;

	if (flags & MSG_ERRQUEUE)
		return socket_receive_error(call->socket, &without_control);
	pthread_cleanup_push(call_cancelled, (void *)(uintptr_t)call);
	cancellation_point();
	result = socket_receive(call->socket, vector, count, flags);
	pthread_cleanup_pop(0);
	return result;
}

ssize_t transfer_receive(const struct call *call, const struct iovec *vector, size_t count,
			 int flags)
{
	struct iovec single;
	ssize_t result = vector_check(&vector, count, &single, !(flags & MSG_TRUNC));

	return result < 0 ? result : receive_checked(call, vector, (int)result, flags);
}

static ssize_t send_buffer(const struct call *call, const void *data, size_t size, int flags)
{
	struct iovec vector = { (void *)(uintptr_t)data, size < TRANSFER_MOST ? size : TRANSFER_MOST };

	if (size && address_is_bad(data))
		return -EFAULT;
	return send_checked(call, &vector, 1, flags);
}

static ssize_t receive_buffer(const struct call *call, void *buffer, size_t size, int flags)
{
	struct iovec vector = { buffer, size < TRANSFER_MOST ? size : TRANSFER_MOST };

	if (size && address_is_bad(buffer) && !(flags & MSG_TRUNC))
		return -EFAULT;
	return receive_checked(call, &vector, 1, flags);
}

/* ---- sending ---- */

ssize_t preload_write(int fd, const void *data, size_t size)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = send_buffer(&call, data, size, 0);

		if (call_settled(&call, &result))
			return result;
	}
	if (cancellation.plain)
		return outcome(system_write(fd, data, size), call.saved);
	return libc_call.write(fd, data, size);
}
PRELOAD_ALIAS(__write, write)

ssize_t preload_send(int fd, const void *data, size_t size, int flags)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = send_buffer(&call, data, size, flags);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.send(fd, data, size, flags);
}
PRELOAD_ALIAS(__send, send)

/*
 * A send that connects first (TCP Fast Open): the SAN is asked as by connect(). 0 when it is
 * connected; -EINPROGRESS and nothing is sent, as where TCP knows no cookie yet; -ERESTART if
 * TCP is to do both. One that must not wait, though its socket does, is left to TCP.
 */
static int connect_to_send(int fd, int flags, const void *address, socklen_t length)
{
	if (!(flags & MSG_FASTOPEN) || flags & MSG_DONTWAIT || !address)
		return -ERESTART;
	return switch_connect_or_tcp(fd, address, length);
}

ssize_t preload_sendto(int fd, const void *data, size_t size, int flags,
		       const struct sockaddr *address, socklen_t length)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result;

		if (address && length > sizeof(struct sockaddr_storage))
			result = -EINVAL;
		else if (address && length && address_is_bad(address))
			result = -EFAULT;
		else
			result = send_buffer(&call, data, size, flags);
		if (call_settled(&call, &result))
			return result;
	} else if (flags & MSG_FASTOPEN) {
		int result = connect_to_send(fd, flags, address, length);

		errno = call.saved;
		if (!result)
			return preload_send(fd, data, size, flags & ~MSG_FASTOPEN);
		if (result != -ERESTART)
			return outcome(result, call.saved);
	}
	return libc_call.sendto(fd, data, size, flags, address, length);
}

static ssize_t send_vector(const struct call *call, const struct iovec *vector, int count,
			   int flags)
{
	if (count < 0 || count > IOV_MAX)
		return -EINVAL;
	/* No vector is nothing done: a write() of no bytes does look at the socket. */
	return count ? transfer_send(call, vector, (size_t)count, flags) : 0;
}

ssize_t preload_writev(int fd, const struct iovec *vector, int count)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = send_vector(&call, vector, count, 0);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.writev(fd, vector, count);
}

static ssize_t send_message(const struct call *call, const struct msghdr *message, int flags)
{
	if (address_is_bad(message))
		return -EFAULT;
	if (message->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	if (message->msg_name && message->msg_namelen > INT_MAX)
		return -EINVAL;
	return transfer_send(call, message->msg_iov, message->msg_iovlen, flags);
}

ssize_t preload_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct call call = call_begin(fd);
	ssize_t sent;

	if (call.socket) {
		ssize_t result = send_message(&call, message, flags);

		if (call_settled(&call, &result))
			return result;
	} else if (flags & MSG_FASTOPEN && !address_is_bad(message)) {
		int result = connect_to_send(fd, flags, message->msg_name, message->msg_namelen);

		errno = call.saved;
		if (!result)
			return preload_sendmsg(fd, message, flags & ~MSG_FASTOPEN);
		if (result != -ERESTART)
			return outcome(result, call.saved);
	}
	sent = libc_call.sendmsg(fd, message, flags);
	/* The kernel has read it, so it is there. */
	if (sent >= 0 && message->msg_controllen) {
		int saved = errno;

		handover_sent(message);
		errno = saved;
	}
	return sent;
}

static size_t message_size(const struct msghdr *message)
{
	size_t total = 0, i;

	for (i = 0; i < message->msg_iovlen; i++)
		total += message->msg_iov[i].iov_len;
	return total;
}

/* A count of messages; an error only if there is none. */
static ssize_t send_messages(const struct call *call, struct mmsghdr *messages,
			     unsigned int count, int flags)
{
	unsigned int done;

	if (count && address_is_bad(messages))
		return -EFAULT;
	for (done = 0; done < count && done < IOV_MAX; done++) {
		struct mmsghdr *message = &messages[done];
		ssize_t result = send_message(call, &message->msg_hdr, flags);

		if (result < 0)
			return done ? done : result;
		message->msg_len = (unsigned int)result;
		/* The stream must not go on behind a message that was cut short. */
		if ((size_t)result < message_size(&message->msg_hdr))
			return done + 1;
	}
	return done;
}

int preload_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = send_messages(&call, messages, count, flags);

		if (call_settled(&call, &result))
			return (int)result;
	}
	return libc_call.sendmmsg(fd, messages, count, flags);
}

/* ---- receiving ---- */

ssize_t preload_read(int fd, void *buffer, size_t size)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		/* Unlike recv(), reading no bytes waits for none. */
		ssize_t result = size ? receive_buffer(&call, buffer, size, 0) : 0;

		if (call_settled(&call, &result))
			return result;
	}
	if (cancellation.plain)
		return outcome(system_read(fd, buffer, size), call.saved);
	return libc_call.read(fd, buffer, size);
}
PRELOAD_ALIAS(__read, read)

ssize_t preload_recv(int fd, void *buffer, size_t size, int flags)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = receive_buffer(&call, buffer, size, flags);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.recv(fd, buffer, size, flags);
}

ssize_t preload_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *address,
			 socklen_t *length)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result;

		if (address && address_is_bad(length))
			result = -EFAULT;
		else
			result = receive_buffer(&call, buffer, size, flags);
		if (result >= 0 && address)
			*length = 0;
		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.recvfrom(fd, buffer, size, flags, address, length);
}

static ssize_t receive_vector(const struct call *call, const struct iovec *vector, int count,
			      int flags)
{
	int i;

	if (count < 0 || count > IOV_MAX)
		return -EINVAL;
	/* As for read(): no room is nothing done. */
	for (i = 0; i < count; i++)
		if (address_is_bad(vector) || vector[i].iov_len)
			return transfer_receive(call, vector, (size_t)count, flags);
	return 0;
}

ssize_t preload_readv(int fd, const struct iovec *vector, int count)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = receive_vector(&call, vector, count, 0);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.readv(fd, vector, count);
}

static ssize_t receive_message(const struct call *call, struct msghdr *message, int flags)
{
	ssize_t result;

	if (address_is_bad(message))
		return -EFAULT;
	if (message->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	if (flags & MSG_ERRQUEUE)
		return socket_receive_error(call->socket, message);
	result = transfer_receive(call, message->msg_iov, message->msg_iovlen, flags);
	if (result < 0)
		return result;
	if (message->msg_name)
		message->msg_namelen = 0;
	message->msg_controllen = 0;
	message->msg_flags = flags & (MSG_CMSG_CLOEXEC | MSG_OOB);
	return result;
}

ssize_t preload_recvmsg(int fd, struct msghdr *message, int flags)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = receive_message(&call, message, flags);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.recvmsg(fd, message, flags);
}

/* The time limit is looked at after each message only, as the kernel does. */
static ssize_t receive_messages(const struct call *call, struct mmsghdr *messages,
				unsigned int count, int flags, struct timespec *timeout)
{
	int64_t deadline = 0, left;
	unsigned int done;

	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)
			return -EINVAL;
		deadline = clock_now() + (int64_t)timeout->tv_sec * 1000000000 + timeout->tv_nsec;
	}
	if (count && address_is_bad(messages))
		return -EFAULT;
	for (done = 0; done < count && done < IOV_MAX;) {
		ssize_t result = receive_message(call, &messages[done].msg_hdr,
						 flags & ~MSG_WAITFORONE);

		if (result < 0)
			return done ? done : result;
		messages[done++].msg_len = (unsigned int)result;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (timeout) {
			left = deadline - clock_now();
			left = left > 0 ? left : 0;
			timeout->tv_sec = left / 1000000000;
			timeout->tv_nsec = left % 1000000000;
			if (!left)
				break;
		}
	}
	return done;
}

int preload_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
		     struct timespec *timeout)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		ssize_t result = receive_messages(&call, messages, count, flags, timeout);

		if (call_settled(&call, &result))
			return (int)result;
	}
	return libc_call.recvmmsg(fd, messages, count, flags, timeout);
}

/* ---- positioned calls, which a socket takes without a position ---- */

/* The flags of one receive or send that stand for RWF_*; -errno if there are none. */
static int vector_flags(off_t offset, int flags)
{
	if (offset != -1)
		return -ESPIPE;
	if (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT))
		return -EOPNOTSUPP;
	return flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
}

ssize_t preload_preadv2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		int with = vector_flags(offset, flags);
		ssize_t result = with < 0 ? with : receive_vector(&call, vector, count, with);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.preadv2(fd, vector, count, offset, flags);
}
PRELOAD_ALIAS(preadv64v2, preadv2)

ssize_t preload_pwritev2(int fd, const struct iovec *vector, int count, off_t offset, int flags)
{
	struct call call = call_begin(fd);

	if (call.socket) {
		int with = vector_flags(offset, flags);
		ssize_t result = with < 0 ? with : send_vector(&call, vector, count, with);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.pwritev2(fd, vector, count, offset, flags);
}
PRELOAD_ALIAS(pwritev64v2, pwritev2)

/* ---- fortified variants: `room` is what the compiler knows of the buffer ---- */

ssize_t preload___read_chk(int fd, void *buffer, size_t size, size_t room)
{
	if (size > room)
		__chk_fail();
	return preload_read(fd, buffer, size);
}

ssize_t preload___recv_chk(int fd, void *buffer, size_t size, size_t room, int flags)
{
	if (size > room)
		__chk_fail();
	return preload_recv(fd, buffer, size, flags);
}

ssize_t preload___recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags,
			       struct sockaddr *address, socklen_t *length)
{
	if (size > room)
		__chk_fail();
	return preload_recvfrom(fd, buffer, size, flags, address, length);
}
