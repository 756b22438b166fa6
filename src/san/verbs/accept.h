/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The passive side: listening, requests waiting, accepting and refusing them.
 */
#ifndef WSD_SAN_VERBS_ACCEPT_H
#define WSD_SAN_VERBS_ACCEPT_H

#include "cm_event.h"
#include "refusal.h"
#include "socket.h"

/* A connection request for a listener; takes over event->request. From the provider's thread. */
void request_arrived(const struct cm_event *event);

/* Refuses a request that is in no queue any more and destroys its socket. */
void request_refuse(struct san_socket *request, enum refusal refusal);

/* SPI functions. */
int san_listen(SOCKET s, int backlog, LPINT lpErrno);
SOCKET san_accept(SOCKET s, struct sockaddr *addr, LPINT addrlen, LPCONDITIONPROC lpfnCondition,
		  DWORD_PTR dwCallbackData, LPINT lpErrno);

#endif
