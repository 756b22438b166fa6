/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame of the stream_* tests: ordinary socket programs of two processes, a
 * server and a client, that check one behaviour of a TCP stream each. They
 * know nothing of the library; which end is started under it is the caller's
 * choice, so that plain TCP and the SAN are held to the same expectations.
 *
 * usage of every such program: stream_NAME [ADDRESS [ENDS [ARGUMENT...]]]
 *   ADDRESS  IPv4 address to listen on and connect to (default 127.0.0.1)
 *   ENDS     which ends have LD_PRELOAD=$STREAM_PRELOAD: none (default), both,
 *            server, client; mixed: the server and the first of several clients
 * Exit status: 0 both ends passed; 1 something did not hold; 2 wrong usage.
 *
 * The process started first only watches: it executes itself once for each end
 * and kills both when $STREAM_LIMIT seconds (default 60) are over.
 */
#ifndef TESTS_GUEST_STREAM_H
#define TESTS_GUEST_STREAM_H

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct stream_roles {
	/* Gets a listening socket. */
	void (*server)(int listener);
	/* Gets the address that the server listens on. */
	void (*client)(const struct sockaddr_in *peer);
	/* Either end, before it makes a socket; or NULL. */
	void (*prepare)(bool is_server);
	/* More clients than one, numbered by stream_number(). */
	int clients;
	/* Ends that this test kills itself: not blamed for dying of SIGKILL. */
	bool server_dies, client_dies;
};

/* The body of main(). */
int stream_main(int argc, char **argv, const struct stream_roles *roles);

/* The ARGUMENTs of the command line, NULL at the end. */
char **stream_arguments(void);
/* 0 for the first client, 1 for the next... */
int stream_number(void);

/* A condition that must hold; otherwise this end says so and the test fails. */
#define check(condition) \
	((condition) ? (void)0 : stream_fail(__FILE__, __LINE__, #condition, errno))
#define check_count(call, expected)						\
	stream_check_number(__FILE__, __LINE__, #call, (long long)(call), (long long)(expected))
/* The call fails with this errno. */
#define check_error(call, expected) do {					\
		errno = 0;							\
		stream_check_error(__FILE__, __LINE__, #call, (long long)(call), (expected));	\
	} while (0)

void stream_fail(const char *file, int line, const char *what, int error)
	__attribute__((noreturn));
void stream_check_number(const char *file, int line, const char *what, long long got,
			 long long expected);
void stream_check_error(const char *file, int line, const char *what, long long result,
			int expected);

/* Names the line that called a helper, for the message if something in it does not hold. */
void stream_caller(int line);

/* ---- connections ------------------------------------------------------- */

int stream_accept(int listener);
int stream_connect(const struct sockaddr_in *peer);
/* In place of one that was looked at already, which the process would keep to itself. */
int stream_listen_anew(int listener);
void stream_set_nonblocking(int fd, bool on);
void stream_set_number(int fd, int level, int option, int value);
/* Waits for these POLL* bits and returns those that hold; fails after 20 s. */
short stream_poll(int fd, short events);
void stream_send_all(int fd, const void *buffer, size_t size);
/* Fails at an early end of the stream. */
void stream_receive_all(int fd, void *buffer, size_t size);
/* Receives until the end of the stream, which must be an orderly one. */
size_t stream_receive_rest(int fd, void *buffer, size_t size);

/* ---- the other process ------------------------------------------------- */

/*
 * A step both ends agree on, by a way that is not the socket under test: call
 * reach() when done, await() to go on only after the other end reached it.
 * Server and first client only.
 */
void stream_step_reach(char step);
void stream_step_await(char step);

/* ---- contents ---------------------------------------------------------- */

/*
 * Bytes that say where in which stream they belong, so that a lost, repeated
 * or moved byte is noticed: byte @offset of the stream @seed.
 */
void stream_pattern_fill(void *buffer, size_t size, uint64_t seed, uint64_t offset);
void stream_pattern_check(const void *buffer, size_t size, uint64_t seed, uint64_t offset);

uint64_t stream_random(uint64_t *state);
double stream_now(void);

#endif
