// SPDX-License-Identifier: BSD-2-Clause
/*
 * Wrappers: sendfile and splice.
 *
 * sendfile to a SAN socket reads the file into a buffer that the thread keeps,
 * so that its registration is found in the cache from the second piece on. The
 * file is not mapped instead: a mapping would have to be registered for each
 * call, and touching it after another process has truncated the file would end
 * the program with SIGBUS, where sendfile() only returns a short count.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "preload.h"
#include "system.h"

#define PIECE_MOST	((size_t)1 << 20)
/* While the socket takes nothing, and a nonblocking call may have read in vain. */
#define PIECE_LEAST	((size_t)1 << 16)

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static bool buffer_keyed;

static void buffer_free(void *buffer)
{
	munmap(buffer, PIECE_MOST);
}

static void buffer_key_make(void)
{
	buffer_keyed = pthread_key_create(&buffer_key, buffer_free) == 0;
}

/* This thread's, PIECE_MOST bytes, or NULL. */
static char *buffer_get(void)
{
	void *buffer;

	pthread_once(&buffer_once, buffer_key_make);
	if (!buffer_keyed)
		return NULL;
	buffer = pthread_getspecific(buffer_key);
	if (buffer)
		return buffer;
	buffer = mmap(NULL, PIECE_MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		return NULL;
	if (pthread_setspecific(buffer_key, buffer)) {
		buffer_free(buffer);
		return NULL;
	}
	return buffer;
}

/* From position to position + count; advances *position by what was sent. */
static ssize_t send_range(const struct call *call, int in, off_t *position, size_t count)
{
	char *buffer = buffer_get();
	size_t done = 0;

	if (!buffer)
		return -ENOMEM;
	while (done < count) {
		size_t piece = socket_poll(call->socket) & POLLOUT ? PIECE_MOST : PIECE_LEAST;
		size_t left = count - done;
		struct iovec vector = { .iov_base = buffer };
		ssize_t got, sent;

		got = system_raw(SYS_pread64, in, buffer, left < piece ? left : piece, *position);
		if (got <= 0)
			return done ? (ssize_t)done : got == -ESPIPE ? -EINVAL : got;
		vector.iov_len = (size_t)got;
		sent = transfer_send(call, &vector, 1, (size_t)got < left ? MSG_MORE : 0);
		if (sent < 0)
			return done ? (ssize_t)done : sent;
		*position += sent;
		done += (size_t)sent;
		if (sent < got)
			break;
	}
	return (ssize_t)done;
}

static ssize_t send_file(const struct call *call, int in, off_t *offset, size_t count)
{
	int flags = system_fcntl(in, F_GETFL, 0);
	off_t position;
	ssize_t result;

	if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
		return -EBADF;
	position = offset ? *offset : (off_t)system_raw(SYS_lseek, in, 0, SEEK_CUR);
	if (position < 0)
		return -EINVAL;
	result = send_range(call, in, &position, count < TRANSFER_MOST ? count : TRANSFER_MOST);
	if (offset)
		*offset = position;
	else if (result > 0)
		system_raw(SYS_lseek, in, position, SEEK_SET);
	return result;
}

ssize_t preload_sendfile(int out, int in, off_t *offset, size_t count)
{
	struct call call = call_begin(out);

	if (call.socket) {
		ssize_t result = send_file(&call, in, offset, count);

		if (call_settled(&call, &result))
			return result;
	}
	return libc_call.sendfile(out, in, offset, count);
}
PRELOAD_ALIAS(sendfile64, sendfile)

/* Programs that splice must be ready for files that cannot: they copy then. */
ssize_t preload_splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t size,
		       unsigned int flags)
{
	struct call call = call_begin(in);
	static atomic_bool told;

	if (!call.socket)
		call = call_begin(out);
	if (!call.socket)
		return libc_call.splice(in, in_offset, out, out_offset, size, flags);
	if (!atomic_exchange(&told, true))
		log_info("splice on a SAN connection is answered with EINVAL, as for files that "
			 "cannot be spliced");
	return call_end(&call, -EINVAL);
}
