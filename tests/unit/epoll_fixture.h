/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of epoll share: one set, and connections of both kinds to put into it. */
#ifndef WSD_TEST_EPOLL_FIXTURE_H
#define WSD_TEST_EPOLL_FIXTURE_H

#include <stdint.h>
#include <sys/epoll.h>

#include "fake_socket.h"

#define MS 1000000LL

/* The set of the test, and a pipe of the kernel's. */
extern int set, pipe_fds[2];

void set_up(void);
void tear_down(void);
void close_fd(int fd);

/* epoll_ctl() on the set, and the waits. 0, a count or -errno; timeouts in nanoseconds. */
int control(int operation, int fd, uint32_t events, uint64_t data);
int wait_on(int epoll_fd, struct epoll_event *events, int room, int64_t timeout);
int wait_for(struct epoll_event *events, int room, int64_t timeout);
/* The events of the one report there is, with data 42; 0: none. */
uint32_t one(int64_t timeout);

/* One end of a connection, of the kernel's or of a (fake) SAN's. */
struct side {
	const char *name;
	int fd, peer;
	struct socket *san;
};

enum { TCP, SAN, SIDES };

struct side side_open(int kind);
void side_close(struct side *side);
/* Data arrives; all of it is read; the peer ends its direction. */
void side_data(struct side *side);
void side_drain(struct side *side);
void side_finish(struct side *side);

#endif
