// SPDX-License-Identifier: BSD-2-Clause
/*
 * Many buffers go both ways while one end, or both, may lock little memory
 * (RLIMIT_MEMLOCK, without CAP_IPC_LOCK): every byte arrives.
 *
 * ARGUMENTS: SERVER CLIENT [COUNT [BYTES [ROUNDS]]] (default 0 0 16 1048576 2): the limit of
 * each end in KiB (0: none), how many buffers of which size, how often all of them are sent
 */
#include "stream.h"

#include <linux/capability.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t argument(int index, uint64_t initial)
{
	char **words = stream_arguments();

	for (int i = 0; i <= index; i++)
		if (!words[i])
			return initial;
	return strtoull(words[index], NULL, 0);
}

/* Before the library opens a device, which is at the first listen() or connect(). */
static void limit(bool is_server)
{
	uint64_t kibibytes = argument(is_server ? 0 : 1, 0);
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0, 0, 0 } };
	struct rlimit few = { kibibytes << 10, kibibytes << 10 };

	if (!kibibytes)
		return;
	check(setrlimit(RLIMIT_MEMLOCK, &few) == 0);
	check(syscall(SYS_capset, &header, none) == 0);
}

static char **buffers(uint64_t count, size_t size)
{
	char **all = calloc(count, sizeof(*all));

	check(all != NULL);
	for (uint64_t i = 0; i < count; i++) {
		all[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);
		check(all[i] != MAP_FAILED);
	}
	return all;
}

static void send_round(int fd, char **all, uint64_t count, size_t size, uint64_t seed)
{
	for (uint64_t i = 0; i < count; i++) {
		stream_pattern_fill(all[i], size, seed + i, 0);
		stream_send_all(fd, all[i], size);
	}
}

static void receive_round(int fd, char **all, uint64_t count, size_t size, uint64_t seed)
{
	for (uint64_t i = 0; i < count; i++) {
		check_count(recv(fd, all[i], size, MSG_WAITALL), size);
		stream_pattern_check(all[i], size, seed + i, 0);
	}
}

static void run(int fd, bool first)
{
	uint64_t count = argument(2, 16), rounds = argument(4, 2);
	size_t size = argument(3, 1 << 20);
	char **all = buffers(count, size);

	for (uint64_t i = 0; i < rounds; i++) {
		if (first)
			send_round(fd, all, count, size, i * 1000);
		else
			receive_round(fd, all, count, size, i * 1000);
		if (first)
			receive_round(fd, all, count, size, i * 1000 + 500);
		else
			send_round(fd, all, count, size, i * 1000 + 500);
	}
}

static void server(int listener)
{
	int fd = stream_accept(listener);

	run(fd, false);
	check_count(recv(fd, &(char){ 0 }, 1, 0), 0);
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);

	run(fd, true);
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){
		.server = server, .client = client, .prepare = limit,
	});
}
