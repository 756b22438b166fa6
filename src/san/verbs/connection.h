/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The active side of connecting, and what happens to any connection afterwards.
 */
#ifndef WSD_SAN_VERBS_CONNECTION_H
#define WSD_SAN_VERBS_CONNECTION_H

#include "cm_event.h"
#include "socket.h"

/* Parameters of a connection of ours; private data is the caller's to add. */
void connection_parameters(const struct san_socket *socket, struct rdma_conn_param *parameters);

/* Any event but a request. From the provider's thread. */
void connection_event(const struct cm_event *event);

/* SPI functions. */
int san_connect(SOCKET s, const struct sockaddr *name, int namelen, LPWSABUF lpCallerData,
		LPWSABUF lpCalleeData, LPQOS lpSQOS, LPQOS lpGQOS, LPINT lpErrno);

#endif
