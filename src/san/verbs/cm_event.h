/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An event of the connection manager, copied out so that it could be
 * acknowledged before anybody acts on it: acknowledging is what destroying an
 * identifier waits for.
 */
#ifndef WSD_SAN_VERBS_CM_EVENT_H
#define WSD_SAN_VERBS_CM_EVENT_H

#include <stdint.h>

#include <rdma/rdma_cma.h>

struct cm_event {
	enum rdma_cm_event_type type;
	int status;
	uintptr_t handle;		/* of the socket: for a request, of the listener */
	struct rdma_cm_id *request;	/* of a request: the new identifier, ours to destroy */
	uint8_t responder_resources, initiator_depth;
	uint8_t data_length;
	uint8_t data[UINT8_MAX];
};

#endif
