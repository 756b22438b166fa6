/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Completions of sends with MSG_ZEROCOPY, as the kernel's Documentation/networking/
 * msg_zerocopy.rst has them. Over a SAN such a send is over when the call returns: then its
 * bytes are copied, or with the peer. So its completion is there at once, and all that were
 * not fetched yet are one range, as the kernel makes one of those that follow each other.
 */
#include "zerocopy.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <string.h>

#include "program_memory.h"
#include "socket_state.h"

void zerocopy_sent(struct socket *socket, int flags, ssize_t done, bool copied)
{
	if (!(flags & MSG_ZEROCOPY) || !socket->zerocopy.enabled || done <= 0)
		return;
	if (!zerocopy_waits(socket))
		socket->zerocopy.copied = false;
	socket->zerocopy.copied |= copied;
	socket->zerocopy.sent++;
	socket->in_edge++;
	socket_changed(socket);
}

bool zerocopy_waits(const struct socket *socket)
{
	return socket->zerocopy.sent != socket->zerocopy.fetched;
}

/* As the kernel puts one: cut short where there is less room. 0 or -EFAULT. */
static int put_control(struct msghdr *message, int level, int type, const void *data, size_t size)
{
	struct cmsghdr header = { .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type };
	uint8_t *control = message->msg_control;
	size_t room = message->msg_controllen;

	message->msg_controllen = 0;
	if (!control || room < sizeof(header)) {
		message->msg_flags |= MSG_CTRUNC;
		return 0;
	}
	if (room < header.cmsg_len) {
		message->msg_flags |= MSG_CTRUNC;
		header.cmsg_len = room;
	}
	if (program_writable(control, header.cmsg_len) < header.cmsg_len)
		return -EFAULT;
	memcpy(control, &header, sizeof(header));
	memcpy(control + sizeof(header), data, header.cmsg_len - sizeof(header));
	message->msg_controllen = CMSG_SPACE(size) < room ? CMSG_SPACE(size) : room;
	return 0;
}

ssize_t socket_receive_error(struct socket *socket, struct msghdr *message)
{
	/* Which address has made the error: none, but its room is part of it. */
	struct {
		struct sock_extended_err error;
		union address offender;
	} completion = { .error.ee_origin = SO_EE_ORIGIN_ZEROCOPY };
	int result = -EAGAIN;

	socket_lock(socket);
	if (socket->state == SOCKET_PLAIN) {
		result = -ERESTART;
	} else if (zerocopy_waits(socket)) {
		bool v6 = socket->local.any.sa_family == AF_INET6;

		completion.error.ee_info = socket->zerocopy.fetched;
		completion.error.ee_data = socket->zerocopy.sent - 1;
		completion.error.ee_code = socket->zerocopy.copied ? SO_EE_CODE_ZEROCOPY_COPIED : 0;
		socket->zerocopy.fetched = socket->zerocopy.sent;
		if (message->msg_name)
			message->msg_namelen = 0;
		message->msg_flags = MSG_ERRQUEUE;
		result = put_control(message, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_RECVERR : IP_RECVERR,
				     &completion, sizeof(completion.error) +
				     (v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)));
	}
	socket_unlock(socket);
	return result;
}
