/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listeners that share a port: of processes that inherited one socket, as the workers of a
 * server do, or of one process that uses SO_REUSEPORT. The kernel gives connections to all of
 * them; on a SAN one only can have the port. The others listen at ports of their own there,
 * and who has the port sends peers on to them (struct elsewhere in protocol.h).
 *
 * They find each other in a page of memory that children inherit. It belongs to one listening
 * address, so that only who could accept there by what the kernel says can write to it.
 *
 * All with the lock of the listener held, unless they say otherwise.
 */
#ifndef WSD_SWITCH_SHARED_PORT_H
#define WSD_SWITCH_SHARED_PORT_H

#include <netinet/in.h>
#include <stdbool.h>

struct listening;
union address;

/* The listener has the port. From now on others can enter. */
void shared_port_open(struct listening *listening, const union address *address);
/* Does anybody whom we know have the port? Then who enters is heard of. Without a lock. */
bool shared_port_known(const union address *address);
/* Another has the port: this one is to be found at @port (network order). False: no room. */
bool shared_port_enter(struct listening *listening, const union address *address, in_port_t port);
/* It has the port now. */
void shared_port_take(struct listening *listening);
/* It has the port, or is found, no more. A no-op if neither was so. */
void shared_port_leave(struct listening *listening);
/* Before a fork: the listener goes, and children may come in its place. */
void shared_port_bequeath(struct listening *listening);
/* In the child of a fork. */
void shared_port_forked(void);

/* How many connections it has, accepted or not, has changed. */
void shared_port_loaded(struct listening *listening);

/* Is there nobody else, as far as is known? */
bool shared_port_alone(const struct listening *listening);

/* Nobody came for a connection that was given to it: for a while it is given none. */
void shared_port_unattended(struct listening *listening);

/*
 * Who has the port asks who is to have a connection: who has the fewest, in turns.
 * Returns the port of another on the SAN (network order), 0 for itself, or -1 for nobody.
 */
int shared_port_choose(struct listening *listening);

#endif
