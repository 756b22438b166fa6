/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which provider carries a connection: the operator's rules, the routes, and a
 * memory of destinations that turned out to speak TCP only.
 */
#ifndef WSD_SWITCH_CHOICE_H
#define WSD_SWITCH_CHOICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum choice { CHOICE_AUTO, CHOICE_TCP, CHOICE_SAN };
enum choice_call { CHOICE_CONNECT = 1, CHOICE_LISTEN = 2 };

/*
 * Parses the setting `rules`; a malformed rule is one error line and is left
 * out. Idempotent.
 */
void choice_open(void);

/* What the first rule that fits says; CHOICE_AUTO without one. */
enum choice choice_rule(enum choice_call call, const struct sockaddr *address);

/*
 * Reduces an address for comparing: IPv4-mapped IPv6 becomes IPv4. Returns its
 * length, 0 for a family that is not IP.
 */
socklen_t choice_normalize(const struct sockaddr *address, socklen_t length,
			   struct sockaddr_storage *normal);

/* The local address that packets to `peer` would leave from; port 0. 0 or -errno. */
int choice_source(const struct sockaddr_storage *peer, socklen_t length,
		  struct sockaddr_storage *source);

/* Is the destination known to speak TCP only? */
bool choice_remembers_tcp(const struct sockaddr_storage *peer);
/* Remember so for this long. */
void choice_remember_tcp(const struct sockaddr_storage *peer, uint64_t milliseconds);
/* It has just spoken over the SAN. */
void choice_remember_san(const struct sockaddr_storage *peer);
/* Has it, this long ago at most? */
bool choice_remembers_san(const struct sockaddr_storage *peer, uint64_t milliseconds);

#endif
