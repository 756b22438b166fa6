// SPDX-License-Identifier: BSD-2-Clause
/*
 * Wrappers: stdio on SAN sockets.
 *
 * libc's streams read and write by internal names that cannot be intercepted. A
 * stream that fdopen() opens on a SAN socket is therefore a custom one
 * (fopencookie) around our own read and write. fileno() works on it all the
 * same. What does not: a stream that was opened before its descriptor became a
 * SAN socket, by connect(); nobody is known to do that.
 *
 * Buffered data of such streams is written at exit before sockets are closed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "preload.h"

struct stream {
	LIST_ENTRY(stream) entry;
	FILE *file;
	int fd;
};

/* Streams of ours that are open; the lock protects only the list. */
static LIST_HEAD(, stream) streams = LIST_HEAD_INITIALIZER(streams);
static pthread_mutex_t streams_lock = PTHREAD_MUTEX_INITIALIZER;

void stream_forked_child(void)
{
	pthread_mutex_init(&streams_lock, NULL);
}

static ssize_t stream_read(void *cookie, char *buffer, size_t size)
{
	return preload_read(((struct stream *)cookie)->fd, buffer, size);
}

/* All or, after an error, what went out before it: 0 tells stdio of an error. */
static ssize_t stream_write(void *cookie, const char *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t sent = preload_write(((struct stream *)cookie)->fd, data + done,
					     size - done);

		if (sent < 0)
			break;
		done += (size_t)sent;
	}
	return (ssize_t)done;
}

static int stream_seek(void *cookie, off64_t *offset, int whence)
{
	(void)cookie;
	(void)offset;
	(void)whence;
	errno = ESPIPE;
	return -1;
}

static int stream_close(void *cookie)
{
	struct stream *stream = cookie;
	int fd = stream->fd;

	pthread_mutex_lock(&streams_lock);
	LIST_REMOVE(stream, entry);
	pthread_mutex_unlock(&streams_lock);
	free(stream);
	return preload_close(fd);
}

void stream_flush_all(void)
{
	if (!LIST_EMPTY(&streams))
		fflush(NULL);
}

static FILE *stream_open(int fd, const char *mode)
{
	static const cookie_io_functions_t functions = {
		.read = stream_read, .write = stream_write, .seek = stream_seek,
		.close = stream_close,
	};
	struct stream *stream;
	char kind[3] = { 0 };

	if (!strchr("rwa", mode[0]) || !mode[0]) {
		errno = EINVAL;
		return NULL;
	}
	stream = malloc(sizeof(*stream));
	if (!stream)
		return NULL;
	stream->fd = fd;
	kind[0] = mode[0];
	if (strchr(mode, '+'))
		kind[1] = '+';
	stream->file = fopencookie(stream, kind, functions);
	if (!stream->file) {
		free(stream);
		return NULL;
	}
	/* A custom stream has no descriptor; all that looks at it is fileno(). */
	stream->file->_fileno = fd;
	pthread_mutex_lock(&streams_lock);
	LIST_INSERT_HEAD(&streams, stream, entry);
	pthread_mutex_unlock(&streams_lock);
	return stream->file;
}

FILE *preload_fdopen(int fd, const char *mode)
{
	struct socket *socket = descriptor_get(fd);
	int saved = errno;
	FILE *file;

	if (!socket)
		return libc_call.fdopen(fd, mode);
	socket_put(socket);
	file = stream_open(fd, mode);
	if (file)
		errno = saved;
	return file;
}
PRELOAD_ALIAS(_IO_fdopen, fdopen)

static bool stream_is_ours(const FILE *file)
{
	struct stream *stream;

	pthread_mutex_lock(&streams_lock);
	LIST_FOREACH(stream, &streams, entry)
		if (stream->file == file)
			break;
	pthread_mutex_unlock(&streams_lock);
	return stream;
}

/* libc closes the descriptor by an internal name: the table must hear of it before. */
int preload_fclose(FILE *file)
{
	int saved = errno, fd = fileno_unlocked(file);

	errno = saved;
	if (fd >= 0 && descriptor_closing_matters(fd) && !stream_is_ours(file)) {
		fflush(file);
		descriptor_closing(fd);
		errno = saved;
	}
	return libc_call.fclose(file);
}
PRELOAD_ALIAS(_IO_fclose, fclose)

/* ---- printing to a descriptor ---- */

/* Formats as one piece, then sends it all. `values` as vdprintf() gets them. */
static int print(int fd, const char *format, va_list values)
{
	struct stream whole = { .fd = fd };
	char *text;
	int length = vasprintf(&text, format, values);
	bool sent;

	if (length < 0)
		return length;
	sent = stream_write(&whole, text, (size_t)length) == length;
	free(text);
	return sent ? length : -1;
}

int preload_vdprintf(int fd, const char *format, va_list values)
{
	if (!descriptor_is_known(fd))
		return libc_call.vdprintf(fd, format, values);
	return print(fd, format, values);
}

int preload_dprintf(int fd, const char *format, ...)
{
	va_list values;
	int result;

	va_start(values, format);
	result = preload_vdprintf(fd, format, values);
	va_end(values);
	return result;
}

/* The fortified ones: only %n in a writable format, which `flag` forbids, differs. */
int preload___vdprintf_chk(int fd, int flag, const char *format, va_list values)
{
	if (!descriptor_is_known(fd))
		return libc_call.__vdprintf_chk(fd, flag, format, values);
	return print(fd, format, values);
}

int preload___dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list values;
	int result;

	va_start(values, format);
	result = preload___vdprintf_chk(fd, flag, format, values);
	va_end(values);
	return result;
}
