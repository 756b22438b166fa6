/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the session's own files share: session.c (sending, life),
 * session_messages.c (receiving), session_buffers.c (memory). Nobody else
 * includes this. Socket lock held throughout.
 */
#ifndef WSD_SWITCH_SESSION_PARTS_H
#define WSD_SWITCH_SESSION_PARTS_H

#include "session.h"

#define SEND_BUFFERS	6	/* of a connection */
#define LARGER_BYTES	65536	/* in a buffer after growing, if so much can be registered */

/* The connection is over; error is what a reader hears, unless it has heard the end of file. */
void session_break(struct session *session, int error);
/*
 * The provider refused a request with this WSA code. A connection that ended has
 * messages that arrived before its end: they are handled first, and the posted
 * buffers, which fail in their turn, break the session.
 */
void session_refused(struct session *session, int wsa_error);
/* Sends without a credit: CREDIT, HELLO, RESET. -EAGAIN: no free buffer. */
int session_send_message(struct session *session, enum message_type type, uint8_t flags,
			 uint64_t position, const void *body, uint32_t length);

/*
 * Buffers that are freed when the session closes, each for a header and @bytes of the stream: a
 * round number, as programs like to send. With the header among them every such send would need
 * a second message for its last bytes. NULL: no memory, or it cannot be registered.
 */
struct message_pool *session_pool_new(struct session *session, uint32_t count, uint32_t bytes);
/* Posts a buffer for receiving. 0 or a WSA code. */
int session_post(struct session *session, struct message *message);
/* Posts a buffer in the place of one whose message was dealt with. */
void session_repost(struct session *session, struct message *message);
/* Larger buffers take the places of the small ones as these come back. */
void session_grow_receive(struct session *session);
/* Larger buffers to send from, of up to @most bytes. */
void session_grow_send(struct session *session, uint32_t most);

#endif
